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

/* A timer this late means that the master itself did not run. */
#define WATCHDOG_LATE_MS 1000

void
watchdog_silent(struct slot *slot)
{
	char patience[WORDS_BYTES];

	/*
	 * The whole machine was suspended, or the master was stopped: the
	 * child had no chance to be heard. It gets a full period again.
	 */
	if (clock_mono_ms() - slot->due_ms > WATCHDOG_LATE_MS) {
		slot_alive_again(slot);
		return;
	}
	log_error("%s pid %d hangs: no heartbeat for %s (it last said: %s); "
		  "aborting it",
	    slot->name, (int)slot->pid,
	    words_duration(slot->master->conf->watchdog_ms, patience),
	    slot->heartbeat.text[0] ? slot->heartbeat.text : "nothing");
	slot_set_state(slot, SLOT_HUNG);
	kill(slot->pid, SIGABRT);
	/* A stopped process dies of ABRT only when it runs again. */
	kill(slot->pid, SIGCONT);
}

void
watchdog_kill(struct slot *slot)
{
	slot_kill_group(slot, SIGKILL);
}
