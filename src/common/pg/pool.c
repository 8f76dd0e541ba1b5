/*
 * A bounded set of links and a bounded line of waiters. See pool.h.
 *
 * Every member is on exactly one list, that of its state, and
 * member_set_state alone moves it. After any event pool_serve hands idle links
 * to the line, oldest waiter first.
 */
#include "common/pg/pool.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { POOL_SWEEP_MS = 1000 };

enum member_state {
	MEMBER_CONNECTING, /* or waiting for its next attempt */
	MEMBER_IDLE,       /* READY and nobody's; the last used comes first */
	MEMBER_BUSY        /* a caller's until pg_pool_release */
};
enum { MEMBER_STATES = MEMBER_BUSY + 1 };

struct member {
	struct list node;
	struct pg_pool *pool;
	struct pg_link *link;
	enum member_state state;
	bool up;                /* READY since the last on_lost */
	int64_t end_of_life_ms; /* CLOCK_MONOTONIC, as all below */
	int64_t idle_since_ms;
};

struct pg_pool {
	struct pg_pool_opts opts;
	char *conninfo;
	char *application_name;
	struct list members[MEMBER_STATES];
	int count[MEMBER_STATES];
	struct list waiters; /* the oldest first */
	int n_waiters;
	struct loop_timer sweep;
	struct pg_link **looking; /* room for pg_pool_look */
	bool down;    /* the last thing heard of the server was a failure */
	bool serving; /* pool_serve is on the stack */
	bool closing; /* pg_pool_free is */
	char last_error[512];
};

/* --- members --- */

static int
pool_size(const struct pg_pool *pool)
{
	return pool->count[MEMBER_CONNECTING] + pool->count[MEMBER_IDLE] +
	       pool->count[MEMBER_BUSY];
}

/* One link keeps looking for the server, whatever pool_min says. */
static int
pool_floor(const struct pg_pool *pool)
{
	return pool->opts.min > 0 || !pool->down ? pool->opts.min : 1;
}

static void
member_set_state(struct member *m, enum member_state state)
{
	struct pg_pool *pool = m->pool;

	pool->count[m->state]--;
	list_remove(&m->node);
	m->state = state;
	pool->count[state]++;
	if (state == MEMBER_IDLE)
		m->idle_since_ms = clock_mono_ms();
	/* The last used first: the others grow old and are closed. */
	list_prepend(&pool->members[state], &m->node);
}

static void
member_close(struct member *m)
{
	m->pool->count[m->state]--;
	list_remove(&m->node);
	pg_link_free(&m->link);
	free(m);
}

static void pool_serve(struct pg_pool *pool);
static void pool_grow(struct pg_pool *pool);

static void
pool_changed(struct pg_pool *pool)
{
	if (pool->opts.on_change != NULL && !pool->closing)
		pool->opts.on_change(pool->opts.arg);
}

static void
member_on_ready(struct pg_link *link, void *arg)
{
	struct member *m = arg;

	(void)link;
	m->up = true;
	m->pool->down = false;
	/* Lost and back while a caller holds it: still the caller's. */
	if (m->state == MEMBER_BUSY)
		return;
	member_set_state(m, MEMBER_IDLE);
	pool_serve(m->pool);
	pool_grow(m->pool);
	pool_changed(m->pool);
}

static bool
pool_is_up(const struct pg_pool *pool)
{
	struct list *n;

	if (pool->count[MEMBER_IDLE] > 0)
		return true;
	LIST_FOREACH (n, &pool->members[MEMBER_BUSY])
		if (pg_link_ready(LIST_ENTRY(n, struct member, node)->link))
			return true;
	return false;
}

/* It is not READY and nobody's. Not all need to knock at a closed door. */
static void
member_lost(struct member *m)
{
	struct pg_pool *pool = m->pool;

	if (m->state != MEMBER_CONNECTING)
		member_set_state(m, MEMBER_CONNECTING);
	if (pool_size(pool) > pool_floor(pool))
		member_close(m);
	if (!pool->down)
		pool_grow(pool);
}

static void
member_on_lost(struct pg_link *link, void *arg)
{
	struct member *m = arg;
	struct pg_pool *pool = m->pool;

	snprintf(pool->last_error, sizeof(pool->last_error), "%s",
	    pg_link_last_error(link));
	/* One backend that was terminated says nothing about the server; an
	 * attempt that failed does. */
	if (!m->up)
		pool->down = !pool_is_up(pool);
	m->up = false;
	/* The caller learns it from its unit, or when it looks. */
	if (m->state != MEMBER_BUSY)
		member_lost(m);
	pool_changed(pool);
}

static void
pool_open(struct pg_pool *pool)
{
	struct member *m = mem_zalloc(sizeof(*m));
	struct pg_link_opts opts = pool->opts.link;
	int64_t life = pool->opts.life_ms;

	m->pool = pool;
	m->state = MEMBER_CONNECTING;
	list_append(&pool->members[MEMBER_CONNECTING], &m->node);
	pool->count[MEMBER_CONNECTING]++;
	/* Up to a tenth less, so that those opened together do not end so. */
	m->end_of_life_ms =
	    clock_mono_ms() + life - life / 10 * clock_jitter(1000) / 1000;
	opts.on_ready = member_on_ready;
	opts.on_lost = member_on_lost;
	opts.arg = m;
	m->link = pg_link_new(&opts);
}

/* As many on the way as there are waiters, within the bounds. */
static void
pool_grow(struct pg_pool *pool)
{
	while (pool_size(pool) < pool->opts.min)
		pool_open(pool);
	while (pool->count[MEMBER_CONNECTING] < pool->n_waiters &&
	       pool_size(pool) < pool->opts.max)
		pool_open(pool);
}

/* --- the line --- */

static void
pool_serve(struct pg_pool *pool)
{
	struct pg_waiter *w;
	struct member *m;

	/* granted() may release at once: one loop, no recursion. */
	if (pool->serving || pool->closing)
		return;
	pool->serving = true;
	while (pool->n_waiters > 0 && pool->count[MEMBER_IDLE] > 0) {
		w = LIST_ENTRY(pool->waiters.next, struct pg_waiter, node);
		list_remove(&w->node);
		pool->n_waiters--;
		m = LIST_ENTRY(
		    pool->members[MEMBER_IDLE].next, struct member, node);
		member_set_state(m, MEMBER_BUSY);
		w->granted(m->link, w->arg);
	}
	pool->serving = false;
}

enum pg_pool_answer
pg_pool_acquire(struct pg_pool *pool, struct pg_waiter *waiter)
{
	struct member *m;

	assert(!pool->closing);
	if (pool->n_waiters == 0 && pool->count[MEMBER_IDLE] > 0) {
		m = LIST_ENTRY(
		    pool->members[MEMBER_IDLE].next, struct member, node);
		list_init(&waiter->node);
		member_set_state(m, MEMBER_BUSY);
		waiter->granted(m->link, waiter->arg);
		return PG_POOL_GRANTED;
	}
	if (pool->down)
		return PG_POOL_DOWN;
	if (pool->n_waiters >= pool->opts.waiters_max)
		return PG_POOL_FULL;
	list_append(&pool->waiters, &waiter->node);
	pool->n_waiters++;
	pool_grow(pool);
	return PG_POOL_WAITING;
}

void
pg_pool_cancel(struct pg_pool *pool, struct pg_waiter *waiter)
{
	assert(!list_empty(&waiter->node));
	list_remove(&waiter->node);
	pool->n_waiters--;
}

static struct member *
pool_member(struct pg_pool *pool, const struct pg_link *link)
{
	struct list *n;

	LIST_FOREACH (n, &pool->members[MEMBER_BUSY])
		if (LIST_ENTRY(n, struct member, node)->link == link)
			return LIST_ENTRY(n, struct member, node);
	return NULL;
}

void
pg_pool_release(struct pg_pool *pool, struct pg_link *link)
{
	struct member *m;

	/* A unit lost in pg_pool_free gives back what is being closed. */
	if (pool->closing)
		return;
	m = pool_member(pool, link);
	assert(m != NULL);
	if (!pg_link_ready(link)) {
		snprintf(pool->last_error, sizeof(pool->last_error), "%s",
		    pg_link_last_error(link));
		member_lost(m);
		return;
	}
	/* What is in flight would be answered in the next owner's face. */
	assert(pg_link_in_flight(link) == 0);
	if (clock_mono_ms() >= m->end_of_life_ms) {
		member_close(m);
		pool_grow(pool);
		return;
	}
	member_set_state(m, MEMBER_IDLE);
	pool_serve(pool);
}

void
pg_pool_spare(struct pg_pool *pool)
{
	if (!pool->down && pool->count[MEMBER_IDLE] == 0 &&
	    pool->count[MEMBER_CONNECTING] == 0 &&
	    pool_size(pool) < pool->opts.max)
		pool_open(pool);
}

void
pg_pool_look(struct pg_pool *pool)
{
	struct list *n;
	int count = 0;

	/* A callback may give links back. */
	LIST_FOREACH (n, &pool->members[MEMBER_BUSY])
		pool->looking[count++] =
		    LIST_ENTRY(n, struct member, node)->link;
	for (int i = 0; i < count; i++)
		pg_link_look(pool->looking[i]);
}

/* --- the life of the pool --- */

static void
pool_on_sweep(struct loop_timer *timer, void *arg)
{
	struct pg_pool *pool = arg;
	int64_t now = clock_mono_ms();
	struct list *n, *next;

	LIST_FOREACH_SAFE (n, next, &pool->members[MEMBER_IDLE]) {
		struct member *m = LIST_ENTRY(n, struct member, node);

		if (now >= m->end_of_life_ms ||
		    (now - m->idle_since_ms >= pool->opts.idle_ms &&
			pool_size(pool) > pool->opts.min))
			member_close(m);
	}
	pool_grow(pool);
	loop_timer_start(timer, POOL_SWEEP_MS);
}

struct pg_pool *
pg_pool_new(const struct pg_pool_opts *opts)
{
	struct pg_pool *pool = mem_zalloc(sizeof(*pool));

	assert(opts->max > 0 && opts->min >= 0 && opts->min <= opts->max);
	assert(opts->link.on_ready == NULL && opts->link.on_lost == NULL &&
	       opts->link.on_notify == NULL && opts->link.arg == NULL);
	pool->opts = *opts;
	pool->looking = mem_zalloc((size_t)opts->max * sizeof(*pool->looking));
	pool->conninfo = mem_strdup(opts->link.conninfo);
	pool->application_name = mem_strdup(opts->link.application_name);
	pool->opts.link.conninfo = pool->conninfo;
	pool->opts.link.application_name = pool->application_name;
	for (int i = 0; i < MEMBER_STATES; i++)
		list_init(&pool->members[i]);
	list_init(&pool->waiters);
	loop_timer_init(&pool->sweep, opts->link.loop, pool_on_sweep, pool);
	loop_timer_start(&pool->sweep, POOL_SWEEP_MS);
	pool_grow(pool);
	return pool;
}

void
pg_pool_free(struct pg_pool **poolp)
{
	struct pg_pool *pool = *poolp;

	if (pool == NULL)
		return;
	/* Units that end now give their links back through *poolp. */
	pool->closing = true;
	for (int i = 0; i < MEMBER_STATES; i++)
		while (!list_empty(&pool->members[i]))
			member_close(LIST_ENTRY(
			    pool->members[i].next, struct member, node));
	loop_timer_done(&pool->sweep);
	free(pool->looking);
	free(pool->conninfo);
	free(pool->application_name);
	mem_free(poolp);
}

void
pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *stats)
{
	struct list *n;

	stats->busy = 0;
	LIST_FOREACH (n, &pool->members[MEMBER_BUSY])
		stats->busy +=
		    pg_link_ready(LIST_ENTRY(n, struct member, node)->link);
	stats->open = pool->count[MEMBER_IDLE] + stats->busy;
	stats->waiting = pool->n_waiters;
	stats->down = pool->down;
	stats->last_error = pool->last_error;
}
