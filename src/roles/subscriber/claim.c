/*
 * Which lanes are ours. See subscriber.h.
 *
 * Once a second, and when processes or registrations change, the database is
 * asked: it gives free lanes up to our fair share and takes surplus ones back,
 * and its answer is all that we own.
 */
#include "roles/subscriber/subscriber.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM_BEAT_MS 1000
/* Lanes in work are offered as well with every so many beats: under constant
 * load none is ever idle, and a new process would wait for ever. One that is
 * taken costs the events in flight a refusal and a new start elsewhere. */
#define CLAIM_ALL_BEATS 10
#define CLAIM_BATCH_MAX 1000

static const struct pg_stmt claim_stmt = {"lanes_claim",
    "select lane, epoch, subscription, number, handler, batch, "
    "subscription_id, retry_ms, tick, event_id, owned "
    "from chimp.lanes_claim($1, $2)",
    2};

static void
claim_row(struct subscriber *sub, const struct pg_result *r, int i)
{
	struct lane_claim claim = {
	    .id = pg_int(r, i, 0),
	    .epoch = pg_int(r, i, 1),
	    .subscription = pg_value(r, i, 2),
	    .number = (int)pg_int(r, i, 3),
	    .handler = sql_handlers_get(&sub->handlers, pg_value(r, i, 4)),
	    .batch = (int)pg_int(r, i, 5),
	    .retry_ms = pg_int(r, i, 7),
	    .tick = pg_int(r, i, 8),
	    .event_id = pg_int(r, i, 9),
	    .owned = (int)pg_int(r, i, 10),
	    .deliver = sql_handlers_get(&sub->deliveries, pg_value(r, i, 6)),
	};
	struct lane *lane = lane_find(sub, claim.id);

	if (claim.handler == NULL || claim.deliver == NULL) {
		subscriber_complain(&sub->claim.complained, "run a handler",
		    "its name is no schema.function");
		return;
	}
	if (claim.batch < 1)
		claim.batch = 1;
	if (claim.batch > CLAIM_BATCH_MAX)
		claim.batch = CLAIM_BATCH_MAX;
	if (lane != NULL)
		lane_update(lane, &claim);
	else
		lane_new(sub, &claim);
}

static void
claim_rows(struct subscriber *sub, const struct pg_result *r)
{
	struct list *n, *tmp;

	LIST_FOREACH (n, &sub->lanes)
		LIST_ENTRY(n, struct lane, all_node)->listed = false;
	for (int i = 0; i < pg_rows(r); i++)
		claim_row(sub, r, i);
	LIST_FOREACH_SAFE (n, tmp, &sub->lanes) {
		struct lane *lane = LIST_ENTRY(n, struct lane, all_node);

		if (!lane->listed)
			lane_forget(lane);
	}
}

static void
claim_on_answer(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct subscriber *sub = arg;

	(void)link;
	sub->claim.asking = false;
	if (reply->lost || !subscriber_open(sub))
		return;
	loop_timer_start(&sub->claim.timer, CLAIM_BEAT_MS);
	if (!reply->ok) {
		subscriber_complain(&sub->claim.complained, "claim lanes",
		    reply->error.message);
		return;
	}
	sub->claim.complained = false;
	claim_rows(sub, reply->results[0]);
	subscriber_advance(sub);
	if (sub->claim.again)
		claim_now(sub);
}

/* An array of the lanes that may be taken from us; the caller frees it. */
static char *
claim_offer(struct subscriber *sub, bool all)
{
	struct strbuf b = STRBUF_EMPTY;
	struct list *n;

	strbuf_putc(&b, '{');
	LIST_FOREACH (n, &sub->lanes) {
		struct lane *lane = LIST_ENTRY(n, struct lane, all_node);

		if (lane->state == LANE_WORKING && !all)
			continue;
		strbuf_printf(
		    &b, "%s%" PRId64, b.length > 1 ? "," : "", lane->id);
	}
	strbuf_putc(&b, '}');
	return strbuf_take(&b);
}

void
claim_now(struct subscriber *sub)
{
	const char *values[2] = {sub->child->birth->id, NULL};
	char *offer;

	if (!subscriber_open(sub))
		return;
	if (sub->claim.asking) {
		sub->claim.again = true;
		return;
	}
	sub->claim.again = false;
	sub->claim.asking = true;
	loop_timer_stop(&sub->claim.timer);
	offer = claim_offer(sub, sub->claim.beats % CLAIM_ALL_BEATS == 0);
	values[1] = offer;
	pg_query(
	    sub->child->control, &claim_stmt, values, claim_on_answer, sub);
	mem_free(&offer);
}

static void
claim_on_timer(struct loop_timer *timer, void *arg)
{
	struct subscriber *sub = arg;

	(void)timer;
	sub->claim.beats++;
	claim_now(sub);
	keep_beat(sub);
}

void
claim_init(struct subscriber *sub)
{
	loop_timer_init(
	    &sub->claim.timer, sub->child->loop, claim_on_timer, sub);
}

void
claim_stop(struct subscriber *sub)
{
	loop_timer_stop(&sub->claim.timer);
}
