/*
 * The states of the master and of its slots, and which may follow which: the
 * whole of the supervisor's behaviour in two tables. Pure. A change that is in
 * no row is a bug: master_set_state and slot_set_state abort on it.
 */
#ifndef CHIMP_SUPERVISOR_STATES_H
#define CHIMP_SUPERVISOR_STATES_H

#include <stdbool.h>
#include <stddef.h>

enum master_state {
	MASTER_STARTING,          /* alone: sockets, user, folders */
	MASTER_DATABASE,          /* the embedded PostgreSQL starts */
	MASTER_PREPARING,         /* a child migrates and registers */
	MASTER_BOOTING,           /* slots are filled, not all are ready */
	MASTER_RUNNING,           /* all were ready */
	MASTER_CHECKING,          /* a child checks a new configuration */
	MASTER_ROLLING,           /* it replaces the processes, one by one */
	MASTER_REVERTING,         /* it failed: back to the one before */
	MASTER_STOPPING,          /* the roles end; see stop.h */
	MASTER_STOPPING_DATABASE, /* then the embedded PostgreSQL */
	MASTER_ENDED
};
enum { MASTER_STATES = MASTER_ENDED + 1 };

enum slot_state {
	SLOT_EMPTY,    /* no process, and none is due */
	SLOT_WAITING,  /* its process died; the next comes with the timer */
	SLOT_STARTING, /* forked, not ready yet */
	SLOT_SERVING,
	SLOT_DRAINING, /* told to finish and exit */
	SLOT_HUNG,     /* to be killed; see watchdog.h */
	SLOT_FAILED    /* refused its configuration: not restarted */
};
enum { SLOT_STATES = SLOT_FAILED + 1 };

struct state_row {
	int from;
	int to;
	const char *why; /* the event, in words */
};

/* The tables, for tests and for whoever wants to read them. */
const struct state_row *master_state_rows(size_t *n);
const struct state_row *slot_state_rows(size_t *n);

/* True if the table has a row for it. */
bool master_state_allowed(enum master_state from, enum master_state to);
bool slot_state_allowed(enum slot_state from, enum slot_state to);

/* In words: "starting the database", "waiting to restart". */
const char *master_state_name(enum master_state state);
const char *slot_state_name(enum slot_state state);

#endif
