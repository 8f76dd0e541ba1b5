/*
 * The libevent backend of loop.h, used by worker, cron and subscriber.
 */
#include "common/base/loop.h"
#include "common/base/mem.h"

#include <event2/event.h>

#include <stdlib.h>
#include <sys/time.h>

struct loop_event {
	struct loop loop;
	struct event_base *base;
};

static struct event_base *
loop_event_base(struct loop *loop)
{
	return ((struct loop_event *)loop)->base;
}

static void
loop_event_on_io(evutil_socket_t fd, short what, void *arg)
{
	struct loop_io *io = arg;
	int events = 0;

	(void)fd;
	if (what & EV_READ)
		events |= LOOP_READ;
	if (what & EV_WRITE)
		events |= LOOP_WRITE;
	io->cb(io, events, io->arg);
}

static void
loop_event_io_set(struct loop_io *io, int events)
{
	short what = EV_PERSIST;

	if (events & LOOP_READ)
		what |= EV_READ;
	if (events & LOOP_WRITE)
		what |= EV_WRITE;
	if (io->backend != NULL)
		event_del(io->backend);
	else
		io->backend = event_new(loop_event_base(io->loop), io->fd, what,
		    loop_event_on_io, io);
	if (io->backend == NULL)
		abort();
	if (events == 0)
		return;
	event_assign(io->backend, loop_event_base(io->loop), io->fd, what,
	    loop_event_on_io, io);
	if (event_add(io->backend, NULL) != 0)
		abort();
}

static void
loop_event_io_done(struct loop_io *io)
{
	if (io->backend != NULL)
		event_free(io->backend);
}

static void
loop_event_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *timer = arg;

	(void)fd;
	(void)what;
	timer->armed = false;
	timer->cb(timer, timer->arg);
}

static void
loop_event_timer_start(struct loop_timer *timer, int64_t ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	if (timer->backend == NULL)
		timer->backend = evtimer_new(
		    loop_event_base(timer->loop), loop_event_on_timer, timer);
	if (timer->backend == NULL || evtimer_add(timer->backend, &tv) != 0)
		abort();
}

static void
loop_event_timer_stop(struct loop_timer *timer)
{
	evtimer_del(timer->backend);
}

static void
loop_event_timer_done(struct loop_timer *timer)
{
	if (timer->backend != NULL)
		event_free(timer->backend);
}

static void
loop_event_run(struct loop *loop)
{
	while (!loop->stop)
		if (event_base_loop(loop_event_base(loop), EVLOOP_ONCE) != 0)
			abort(); /* nothing is watched: a role is stuck */
}

static void
loop_event_free(struct loop *loop)
{
	event_base_free(loop_event_base(loop));
	free(loop);
}

static const struct loop_ops loop_event_ops = {
    .io_set = loop_event_io_set,
    .io_done = loop_event_io_done,
    .timer_start = loop_event_timer_start,
    .timer_stop = loop_event_timer_stop,
    .timer_done = loop_event_timer_done,
    .run = loop_event_run,
    .free = loop_event_free,
};

struct loop *
loop_event_new(void)
{
	struct loop_event *l = mem_zalloc(sizeof(*l));

	l->loop.ops = &loop_event_ops;
	l->base = event_base_new();
	if (l->base == NULL)
		abort();
	return &l->loop;
}
