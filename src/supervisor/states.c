/*
 * The tables of states. See states.h.
 */
#include "supervisor/states.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */
static const struct state_row master_rows[] = {
	{ MASTER_STARTING,  MASTER_DATABASE,  "sockets are open, root is gone" },
	{ MASTER_DATABASE,  MASTER_PREPARING, "the database is none of ours, or is ready" },
	{ MASTER_PREPARING, MASTER_BOOTING,   "the schema is there, the apps are registered" },
	{ MASTER_BOOTING,   MASTER_RUNNING,   "every process is ready, or one of each class in start_timeout" },
	{ MASTER_RUNNING,   MASTER_CHECKING,  "HUP" },
	{ MASTER_CHECKING,  MASTER_RUNNING,   "the new configuration is refused" },
	{ MASTER_CHECKING,  MASTER_ROLLING,   "the new configuration is good" },
	{ MASTER_ROLLING,   MASTER_RUNNING,   "every process has it" },
	{ MASTER_ROLLING,   MASTER_REVERTING, "a process could not start with it" },
	{ MASTER_REVERTING, MASTER_RUNNING,   "every process has the old one again" },
	{ MASTER_DATABASE,  MASTER_STOPPING,  "a signal, or PostgreSQL cannot start" },
	{ MASTER_PREPARING, MASTER_STOPPING,  "a signal, or the database cannot be prepared" },
	{ MASTER_BOOTING,   MASTER_STOPPING,  "a signal, or a role cannot start" },
	{ MASTER_RUNNING,   MASTER_STOPPING,  "a signal" },
	{ MASTER_CHECKING,  MASTER_STOPPING,  "a signal" },
	{ MASTER_ROLLING,   MASTER_STOPPING,  "a signal" },
	{ MASTER_REVERTING, MASTER_STOPPING,  "a signal" },
	{ MASTER_STOPPING,  MASTER_STOPPING_DATABASE, "no process of a role is left" },
	{ MASTER_STOPPING_DATABASE, MASTER_ENDED,     "PostgreSQL has ended, or is none of ours" },
};

static const struct state_row slot_rows[] = {
	{ SLOT_EMPTY,    SLOT_STARTING, "forked" },
	{ SLOT_EMPTY,    SLOT_WAITING,  "fork failed" },
	{ SLOT_WAITING,  SLOT_STARTING, "the delay is over" },
	{ SLOT_WAITING,  SLOT_EMPTY,    "a stop, or the place is not wanted any more" },
	{ SLOT_STARTING, SLOT_SERVING,  "it says that it is ready" },
	{ SLOT_STARTING, SLOT_DRAINING, "a stop, or the place is not wanted any more" },
	{ SLOT_STARTING, SLOT_HUNG,     "no heartbeat, or not ready in start_timeout" },
	{ SLOT_STARTING, SLOT_WAITING,  "it died" },
	{ SLOT_STARTING, SLOT_EMPTY,    "it died, and the process that it was to replace serves on" },
	{ SLOT_STARTING, SLOT_FAILED,   "it exited with 78" },
	{ SLOT_SERVING,  SLOT_DRAINING, "a stop, or its successor is ready" },
	{ SLOT_SERVING,  SLOT_HUNG,     "no heartbeat" },
	{ SLOT_SERVING,  SLOT_WAITING,  "it died" },
	{ SLOT_SERVING,  SLOT_EMPTY,    "it died; its successor has started, or its place is not wanted" },
	{ SLOT_SERVING,  SLOT_FAILED,   "it exited with 78" },
	{ SLOT_DRAINING, SLOT_EMPTY,    "it ended" },
	{ SLOT_DRAINING, SLOT_HUNG,     "no heartbeat, or drain_timeout is over" },
	{ SLOT_HUNG,     SLOT_WAITING,  "it is dead" },
	{ SLOT_HUNG,     SLOT_EMPTY,    "it is dead, and nobody misses it" },
	{ SLOT_HUNG,     SLOT_FAILED,   "it exited with 78" },
	{ SLOT_FAILED,   SLOT_EMPTY,    "a stop, or a new configuration" },
};
/* clang-format on */

static bool
states_allowed(const struct state_row *rows, size_t n, int from, int to)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].from == from && rows[i].to == to)
			return true;
	return false;
}

const struct state_row *
master_state_rows(size_t *n)
{
	*n = COUNT(master_rows);
	return master_rows;
}

const struct state_row *
slot_state_rows(size_t *n)
{
	*n = COUNT(slot_rows);
	return slot_rows;
}

bool
master_state_allowed(enum master_state from, enum master_state to)
{
	return states_allowed(
	    master_rows, COUNT(master_rows), (int)from, (int)to);
}

bool
slot_state_allowed(enum slot_state from, enum slot_state to)
{
	return states_allowed(slot_rows, COUNT(slot_rows), (int)from, (int)to);
}

const char *
master_state_name(enum master_state state)
{
	switch (state) {
	case MASTER_STARTING:
		return "starting";
	case MASTER_DATABASE:
		return "starting the database";
	case MASTER_PREPARING:
		return "preparing the database";
	case MASTER_BOOTING:
		return "starting the processes";
	case MASTER_RUNNING:
		return "running";
	case MASTER_CHECKING:
		return "checking a new configuration";
	case MASTER_ROLLING:
		return "replacing the processes";
	case MASTER_REVERTING:
		return "going back to the old configuration";
	case MASTER_STOPPING:
		return "stopping";
	case MASTER_STOPPING_DATABASE:
		return "stopping the database";
	case MASTER_ENDED:
		return "ended";
	}
	abort();
}

const char *
slot_state_name(enum slot_state state)
{
	switch (state) {
	case SLOT_EMPTY:
		return "empty";
	case SLOT_WAITING:
		return "waiting to restart";
	case SLOT_STARTING:
		return "starting";
	case SLOT_SERVING:
		return "serving";
	case SLOT_DRAINING:
		return "draining";
	case SLOT_HUNG:
		return "hung";
	case SLOT_FAILED:
		return "failed";
	}
	abort();
}
