/*
 * Children that hang. See watchdog.h.
 */
#include "supervisor/watchdog.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/conf/conf.h"
#include "supervisor/master_state.h"
#include "supervisor/slot.h"
#include "supervisor/words.h"

#include <signal.h>
#include <stdio.h>

/* A timer this late means that the master itself did not run. */
#define WATCHDOG_LATE_MS 1000

static void
watchdog_abort(struct slot *slot)
{
	slot_set_state(slot, SLOT_HUNG, LOG_LEVEL_ERROR,
	    "hangs: %s; it last said: %s; aborting it", slot->cause,
	    slot->heartbeat.text[0] ? slot->heartbeat.text : "nothing");
	slot->hangs = true;
	kill(slot->pid, SIGABRT);
	/* A stopped process dies of ABRT only when it runs again. */
	kill(slot->pid, SIGCONT);
}

static void
watchdog_silent(struct slot *slot)
{
	char patience[WORDS_BYTES];

	/*
	 * The whole machine was suspended, or the master was stopped: the
	 * child had no chance to be heard. It gets a full period again.
	 */
	if (clock_mono_ms() - slot->due_ms > WATCHDOG_LATE_MS) {
		slot_heard(slot);
		return;
	}
	words_duration(slot->master->conf->watchdog_ms, patience);
	snprintf(
	    slot->cause, sizeof(slot->cause), "no heartbeat for %s", patience);
	watchdog_abort(slot);
}

/* Its work is in nobody's way but that of the next replacement. */
static void
watchdog_overdue(struct slot *slot)
{
	snprintf(slot->cause, sizeof(slot->cause), "drain_timeout was over");
	slot_set_state(slot, SLOT_HUNG, LOG_LEVEL_WARN,
	    "has not finished in drain_timeout (%s); killing it",
	    slot->heartbeat.text);
	watchdog_kill(slot);
}

void
watchdog_timer(struct slot *slot)
{
	/* By what the timer was set to: it may fire a little early. */
	if (slot->drain_until_ms > 0 && slot->due_ms >= slot->drain_until_ms)
		watchdog_overdue(slot);
	else
		watchdog_silent(slot);
}

void
watchdog_heard(struct slot *slot)
{
	const struct master *m = slot->master;
	const int64_t limit_ms = m->conf->start_timeout_ms;
	char limit[WORDS_BYTES];

	/* The start of all has a timer of its own, with more to say. */
	if (slot->state != SLOT_STARTING || master_is_booting(m) ||
	    clock_mono_ms() - slot->born_ms < limit_ms)
		return;
	snprintf(slot->cause, sizeof(slot->cause), "not ready in %s",
	    words_duration(limit_ms, limit));
	watchdog_abort(slot);
}

void
watchdog_kill(struct slot *slot)
{
	slot_kill_group(slot, SIGKILL);
}
