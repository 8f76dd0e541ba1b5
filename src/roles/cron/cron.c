/*
 * The cron role: fires schedules whose slot has come.
 *
 * All runs over the control connection, in rounds: ask for what is due, plan
 * and fire it, ask how long to wait. The database's clock decides what is due
 * and its unique key that a slot fires once, so any number of cron processes
 * may do the same at the same time; no leader is needed (G23).
 *
 * Schedules with one slot to fire are fired together, in one transaction. If
 * that fails, for a reason that one of them has, each is fired by itself (G27).
 */
#include "roles/cron/cron_bad.h"
#include "roles/cron/cron_batch.h"
#include "roles/cron/cron_check.h"
#include "roles/cron/cron_misfire.h"
#include "roles/cron/cron_row.h"
#include "roles/cron/cron_zones.h"
#include "roles/role.h"

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/cron/cron_next.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A change is announced by NOTIFY; asking anew bounds the harm of one that is
 * lost, and of clocks that differ in speed. */
#define CRON_WAIT_MAX_MS 60000
/* After a failure, or with a schedule that cannot be run: it stays due. */
#define CRON_TROUBLE_MS 1000
/* After another process or transaction had some in hand: it may still. */
#define CRON_BEATEN_MS 50
/* Schedules in one round, and units of a round at once (G40). */
#define CRON_ROUND_ROWS  CRON_BATCH_MAX
#define CRON_ROUND_UNITS 1000

enum cron_state {
	CRON_IDLE,     /* the timer, a NOTIFY or the connection wakes it */
	CRON_ASKING,   /* cron_due is on its way */
	CRON_FIRING,   /* plans and firings are on their way */
	CRON_MEASURING /* cron_wait_ms is on its way */
};

struct cron {
	struct child *child;
	struct loop_timer timer;
	enum cron_state state;
	int in_flight;       /* units of the round without an answer */
	uint64_t n_fired;    /* since birth */
	bool again;          /* news came during the round */
	bool trouble;        /* something of the round failed */
	bool beaten;         /* another had some of the round in hand */
	char complaint[128]; /* logged last; "" after a good round */
	struct cron_bad bad;
	struct cron_zones zones;     /* of the round */
	struct cron_batch batch;     /* of the round */
	struct cron_firings firings; /* of the schedule in hand */
};

static const struct pg_stmt cron_stmt_wait = {
    "cron_wait", "select chimp.cron_wait_ms()", 0};
static const struct pg_stmt cron_stmt_plan = {
    "cron_plan", "select chimp.cron_plan($1, $2, $3)", 3};
static const struct pg_stmt cron_stmt_unreadable = {
    "cron_unreadable", "select chimp.cron_unreadable($1, $2, $3)", 3};
static const struct pg_stmt cron_stmt_skip = {
    "cron_skip", "select chimp.cron_skip($1, $2, $3)", 3};
static const struct pg_stmt cron_stmt_fire = {
    "cron_fire", "select chimp.cron_fire($1, $2, $3, $4, $5)", 5};
static const struct pg_stmt cron_stmt_fire_many = {"cron_fire_many",
    "select chimp.cron_fire_many($1, $2, $3, $4, $5)", CRON_BATCH_PARAMS};

/* Room for an int64_t as text. */
struct cron_number {
	char text[24];
};

static const char *
cron_number(struct cron_number *n, int64_t value)
{
	snprintf(n->text, sizeof(n->text), "%" PRId64, value);
	return n->text;
}

/* A trouble that lasts is said once, not with every round. */
static void
cron_complain(struct cron *cron, const char *what, const char *why)
{
	char text[256] = "";

	cron->trouble = true;
	snprintf(text, sizeof(text), "%s: %s", what, why);
	if (strncmp(text, cron->complaint, sizeof(cron->complaint) - 1) == 0)
		return;
	log_warn("%s; tried again every second", text);
	memcpy(cron->complaint, text, sizeof(cron->complaint) - 1);
}

static void
cron_wait(struct cron *cron, int64_t ms)
{
	if (ms > CRON_WAIT_MAX_MS)
		ms = CRON_WAIT_MAX_MS;
	if (cron->trouble && ms < CRON_TROUBLE_MS)
		ms = CRON_TROUBLE_MS;
	if (cron->beaten && ms < CRON_BEATEN_MS)
		ms = CRON_BEATEN_MS;
	if (cron->again)
		ms = 0;
	loop_timer_start(&cron->timer, ms);
}

static void
cron_idle(struct cron *cron)
{
	cron->state = CRON_IDLE;
	if (cron->child->draining)
		child_finished(cron->child);
}

static void
cron_on_wait_ms(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct cron *cron = arg;
	int64_t ms = CRON_WAIT_MAX_MS;

	(void)link;
	cron_idle(cron);
	if (reply->lost || cron->child->draining)
		return;
	if (!reply->ok)
		cron_complain(
		    cron, "cannot ask for the next slot", reply->error.message);
	else if (!pg_is_null(reply->results[0], 0, 0))
		ms = pg_int(reply->results[0], 0, 0);
	if (!cron->trouble)
		cron->complaint[0] = '\0';
	cron_wait(cron, ms);
}

/* Called after each answer of a round: goes on when all have come. */
static void
cron_advance(struct cron *cron)
{
	if (cron->in_flight > 0)
		return;
	if (cron->child->draining || !pg_link_ready(cron->child->control)) {
		cron_idle(cron);
		return;
	}
	cron->state = CRON_MEASURING;
	pg_query(
	    cron->child->control, &cron_stmt_wait, NULL, cron_on_wait_ms, cron);
}

static void
cron_on_answer(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct cron *cron = arg;

	(void)link;
	assert(cron->in_flight > 0);
	cron->in_flight--;
	if (!reply->ok && !reply->lost)
		cron_complain(
		    cron, "cannot fire a schedule", reply->error.message);
	cron_advance(cron);
}

/* Of what returns whether it was done. */
static void
cron_on_done(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct cron *cron = arg;

	/* No trouble: another was first, or has it in hand. */
	if (reply->ok && !pg_bool(reply->results[0], 0, 0))
		cron->beaten = true;
	cron_on_answer(link, reply, arg);
}

static void
cron_on_fired(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct cron *cron = arg;

	cron->n_fired += reply->ok && pg_bool(reply->results[0], 0, 0);
	cron_on_done(link, reply, arg);
}

static void
cron_send(struct cron *cron, const struct pg_stmt *stmt,
    const char *const *values, pg_done_fn *on_reply)
{
	cron->in_flight++;
	pg_query(cron->child->control, stmt, values, on_reply, cron);
}

/* cron_plan and cron_skip: move a schedule to its next slot, NULL = none. */
static void
cron_send_next(struct cron *cron, const struct pg_stmt *stmt,
    const struct cron_row *row, const int64_t *next_s)
{
	struct cron_number schedule, revision, next;
	const char *const values[] = {
	    cron_number(&schedule, row->schedule),
	    cron_number(&revision, row->revision),
	    next_s == NULL ? NULL : cron_number(&next, *next_s * 1000),
	};

	cron_send(cron, stmt, values, cron_on_done);
}

static void
cron_send_fire(struct cron *cron, const struct cron_shot *shot)
{
	struct cron_number schedule, revision, due, slot, next;
	const char *const values[] = {
	    cron_number(&schedule, shot->schedule),
	    cron_number(&revision, shot->revision),
	    cron_number(&due, shot->due_ms),
	    cron_number(&slot, shot->slot_s * 1000),
	    shot->ends ? NULL : cron_number(&next, shot->next_s * 1000),
	};

	cron_send(cron, &cron_stmt_fire, values, cron_on_fired);
}

static void
cron_on_fired_many(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct cron *cron = arg;

	if (reply->ok) {
		int64_t n = pg_int(reply->results[0], 0, 0);

		cron->n_fired += (uint64_t)n;
		if (n < cron->batch.count)
			cron->beaten = true;
	} else if (pg_link_ready(link) && !cron->child->draining) {
		/* The one that is at fault will say so itself. */
		for (int i = 0; i < cron->batch.count; i++)
			cron_send_fire(cron, &cron->batch.shots[i]);
	}
	cron->in_flight--;
	cron_advance(cron);
}

static void
cron_send_batch(struct cron *cron)
{
	struct strbuf params[CRON_BATCH_PARAMS] = {STRBUF_EMPTY};
	const char *values[CRON_BATCH_PARAMS];

	if (cron->batch.count == 0)
		return;
	cron_batch_params(&cron->batch, params);
	for (int i = 0; i < CRON_BATCH_PARAMS; i++)
		values[i] = strbuf_str(&params[i]);
	cron_send(cron, &cron_stmt_fire_many, values, cron_on_fired_many);
	for (int i = 0; i < CRON_BATCH_PARAMS; i++)
		strbuf_done(&params[i]);
}

/* One slot joins the batch. Several of a schedule go one after the other, and
 * none after one that has failed: it is due still. */
static void
cron_fire(struct cron *cron, const struct cron_row *row)
{
	const struct cron_firings *f = &cron->firings;

	for (int i = 0; i < f->count; i++) {
		bool last = i + 1 == f->count;
		struct cron_shot shot = {
		    .schedule = row->schedule,
		    .revision = row->revision,
		    .due_ms = i == 0 ? row->slot_ms : f->slots_s[i] * 1000,
		    .slot_s = f->slots_s[i],
		    .next_s = last ? f->next_s : f->slots_s[i + 1],
		    .ends = last && f->ends,
		};

		log_debug(
		    "schedule %s fires slot %" PRId64, row->name, shot.slot_s);
		if (f->count == 1)
			cron->batch.shots[cron->batch.count++] = shot;
		else
			cron_send_fire(cron, &shot);
	}
}

static void
cron_run(struct cron *cron, const struct cron_job *job)
{
	struct cron_firings *f = &cron->firings;
	const struct cron_row *row = job->row;
	int64_t now_s = row->now_ms / 1000;
	int64_t next_s;

	if (!row->planned) {
		int never = cron_next(&job->expr, job->zone, now_s, &next_s);

		cron_send_next(
		    cron, &cron_stmt_plan, row, never != 0 ? NULL : &next_s);
		return;
	}
	cron_firings(
	    &job->expr, job->zone, &job->policy, row->slot_ms / 1000, now_s, f);
	if (f->count == 0)
		cron_send_next(
		    cron, &cron_stmt_skip, row, f->ends ? NULL : &f->next_s);
	cron_fire(cron, row);
}

/* The text stays visible until somebody could read this revision. */
static void
cron_send_unreadable(
    struct cron *cron, const struct cron_row *row, const char *why)
{
	struct cron_number schedule, revision;
	const char *const values[] = {
	    cron_number(&schedule, row->schedule),
	    cron_number(&revision, row->revision),
	    why,
	};

	cron_send(cron, &cron_stmt_unreadable, values, cron_on_answer);
}

/*
 * A schedule that this binary or this machine's tzdata does not understand is
 * left for a process that does (G27). It stays due, so that this process looks
 * once a second instead of sleeping until the next slot.
 */
static void
cron_skip_bad(struct cron *cron, const struct cron_row *row, struct err *err)
{
	cron->trouble = true;
	if (!cron_bad_is_new(&cron->bad, row->schedule, row->revision))
		return;
	cron_send_unreadable(cron, row, err->message);
	err_prefix(err, "schedule \"%s\" is left out", row->name);
	log_err(LOG_LEVEL_ERROR, err);
}

static void
cron_run_rows(struct cron *cron, const struct pg_result *r)
{
	cron->batch.count = 0;
	for (int i = 0; i < pg_rows(r); i++) {
		struct cron_row row;
		struct cron_job job;
		struct err err;

		if (cron->in_flight >= CRON_ROUND_UNITS) {
			cron->again = true; /* the rest is still due then */
			break;
		}
		cron_row_read(&row, r, i);
		if (cron_job_open(&job, &row, &cron->zones, &err) != 0) {
			cron_skip_bad(cron, &row, &err);
			continue;
		}
		cron_run(cron, &job);
	}
	cron_zones_clear(&cron->zones);
	cron_send_batch(cron);
}

static void
cron_on_due(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct cron *cron = arg;

	cron->state = CRON_FIRING;
	if (!reply->ok && !reply->lost)
		cron_complain(
		    cron, "cannot ask for due schedules", reply->error.message);
	if (reply->ok && !cron->child->draining && pg_link_ready(link))
		cron_run_rows(cron, reply->results[0]);
	cron_advance(cron);
}

/* Begin a round, or remember to. */
static void
cron_look(struct cron *cron)
{
	struct cron_number rows;
	const char *const values[] = {cron_number(&rows, CRON_ROUND_ROWS)};

	if (cron->child->draining || !pg_link_ready(cron->child->control))
		return;
	if (cron->state != CRON_IDLE) {
		cron->again = true;
		return;
	}
	loop_timer_stop(&cron->timer);
	cron->again = false;
	cron->trouble = false;
	cron->beaten = false;
	cron->state = CRON_ASKING;
	pg_query(
	    cron->child->control, &cron_row_stmt, values, cron_on_due, cron);
}

static void
cron_on_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	cron_look(arg);
}

static int
cron_start(struct child *child, struct err *err)
{
	struct cron *cron = mem_zalloc(sizeof(*cron));

	(void)err;
	cron->child = child;
	cron_bad_init(&cron->bad);
	cron_zones_init(&cron->zones);
	loop_timer_init(&cron->timer, child->loop, cron_on_timer, cron);
	child->state = cron;
	return 0;
}

static void
cron_registered(struct child *child)
{
	cron_look(child->state);
}

static void
cron_db_lost(struct child *child)
{
	struct cron *cron = child->state;

	/* The registration on the new connection wakes it. */
	loop_timer_stop(&cron->timer);
}

static void
cron_notified(struct child *child, const char *channel, const char *payload)
{
	(void)channel;
	if (strcmp(payload, "schedules") == 0)
		cron_look(child->state);
}

static void
cron_drain(struct child *child, int64_t deadline_ms)
{
	struct cron *cron = child->state;

	/* A round is short: it ends by itself. */
	(void)deadline_ms;
	loop_timer_stop(&cron->timer);
	if (cron->state == CRON_IDLE)
		child_finished(child);
}

static void
cron_status(struct child *child, struct msg *heartbeat)
{
	struct cron *cron = child->state;

	heartbeat->busy = cron->state == CRON_FIRING ? 1 : 0;
	heartbeat->capacity = 1;
	heartbeat->done = cron->n_fired;
	snprintf(heartbeat->text, sizeof(heartbeat->text), "%s",
	    cron->complaint[0] != '\0' ? cron->complaint
				       : "watching schedules");
}

static const char *const cron_channels[] = {"chimp_control", NULL};

const struct role role_cron = {
    .name = "cron",
    .loop_new = loop_event_new,
    .check = cron_check_conf,
    .start = cron_start,
    .drain = cron_drain,
    .registered = cron_registered,
    .db_lost = cron_db_lost,
    .notified = cron_notified,
    .status = cron_status,
    .listen = cron_channels,
};
