/*
 * The ends of processes. See reap.h.
 */
#include "supervisor/reap.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/embedded.h"
#include "supervisor/master_state.h"
#include "supervisor/policy.h"
#include "supervisor/prepare.h"
#include "supervisor/reload.h"
#include "supervisor/replace.h"
#include "supervisor/rescue.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"
#include "supervisor/stray.h"
#include "supervisor/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

/*
 * What is known of the life that has ended: "killed by signal 11 (core dumped)
 * after 3 h (no heartbeat for 10 s), restarting in 200 ms; it last said: ...".
 */
static void
reap_obituary(
    struct slot *slot, int status, enum slot_state state, const char *next)
{
	const bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	const char *said = well ? "" : slot->heartbeat.text;
	char end[WORDS_BYTES], lived[WORDS_BYTES];

	words_exit(status, end);
	words_duration(clock_mono_ms() - slot->born_ms, lived);
	slot_set_state(slot, state, well ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
	    "%s after %s%s%s%s%s%s%s", end, lived, slot->cause[0] ? " (" : "",
	    slot->cause, slot->cause[0] ? ")" : "", next,
	    said[0] ? "; it last said: " : "", said);
}

static struct policy_verdict
reap_judge(struct slot *slot, int status)
{
	struct policy_death death = {
	    .status = status,
	    .stopping = master_is_stopping(slot->master),
	    .leaving = slot->leaving || !slot_wanted(slot, NULL),
	    .replaced = slot->successor != NULL,
	    .predecessor = slot->predecessor != NULL,
	    .healthy_ms =
		slot->ready_ms > 0 ? clock_mono_ms() - slot->ready_ms : 0,
	};

	return policy_after_death(
	    &death, &slot->backoff, slot->master->conf->restart_delay_max_ms);
}

static void
reap_restart(struct slot *slot, int status, int64_t delay_ms)
{
	char delay[WORDS_BYTES], next[WORDS_BYTES + 32];

	slot->restart_delay_ms = delay_ms;
	words_duration(delay_ms, delay);
	snprintf(next, sizeof(next), ", restarting %s%s",
	    delay_ms > 0 ? "in " : "at once", delay_ms > 0 ? delay : "");
	reap_obituary(slot, status, SLOT_WAITING, next);
}

static void
reap_slot(struct slot *slot, int status, const struct rusage *usage)
{
	struct policy_verdict v = reap_judge(slot, status);

	switch (v.next) {
	case POLICY_NOTHING:
		reap_obituary(slot, status, SLOT_EMPTY, "");
		break;
	case POLICY_FAIL:
		reap_obituary(slot, status, SLOT_FAILED,
		    ": its configuration is bad, it will not be restarted");
		break;
	case POLICY_RESTART:
		reap_restart(slot, status, v.delay_ms);
		break;
	}
	crash_note(slot, status, usage);
	slot_clear(slot);
	rescue_ended(slot);
	if (v.rescue)
		rescue_add(slot);
	replace_ended(slot);
	if (v.next == POLICY_FAIL && master_is_booting(slot->master))
		master_fail(slot->master);
}

static void
reap_one(struct master *m, pid_t pid)
{
	struct slot *slot = slot_by_pid(m, pid);
	bool ours = slot != NULL || pid == m->prepare.pid ||
		    pid == m->reload.pid || pid == m->embedded.pid;
	struct rusage usage;
	int status = 0;

	/*
	 * Whatever it had started goes with it. Before it is waited for: as
	 * long as it is a zombie, its number cannot name another group.
	 */
	if (ours)
		kill(-pid, SIGKILL);
	if (wait4(pid, &status, 0, &usage) != pid)
		return;
	if (slot != NULL)
		reap_slot(slot, status, &usage);
	else if (pid == m->prepare.pid)
		prepare_ended(m, status);
	else if (pid == m->reload.pid)
		reload_ended(m, status);
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
		stray_kill(m);
	}
}
