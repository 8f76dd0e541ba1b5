/*
 * The common birth of a child, and its end. See role.h.
 *
 * A child stops in stages, each bounded in time (G33): it drains until the
 * deadline, abandons what is still running, deregisters, exits with 0.
 */
#include "roles/child.h"
#include "common/base/clock.h"
#include "common/base/descend.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	/* Both together less than the second that G33 leaves. */
	CHILD_ABANDON_MS = 400,
	CHILD_DEREGISTER_MS = 400,
	/* For descendants to die of KILL; those that take longer fall to the
	 * master, which goes on. */
	CHILD_DESCEND_MS = 40,
	/* "Bad configuration: do not restart me" (design.md, section 3). */
	CHILD_EXIT_CONF = 78
};

/* --- the end --- */

/* No descendant survives (G33, G36), wherever it has hidden from us. */
static void
child_end_descendants(void)
{
	if (!descend_end(NULL, NULL, CHILD_DESCEND_MS))
		log_warn("something that was started here has not died of "
			 "KILL yet");
}

void
child_exit(struct child *child)
{
	assert(child->priv->stage == CHILD_FINISHING);
	loop_stop(child->loop);
}

void
child_finished(struct child *child)
{
	struct child_priv *p = child->priv;

	assert(p->stage != CHILD_RUNNING);
	if (p->stage == CHILD_FINISHING)
		return;
	p->stage = CHILD_FINISHING;
	loop_timer_start(&p->stage_timer, CHILD_DEREGISTER_MS);
	child_lease_end(child);
}

static void
child_abandon(struct child *child)
{
	struct child_priv *p = child->priv;

	log_warn("the time to stop in is over: abandoning what still runs");
	p->stage = CHILD_ABANDONED;
	loop_timer_start(&p->stage_timer, CHILD_ABANDON_MS);
	if (child->birth->role->abandon != NULL)
		child->birth->role->abandon(child);
}

static void
child_on_stage_timer(struct loop_timer *timer, void *arg)
{
	struct child *child = arg;

	(void)timer;
	switch (child->priv->stage) {
	case CHILD_RUNNING:
		assert(!"a running child has no deadline");
		break;
	case CHILD_DRAINING:
		child_abandon(child);
		break;
	case CHILD_ABANDONED:
		child_finished(child);
		break;
	case CHILD_FINISHING:
		child_exit(child);
		break;
	}
}

void
child_drain(struct child *child, int64_t deadline_ms)
{
	struct child_priv *p = child->priv;
	int64_t at = clock_mono_ms() + deadline_ms;

	if (p->stage > CHILD_DRAINING)
		return;
	/* A later order may shorten the time, never lengthen it. */
	if (deadline_ms > 0 &&
	    (p->deadline_at_ms == 0 || at < p->deadline_at_ms)) {
		p->deadline_at_ms = at;
		loop_timer_start(&p->stage_timer, deadline_ms);
	}
	if (p->stage == CHILD_DRAINING)
		return;
	p->stage = CHILD_DRAINING;
	child->draining = true;
	log_debug("stopping within %" PRId64 " ms", deadline_ms);
	child->birth->role->drain(child, deadline_ms);
}

/* --- signals --- */

static void
child_on_signal(struct loop_io *io, int events, void *arg)
{
	struct child *child = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(io->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	/* As for the master, a second one stops at once. */
	child_drain(
	    child, child->draining ? 1 : child->birth->conf->stop_timeout_ms);
}

/*
 * Whatever the master had set is undone. HUP, USR1 and the like are the
 * master's business, also when an operator signals the whole process group.
 */
static void
child_signals(struct child *child)
{
	static const int reset[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGABRT,
	    SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	static const int ignored[] = {
	    SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGWINCH, SIGTSTP};
	struct child_priv *p = child->priv;
	sigset_t set;

	for (size_t i = 0; i < sizeof(reset) / sizeof(reset[0]); i++)
		signal(reset[i], SIG_DFL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_SETMASK, &set, NULL);
	p->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (p->signal_fd < 0)
		abort(); /* out of descriptors at birth */
	loop_io_init(
	    &p->signal_io, child->loop, p->signal_fd, child_on_signal, child);
	loop_io_set(&p->signal_io, LOOP_READ);
}

/* --- birth --- */

static void
child_name(struct child *child)
{
	const struct birth *birth = child->birth;

	if (birth->worker != NULL)
		snprintf(child->name, sizeof(child->name), "%s/%s/%d",
		    birth->role->name, birth->worker->name, birth->index);
	else
		snprintf(child->name, sizeof(child->name), "%s/%d",
		    birth->role->name, birth->index);
	log_set_process(child->name);
}

static void
child_init(struct child *child)
{
	struct child_priv *p = child->priv;

	child_name(child);
	/*
	 * A role that starts processes waits for every child, not only for
	 * those: what they leave behind becomes its child as well.
	 */
	descend_adopt();
	child->loop = child->birth->role->loop_new();
	loop_timer_init(
	    &p->stage_timer, child->loop, child_on_stage_timer, child);
	child_signals(child);
	child_orphan_start(child);
	child_master_start(child);
	child_lease_start(child);
	child_metrics_start(child);
}

static void
child_start(struct child *child)
{
	struct err err = {"", ""};

	if (child->birth->role->start(child, &err) != 0) {
		log_err(LOG_LEVEL_ERROR, &err);
		/* Nothing was promised yet: no work, no registration. */
		child_end_descendants();
		_exit(CHILD_EXIT_CONF);
	}
	child->priv->started = true;
	child_ready(child);
}

static void
child_done(struct child *child)
{
	struct child_priv *p = child->priv;

	child_lease_done(child);
	child_metrics_done(child);
	if (child->birth->role->done != NULL)
		child->birth->role->done(child);
	child_master_done(child);
	loop_io_done(&p->signal_io);
	fd_close(&p->signal_fd);
	loop_timer_done(&p->stage_timer);
	loop_free(&child->loop);
}

void
role_main(const struct birth *birth)
{
	/* Static, so that what a role still holds at the end is reachable
	 * and no leak. */
	static struct child_priv priv;
	static struct child child;

	child.birth = birth;
	child.priv = &priv;
	child_init(&child);
	child_start(&child);
	loop_run(child.loop);
	child_done(&child);
	child_end_descendants();
	exit(0);
}
