/*
 * Reload (HUP): a short-lived child reads the configuration, checks all of it,
 * the database included, and hands it to the master, which then brings it to
 * the processes (rolling.h). On any error nothing has changed.
 */
#ifndef CHIMP_SUPERVISOR_RELOAD_H
#define CHIMP_SUPERVISOR_RELOAD_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/strbuf.h"

struct master;

struct reload {
	pid_t pid;            /* of the child; 0 = not running */
	int fd;               /* where its answer comes from; -1 = none */
	struct event io;      /* fd is readable */
	struct strbuf answer; /* so far: the configuration as JSON */
	bool again;           /* another HUP came meanwhile */
	int64_t since_ms;     /* when it began, CLOCK_MONOTONIC */
};

/* HUP: now, or once more when the reload that runs is over. */
void reload_request(struct master *m);

/* In MASTER_RUNNING: begin, if one was asked for. */
void reload_step(struct master *m);

/* The child has ended with this status of wait(2). */
void reload_ended(struct master *m, int status);

/* Back to MASTER_RUNNING from MASTER_CHECKING; the log has the reason. */
void reload_refused(struct master *m);

/* A stop: the child is not needed any more. */
void reload_kill(struct master *m);

void reload_done(struct master *m);

/* In a forked child. */
void reload_forget(struct reload *r);

#endif
