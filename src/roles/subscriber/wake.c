/*
 * When to look for new events. See subscriber.h.
 *
 * A tick cuts the stream: events that have become visible since the last one
 * belong to it. Whoever finds something new tells the other subscribers. A
 * NOTIFY of an event comes after its commit, so the tick that it causes sees
 * it. But publishers notify only while somebody asked them to, as they read it
 * when they publish, not when they commit; so after every sign of life, and
 * every five seconds anyway, one looks again without being told.
 */
#include "roles/subscriber/subscriber.h"

#include "common/base/clock.h"

#include <stdlib.h>
#include <string.h>

/* Re-looks after something happened; the last one goes on for ever. */
static const int64_t wake_steps_ms[] = {10, 50, 250, 1000, 5000};
#define WAKE_LAST_STEP \
	((int)(sizeof(wake_steps_ms) / sizeof(wake_steps_ms[0])) - 1)

/* Under load many events share a tick, instead of a tick per event. */
#define WAKE_GAP_MS 5
/* From so many events in a millisecond on, publishers are told to save their
 * NOTIFYs, and looks come at this distance: a delivery costs nearly as much for
 * a few events as for many, and on the cores that publish. Until half as many.
 */
#define WAKE_BUSY_RATE 2
#define WAKE_BUSY_MS   100

static const struct pg_stmt wake_stmt_tick = {"tick_news",
    "select t.tick, t.lanes is null, l.lane, t.events "
    "from chimp.tick_news($1, $2, $3) t "
    "left join lateral unnest(t.lanes) l (lane) on true",
    3};
static const struct pg_stmt wake_stmt_sleep = {
    "events_sleep", "select chimp.events_sleep($1)", 1};

static void wake_look(struct subscriber *sub);

/* Nothing depends on the answer: the next one says it again. */
static void
wake_set_quiet(struct subscriber *sub, bool quiet)
{
	const char *const values[] = {quiet ? "false" : "true"};

	sub->wake.quiet = quiet;
	pg_query(sub->child->control, &wake_stmt_sleep, values, NULL, NULL);
}

/* Put idle lanes into the line that have not seen the newest tick. */
static void
wake_lanes(struct subscriber *sub)
{
	struct list *n, *tmp;

	LIST_FOREACH_SAFE (n, tmp, &sub->by_state[LANE_IDLE]) {
		struct lane *lane = LIST_ENTRY(n, struct lane, state_node);

		if (lane->seen_tick < sub->wake.newest)
			lane_queue(lane);
	}
	subscriber_advance(sub);
}

/* A tick has come, and the answer says which lanes have something in it. */
static void
wake_news(struct subscriber *sub, const struct pg_result *r)
{
	int64_t tick = pg_int(r, 0, 0);
	bool all = pg_bool(r, 0, 1);
	struct list *n;

	if (tick <= sub->wake.newest)
		return;
	sub->wake.newest = tick;
	sub->wake.step = 0;
	if (all) {
		wake_lanes(sub);
		return;
	}
	for (int i = 0; i < pg_rows(r) && !pg_is_null(r, i, 2); i++) {
		struct lane *lane = lane_find(sub, pg_int(r, i, 2));

		if (lane != NULL)
			lane_queue(lane);
	}
	LIST_FOREACH (n, &sub->by_state[LANE_IDLE])
		lane_skip(LIST_ENTRY(n, struct lane, state_node), tick);
	subscriber_advance(sub);
}

/* Decide when to look next, after a tick that found so many events. */
static void
wake_rest(struct subscriber *sub, int64_t events)
{
	struct wake *w = &sub->wake;
	int64_t busy = WAKE_BUSY_RATE * (w->looked_ms - w->before_ms);

	if (!w->quiet && events >= busy &&
	    events > WAKE_BUSY_RATE * WAKE_GAP_MS)
		wake_set_quiet(sub, true);
	if (w->quiet && events >= busy / 2 && events > 0) {
		loop_timer_start(&w->timer, WAKE_BUSY_MS);
		return;
	}
	if (w->quiet) {
		/* Asked first and looked after, none slips between. */
		wake_set_quiet(sub, false);
		w->again = true;
		w->cut = true;
	}
	if (w->again) {
		wake_look(sub);
		return;
	}
	loop_timer_start(&w->timer, wake_steps_ms[w->step]);
	if (w->step < WAKE_LAST_STEP)
		w->step++;
}

static void
wake_on_tick(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct subscriber *sub = arg;
	int64_t events = 0;

	(void)link;
	sub->wake.ticking = false;
	if (reply->lost || !subscriber_open(sub))
		return; /* wake_start begins anew */
	if (reply->ok) {
		sub->wake.complained = false;
		events = pg_int(reply->results[0], 0, 3);
		wake_news(sub, reply->results[0]);
	} else {
		subscriber_complain(&sub->wake.complained,
		    "look for new events", reply->error.message);
		sub->wake.again = false;
		sub->wake.step = WAKE_LAST_STEP - 1;
	}
	wake_rest(sub, events);
}

static void
wake_look(struct subscriber *sub)
{
	struct wake *w = &sub->wake;
	int64_t gap = WAKE_GAP_MS - (clock_mono_ms() - w->looked_ms);
	struct number seen;
	const char *const values[] = {
	    sub->child->birth->id,
	    number_text(&seen, w->newest),
	    w->cut ? "true" : "false",
	};

	if (!subscriber_open(sub))
		return;
	if (w->ticking) {
		w->again = true;
		return;
	}
	w->again = false;
	if (gap > 0) {
		loop_timer_start(&w->timer, gap);
		return;
	}
	loop_timer_stop(&w->timer);
	w->ticking = true;
	w->cut = false;
	w->before_ms = w->looked_ms;
	w->looked_ms = clock_mono_ms();
	pg_query(
	    sub->child->control, &wake_stmt_tick, values, wake_on_tick, sub);
}

static void
wake_on_timer(struct loop_timer *timer, void *arg)
{
	struct subscriber *sub = arg;

	(void)timer;
	sub->wake.cut = true;
	wake_look(sub);
}

void
wake_init(struct subscriber *sub)
{
	sub->wake.newest = -1;
	loop_timer_init(&sub->wake.timer, sub->child->loop, wake_on_timer, sub);
}

void
wake_start(struct subscriber *sub)
{
	sub->wake.step = 0;
	sub->wake.cut = true;
	wake_set_quiet(sub, false);
	wake_look(sub);
}

void
wake_stop(struct subscriber *sub)
{
	loop_timer_stop(&sub->wake.timer);
}

void
wake_assert(struct subscriber *sub)
{
	if (!sub->wake.quiet && subscriber_open(sub))
		wake_set_quiet(sub, false);
}

void
wake_notified(struct subscriber *sub, const char *payload)
{
	struct wake *w = &sub->wake;

	if (!subscriber_open(sub))
		return;
	if (*payload != '\0') {
		/* Another subscriber has cut this tick: only look at it. */
		if (strtoll(payload, NULL, 10) > w->newest)
			wake_look(sub);
		return;
	}
	w->step = 0;
	w->cut = true;
	wake_look(sub);
}
