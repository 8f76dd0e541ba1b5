/*
 * The subscriber role: delivers events to subscriptions, in order, each once.
 * See subscriber.h for its parts.
 */
#include "roles/subscriber/subscriber.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "roles/subscriber/runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *
number_text(struct number *n, int64_t value)
{
	snprintf(n->text, sizeof(n->text), "%" PRId64, value);
	return n->text;
}

bool
subscriber_open(const struct subscriber *sub)
{
	return !sub->child->draining && sub->child->registered &&
	       pg_link_ready(sub->child->control);
}

void
subscriber_complain(bool *said, const char *what, const char *why)
{
	if (!*said)
		log_warn("cannot %s: %s; trying again", what, why);
	*said = true;
}

static int
subscriber_owned(const struct subscriber *sub)
{
	int n = 0;

	for (int i = 0; i < LANE_STATES; i++)
		n += sub->n_lanes[i];
	return n;
}

/* A runner that can take a lane. Opens one more when all have one and there
 * are lanes enough; it comes later then, and NULL is returned. */
static struct runner *
subscriber_free_runner(struct subscriber *sub)
{
	bool coming = false;
	int i;

	for (i = 0; i < SUB_RUNNERS && sub->runners[i] != NULL; i++) {
		if (runner_free(sub->runners[i]))
			return sub->runners[i];
		coming = coming || runner_coming(sub->runners[i]);
	}
	if (!coming && i < SUB_RUNNERS && i < subscriber_owned(sub))
		sub->runners[i] = runner_new(sub, i);
	return NULL;
}

/* Lanes that are not in work go to others at once; when the last one's turn
 * is over, the process is done. */
static void
subscriber_drain_step(struct subscriber *sub)
{
	struct list *n, *tmp;

	LIST_FOREACH_SAFE (n, tmp, &sub->lanes) {
		struct lane *lane = LIST_ENTRY(n, struct lane, all_node);

		if (lane->state != LANE_WORKING)
			lane_release(lane);
	}
	if (list_empty(&sub->lanes))
		child_finished(sub->child);
}

void
subscriber_advance(struct subscriber *sub)
{
	struct runner *r;

	if (sub->child->draining) {
		subscriber_drain_step(sub);
		return;
	}
	while (!list_empty(&sub->by_state[LANE_QUEUED]) &&
	       (r = subscriber_free_runner(sub)) != NULL)
		runner_start(r);
}

static int
subscriber_start(struct child *child, struct err *err)
{
	struct subscriber *sub = mem_zalloc(sizeof(*sub));

	(void)err;
	sub->child = child;
	list_init(&sub->lanes);
	sql_handlers_init(&sub->deliveries, sql_handler_deliver);
	sql_handlers_init(&sub->handlers, sql_handler_event);
	for (int i = 0; i < LANE_STATES; i++)
		list_init(&sub->by_state[i]);
	wake_init(sub);
	claim_init(sub);
	child->state = sub;
	return 0;
}

static void
subscriber_registered(struct child *child)
{
	claim_now(child->state);
	wake_start(child->state);
}

static void
subscriber_forget_all(struct subscriber *sub)
{
	struct list *n, *tmp;

	LIST_FOREACH_SAFE (n, tmp, &sub->lanes)
		lane_forget(LIST_ENTRY(n, struct lane, all_node));
}

static void
subscriber_evicted(struct child *child)
{
	struct subscriber *sub = child->state;

	wake_stop(sub);
	claim_stop(sub);
	subscriber_forget_all(sub);
	subscriber_advance(sub);
}

/* The lanes stay ours until the lease ends, and the runners' connections may
 * well be alive. */
static void
subscriber_db_lost(struct child *child)
{
	wake_stop(child->state);
	claim_stop(child->state);
}

static void
subscriber_notified(
    struct child *child, const char *channel, const char *payload)
{
	struct subscriber *sub = child->state;

	if (strcmp(channel, "chimp_event") == 0) {
		wake_notified(sub, payload);
	} else if (strcmp(payload, "schedules") != 0) {
		wake_assert(sub);
		claim_now(sub);
	}
}

static void
subscriber_drain(struct child *child, int64_t deadline_ms)
{
	struct subscriber *sub = child->state;

	(void)deadline_ms;
	wake_stop(sub);
	claim_stop(sub);
	subscriber_advance(sub);
}

static void
subscriber_abandon(struct child *child)
{
	struct subscriber *sub = child->state;

	for (int i = 0; i < SUB_RUNNERS; i++)
		if (sub->runners[i] != NULL)
			runner_stop(sub->runners[i]);
}

static void
subscriber_status(struct child *child, struct msg *heartbeat)
{
	const struct subscriber *sub = child->state;

	heartbeat->busy = (uint32_t)sub->n_lanes[LANE_WORKING];
	heartbeat->done = sub->n_handled;
	heartbeat->capacity = SUB_RUNNERS;
	snprintf(heartbeat->text, sizeof(heartbeat->text),
	    "%d lanes: %d in work, %d waiting, %d to be retried",
	    subscriber_owned(sub), sub->n_lanes[LANE_WORKING],
	    sub->n_lanes[LANE_QUEUED], sub->n_lanes[LANE_DELAYED]);
}

static const char *const subscriber_channels[] = {
    "chimp_event", "chimp_control", NULL};

const struct role role_subscriber = {
    .name = "subscriber",
    .loop_new = loop_event_new,
    .start = subscriber_start,
    .drain = subscriber_drain,
    .abandon = subscriber_abandon,
    .registered = subscriber_registered,
    .evicted = subscriber_evicted,
    .db_lost = subscriber_db_lost,
    .notified = subscriber_notified,
    .status = subscriber_status,
    .listen = subscriber_channels,
};
