/*
 * Signals to the master. See signals.h; they follow nginx.
 */
#include "supervisor/signals.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/master_state.h"
#include "supervisor/reap.h"
#include "supervisor/reload.h"
#include "supervisor/slot.h"
#include "supervisor/stop.h"

#include <event2/event.h>
#include <signal.h>

/*
 * Programs like timeout(1) signal both the process and its group, and a
 * terminal's Ctrl-C may arrive once more through a wrapper: that is one wish,
 * not two.
 */
#define SIGNALS_SAME_MS 50

static void
signals_on_fast(struct master *m)
{
	if (m->stop.mode == STOP_FAST &&
	    clock_mono_ms() - m->stop.mode_ms < SIGNALS_SAME_MS)
		return;
	stop_begin(m, m->stop.mode < STOP_FAST ? STOP_FAST : STOP_NOW);
}

static void
signals_on_graceful(struct master *m)
{
	stop_begin(m, STOP_GRACEFUL);
}

static void
signals_on_reopen(struct master *m)
{
	struct list *n;

	log_info("USR1: telling all processes to reopen their logs");
	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot_alive(slot))
			slot_send(slot, MSG_REOPEN, 0);
	}
}

static void
signals_on_upgrade(struct master *m)
{
	(void)m;
	log_warn("USR2: this version cannot upgrade itself in place; nothing "
		 "has changed");
}

/* clang-format off */
static const struct {
	int number;
	void (*handle)(struct master *m);
} signals_table[SIGNALS_COUNT] = {
	{ SIGTERM, signals_on_fast },
	{ SIGINT,  signals_on_fast },
	{ SIGQUIT, signals_on_graceful },
	{ SIGHUP,  reload_request },
	{ SIGUSR1, signals_on_reopen },
	{ SIGUSR2, signals_on_upgrade },
	{ SIGCHLD, reap_all },
};
/* clang-format on */

static void
signals_on_event(evutil_socket_t number, short what, void *arg)
{
	struct master *m = arg;

	(void)what;
	for (int i = 0; i < SIGNALS_COUNT; i++)
		if (signals_table[i].number == number)
			signals_table[i].handle(m);
	master_advance(m);
}

void
signals_hold(void)
{
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGHUP);
	sigaddset(&held, SIGUSR1);
	sigaddset(&held, SIGUSR2);
	sigprocmask(SIG_SETMASK, &held, NULL);
}

void
signals_init(struct master *m)
{
	sigset_t none;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < SIGNALS_COUNT; i++) {
		event_assign(&m->signals.events[i], m->base,
		    signals_table[i].number, EV_SIGNAL | EV_PERSIST,
		    signals_on_event, m);
		event_add(&m->signals.events[i], NULL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void
signals_done(struct master *m)
{
	sigset_t set;

	/* The exit status is decided: a late TERM must not change it. */
	sigemptyset(&set);
	for (int i = 0; i < SIGNALS_COUNT; i++)
		sigaddset(&set, signals_table[i].number);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < SIGNALS_COUNT; i++)
		if (event_initialized(&m->signals.events[i]))
			event_del(&m->signals.events[i]);
}

void
signals_reset(void)
{
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < SIGNALS_COUNT; i++)
		signal(signals_table[i].number, SIG_DFL);
}
