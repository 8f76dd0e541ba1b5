/*
 * Links that read-only calls share. See share.h.
 */
#include "roles/http/share.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "roles/http/call.h"

enum {
	SHARE_FAST_MS = 10,  /* endpoints whose calls take less on average */
	SHARE_STUCK_MS = 50, /* nobody waits behind one that takes so long */
	SHARE_ENOUGH = 4,    /* calls on each link before another is taken */
	SHARE_DEPTH = 32,    /* and at most */
	SHARE_QUEUE_MS =
	    10, /* of work: others wait where they may be refused */
	SHARE_AGE_MS = 10000 /* then the pool looks at the link */
};

bool
share_wants(const struct call *call)
{
	const struct endpoint *e = call->endpoint;

	/* A rate is written, and waits for others of its key. */
	return e->readonly && call->pass.rate_key[0] == '\0' && e->n_runs > 0 &&
	       e->run_ms < SHARE_FAST_MS;
}

/* A quarter of the pool: each of them keeps a server process busy all the time,
 * and more of those than processors only take them from us. */
static int
share_max(const struct http *http)
{
	int max = (int)http->child->birth->conf->database.pool_max / 4;

	return max > 0 ? max : 1;
}

static bool
share_is_open(const struct share *s, int64_t now)
{
	return !s->closed && pg_link_ready(s->link) &&
	       now - s->since_ms < SHARE_AGE_MS &&
	       now - s->moved_ms < SHARE_STUCK_MS;
}

/* Of those that would share, how many have a link alone or wait for one. */
static int
share_lone(const struct http *http)
{
	return http->n_sharers - http->n_room + http->n_lone;
}

bool
share_is_full(struct http *http)
{
	int64_t now = clock_mono_ms();
	struct list *n;

	if (http->n_shares < share_max(http) ||
	    share_lone(http) < share_max(http))
		return false;
	LIST_FOREACH (n, &http->shares)
		if (!share_is_open(LIST_ENTRY(n, struct share, node), now))
			return false;
	return true;
}

/* The one with the fewest calls; NULL if none has room. */
static struct share *
share_find(struct http *http)
{
	struct share *found = NULL;
	int64_t now = clock_mono_ms();
	struct list *n;

	LIST_FOREACH (n, &http->shares) {
		struct share *s = LIST_ENTRY(n, struct share, node);

		if (s->n < SHARE_DEPTH && s->work_ms < SHARE_QUEUE_MS &&
		    share_is_open(s, now) && (found == NULL || s->n < found->n))
			found = s;
	}
	return found;
}

/* Whether another link is to be had at once. It is asked for if it is not. */
static bool
share_may_widen(struct http *http)
{
	struct pg_pool_stats stats;

	if (http->n_shares >= share_max(http))
		return false;
	pg_pool_stats(http->pool, &stats);
	if (stats.open > stats.busy)
		return true;
	pg_pool_spare(http->pool);
	return false;
}

static void
share_add(struct share *s, struct call *call)
{
	s->n++;
	call->share = s;
	call->share_ms = call->endpoint->run_ms;
	s->work_ms += call->share_ms;
}

bool
share_join(struct call *call)
{
	struct share *s;

	if (!share_wants(call))
		return false;
	s = share_find(call->http);
	if (s == NULL || (s->n >= SHARE_ENOUGH && share_may_widen(call->http)))
		return false;
	share_add(s, call);
	return true;
}

void
share_open(struct call *call, struct pg_link *link)
{
	struct http *http = call->http;
	struct share *s;

	if (!share_wants(call) || http->n_shares >= share_max(http))
		return;
	s = mem_zalloc(sizeof(*s));
	s->link = link;
	s->since_ms = s->moved_ms = clock_mono_ms();
	list_append(&http->shares, &s->node);
	http->n_shares++;
	share_add(s, call);
}

int64_t
share_took_ms(const struct call *call)
{
	int64_t began = call->ticket.since_ms;

	if (call->share != NULL && call->share->moved_ms > began)
		began = call->share->moved_ms;
	return clock_mono_ms() - began;
}

bool
share_leave(struct call *call)
{
	struct share *s = call->share;

	if (s == NULL)
		return true;
	call->share = NULL;
	s->moved_ms = clock_mono_ms();
	s->work_ms -= call->share_ms;
	if (--s->n > 0)
		return false;
	list_remove(&s->node);
	call->http->n_shares--;
	free(s);
	return true;
}

bool
share_close(struct call *call)
{
	struct share *s = call->share;

	if (s == NULL)
		return true;
	if (s->n > 1)
		return false;
	s->closed = true;
	return true;
}
