/*
 * The seam between event loops: descriptors and timers.
 *
 * Code that waits (common/pg, roles) is written against this interface, so
 * that it runs on libevent (loop_event.c) and on h2o's loop
 * (roles/http/loop_h2o.c) alike. A backend implements struct loop_ops.
 *
 * Callbacks may start, stop and free anything, their own io or timer included.
 */
#ifndef CHIMP_BASE_LOOP_H
#define CHIMP_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

struct loop;
struct loop_io;
struct loop_timer;

typedef void loop_io_fn(struct loop_io *io, int events, void *arg);
typedef void loop_timer_fn(struct loop_timer *timer, void *arg);

/* A watched descriptor; level-triggered. The descriptor stays the caller's. */
struct loop_io {
	struct loop *loop;
	int fd;
	int events; /* what is watched now: LOOP_READ | LOOP_WRITE; 0 = none */
	loop_io_fn *cb;
	void *arg;
	void *backend; /* owned by the loop's backend */
};

/* A one-shot timer. */
struct loop_timer {
	struct loop *loop;
	bool armed;
	loop_timer_fn *cb;
	void *arg;
	void *backend; /* owned by the loop's backend */
};

struct loop_ops {
	void (*io_set)(struct loop_io *io, int events);
	void (*io_done)(struct loop_io *io);
	void (*timer_start)(struct loop_timer *timer, int64_t ms);
	void (*timer_stop)(struct loop_timer *timer);
	void (*timer_done)(struct loop_timer *timer);
	void (*run)(struct loop *loop); /* until loop_stop */
	void (*free)(struct loop *loop);
};

/* The first member of a backend's own struct. */
struct loop {
	const struct loop_ops *ops;
	bool stop;
};

/* The libevent loop, used by worker, cron and subscriber. */
struct loop *loop_event_new(void);

void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* loop_run returns after this callback */
void loop_free(struct loop **loop);

/*
 * io: init once per descriptor; loop_io_set changes what is watched (0 =
 * nothing); done before the descriptor is closed, accepts a zeroed io.
 */
void loop_io_init(
    struct loop_io *io, struct loop *loop, int fd, loop_io_fn *cb, void *arg);
void loop_io_set(struct loop_io *io, int events);
void loop_io_done(struct loop_io *io);

/*
 * timer: start arms it anew, whether armed or not; ms >= 0. stop accepts an
 * unarmed one; done frees what the backend holds, accepts a zeroed timer.
 */
void loop_timer_init(
    struct loop_timer *timer, struct loop *loop, loop_timer_fn *cb, void *arg);
void loop_timer_start(struct loop_timer *timer, int64_t ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_done(struct loop_timer *timer);

#endif
