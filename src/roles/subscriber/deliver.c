/*
 * Several events in one transaction, of one lane or of several that stand at
 * one position. See runner.h.
 */
#include "roles/subscriber/turn.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <inttypes.h>

/* Until a lane is looked at again that is paused, or whose former owner has
 * left its event to be retried. */
#define DELIVER_WAIT_MS 1000
/* What takes longer, in all and for each event, is done side by side, a lane
 * each. In all: as long as a delivery takes up events (chimp.deliver_ID). For
 * each: some ten times of what reading it costs, which is what being together
 * saves. */
#define DELIVER_QUICK_MS      20
#define DELIVER_EVENTS_PER_MS 10

static void
deliver_apart(struct runner *r)
{
	for (int i = 0; i < r->n_lanes; i++)
		r->lanes[i]->apart = true;
}

/* Who is guilty shows when they run one by one; none of them is charged. */
static void
deliver_failed(struct runner *r, const struct pg_reply *reply)
{
	enum turn_failure failure = turn_classify(reply);
	bool several = r->n_lanes > 1;

	if (failure == FAILURE_TROUBLE)
		turn_say_trouble(
		    r, "cannot run its handler", reply->error.message);
	/* Whose lane it is shows when each is by itself, then whose event. */
	if (several)
		deliver_apart(r);
	else if (failure == FAILURE_OWN || failure == FAILURE_CONFLICT)
		r->lanes[0]->singly = r->lanes[0]->batch;
	if (failure == FAILURE_OWN || (several && failure == FAILURE_STALE))
		turn_end(r, LANE_TURN_MORE, 0);
	else
		turn_end_failed(r, failure);
}

/* What an answer says of each lane. Columns: handled, more, alone, waits, tick,
 * event_id. */
static void
deliver_note(struct runner *r, const struct pg_result *answer)
{
	int64_t handled = pg_int(answer, 0, 0);
	int64_t took_ms = clock_mono_ms() - r->begun_ms;
	bool quick = took_ms < DELIVER_QUICK_MS ||
		     took_ms < handled / DELIVER_EVENTS_PER_MS;

	for (int i = 0; i < r->n_lanes; i++) {
		struct lane *lane = r->lanes[i];

		lane->tick = pg_int(answer, 0, 4);
		lane->event_id = pg_int(answer, 0, 5);
		if (!pg_is_null(answer, 0, 2) &&
		    pg_int(answer, 0, 2) == lane->number)
			lane->singly = 1;
		if (handled == 0)
			continue;
		lane->conflicts = 0;
		lane->complained = false;
		lane->apart = !quick;
	}
}

static void
deliver_on_answer(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	const struct pg_result *answer;

	(void)link;
	if (!reply->ok) {
		deliver_failed(r, reply);
		return;
	}
	answer = reply->results[0];
	if (pg_bool(answer, 0, 3)) {
		bool several = r->n_lanes > 1;

		deliver_apart(r);
		turn_end(r, several ? LANE_TURN_MORE : LANE_TURN_DELAY,
		    DELIVER_WAIT_MS);
		return;
	}
	r->sub->n_handled += (uint64_t)pg_int(answer, 0, 0);
	deliver_note(r, answer);
	turn_end(r, pg_bool(answer, 0, 1) ? LANE_TURN_MORE : LANE_TURN_DONE, 0);
}

void
turn_deliver(struct runner *r)
{
	struct strbuf lanes = STRBUF_EMPTY, epochs = STRBUF_EMPTY;
	char *values[2];

	for (int i = 0; i < r->n_lanes; i++) {
		char before = i == 0 ? '{' : ',';

		strbuf_printf(&lanes, "%c%" PRId64, before, r->lanes[i]->id);
		strbuf_printf(
		    &epochs, "%c%" PRId64, before, r->lanes[i]->epoch);
	}
	strbuf_putc(&lanes, '}');
	strbuf_putc(&epochs, '}');
	values[0] = strbuf_take(&lanes);
	values[1] = strbuf_take(&epochs);
	pg_query(r->link, r->lanes[0]->deliver, (const char *const *)values,
	    deliver_on_answer, r);
	mem_free(&values[0]);
	mem_free(&values[1]);
}
