/*
 * A runner: its connection, and how its turns begin and end. See runner.h.
 */
#include "roles/subscriber/turn.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Doubled with every conflict in a row. */
#define RUNNER_CONFLICT_MS     10
#define RUNNER_CONFLICT_MAX_MS 1000

/* --- the end of a turn --- */

enum turn_failure
turn_classify(const struct pg_reply *reply)
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

void
turn_say_trouble(struct runner *r, const char *what, const char *why)
{
	if (!r->lanes[0]->complained)
		log_warn("subscription %s: %s: %s; trying again every second",
		    r->lanes[0]->name, what, why);
	r->lanes[0]->complained = true;
}

void
turn_end(struct runner *r, enum lane_turn turn, int64_t delay_ms)
{
	int n = r->n_lanes;

	r->n_lanes = 0;
	turn_forget_error(r);
	for (int i = 0; i < n; i++)
		lane_turn_end(r->lanes[i], turn, r->tick, delay_ms);
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

void
turn_end_failed(struct runner *r, enum turn_failure failure)
{
	assert(failure != FAILURE_NONE && failure != FAILURE_OWN);
	switch (failure) {
	case FAILURE_NONE:
	case FAILURE_OWN:
		break; /* asserted above */
	case FAILURE_LOST:
		turn_end(r, LANE_TURN_MORE, 0);
		break;
	case FAILURE_STALE:
		log_debug("subscription %s: no longer ours", r->lanes[0]->name);
		turn_end(r, LANE_TURN_GONE, 0);
		break;
	case FAILURE_CONFLICT:
		turn_end(r, LANE_TURN_DELAY, runner_conflict_ms(r->lanes[0]));
		break;
	case FAILURE_TROUBLE:
		turn_end(r, LANE_TURN_DELAY, TURN_TROUBLE_MS);
		break;
	}
}

void
runner_start(struct runner *r)
{
	assert(runner_free(r));
	r->n_lanes = lanes_take(r->sub, r->lanes);
	if (r->n_lanes == 0)
		return;
	r->tick = r->sub->wake.newest;
	r->begun_ms = clock_mono_ms();
	r->sent = r->answered = 0;
	r->failure = FAILURE_NONE;
	if (r->lanes[0]->singly > 0)
		turn_singly(r);
	else
		turn_deliver(r);
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
	return r->n_lanes == 0 && r->link != NULL && pg_link_ready(r->link);
}

bool
runner_coming(const struct runner *r)
{
	return r->n_lanes == 0 && r->link != NULL && !pg_link_ready(r->link);
}

void
runner_stop(struct runner *r)
{
	pg_link_free(&r->link);
	assert(r->n_lanes == 0);
}
