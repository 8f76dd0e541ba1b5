/*
 * Stopping. See stop.h.
 */
#include "supervisor/stop.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/embedded.h"
#include "supervisor/master_state.h"
#include "supervisor/prepare.h"
#include "supervisor/reload.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"
#include "supervisor/words.h"

#include <assert.h>
#include <event2/event.h>
#include <signal.h>

enum {
	/* Past KILL: stuck in the kernel. Together with SLOT_KILL_AFTER_MS
	 * less than the second of G33. */
	STOP_GIVE_UP_MS = 100,
	/* A stop may last as long as its rules allow, whatever the unit's
	 * TimeoutStopSec; a master that hangs is not extended any more. */
	STOP_EXTEND_EVERY_MS = 5000,
	STOP_EXTEND_MS = 3 * STOP_EXTEND_EVERY_MS,
	STOP_FAILED_MS = 2000 /* time that work has when the start fails */
};

static void
stop_arm(struct master *m, int64_t ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	event_add(&m->stop.timer, &tv);
}

static void
stop_kill_all(struct master *m)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (!slot_alive(slot))
			continue;
		log_warn("%s pid %d is still there (%s); killing it",
		    slot->name, (int)slot->pid,
		    slot->heartbeat.text[0] ? slot->heartbeat.text
					    : slot_state_name(slot->state));
		slot_kill_group(slot, SIGKILL);
	}
	prepare_kill(m, SIGKILL);
	m->stop.killed = true;
	stop_arm(m, STOP_GIVE_UP_MS);
}

/* Even KILL does not end a process that sleeps in a driver; the kernel will
 * when it wakes. Whoever waits for the master shall not wait for that. */
static void
stop_give_up(struct master *m)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (!slot_alive(slot))
			continue;
		slot_set_state(slot, SLOT_EMPTY, LOG_LEVEL_ERROR,
		    "did not die of KILL; leaving it to the kernel");
		slot_clear(slot);
	}
	m->prepare.pid = m->reload.pid = 0;
}

static void
stop_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	(void)fd;
	(void)what;
	if (m->stop.killed)
		stop_give_up(m);
	else
		stop_kill_all(m);
	master_advance(m);
}

static void
stop_on_extend(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	(void)fd;
	(void)what;
	notify_extend(&m->notify, STOP_EXTEND_MS);
}

void
stop_init(struct master *m)
{
	event_assign(
	    &m->stop.extend, m->base, -1, EV_PERSIST, stop_on_extend, m);
	evtimer_assign(&m->stop.timer, m->base, stop_on_timer, m);
}

void
stop_disarm(struct master *m)
{
	event_del(&m->stop.timer);
}

void
stop_done(struct master *m)
{
	if (!event_initialized(&m->stop.timer))
		return;
	event_del(&m->stop.timer);
	event_del(&m->stop.extend);
}

bool
stop_roles_gone(const struct master *m)
{
	return slot_count_alive(m) == 0 && m->prepare.pid == 0 &&
	       m->reload.pid == 0;
}

/* limit_ms = 0: no limit. */
static void
stop_drain(struct slot *slot, int64_t limit_ms)
{
	switch (slot->state) {
	case SLOT_EMPTY:
		break;
	case SLOT_WAITING:
	case SLOT_FAILED:
		slot_set_state(
		    slot, SLOT_EMPTY, LOG_LEVEL_DEBUG, "stays empty");
		break;
	case SLOT_STARTING:
	case SLOT_SERVING:
	case SLOT_DRAINING:
	case SLOT_HUNG:
		slot_drain(slot, limit_ms, "drains");
		break;
	}
}

static void
stop_drain_all(struct master *m, int64_t limit_ms)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots)
		stop_drain(LIST_ENTRY(n, struct slot, table), limit_ms);
	/* A migration cut short is rolled back by PostgreSQL. */
	prepare_kill(m, SIGTERM);
	reload_kill(m);
	if (limit_ms > 0)
		stop_arm(m, limit_ms + SLOT_KILL_AFTER_MS);
}

static void
stop_fast(struct master *m)
{
	char limit[WORDS_BYTES];
	/* 0 would mean no limit to a child. */
	int64_t ms =
	    m->conf->stop_timeout_ms > 0 ? m->conf->stop_timeout_ms : 1;

	if (m->exit_status != 0 && ms > STOP_FAILED_MS)
		ms = STOP_FAILED_MS;
	words_duration(ms, limit);
	if (stop_roles_gone(m))
		log_info("stopping");
	else
		log_info("stopping: running work has %s", limit);
	stop_drain_all(m, ms);
}

static void
stop_roles(struct master *m, enum stop_mode mode)
{
	switch (mode) {
	case STOP_NONE:
		break;
	case STOP_GRACEFUL:
		log_info("stopping when all running work has ended");
		stop_drain_all(m, 0);
		break;
	case STOP_FAST:
		stop_fast(m);
		break;
	case STOP_NOW:
		log_warn("stopping at once");
		if (!m->stop.killed)
			stop_kill_all(m);
		break;
	}
}

void
stop_begin(struct master *m, enum stop_mode mode)
{
	const struct timeval every = {STOP_EXTEND_EVERY_MS / 1000, 0};

	assert(mode != STOP_NONE);
	if (mode <= m->stop.mode)
		return;
	if (m->stop.mode == STOP_NONE) {
		m->stop.since_ms = clock_mono_ms();
		event_del(&m->boot_timer);
		notify_stopping(&m->notify);
		stop_on_extend(-1, 0, m);
		event_add(&m->stop.extend, &every);
		master_set_state(m, MASTER_STOPPING);
		/* Who comes now is refused rather than kept waiting; systemd
		 * holds its own sockets for the next start. */
		listen_close(&m->listeners);
	}
	m->stop.mode = mode;
	m->stop.mode_ms = clock_mono_ms();
	if (m->state == MASTER_STOPPING)
		stop_roles(m, mode);
	else if (mode == STOP_NOW)
		embedded_stop_now(m);
}
