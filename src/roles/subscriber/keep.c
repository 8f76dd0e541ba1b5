/*
 * What a subscriber does now and then. See subscriber.h.
 *
 * A lane that finds nothing for it in many ticks keeps its position in the
 * database all the while; whoever owns it next would look through them all
 * again. And the events' partitions go round.
 */
#include "roles/subscriber/subscriber.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <inttypes.h>

/* In beats of the claim, which are seconds. */
#define KEEP_SKIP_BEATS   10
#define KEEP_ROTATE_BEATS 20

static const struct pg_stmt keep_stmt_skip = {
    "lanes_skip", "select chimp.lanes_skip($1, $2, $3)", 3};
static const struct pg_stmt keep_stmt_rotate = {
    "events_rotate", "select chimp.events_rotate()", 0};

static void
keep_add(struct strbuf *b, int64_t value)
{
	strbuf_printf(b, "%s%" PRId64, b->length > 0 ? "," : "{", value);
}

static void
keep_skip(struct subscriber *sub)
{
	/* lanes, epochs, ticks */
	struct strbuf b[3] = {STRBUF_EMPTY, STRBUF_EMPTY, STRBUF_EMPTY};
	char *texts[3];
	struct list *n;

	LIST_FOREACH (n, &sub->by_state[LANE_IDLE]) {
		struct lane *lane = LIST_ENTRY(n, struct lane, state_node);

		if (!lane->skips)
			continue;
		lane->skips = false;
		lane->tick = lane->seen_tick;
		lane->event_id = INT64_MAX;
		keep_add(&b[0], lane->id);
		keep_add(&b[1], lane->epoch);
		keep_add(&b[2], lane->seen_tick);
	}
	if (b[0].length == 0)
		return;
	for (int i = 0; i < 3; i++) {
		strbuf_putc(&b[i], '}');
		texts[i] = strbuf_take(&b[i]);
	}
	/* Nothing depends on the answer: it is done again. */
	pg_query(sub->child->control, &keep_stmt_skip,
	    (const char *const *)texts, NULL, NULL);
	for (int i = 0; i < 3; i++)
		mem_free(&texts[i]);
}

static void
keep_on_rotated(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	(void)link;
	(void)arg;
	if (!reply->ok && !reply->lost)
		log_warn("cannot rotate the events: %s; trying again",
		    reply->error.message);
	else if (reply->ok && !pg_is_null(reply->results[0], 0, 0))
		log_info("events: %s", pg_value(reply->results[0], 0, 0));
}

void
keep_beat(struct subscriber *sub)
{
	if (!subscriber_open(sub))
		return;
	if (sub->claim.beats % KEEP_SKIP_BEATS == 0)
		keep_skip(sub);
	if (sub->claim.beats % KEEP_ROTATE_BEATS == 0)
		pg_query(sub->child->control, &keep_stmt_rotate, NULL,
		    keep_on_rotated, sub);
}
