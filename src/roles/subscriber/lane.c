/*
 * A lane's states. See lane.h.
 */
#include "roles/subscriber/lane.h"

#include "common/base/mem.h"
#include "roles/subscriber/subscriber.h"

#include <assert.h>
#include <stdlib.h>

static const struct pg_stmt lane_stmt_release = {
    "lane_release", "select chimp.lane_release($1, $2)", 2};

/* Leaves the line's other end alone: those that come wait their turn. */
static void
lane_set_state(struct lane *lane, enum lane_state state)
{
	struct subscriber *sub = lane->sub;

	if (lane->state == LANE_DELAYED)
		loop_timer_stop(&lane->delay);
	sub->n_lanes[lane->state]--;
	list_remove(&lane->state_node);
	lane->state = state;
	sub->n_lanes[state]++;
	list_append(&sub->by_state[state], &lane->state_node);
}

static void
lane_free(struct lane *lane)
{
	lane->sub->n_lanes[lane->state]--;
	list_remove(&lane->state_node);
	list_remove(&lane->all_node);
	loop_timer_done(&lane->delay);
	free(lane->name);
	free(lane);
}

static void
lane_on_delay(struct loop_timer *timer, void *arg)
{
	struct lane *lane = arg;

	(void)timer;
	assert(lane->state == LANE_DELAYED);
	lane_set_state(lane, LANE_QUEUED);
	subscriber_advance(lane->sub);
}

void
lane_new(struct subscriber *sub, const struct lane_claim *claim)
{
	struct lane *lane = mem_zalloc(sizeof(*lane));

	lane->sub = sub;
	lane->id = claim->id;
	lane->number = claim->number;
	lane->name = mem_printf("%s/%d", claim->subscription, claim->number);
	loop_timer_init(&lane->delay, sub->child->loop, lane_on_delay, lane);
	lane->state = LANE_IDLE;
	lane->listed = true;
	sub->n_lanes[LANE_IDLE]++;
	list_append(&sub->by_state[LANE_IDLE], &lane->state_node);
	list_append(&sub->lanes, &lane->all_node);
	lane->epoch = claim->epoch - 1;
	lane_update(lane, claim);
}

void
lane_update(struct lane *lane, const struct lane_claim *claim)
{
	lane->listed = true;
	lane->deliver = claim->deliver;
	lane->handler = claim->handler;
	lane->batch = claim->batch;
	lane->owned = claim->owned;
	if (lane->gone || lane->epoch == claim->epoch)
		return;
	if (lane->state == LANE_WORKING) {
		/* We lost it and have it again: what is in flight belongs to
		 * the old epoch and is refused. The next claim after that
		 * takes it up anew. */
		lane->gone = true;
		return;
	}
	lane->epoch = claim->epoch;
	lane->tick = claim->tick;
	lane->event_id = claim->event_id;
	lane->apart = false;
	lane->seen_tick = -1;
	lane->singly = 0;
	if (claim->retry_ms == 0) {
		lane_set_state(lane, LANE_QUEUED);
		return;
	}
	lane_set_state(lane, LANE_DELAYED);
	loop_timer_start(&lane->delay, claim->retry_ms);
}

struct lane *
lane_find(struct subscriber *sub, int64_t id)
{
	struct list *n;

	LIST_FOREACH (n, &sub->lanes) {
		struct lane *lane = LIST_ENTRY(n, struct lane, all_node);

		if (lane->id == id)
			return lane;
	}
	return NULL;
}

void
lane_forget(struct lane *lane)
{
	lane->gone = true;
	if (lane->state != LANE_WORKING)
		lane_free(lane);
}

void
lane_queue(struct lane *lane)
{
	if (lane->state == LANE_IDLE)
		lane_set_state(lane, LANE_QUEUED);
}

void
lane_skip(struct lane *lane, int64_t tick)
{
	if (lane->state == LANE_IDLE && lane->seen_tick >= 0) {
		lane->seen_tick = tick;
		lane->skips = true;
	}
}

/* The database looks again, and refuses where we are wrong. */
static bool
lane_goes_with(const struct lane *lane, const struct lane *first)
{
	return lane->deliver == first->deliver && !lane->apart &&
	       lane->singly == 0 && lane->tick >= 0 &&
	       lane->tick == first->tick && lane->event_id == first->event_id;
}

int
lanes_take(struct subscriber *sub, struct lane *taken[LANES_TOGETHER_MAX])
{
	struct list *n, *tmp;
	int most = 0, count = 0;

	LIST_FOREACH_SAFE (n, tmp, &sub->by_state[LANE_QUEUED]) {
		struct lane *lane = LIST_ENTRY(n, struct lane, state_node);

		if (count == 0 && !lane->apart && lane->singly == 0 &&
		    lane->batch > 1)
			most = (lane->owned + 1) / 2;
		if (count > 0 && !lane_goes_with(lane, taken[0]))
			continue;
		taken[count++] = lane;
		lane_set_state(lane, LANE_WORKING);
		if (count >= most || count == LANES_TOGETHER_MAX)
			break;
	}
	return count;
}

void
lane_turn_end(
    struct lane *lane, enum lane_turn turn, int64_t tick, int64_t delay_ms)
{
	assert(lane->state == LANE_WORKING);
	if (lane->gone)
		turn = LANE_TURN_GONE;
	switch (turn) {
	case LANE_TURN_DONE:
		lane->seen_tick = tick;
		lane->skips = false;
		lane_set_state(lane,
		    lane->sub->wake.newest > tick ? LANE_QUEUED : LANE_IDLE);
		break;
	case LANE_TURN_MORE:
		lane_set_state(lane, LANE_QUEUED);
		break;
	case LANE_TURN_DELAY:
		lane_set_state(lane, LANE_DELAYED);
		loop_timer_start(&lane->delay, delay_ms);
		break;
	case LANE_TURN_GONE:
		lane_free(lane);
		break;
	}
}

void
lane_release(struct lane *lane)
{
	struct pg_link *control = lane->sub->child->control;
	struct number id, epoch;
	const char *const values[] = {
	    number_text(&id, lane->id),
	    number_text(&epoch, lane->epoch),
	};

	assert(lane->state != LANE_WORKING);
	/* If it cannot be said, the end of the process says it, or its
	 * lease. */
	if (pg_link_ready(control))
		pg_query(control, &lane_stmt_release, values, NULL, NULL);
	lane_free(lane);
}
