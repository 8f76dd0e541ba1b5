/*
 * A bounded set of links for short transactions, each owned by one unit of
 * work at a time, and a bounded line of waiters. Used by the http role.
 *
 * Opens pool_min links at start and more on demand up to pool_max; closes
 * those idle for pool_idle above pool_min, and any older than pool_life when
 * it is free.
 */
#ifndef CHIMP_PG_POOL_H
#define CHIMP_PG_POOL_H

#include "common/base/list.h"
#include "common/pg/link.h"

struct pg_pool;

struct pg_pool_opts {
	struct pg_link_opts link; /* on_ready, on_lost, on_notify, arg are the
				   * pool's own and must be NULL */
	int min;
	int max;
	int64_t idle_ms;
	int64_t life_ms;
	int waiters_max; /* G40: longer lines are refused */
	/* A link became READY or was lost; may be NULL. */
	void (*on_change)(void *arg);
	void *arg;
};

/* Lies in the caller's struct; on the pool's list while it waits. */
struct pg_waiter {
	struct list node;
	/* The link is the caller's until pg_pool_release. */
	void (*granted)(struct pg_link *link, void *arg);
	void *arg;
};

enum pg_pool_answer {
	PG_POOL_GRANTED, /* granted() was called before it returned */
	PG_POOL_WAITING, /* granted() will be called, or cancel it */
	PG_POOL_FULL,    /* the line is full */
	PG_POOL_DOWN     /* no link is up and the last attempt failed */
};

struct pg_pool *pg_pool_new(const struct pg_pool_opts *opts);
void pg_pool_free(struct pg_pool **pool);

enum pg_pool_answer pg_pool_acquire(
    struct pg_pool *pool, struct pg_waiter *waiter);
void pg_pool_cancel(struct pg_pool *pool, struct pg_waiter *waiter);

/* Give a link back; it must have nothing in flight or be lost. */
void pg_pool_release(struct pg_pool *pool, struct pg_link *link);

/* Open a link that nobody waits for, if none is free or on its way. */
void pg_pool_spare(struct pg_pool *pool);

/* pg_link_look at all links in use. */
void pg_pool_look(struct pg_pool *pool);

struct pg_pool_stats {
	int open;    /* links that are READY */
	int busy;    /* of those, in use */
	int waiting; /* waiters */
	bool down;   /* as PG_POOL_DOWN */
	const char *last_error;
};
void pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *stats);

#endif
