/*
 * The embedded PostgreSQL's data folder: whose it is, whether there is a
 * cluster in it, and whether a postmaster lives on it. Never starts anything.
 */
#ifndef CHIMP_SUPERVISOR_PGDATA_H
#define CHIMP_SUPERVISOR_PGDATA_H

#include <stdbool.h>
#include <sys/types.h>

struct err;

/* What postmaster.pid says. */
struct pgdata_postmaster {
	pid_t pid;       /* 0 = no postmaster */
	char status[16]; /* "starting", "ready", "stopping"; "" = none yet */
};

/* Pure: the text of a postmaster.pid. */
void pgdata_parse_postmaster(
    const char *text, struct pgdata_postmaster *postmaster);

/*
 * Look into `dir`: *exists tells whether there is a cluster of PostgreSQL
 * version `major`; if not, `dir` is absent or empty and can be made. An error
 * for anything else: another version or owner, a folder of other files, a
 * parent that cannot be written.
 */
int pgdata_check(const char *dir, int major, bool *exists, struct err *err);

/* Make the folder of the sockets, 0700 and ours. */
int pgdata_make_socket_dir(const char *dir, struct err *err);

/* postmaster.pid as it stands; pid 0 if there is none. */
void pgdata_read_postmaster(
    const char *dir, struct pgdata_postmaster *postmaster);

/*
 * The postmaster that lives on `dir` now, pid 0 if none. Removes a
 * postmaster.pid whose number has gone to another program since: PostgreSQL
 * would refuse to start.
 */
void pgdata_find_postmaster(
    const char *dir, struct pgdata_postmaster *postmaster);

/* Put a finished cluster `from` in the place of `to`. */
int pgdata_rename(const char *from, const char *to, struct err *err);

#endif
