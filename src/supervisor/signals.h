/*
 * Signals to the master, as events of its loop.
 */
#ifndef CHIMP_SUPERVISOR_SIGNALS_H
#define CHIMP_SUPERVISOR_SIGNALS_H

#include <event2/event_struct.h>

struct master;

enum { SIGNALS_COUNT = 7 };

struct signals {
	struct event events[SIGNALS_COUNT];
};

/* Before anybody can know the pid: what would kill a master without handlers
 * (HUP, USR1, USR2) waits for signals_init. */
void signals_hold(void);

/* Also lets all signals through, whatever the parent had blocked. */
void signals_init(struct master *m);

/* At the end: from now on they are blocked. */
void signals_done(struct master *m);

/* In a forked child: what the master catches or ignores is default again. */
void signals_reset(void);

#endif
