/*
 * The listening sockets: opened once, as root where ports need it, and kept in
 * the master while http children come and go, so that no connection that waits
 * to be accepted is lost with a child.
 */
#ifndef CHIMP_SUPERVISOR_LISTEN_H
#define CHIMP_SUPERVISOR_LISTEN_H

#include <stddef.h>

struct conf_strings;
struct err;

struct listener {
	char name[160];      /* "127.0.0.1:3000", "unix:/run/x.sock" */
	char unix_path[108]; /* "" = TCP */
};

enum { LISTEN_MAX = 64 };

struct listeners {
	int count;
	int fds[LISTEN_MAX]; /* not blocking */
	struct listener items[LISTEN_MAX];
};

/* Open all; on an error none stays open. */
int listen_open(
    struct listeners *l, const struct conf_strings *addresses, struct err *err);

/* "a, b", cut where buf ends. */
void listen_names(const struct listeners *l, char *buf, size_t size);

/* Close all and remove the Unix sockets. */
void listen_close(struct listeners *l);

/* In a forked child that does not serve them: close only. */
void listen_forget(struct listeners *l);

#endif
