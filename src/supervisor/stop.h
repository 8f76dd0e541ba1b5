/*
 * Stopping: the roles first, then the embedded PostgreSQL; in bounded time
 * whatever the children do (G33).
 */
#ifndef CHIMP_SUPERVISOR_STOP_H
#define CHIMP_SUPERVISOR_STOP_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct master;

/* In order of urgency. */
enum stop_mode {
	STOP_NONE,
	STOP_GRACEFUL, /* running work may take as long as it needs */
	STOP_FAST,     /* running work has stop_timeout */
	STOP_NOW       /* kill */
};

struct stop {
	enum stop_mode mode;
	struct event timer;  /* KILL, then give up */
	struct event extend; /* tells systemd that it goes on */
	bool killed;         /* KILL was sent to all that lived */
	int64_t since_ms;    /* of the first request, CLOCK_MONOTONIC */
	int64_t mode_ms;     /* of the request for the present mode */
};

void stop_init(struct master *m);
void stop_done(struct master *m);

/* The roles are gone: nobody is left to kill. */
void stop_disarm(struct master *m);

/* Stop, or stop faster; a slower mode than the present one is ignored. */
void stop_begin(struct master *m, enum stop_mode mode);

/* True when no process of a role is left, nor the preparing one. */
bool stop_roles_gone(const struct master *m);

#endif
