/*
 * Patience with the short-lived children. See patience.h.
 */
#include "supervisor/patience.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/master_state.h"
#include "supervisor/spawn.h"
#include "supervisor/words.h"

#include <event2/event.h>
#include <signal.h>

enum { PATIENCE_TICK_MS = 5000, PATIENCE_EXTEND_MS = 3 * PATIENCE_TICK_MS };

static void
patience_say(struct master *m, pid_t pid, int64_t age_ms, const char *what)
{
	char age[WORDS_BYTES];

	log_warn("pid %d has been %s for %s; it may wait for a migration or a "
		 "lock in the database, or for a name",
	    (int)pid, what, words_duration(age_ms, age));
	m->patience.said_ms = clock_mono_ms();
}

/* A child that has been at it since then. */
static void
patience_judge(struct master *m, pid_t pid, int64_t since_ms, const char *what)
{
	const int64_t now_ms = clock_mono_ms();
	const int64_t limit_ms = m->conf->start_timeout_ms;
	const int64_t age_ms = now_ms - since_ms;

	if (pid == 0 || age_ms < limit_ms)
		return;
	if (now_ms - m->patience.said_ms >= limit_ms)
		patience_say(m, pid, age_ms, what);
	if (age_ms < PATIENCE_TIMES * limit_ms || master_is_booting(m))
		return;
	log_error("pid %d hangs while %s; killing it", (int)pid, what);
	spawn_kill(pid, SIGKILL);
}

static void
patience_arm(struct master *m)
{
	int64_t ms = m->conf->start_timeout_ms;
	struct timeval tv;

	if (ms > PATIENCE_TICK_MS)
		ms = PATIENCE_TICK_MS;
	tv = (struct timeval){ms / 1000, ms % 1000 * 1000};
	event_add(&m->patience.tick, &tv);
}

static void
patience_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	(void)fd;
	(void)what;
	/* A stop has rules of its own. */
	if (master_is_stopping(m) ||
	    (m->prepare.pid == 0 && m->reload.pid == 0))
		return;
	if (master_is_booting(m))
		notify_extend(&m->notify, PATIENCE_EXTEND_MS);
	patience_judge(
	    m, m->prepare.pid, m->prepare.since_ms, "preparing the database");
	patience_judge(
	    m, m->reload.pid, m->reload.since_ms, "checking the configuration");
	patience_arm(m);
}

void
patience_init(struct master *m)
{
	evtimer_assign(&m->patience.tick, m->base, patience_on_tick, m);
}

void
patience_done(struct master *m)
{
	if (event_initialized(&m->patience.tick))
		event_del(&m->patience.tick);
}

void
patience_begin(struct master *m)
{
	m->patience.said_ms = clock_mono_ms();
	patience_arm(m);
}
