/*
 * The h2o backend of loop.h.
 *
 * h2o's event loop closes the descriptors that it watches and cannot forget a
 * wish to write, so ours are not given to it one by one. They live in an epoll
 * set of their own, and h2o watches that set as if it were one socket: a batch
 * of database answers costs one more system call, and watching is level-
 * triggered and exact. Timers are ours too: the due one bounds how long h2o
 * may sleep.
 */
#include "roles/http/loop_h2o.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#define LOOP_BATCH 64

struct loop_h2o {
	struct loop loop;
	h2o_loop_t *base;
	int epoll_fd;       /* closed by h2o with `sock` */
	h2o_socket_t *sock; /* h2o's view of the set */
	struct list timers; /* armed, the next due first; there are few */
	struct list due;    /* being called back */
	struct epoll_event batch[LOOP_BATCH];
	int n_batch; /* events of the batch being called back */
	int next;    /* of those, the first not called back yet */
};

/* backend of a loop_timer */
struct loop_h2o_timer {
	struct list node;
	int64_t due_us; /* CLOCK_MONOTONIC */
	struct loop_timer *timer;
};

/* backend of a loop_io: only says that the set knows the descriptor */
static char loop_h2o_known;

static struct loop_h2o *
loop_h2o_of(struct loop *loop)
{
	return (struct loop_h2o *)loop;
}

h2o_loop_t *
loop_h2o_base(struct loop *loop)
{
	return loop_h2o_of(loop)->base;
}

/* --- descriptors --- */

static void
loop_h2o_ctl(struct loop_io *io, int op, int events)
{
	struct epoll_event ev = {.data.ptr = io};

	if (events & LOOP_READ)
		ev.events |= EPOLLIN;
	if (events & LOOP_WRITE)
		ev.events |= EPOLLOUT;
	if (epoll_ctl(loop_h2o_of(io->loop)->epoll_fd, op, io->fd, &ev) != 0)
		abort(); /* only a closed descriptor or no memory */
}

/*
 * libpq closes the socket of a broken connection by itself (pqDropConnection
 * in fe-misc.c), and with that the kernel forgot it: nothing is left to do.
 */
static void
loop_h2o_forget(struct loop_io *io)
{
	int epoll_fd = loop_h2o_of(io->loop)->epoll_fd;

	if (epoll_ctl(epoll_fd, EPOLL_CTL_DEL, io->fd, NULL) != 0 &&
	    errno != EBADF && errno != ENOENT)
		abort();
}

static void
loop_h2o_io_done(struct loop_io *io)
{
	struct loop_h2o *l = loop_h2o_of(io->loop);

	if (io->backend != NULL)
		loop_h2o_forget(io);
	io->backend = NULL;
	/* It may wait in the batch that is just being called back. */
	for (int i = l->next; i < l->n_batch; i++)
		if (l->batch[i].data.ptr == io)
			l->batch[i].data.ptr = NULL;
}

static void
loop_h2o_io_set(struct loop_io *io, int events)
{
	if (events == 0) {
		/* Out of the set: epoll always reports a hang-up. */
		loop_h2o_io_done(io);
		return;
	}
	loop_h2o_ctl(io, io->backend ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, events);
	io->backend = &loop_h2o_known;
}

static void
loop_h2o_call(struct loop_io *io, uint32_t what)
{
	int events = 0;

	if (what & (EPOLLIN | EPOLLHUP | EPOLLERR))
		events |= LOOP_READ;
	if (what & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		events |= LOOP_WRITE;
	events &= io->events;
	if (events != 0)
		io->cb(io, events, io->arg);
}

static void
loop_h2o_on_ready(h2o_socket_t *sock, const char *err)
{
	struct loop_h2o *l = sock->data;

	assert(err == NULL);
	l->n_batch = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, 0);
	for (l->next = 0; l->next < l->n_batch;) {
		struct epoll_event *ev = &l->batch[l->next++];

		if (ev->data.ptr != NULL)
			loop_h2o_call(ev->data.ptr, ev->events);
	}
	l->n_batch = l->next = 0;
}

/* --- timers --- */

static void
loop_h2o_timer_start(struct loop_timer *timer, int64_t ms)
{
	struct loop_h2o *l = loop_h2o_of(timer->loop);
	struct loop_h2o_timer *t = timer->backend;
	struct list *n;

	if (t == NULL) {
		timer->backend = t = mem_zalloc(sizeof(*t));
		t->timer = timer;
	}
	list_remove(&t->node);
	t->due_us = clock_mono_us() + ms * 1000;
	/* From the end: most timers are due later than those before. */
	for (n = l->timers.prev; n != &l->timers; n = n->prev)
		if (LIST_ENTRY(n, struct loop_h2o_timer, node)->due_us <=
		    t->due_us)
			break;
	list_prepend(n, &t->node);
}

static void
loop_h2o_timer_stop(struct loop_timer *timer)
{
	list_remove(&((struct loop_h2o_timer *)timer->backend)->node);
}

static void
loop_h2o_timer_done(struct loop_timer *timer)
{
	free(timer->backend);
}

static void
loop_h2o_run_timers(struct loop_h2o *l)
{
	int64_t now = clock_mono_us();
	struct loop_h2o_timer *t;
	struct list *n;

	/* Apart first: one that is armed anew for now waits for its turn. */
	while (!list_empty(&l->timers)) {
		t = LIST_ENTRY(l->timers.next, struct loop_h2o_timer, node);
		if (t->due_us > now)
			break;
		list_remove(&t->node);
		list_append(&l->due, &t->node);
	}
	while ((n = list_shift(&l->due)) != NULL) {
		t = LIST_ENTRY(n, struct loop_h2o_timer, node);
		t->timer->armed = false;
		t->timer->cb(t->timer, t->timer->arg);
	}
}

/* How long h2o may sleep, rounded up, so that no turn comes too early. */
static int32_t
loop_h2o_wait_ms(const struct loop_h2o *l)
{
	int64_t wait_us;

	if (list_empty(&l->timers))
		return INT32_MAX;
	wait_us =
	    LIST_ENTRY(l->timers.next, struct loop_h2o_timer, node)->due_us -
	    clock_mono_us();
	if (wait_us <= 0)
		return 0;
	if (wait_us / 1000 >= INT32_MAX)
		return INT32_MAX;
	return (int32_t)((wait_us + 999) / 1000);
}

/* --- the loop --- */

static void
loop_h2o_run(struct loop *loop)
{
	struct loop_h2o *l = loop_h2o_of(loop);

	while (!loop->stop) {
		if (h2o_evloop_run(l->base, loop_h2o_wait_ms(l)) != 0 &&
		    errno != EINTR)
			abort();
		if (!loop->stop)
			loop_h2o_run_timers(l);
	}
}

/* What h2o sockets and contexts were made on it must be gone. */
static void
loop_h2o_free(struct loop *loop)
{
	struct loop_h2o *l = loop_h2o_of(loop);

	h2o_socket_close(l->sock); /* and the epoll set */
	h2o_evloop_destroy(l->base);
	free(l);
}

static const struct loop_ops loop_h2o_ops = {
    .io_set = loop_h2o_io_set,
    .io_done = loop_h2o_io_done,
    .timer_start = loop_h2o_timer_start,
    .timer_stop = loop_h2o_timer_stop,
    .timer_done = loop_h2o_timer_done,
    .run = loop_h2o_run,
    .free = loop_h2o_free,
};

struct loop *
loop_h2o_new(void)
{
	struct loop_h2o *l = mem_zalloc(sizeof(*l));

	l->loop.ops = &loop_h2o_ops;
	list_init(&l->timers);
	list_init(&l->due);
	l->base = h2o_evloop_create();
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->base == NULL || l->epoll_fd < 0)
		abort();
	l->sock = h2o_evloop_socket_create(
	    l->base, l->epoll_fd, H2O_SOCKET_FLAG_DONT_READ);
	l->sock->data = l;
	h2o_socket_read_start(l->sock, loop_h2o_on_ready);
	return &l->loop;
}
