/*
 * The master's state, for the files of supervisor/ only.
 */
#ifndef CHIMP_SUPERVISOR_MASTER_STATE_H
#define CHIMP_SUPERVISOR_MASTER_STATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/list.h"
#include "common/base/uuid.h"
#include "common/conf/conf.h"
#include "supervisor/embedded.h"
#include "supervisor/listen.h"
#include "supervisor/lockfile.h"
#include "supervisor/master.h"
#include "supervisor/notify.h"
#include "supervisor/patience.h"
#include "supervisor/prepare.h"
#include "supervisor/reload.h"
#include "supervisor/rescue.h"
#include "supervisor/signals.h"
#include "supervisor/states.h"
#include "supervisor/stop.h"
#include "supervisor/stray.h"

struct master {
	struct conf *conf;        /* owned; the one that is in effect */
	struct conf *conf_before; /* owned; while rolling, else NULL */
	uint32_t serial;          /* of conf */
	uint32_t serial_before;
	uint32_t next_serial;
	uint32_t next_slot; /* its number */
	const struct master_opts *opts;
	enum master_state state; /* master_set_state changes it */
	int exit_status;         /* 0, or 1 after a failure */
	pid_t pid;
	char node_id[UUID_TEXT_BYTES]; /* of this birth of the node */
	int64_t born_ms;
	struct event_base *base;
	struct event boot_timer; /* start_timeout_ms of MASTER_BOOTING */

	struct list slots;                 /* the table: slot_table.h */
	struct list slots_in[SLOT_STATES]; /* every slot is on one */
	int slot_count[SLOT_STATES];

	struct lockfile pid_file;
	struct listeners listeners;
	struct signals signals;
	struct notify notify;
	struct prepare prepare;
	struct reload reload;
	struct patience patience;
	struct rescue rescue;
	struct embedded embedded;
	struct stop stop;
	struct stray stray;
};

/* The one function that changes the master's state; logs it. A change that
 * states.c does not allow aborts. */
void master_set_state(struct master *m, enum master_state state);

/* Go on as far as the events so far allow; called after every event. */
void master_advance(struct master *m);

/* True until everything has been ready once: a failure ends the master. */
bool master_is_booting(const struct master *m);

/* True while a new configuration, or the old one again, goes round. */
bool master_is_rolling(const struct master *m);

/* True once a stop has begun. */
bool master_is_stopping(const struct master *m);

/* The start failed, and the log has the reason: stop, exit with 1. */
void master_fail(struct master *m);

/* In a forked child: close what is the master's alone. The listeners
 * that are wanted stay open for a child that serves them. */
void master_forget(struct master *m, bool keep_listeners);

#endif
