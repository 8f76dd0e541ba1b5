/*
 * The ends of processes. See reap.h.
 */
#include "supervisor/reap.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/embedded.h"
#include "supervisor/master_state.h"
#include "supervisor/prepare.h"
#include "supervisor/rescue.h"
#include "supervisor/slot.h"
#include "supervisor/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* sysexits' EX_CONFIG: "bad configuration, do not restart me". */
#define REAP_BAD_CONFIGURATION 78

static bool
reap_exited(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

/* "worker/default/1 pid 4711 killed by signal 9 (Killed) after 3 h, WHAT". */
static void
reap_log(const struct slot *slot, int status, bool well, const char *what)
{
	char end[WORDS_BYTES], lived[WORDS_BYTES];

	words_exit(status, end);
	words_duration(clock_mono_ms() - slot->born_ms, lived);
	if (well)
		log_info("%s pid %d %s after %s%s", slot->name, (int)slot->pid,
		    end, lived, what);
	else
		log_warn("%s pid %d %s after %s%s", slot->name, (int)slot->pid,
		    end, lived, what);
}

/*
 * A process that did not end well may have held claims and lanes. A living
 * one releases them now, and the slot's successor does so again, in case that
 * one dies before it could. One that was never ready held nothing, so an older
 * debt of the slot stays the one to remember.
 */
static void
reap_rescue(struct slot *slot)
{
	rescue_send(slot->master, slot->id);
	if (slot->ready_ms > 0 || slot->previous[0] == '\0')
		snprintf(
		    slot->previous, sizeof(slot->previous), "%s", slot->id);
}

static void
reap_slot_restart(struct slot *slot, int status, bool well)
{
	char delay[WORDS_BYTES], what[WORDS_BYTES + 32];
	int64_t healthy_ms =
	    slot->ready_ms > 0 ? clock_mono_ms() - slot->ready_ms : 0;

	slot->restart_delay_ms = backoff_next_ms(&slot->backoff, healthy_ms,
	    slot->master->conf->restart_delay_max_ms);
	words_duration(slot->restart_delay_ms, delay);
	snprintf(what, sizeof(what), ", restarting %s%s",
	    slot->restart_delay_ms > 0 ? "in " : "at once",
	    slot->restart_delay_ms > 0 ? delay : "");
	reap_log(slot, status, well, what);
	slot_clear(slot);
	slot_set_state(slot, SLOT_WAITING);
}

static void
reap_slot_failed(struct slot *slot, int status)
{
	struct master *m = slot->master;

	reap_log(slot, status, false,
	    ": its configuration is bad, it will not be restarted");
	slot_clear(slot);
	slot_set_state(slot, SLOT_FAILED);
	if (master_is_booting(m))
		master_fail(m);
}

static void
reap_slot(struct slot *slot, int status)
{
	bool well = reap_exited(status, 0);

	if (well)
		slot->previous[0] = '\0';
	else
		reap_rescue(slot);
	if (master_is_stopping(slot->master)) {
		reap_log(slot, status, well, "");
		slot_clear(slot);
		slot_set_state(slot, SLOT_EMPTY);
	} else if (reap_exited(status, REAP_BAD_CONFIGURATION)) {
		reap_slot_failed(slot, status);
	} else {
		reap_slot_restart(slot, status, well);
	}
}

static void
reap_one(struct master *m, pid_t pid)
{
	struct slot *slot = slot_by_pid(m, pid);
	bool ours =
	    slot != NULL || pid == m->prepare.pid || pid == m->embedded.pid;
	int status = 0;

	/*
	 * Whatever it had started goes with it. Before it is waited for: as
	 * long as it is a zombie, its number cannot name another group.
	 */
	if (ours)
		kill(-pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return;
	if (slot != NULL)
		reap_slot(slot, status);
	else if (pid == m->prepare.pid)
		prepare_ended(m, status);
	else if (pid == m->embedded.pid)
		embedded_ended(m, status);
	else
		/* As PID 1 of a container we inherit strangers. */
		log_debug("pid %d, which is none of ours, has ended", (int)pid);
}

void
reap_all(struct master *m)
{
	/* Signals coalesce: one SIGCHLD may stand for many. */
	for (;;) {
		siginfo_t info = {.si_pid = 0};

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		    info.si_pid == 0)
			return;
		reap_one(m, info.si_pid);
	}
}
