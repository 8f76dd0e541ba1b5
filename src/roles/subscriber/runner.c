/*
 * A runner's turn at a lane. See runner.h.
 *
 *	deliver -> the end of the turn
 *	read -> events in flight -> (lane_fail) -> the end of the turn
 */
#include "roles/subscriber/runner.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "roles/subscriber/subscriber.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of events in flight; the rest of a window is read again (G40). */
#define RUNNER_WINDOW_BYTES (4 * 1024 * 1024)
/* After an error that is not an event's own: the server is in trouble. */
#define RUNNER_TROUBLE_MS 1000
/* Until a lane is looked at again that is paused, or whose former owner has
 * left its event to be retried. */
#define RUNNER_WAIT_MS 1000
/* Doubled with every conflict in a row. */
#define RUNNER_CONFLICT_MS     10
#define RUNNER_CONFLICT_MAX_MS 1000

/* What stopped a window. */
enum runner_failure {
	FAILURE_NONE,
	FAILURE_LOST,     /* the connection died: the cursor knows how far */
	FAILURE_STALE,    /* CH001: the lane is another's, or paused */
	FAILURE_CONFLICT, /* the event is innocent: serialization, deadlock */
	FAILURE_TROUBLE,  /* the server cannot now: out of something */
	FAILURE_OWN       /* the event's handler failed: charged */
};

struct runner_position {
	int64_t tick;
	int64_t id;
};

struct runner {
	struct subscriber *sub;
	struct pg_link *link;
	struct lane *lane; /* NULL between turns */
	int64_t tick;      /* newest tick known when the lane was read */
	struct runner_position *window; /* the events sent, in order */
	int room;                       /* of window */
	int sent;
	int answered; /* the first of them; answers come in order */
	enum runner_failure failure; /* of the first event that failed */
	struct runner_position failed;
	char *error[5]; /* FAILURE_OWN: sqlstate, message, detail, hint,
			 * context; NULL where there is none */
};

static const struct pg_stmt runner_stmt_read = {"lane_read",
    "select tick, id, from_tick, from_id, event "
    "from chimp.lane_read($1, $2, $3)",
    3};
static const struct pg_stmt runner_stmt_fail = {"lane_fail",
    "select action, delay_ms from "
    "chimp.lane_fail($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    9};

/* --- errors --- */

static enum runner_failure
runner_classify(const struct pg_reply *reply)
{
	const char *s = reply->error.sqlstate;

	if (reply->lost)
		return FAILURE_LOST;
	if (strcmp(s, "CH001") == 0)
		return FAILURE_STALE;
	if (strcmp(s, "40001") == 0 || strcmp(s, "40P01") == 0)
		return FAILURE_CONFLICT;
	/* Connection, resources, operator, system: not 57014, which is the
	 * statement's own time-out. */
	if (strncmp(s, "08", 2) == 0 || strncmp(s, "53", 2) == 0 ||
	    strncmp(s, "57P", 3) == 0 || strncmp(s, "58", 2) == 0)
		return FAILURE_TROUBLE;
	return FAILURE_OWN;
}

static void
runner_forget_error(struct runner *r)
{
	for (size_t i = 0; i < sizeof(r->error) / sizeof(r->error[0]); i++)
		mem_free(&r->error[i]);
}

static void
runner_keep_error(struct runner *r, const struct pg_error *e)
{
	const char *const texts[] = {
	    e->sqlstate, e->message, e->detail, e->hint, e->context};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		r->error[i] = texts[i] == NULL ? NULL : mem_strdup(texts[i]);
}

/* Said once until the lane works again. */
static void
runner_say_trouble(struct runner *r, const char *what, const char *why)
{
	if (!r->lane->complained)
		log_warn("subscription %s: %s: %s; trying again every second",
		    r->lane->name, what, why);
	r->lane->complained = true;
}

/* --- the end of a turn --- */

static void
runner_end(struct runner *r, enum lane_turn turn, int64_t delay_ms)
{
	struct lane *lane = r->lane;

	r->lane = NULL;
	runner_forget_error(r);
	lane_turn_end(lane, turn, r->tick, delay_ms);
	subscriber_advance(r->sub);
}

static int64_t
runner_conflict_ms(struct lane *lane)
{
	int64_t ms = RUNNER_CONFLICT_MS;

	for (unsigned int i = 0;
	     i < lane->conflicts && ms < RUNNER_CONFLICT_MAX_MS; i++)
		ms *= 2;
	lane->conflicts++;
	return ms < RUNNER_CONFLICT_MAX_MS ? ms : RUNNER_CONFLICT_MAX_MS;
}

/* End a turn that `failure` stopped, any but FAILURE_OWN. */
static void
runner_end_failed(struct runner *r, enum runner_failure failure)
{
	assert(failure != FAILURE_NONE && failure != FAILURE_OWN);
	switch (failure) {
	case FAILURE_NONE:
	case FAILURE_OWN:
		break; /* asserted above */
	case FAILURE_LOST:
		runner_end(r, LANE_TURN_MORE, 0);
		break;
	case FAILURE_STALE:
		log_debug("subscription %s: no longer ours", r->lane->name);
		runner_end(r, LANE_TURN_GONE, 0);
		break;
	case FAILURE_CONFLICT:
		runner_end(r, LANE_TURN_DELAY, runner_conflict_ms(r->lane));
		break;
	case FAILURE_TROUBLE:
		runner_end(r, LANE_TURN_DELAY, RUNNER_TROUBLE_MS);
		break;
	}
}

/* --- an event failed --- */

static void
runner_failed(struct runner *r, const char *action, int64_t delay_ms)
{
	const char *name = r->lane->name;
	const char *why = r->error[1];
	int64_t id = r->failed.id;

	if (strcmp(action, "retry") == 0) {
		log_warn("subscription %s: event %" PRId64 " failed: %s "
			 "(%s); trying again in %" PRId64 " ms",
		    name, id, why, r->error[0], delay_ms);
		runner_end(r, LANE_TURN_DELAY, delay_ms + 1);
	} else if (strcmp(action, "parked") == 0) {
		log_error("subscription %s: event %" PRId64 " failed for the "
			  "last time: %s (%s); it is a dead event now",
		    name, id, why, r->error[0]);
		runner_end(r, LANE_TURN_MORE, 0);
	} else {
		log_error("subscription %s: event %" PRId64 " failed for the "
			  "last time: %s (%s); the lane is paused",
		    name, id, why, r->error[0]);
		runner_end(r, LANE_TURN_GONE, 0);
	}
}

static void
runner_on_fail(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	enum runner_failure failure;

	(void)link;
	if (reply->ok) {
		const struct pg_result *result = reply->results[0];

		runner_failed(r, pg_value(result, 0, 0), pg_int(result, 0, 1));
		return;
	}
	failure = runner_classify(reply);
	if (failure == FAILURE_OWN) {
		runner_say_trouble(
		    r, "cannot record a failure", reply->error.message);
		failure = FAILURE_TROUBLE;
	}
	runner_end_failed(r, failure);
}

static void
runner_send_fail(struct runner *r)
{
	struct number lane, epoch, tick, id;
	const char *const values[] = {
	    number_text(&lane, r->lane->id),
	    number_text(&epoch, r->lane->epoch),
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
		runner_end_failed(r, FAILURE_LOST);
		return;
	}
	pg_query(r->link, &runner_stmt_fail, values, runner_on_fail, r);
}

/* --- events in flight --- */

/* All that was sent has its answer. */
static void
runner_settle(struct runner *r)
{
	if (r->failure == FAILURE_NONE)
		runner_end(r, LANE_TURN_MORE, 0);
	else if (r->failure == FAILURE_OWN && !r->lane->gone)
		runner_send_fail(r);
	else
		runner_end_failed(
		    r, r->failure == FAILURE_OWN ? FAILURE_STALE : r->failure);
}

static void
runner_on_event(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;

	(void)link;
	assert(r->answered < r->sent);
	if (reply->ok) {
		r->sub->n_handled++;
		if (r->lane->singly > 0)
			r->lane->singly--;
		/* Even after a failure, when a backend whose client died had
		 * handled the failed one: the cursor stood right. */
		r->lane->conflicts = 0;
		r->lane->complained = false;
	} else if (r->failure == FAILURE_NONE) {
		r->failure = runner_classify(reply);
		r->failed = r->window[r->answered];
		if (r->failure == FAILURE_OWN)
			runner_keep_error(r, &reply->error);
		if (r->failure == FAILURE_TROUBLE)
			runner_say_trouble(
			    r, "cannot run its handler", reply->error.message);
	}
	if (++r->answered == r->sent)
		runner_settle(r);
}

/* Send row i of a window; its columns are those of runner_stmt_read. */
static void
runner_send_event(struct runner *r, const struct pg_result *rows, int i)
{
	struct number lane, epoch;
	const char *const values[] = {
	    number_text(&lane, r->lane->id),
	    number_text(&epoch, r->lane->epoch),
	    pg_value(rows, i, 2),
	    pg_value(rows, i, 3),
	    pg_value(rows, i, 0),
	    pg_value(rows, i, 1),
	    pg_value(rows, i, 4),
	};

	r->window[r->sent].tick = pg_int(rows, i, 0);
	r->window[r->sent].id = pg_int(rows, i, 1);
	r->sent++;
	pg_query(r->link, r->lane->handler, values, runner_on_event, r);
}

static void
runner_send_window(struct runner *r, const struct pg_result *rows)
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
		if (i > 0 && bytes > RUNNER_WINDOW_BYTES)
			return;
		runner_send_event(r, rows, i);
	}
}

static void
runner_on_read(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	enum runner_failure failure;

	(void)link;
	if (!reply->ok) {
		failure = runner_classify(reply);
		if (failure == FAILURE_OWN)
			failure = FAILURE_TROUBLE;
		if (failure == FAILURE_TROUBLE)
			runner_say_trouble(
			    r, "cannot read its events", reply->error.message);
		runner_end_failed(r, failure);
	} else if (r->lane->gone || r->sub->child->draining) {
		runner_end(r, LANE_TURN_MORE, 0);
	} else if (pg_rows(reply->results[0]) == 0) {
		/* Or it waits: a delivery tells which. */
		r->lane->singly = 0;
		runner_end(r, LANE_TURN_MORE, 0);
	} else {
		runner_send_window(r, reply->results[0]);
	}
}

static void
runner_read(struct runner *r)
{
	struct number id, epoch, rows;
	const char *const values[] = {
	    number_text(&id, r->lane->id),
	    number_text(&epoch, r->lane->epoch),
	    number_text(&rows, r->lane->singly),
	};

	pg_query(r->link, &runner_stmt_read, values, runner_on_read, r);
}

/* --- several events at once --- */

/* Who is guilty shows when they run one by one; none of them is charged. */
static void
runner_delivery_failed(struct runner *r, const struct pg_reply *reply)
{
	enum runner_failure failure = runner_classify(reply);

	if (failure == FAILURE_OWN || failure == FAILURE_CONFLICT)
		r->lane->singly = r->lane->batch;
	if (failure == FAILURE_TROUBLE)
		runner_say_trouble(
		    r, "cannot run its handler", reply->error.message);
	if (failure == FAILURE_OWN)
		runner_end(r, LANE_TURN_MORE, 0);
	else
		runner_end_failed(r, failure);
}

/* Columns: handled, more, alone, waits. */
static void
runner_on_delivered(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	int64_t handled;

	(void)link;
	if (!reply->ok) {
		runner_delivery_failed(r, reply);
		return;
	}
	handled = pg_int(reply->results[0], 0, 0);
	r->sub->n_handled += (uint64_t)handled;
	if (handled > 0) {
		r->lane->conflicts = 0;
		r->lane->complained = false;
	}
	if (pg_bool(reply->results[0], 0, 2))
		r->lane->singly = 1;
	if (pg_bool(reply->results[0], 0, 3))
		runner_end(r, LANE_TURN_DELAY, RUNNER_WAIT_MS);
	else if (pg_bool(reply->results[0], 0, 1))
		runner_end(r, LANE_TURN_MORE, 0);
	else
		runner_end(r, LANE_TURN_DONE, 0);
}

static void
runner_deliver(struct runner *r)
{
	struct number id, epoch;
	const char *const values[] = {
	    number_text(&id, r->lane->id),
	    number_text(&epoch, r->lane->epoch),
	};

	pg_query(r->link, r->lane->deliver, values, runner_on_delivered, r);
}

void
runner_start(struct runner *r, struct lane *lane)
{
	assert(runner_free(r));
	r->lane = lane;
	r->tick = r->sub->wake.newest;
	r->sent = r->answered = 0;
	r->failure = FAILURE_NONE;
	if (lane->singly > 0)
		runner_read(r);
	else
		runner_deliver(r);
}

/* --- the connection --- */

static void
runner_on_ready(struct pg_link *link, void *arg)
{
	struct runner *r = arg;

	(void)link;
	subscriber_advance(r->sub);
}

struct runner *
runner_new(struct subscriber *sub, int number)
{
	const struct birth *birth = sub->child->birth;
	struct runner *r = mem_zalloc(sizeof(*r));
	char *name = mem_printf(
	    "chimpd/%s/%d@%s", sub->child->name, number, birth->conf->node);
	struct pg_link_opts opts = {
	    .loop = sub->child->loop,
	    .conninfo = birth->conf->database.url,
	    .application_name = name,
	    .connect_timeout_ms = birth->conf->database.connect_timeout_ms,
	    .statement_timeout_ms = birth->conf->database.statement_timeout_ms,
	    .quiet = true, /* the control connection says it */
	    .on_ready = runner_on_ready,
	    .arg = r,
	};

	r->sub = sub;
	r->link = pg_link_new(&opts);
	free(name);
	return r;
}

bool
runner_free(const struct runner *r)
{
	return r->lane == NULL && r->link != NULL && pg_link_ready(r->link);
}

bool
runner_coming(const struct runner *r)
{
	return r->lane == NULL && r->link != NULL && !pg_link_ready(r->link);
}

void
runner_stop(struct runner *r)
{
	pg_link_free(&r->link);
	assert(r->lane == NULL);
}
