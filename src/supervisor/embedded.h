/*
 * The embedded PostgreSQL: made on first use, started before everything else,
 * restarted when it dies while the roles wait, stopped last.
 */
#ifndef CHIMP_SUPERVISOR_EMBEDDED_H
#define CHIMP_SUPERVISOR_EMBEDDED_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/backoff.h"
#include "supervisor/lockfile.h"

struct err;
struct master;

enum embedded_state {
	EMBEDDED_OFF,      /* not configured, or not started yet */
	EMBEDDED_INITDB,   /* initdb runs */
	EMBEDDED_BLOCKED,  /* an earlier postmaster still has the data */
	EMBEDDED_STARTING, /* postgres runs, but is not ready */
	EMBEDDED_READY,
	EMBEDDED_WAITING,  /* it died; the next try comes with the timer */
	EMBEDDED_STOPPING, /* told to stop */
	EMBEDDED_ENDED     /* stopped, or given up */
};

struct embedded {
	enum embedded_state state; /* embedded_set_state changes it */
	bool configured;           /* database.mode = embedded */
	bool cluster_exists;
	bool was_ready; /* once: from then on it is restarted for ever */
	char *socket_dir;
	char *new_dir;        /* where initdb works: DATA_DIR.new */
	struct lockfile lock; /* DATA_DIR.lock: one chimpd per cluster */
	pid_t pid;            /* of initdb or the postmaster; 0 = none */
	int output_fd;      /* a memory file with what initdb said; -1 = none */
	int64_t since_ms;   /* of the present state, CLOCK_MONOTONIC */
	int64_t told_ms;    /* when a long wait was last logged */
	struct event timer; /* what it means depends on the state */
	struct backoff backoff;
	int64_t restart_delay_ms; /* for EMBEDDED_WAITING */
	int stop_step; /* index of the last signal sent, in embedded.c */
};

/* Check folders and programs, take the lock. Does nothing when the database
 * is elsewhere. */
int embedded_init(struct master *m, struct err *err);
void embedded_done(struct master *m);

/* In a forked child. */
void embedded_forget(struct embedded *e);

/* Make the cluster if need be, start the server. master_advance is called
 * when embedded_ready; a failure of the first start ends the master. */
void embedded_start(struct master *m);

/* True when the roles can connect, or the database is none of our business. */
bool embedded_ready(const struct embedded *e);

/* True when nothing of it is left to stop. */
bool embedded_gone(const struct embedded *e);

/* Its process has ended with this status of wait(2). */
void embedded_ended(struct master *m, int status);

/* Fast shutdown; after 10 s immediate, then KILL. */
void embedded_stop(struct master *m);

/* Do not wait for a fast shutdown that has begun. */
void embedded_stop_now(struct master *m);

#endif
