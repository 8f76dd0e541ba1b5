/*
 * Forking: what every process that the master starts has in common, and how a
 * slot gets its process.
 */
#ifndef CHIMP_SUPERVISOR_SPAWN_H
#define CHIMP_SUPERVISOR_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct master;
struct slot;

struct spawn_opts {
	const char *name;    /* for title and log */
	int death_signal;    /* when the master dies; 0 = none */
	bool keep_listeners; /* it serves them */
	bool keep_caps;      /* it calls privs_child itself, later */
	bool session;        /* of its own, not only a process group */
};

/*
 * Like fork(2). The child has a process group of its own, default signals and
 * title, and none of the master's descriptors; the master's loop is gone.
 */
pid_t spawn_fork(struct master *m, const struct spawn_opts *opts);

/* Signals the process and its group. It must not have been waited for. */
void spawn_kill(pid_t pid, int sig);

/* Fork the role's process into `slot`: sets its pid and fd. -1 with errno. */
int spawn_slot(struct slot *slot);

#endif
