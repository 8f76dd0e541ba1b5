/*
 * The seam between event loops: what all backends share. See loop.h.
 */
#include "common/base/loop.h"

#include <assert.h>
#include <string.h>

void
loop_run(struct loop *loop)
{
	loop->stop = false;
	loop->ops->run(loop);
}

void
loop_stop(struct loop *loop)
{
	loop->stop = true;
}

void
loop_free(struct loop **loop)
{
	if (*loop == NULL)
		return;
	(*loop)->ops->free(*loop);
	*loop = NULL;
}

void
loop_io_init(
    struct loop_io *io, struct loop *loop, int fd, loop_io_fn *cb, void *arg)
{
	assert(fd >= 0);
	memset(io, 0, sizeof(*io));
	io->loop = loop;
	io->fd = fd;
	io->cb = cb;
	io->arg = arg;
}

void
loop_io_set(struct loop_io *io, int events)
{
	assert(io->loop != NULL);
	if (io->events == events)
		return;
	io->events = events;
	io->loop->ops->io_set(io, events);
}

void
loop_io_done(struct loop_io *io)
{
	if (io->loop == NULL)
		return;
	io->loop->ops->io_done(io);
	memset(io, 0, sizeof(*io));
	io->fd = -1;
}

void
loop_timer_init(
    struct loop_timer *timer, struct loop *loop, loop_timer_fn *cb, void *arg)
{
	memset(timer, 0, sizeof(*timer));
	timer->loop = loop;
	timer->cb = cb;
	timer->arg = arg;
}

void
loop_timer_start(struct loop_timer *timer, int64_t ms)
{
	assert(timer->loop != NULL);
	assert(ms >= 0);
	timer->armed = true;
	timer->loop->ops->timer_start(timer, ms);
}

void
loop_timer_stop(struct loop_timer *timer)
{
	if (timer->loop == NULL || !timer->armed)
		return;
	timer->armed = false;
	timer->loop->ops->timer_stop(timer);
}

void
loop_timer_done(struct loop_timer *timer)
{
	if (timer->loop == NULL)
		return;
	loop_timer_stop(timer);
	timer->loop->ops->timer_done(timer);
	memset(timer, 0, sizeof(*timer));
}
