/*
 * Events one by one: a window of them is read, and each is sent as a unit of
 *its own. See runner.h.
 *
 *	read -> events in flight -> (lane_fail) -> the end of the turn
 */
#include "roles/subscriber/turn.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* Bytes of events in flight; the rest of a window is read again (G40). */
#define SINGLY_WINDOW_BYTES (4 * 1024 * 1024)

static const struct pg_stmt singly_stmt_read = {"lane_read",
    "select tick, id, from_tick, from_id, event "
    "from chimp.lane_read($1, $2, $3)",
    3};
static const struct pg_stmt singly_stmt_fail = {"lane_fail",
    "select action, delay_ms from "
    "chimp.lane_fail($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    9};

/* --- an event failed --- */

void
turn_forget_error(struct runner *r)
{
	for (size_t i = 0; i < sizeof(r->error) / sizeof(r->error[0]); i++)
		mem_free(&r->error[i]);
}

static void
singly_keep_error(struct runner *r, const struct pg_error *e)
{
	const char *const texts[] = {
	    e->sqlstate, e->message, e->detail, e->hint, e->context};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		r->error[i] = texts[i] == NULL ? NULL : mem_strdup(texts[i]);
}

static void
singly_failed(struct runner *r, const char *action, int64_t delay_ms)
{
	const char *name = r->lanes[0]->name;
	const char *why = r->error[1];
	int64_t id = r->failed.id;

	if (strcmp(action, "retry") == 0) {
		log_warn("subscription %s: event %" PRId64 " failed: %s "
			 "(%s); trying again in %" PRId64 " ms",
		    name, id, why, r->error[0], delay_ms);
		turn_end(r, LANE_TURN_DELAY, delay_ms + 1);
	} else if (strcmp(action, "parked") == 0) {
		log_error("subscription %s: event %" PRId64 " failed for the "
			  "last time: %s (%s); it is a dead event now",
		    name, id, why, r->error[0]);
		turn_end(r, LANE_TURN_MORE, 0);
	} else {
		log_error("subscription %s: event %" PRId64 " failed for the "
			  "last time: %s (%s); the lane is paused",
		    name, id, why, r->error[0]);
		turn_end(r, LANE_TURN_GONE, 0);
	}
}

static void
singly_on_fail(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	enum turn_failure failure;

	(void)link;
	if (reply->ok) {
		const struct pg_result *result = reply->results[0];

		singly_failed(r, pg_value(result, 0, 0), pg_int(result, 0, 1));
		return;
	}
	failure = turn_classify(reply);
	if (failure == FAILURE_OWN) {
		turn_say_trouble(
		    r, "cannot record a failure", reply->error.message);
		failure = FAILURE_TROUBLE;
	}
	turn_end_failed(r, failure);
}

static void
singly_send_fail(struct runner *r)
{
	struct number lane, epoch, tick, id;
	const char *const values[] = {
	    number_text(&lane, r->lanes[0]->id),
	    number_text(&epoch, r->lanes[0]->epoch),
	    number_text(&tick, r->failed.tick),
	    number_text(&id, r->failed.id),
	    r->error[0],
	    r->error[1],
	    r->error[2],
	    r->error[3],
	    r->error[4],
	};

	if (r->link == NULL || !pg_link_ready(r->link)) {
		/* Uncharged: the event is tried again. */
		turn_end_failed(r, FAILURE_LOST);
		return;
	}
	pg_query(r->link, &singly_stmt_fail, values, singly_on_fail, r);
}

/* --- events in flight --- */

/* All that was sent has its answer. */
static void
singly_settle(struct runner *r)
{
	if (r->failure == FAILURE_NONE)
		turn_end(r, LANE_TURN_MORE, 0);
	else if (r->failure == FAILURE_OWN && !r->lanes[0]->gone)
		singly_send_fail(r);
	else
		turn_end_failed(
		    r, r->failure == FAILURE_OWN ? FAILURE_STALE : r->failure);
}

static void
singly_on_event(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;

	(void)link;
	assert(r->answered < r->sent);
	if (reply->ok) {
		r->sub->n_handled++;
		if (r->lanes[0]->singly > 0)
			r->lanes[0]->singly--;
		/* Even after a failure, when a backend whose client died had
		 * handled the failed one: the cursor stood right. */
		r->lanes[0]->conflicts = 0;
		r->lanes[0]->complained = false;
	} else if (r->failure == FAILURE_NONE) {
		r->failure = turn_classify(reply);
		r->failed = r->window[r->answered];
		if (r->failure == FAILURE_OWN)
			singly_keep_error(r, &reply->error);
		if (r->failure == FAILURE_TROUBLE)
			turn_say_trouble(
			    r, "cannot run its handler", reply->error.message);
	}
	if (++r->answered == r->sent)
		singly_settle(r);
}

/* Send row i of a window; its columns are those of singly_stmt_read. */
static void
singly_send_event(struct runner *r, const struct pg_result *rows, int i)
{
	struct number lane, epoch;
	const char *const values[] = {
	    number_text(&lane, r->lanes[0]->id),
	    number_text(&epoch, r->lanes[0]->epoch),
	    pg_value(rows, i, 2),
	    pg_value(rows, i, 3),
	    pg_value(rows, i, 0),
	    pg_value(rows, i, 1),
	    pg_value(rows, i, 4),
	};

	r->window[r->sent].tick = pg_int(rows, i, 0);
	r->window[r->sent].id = pg_int(rows, i, 1);
	r->sent++;
	pg_query(r->link, r->lanes[0]->handler, values, singly_on_event, r);
}

static void
singly_send_window(struct runner *r, const struct pg_result *rows)
{
	size_t bytes = 0;
	int n = pg_rows(rows);

	if (n > r->room) {
		r->room = n;
		r->window =
		    mem_realloc(r->window, (size_t)n * sizeof(*r->window));
	}
	for (int i = 0; i < n; i++) {
		bytes += pg_length(rows, i, 4);
		if (i > 0 && bytes > SINGLY_WINDOW_BYTES)
			return;
		singly_send_event(r, rows, i);
	}
}

static void
singly_on_read(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	enum turn_failure failure;

	(void)link;
	if (!reply->ok) {
		failure = turn_classify(reply);
		if (failure == FAILURE_OWN)
			failure = FAILURE_TROUBLE;
		if (failure == FAILURE_TROUBLE)
			turn_say_trouble(
			    r, "cannot read its events", reply->error.message);
		turn_end_failed(r, failure);
	} else if (r->lanes[0]->gone || r->sub->child->draining) {
		turn_end(r, LANE_TURN_MORE, 0);
	} else if (pg_rows(reply->results[0]) == 0) {
		/* Or it waits: a delivery tells which. */
		r->lanes[0]->singly = 0;
		turn_end(r, LANE_TURN_MORE, 0);
	} else {
		singly_send_window(r, reply->results[0]);
	}
}

void
turn_singly(struct runner *r)
{
	struct number id, epoch, rows;
	const char *const values[] = {
	    number_text(&id, r->lanes[0]->id),
	    number_text(&epoch, r->lanes[0]->epoch),
	    number_text(&rows, r->lanes[0]->singly),
	};

	r->lanes[0]->tick = -1;
	pg_query(r->link, &singly_stmt_read, values, singly_on_read, r);
}
