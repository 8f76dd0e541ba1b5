/*
 * Patience with the short-lived children, which prepare and reload: how long
 * they take is the database's and the resolver's matter. The log says what is
 * waited for, systemd is asked for more time, and one that has hung is ended.
 */
#ifndef CHIMP_SUPERVISOR_PATIENCE_H
#define CHIMP_SUPERVISOR_PATIENCE_H

#include <event2/event_struct.h>
#include <stdint.h>

struct master;

struct patience {
	struct event tick;
	int64_t said_ms; /* CLOCK_MONOTONIC: the last word about it */
};

/* A child that takes this many times start_timeout has hung, and so has
 * whatever it asked: it is killed. Not at the start, where a migration may take
 * as long as it takes. */
enum { PATIENCE_TIMES = 20 };

void patience_init(struct master *m);
void patience_done(struct master *m);

/* One of them has been forked. */
void patience_begin(struct master *m);

#endif
