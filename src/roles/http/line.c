/*
 * The line for database connections. See line.h.
 */
#include "roles/http/line.h"

#include <assert.h>

#include "common/base/clock.h"
#include "roles/http/call.h"
#include "roles/http/share.h"

enum {
	LINE_SLOW_MS = 100, /* longer ones are slow */
	LINE_WEIGHT = 8,    /* of the past in the average */
	LINE_PACE_WEIGHT = 64,
	LINE_SHORT = 16 /* nobody is refused whatever its pace was lately */
};

/* The share of `max` connections that slow calls may hold. */
static int
line_slow_max(int max)
{
	return max > 2 ? max - 2 : 1;
}

/* --- slow or not --- */

/* Until the first call of an endpoint has ended, nobody knows. */
static bool
line_is_unknown(const struct endpoint *e)
{
	return e->n_runs == 0;
}

static bool
line_is_slow(const struct endpoint *e)
{
	return line_is_unknown(e) || e->run_ms > LINE_SLOW_MS;
}

static struct call *
line_call(struct list *n)
{
	return LIST_ENTRY(n, struct call, ticket.node);
}

/* Slow calls that have a connection or are about to; *same: of those that
 * have one, the endpoint's own. */
static int
line_count_slow(struct http *http, const struct endpoint *e, int *same)
{
	int64_t now = clock_mono_ms();
	struct list *n;
	int count = http->n_slow;

	*same = 0;
	LIST_FOREACH (n, &http->running) {
		const struct call *call = line_call(n);

		if (!line_is_slow(call->endpoint) &&
		    now - call->ticket.since_ms <= LINE_SLOW_MS)
			continue;
		count++;
		*same += call->endpoint == e;
	}
	return count;
}

static bool
line_may_run(const struct call *call)
{
	struct http *http = call->http;
	const struct endpoint *e = call->endpoint;
	int max = (int)http->child->birth->conf->database.pool_max;
	int same;
	int slow;

	if (!limit_may_count(call))
		return false;
	slow = line_count_slow(http, e, &same);
	if (slow < line_slow_max(max))
		return true;
	/* One call of an unknown endpoint may try: it is likely fast. */
	return same == 0 && (!line_is_slow(e) || line_is_unknown(e));
}

static void
line_learn(struct endpoint *e, int64_t took_ms)
{
	double took = (double)took_ms;

	if (e->n_runs++ == 0)
		e->run_ms = took;
	else
		e->run_ms += (took - e->run_ms) / LINE_WEIGHT;
}

/* --- how long it would wait --- */

static struct line_pace *
line_pace(struct http *http, bool sharer)
{
	return &http->pace[sharer ? 0 : 1];
}

static int
line_waiting(const struct http *http, bool sharer)
{
	struct pg_pool_stats stats;

	if (sharer)
		return http->n_sharers;
	pg_pool_stats(http->pool, &stats);
	return http->n_held + stats.waiting - (http->n_sharers - http->n_room);
}

/* One has left the line for a link. */
static void
line_moved(struct http *http, bool sharer)
{
	struct line_pace *pace = line_pace(http, sharer);
	int64_t now = clock_mono_us();

	if (pace->moved_us != 0)
		pace->gap_us +=
		    ((double)(now - pace->moved_us) - pace->gap_us) /
		    LINE_PACE_WEIGHT;
	pace->moved_us = line_waiting(http, sharer) > 0 ? now : 0;
}

/* The line would take more than a third of what anybody may wait: its pace is
 * often half of what it was, and nobody is to wait in vain. */
static bool
line_is_hopeless(struct http *http, bool sharer)
{
	struct line_pace *pace = line_pace(http, sharer);
	int waiting = line_waiting(http, sharer);

	/* What a rush has taught is forgotten when it is over. */
	if (waiting == 0)
		pace->gap_us -= pace->gap_us / LINE_PACE_WEIGHT;
	return waiting > LINE_SHORT &&
	       waiting * pace->gap_us >
		   (double)http->conf->wait_max_ms * 1000 / 3;
}

/* --- places --- */

static void
line_set_place(struct call *call, enum line_place place)
{
	struct http *http = call->http;
	struct line_ticket *t = &call->ticket;

	http->n_held += (place == LINE_HELD) - (t->place == LINE_HELD);
	if (t->sharer)
		http->n_sharers--;
	t->sharer =
	    place == LINE_ROOM || (place == LINE_POOL && share_wants(call));
	if (t->sharer)
		http->n_sharers++;
	http->n_room += (place == LINE_ROOM) - (t->place == LINE_ROOM);
	if (t->place == LINE_POOL && t->slow)
		http->n_slow--;
	t->slow = line_is_slow(call->endpoint);
	if (place == LINE_POOL && t->slow)
		http->n_slow++;
	http->n_lone -= t->lone;
	t->lone = place == LINE_RUNNING && call->share == NULL &&
		  call->endpoint->readonly;
	http->n_lone += t->lone;
	if (place == LINE_POOL)
		limit_counting(call);
	else if (place == LINE_NONE)
		limit_counted(call);
	/* Whoever goes on to the pool's line keeps its turn. */
	if ((t->place == LINE_HELD || t->place == LINE_ROOM) &&
	    place == LINE_POOL) {
		t->place = place;
		return;
	}
	list_remove(&t->node);
	t->place = place;
	t->since_ms = clock_mono_ms();
	if (place == LINE_RUNNING)
		list_append(&http->running, &t->node);
	else if (place != LINE_NONE)
		list_append(&http->waiting, &t->node);
}

static void line_enter_pool(struct call *call);

/* There may be room on a shared link: for whoever has waited longest. */
static void
line_fill_shares(struct http *http)
{
	struct list *n, *next;

	if (http->n_sharers == 0)
		return;
	LIST_FOREACH_SAFE (n, next, &http->waiting) {
		struct call *call = line_call(n);

		if (!call->ticket.sharer || !share_wants(call))
			continue;
		if (!share_join(call))
			return;
		line_moved(http, true);
		if (call->ticket.place == LINE_POOL)
			pg_pool_cancel(http->pool, &call->ticket.waiter);
		line_set_place(call, LINE_RUNNING);
		call_granted(call, call->share->link);
	}
}

/* Of those that wait for room on a shared link, the first, or the first that
 * would not share any longer. */
static struct call *
line_next_room(struct http *http, bool unwilling)
{
	struct list *n;

	if (http->n_room == 0)
		return NULL;
	LIST_FOREACH (n, &http->waiting)
		if (line_call(n)->ticket.place == LINE_ROOM &&
		    (!unwilling || !share_wants(line_call(n))))
			return line_call(n);
	return NULL;
}

/* An endpoint has become slow. */
static void
line_end_sharing(struct http *http)
{
	struct call *call;

	while ((call = line_next_room(http, true)) != NULL)
		line_enter_pool(call);
}

/* The pool has a link again. */
static void
line_end_room(struct http *http)
{
	struct call *call = line_next_room(http, false);

	if (call != NULL && !share_is_full(http))
		line_enter_pool(call);
}

static void
line_on_granted(struct pg_link *link, void *arg)
{
	struct call *call = arg;

	line_moved(call->http, call->ticket.sharer);
	share_open(call, link);
	line_set_place(call, LINE_RUNNING);
	call_granted(call, link);
	if (call->share != NULL)
		line_fill_shares(call->http);
}

static void
line_enter_pool(struct call *call)
{
	enum pg_pool_answer answer;

	line_set_place(call, LINE_POOL);
	answer = pg_pool_acquire(call->http->pool, &call->ticket.waiter);
	if (answer != PG_POOL_FULL && answer != PG_POOL_DOWN)
		return;
	line_set_place(call, LINE_NONE);
	call_refused(call,
	    answer == PG_POOL_FULL
		? "too many requests are waiting for a database connection"
		: "the database is not reachable");
}

static bool
line_share(struct call *call)
{
	if (!share_join(call))
		return false;
	line_set_place(call, LINE_RUNNING);
	call_granted(call, call->share->link);
	return true;
}

void
line_join(struct call *call)
{
	struct http *http = call->http;
	bool sharer = share_wants(call);

	assert(call->ticket.place == LINE_NONE);
	call->ticket.waiter.granted = line_on_granted;
	call->ticket.waiter.arg = call;
	/* Nobody goes before those that wait for the same. */
	if (sharer && http->n_sharers == 0 && line_share(call))
		return;
	if (line_is_hopeless(http, sharer))
		call_refused(call, "too many requests wait already");
	else if (sharer && share_is_full(http) &&
		 http->n_room < http->conf->max_requests_waiting)
		line_set_place(call, LINE_ROOM);
	else if (sharer || line_may_run(call))
		line_enter_pool(call);
	else if (http->n_held < http->conf->max_requests_waiting)
		line_set_place(call, LINE_HELD);
	else
		call_refused(
		    call, "too many requests of this kind are at work");
	if (!list_empty(&http->waiting) && !http->wait_timer.armed)
		loop_timer_start(&http->wait_timer, http->conf->wait_max_ms);
}

void
line_leave(struct call *call)
{
	assert(call->ticket.place != LINE_NONE &&
	       call->ticket.place != LINE_RUNNING);
	if (call->ticket.place == LINE_POOL)
		pg_pool_cancel(call->http->pool, &call->ticket.waiter);
	line_set_place(call, LINE_NONE);
}

/* The first that is held back and may go; NULL if there is none. */
static struct call *
line_next_held(struct http *http)
{
	struct list *n;

	LIST_FOREACH (n, &http->waiting)
		if (line_call(n)->ticket.place == LINE_HELD &&
		    line_may_run(line_call(n)))
			return line_call(n);
	return NULL;
}

void
line_go_on(struct http *http)
{
	struct call *held;

	while ((held = line_next_held(http)) != NULL)
		line_enter_pool(held);
}

void
line_release(struct call *call)
{
	struct http *http = call->http;
	struct pg_link *link = call->link;
	bool wanted = share_wants(call);

	assert(call->ticket.place == LINE_RUNNING);
	/* What its rate has refused did not run. */
	if (call->attempts > 0)
		line_learn(call->endpoint, share_took_ms(call));
	line_set_place(call, LINE_NONE);
	call->link = NULL;
	if (wanted && !share_wants(call))
		line_end_sharing(http);
	if (!share_leave(call)) {
		line_fill_shares(http);
		return;
	}
	pg_pool_release(http->pool, link);
	line_end_room(http);
	line_go_on(http);
}

/* --- too long --- */

static void
line_on_wait(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;

	while (!list_empty(&http->waiting)) {
		struct call *call = line_call(http->waiting.next);
		int64_t left = call->ticket.since_ms + http->conf->wait_max_ms -
			       clock_mono_ms();

		if (left > 0) {
			loop_timer_start(timer, left);
			return;
		}
		line_leave(call);
		call_refused(call, "no database connection was free in time");
	}
}

void
line_init(struct http *http)
{
	list_init(&http->waiting);
	list_init(&http->running);
	list_init(&http->shares);
	loop_timer_init(&http->wait_timer, http->loop, line_on_wait, http);
}

void
line_done(struct http *http)
{
	assert(list_empty(&http->waiting) && list_empty(&http->running) &&
	       list_empty(&http->shares));
	loop_timer_done(&http->wait_timer);
}
