/*
 * The cron role: fires schedules whose slot has come.
 *
 * All runs over the control connection, in rounds: ask for what is due, plan
 * and fire it, ask how long to wait. The database's clock decides what is due
 * and its unique key that a slot fires once, so any number of cron processes
 * may do the same at the same time; no leader is needed (G23).
 */
#include "roles/cron/cron_check.h"
#include "roles/cron/cron_misfire.h"
#include "roles/role.h"

#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/cron/cron_expr.h"
#include "common/cron/cron_next.h"
#include "common/cron/cron_zone.h"

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
/* Schedules in one round, and units of a round at once (G40). */
#define CRON_ROUND_ROWS  1000
#define CRON_ROUND_UNITS 1000

enum cron_state {
	CRON_IDLE,     /* the timer, a NOTIFY or the connection wakes it */
	CRON_ASKING,   /* cron_due is on its way */
	CRON_FIRING,   /* plans and firings are on their way */
	CRON_MEASURING /* cron_wait_ms is on its way */
};

/* A schedule that was complained about. */
struct cron_bad {
	struct list node;
	int64_t schedule;
	int64_t revision;
};

struct cron {
	struct child *child;
	struct loop_timer timer;
	enum cron_state state;
	int in_flight;               /* units of the round without an answer */
	uint64_t n_fired;            /* since birth */
	bool again;                  /* news came during the round */
	bool trouble;                /* something of the round failed */
	char complaint[128];         /* logged last; "" after a good round */
	struct list bad;             /* struct cron_bad */
	struct cron_firings firings; /* of the schedule in hand */
};

/* A row of cron_due. */
struct cron_row {
	int64_t schedule;
	int64_t revision;
	const char *name;
	const char *expression;
	const char *timezone;
	const char *misfire;
	bool planned;
	int64_t slot_ms; /* if planned */
	int64_t now_ms;
};

/* A row with its texts understood. */
struct cron_job {
	const struct cron_row *row;
	struct cron_expr expr;
	struct cron_policy policy;
	struct cron_zone *zone;
};

static const struct pg_stmt cron_stmt_due = {"cron_due",
    "select schedule, revision, name, expression, timezone, misfire, "
    "slot_ms, now_ms from chimp.cron_due($1)",
    1};
static const struct pg_stmt cron_stmt_wait = {
    "cron_wait", "select chimp.cron_wait_ms()", 0};
static const struct pg_stmt cron_stmt_plan = {
    "cron_plan", "select chimp.cron_plan($1, $2, $3)", 3};
static const struct pg_stmt cron_stmt_unreadable = {
    "cron_unreadable", "select chimp.cron_unreadable($1, $2, $3)", 3};
static const struct pg_stmt cron_stmt_skip = {
    "cron_skip", "select chimp.cron_skip($1, $2, $3)", 3};
static const struct pg_stmt cron_stmt_fire = {
    "cron_fire", "select chimp.cron_fire($1, $2, $3, $4)", 4};

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
	/* A false result is no trouble: another process was first. */
	if (!reply->ok && !reply->lost)
		cron_complain(
		    cron, "cannot fire a schedule", reply->error.message);
	cron_advance(cron);
}

static void
cron_on_fired(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct cron *cron = arg;

	cron->n_fired += reply->ok && pg_bool(reply->results[0], 0, 0);
	cron_on_answer(link, reply, arg);
}

static void
cron_send(
    struct cron *cron, const struct pg_stmt *stmt, const char *const *values)
{
	cron->in_flight++;
	pg_query(cron->child->control, stmt, values, cron_on_answer, cron);
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

	cron_send(cron, stmt, values);
}

static void
cron_send_fire(struct cron *cron, const struct cron_row *row, int64_t slot_s,
    const int64_t *next_s)
{
	struct cron_number schedule, revision, slot, next;
	const char *const values[] = {
	    cron_number(&schedule, row->schedule),
	    cron_number(&revision, row->revision),
	    cron_number(&slot, slot_s * 1000),
	    next_s == NULL ? NULL : cron_number(&next, *next_s * 1000),
	};

	cron->in_flight++;
	pg_query(
	    cron->child->control, &cron_stmt_fire, values, cron_on_fired, cron);
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
	for (int i = 0; i < f->count; i++) {
		bool last = i + 1 == f->count;
		int64_t *next = last ? &f->next_s : &f->slots_s[i + 1];

		log_debug("schedule %s fires slot %" PRId64, row->name,
		    f->slots_s[i]);
		cron_send_fire(
		    cron, row, f->slots_s[i], last && f->ends ? NULL : next);
	}
}

static int
cron_job_open(struct cron_job *job, const struct cron_row *row, struct err *err)
{
	job->row = row;
	if (cron_expr_parse(row->expression, &job->expr, err) != 0 ||
	    cron_policy_parse(row->misfire, &job->policy, err) != 0)
		return -1;
	job->zone = cron_zone_load(row->timezone, err);
	return job->zone == NULL ? -1 : 0;
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

	cron_send(cron, &cron_stmt_unreadable, values);
}

/* True the first time that this revision of the schedule is seen. */
static bool
cron_bad_is_new(struct cron *cron, const struct cron_row *row)
{
	struct cron_bad *bad = NULL;
	struct list *n;

	LIST_FOREACH (n, &cron->bad) {
		bad = LIST_ENTRY(n, struct cron_bad, node);
		if (bad->schedule == row->schedule)
			break;
		bad = NULL;
	}
	if (bad == NULL) {
		bad = mem_zalloc(sizeof(*bad));
		bad->schedule = row->schedule;
		list_append(&cron->bad, &bad->node);
	}
	if (bad->revision == row->revision)
		return false;
	bad->revision = row->revision;
	return true;
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
	if (!cron_bad_is_new(cron, row))
		return;
	cron_send_unreadable(cron, row, err->message);
	err_prefix(err, "schedule \"%s\" is left out", row->name);
	log_err(LOG_LEVEL_ERROR, err);
}

static void
cron_read_row(const struct pg_result *r, int i, struct cron_row *row)
{
	row->schedule = pg_int(r, i, 0);
	row->revision = pg_int(r, i, 1);
	row->name = pg_value(r, i, 2);
	row->expression = pg_value(r, i, 3);
	row->timezone = pg_value(r, i, 4);
	row->misfire = pg_value(r, i, 5);
	row->planned = !pg_is_null(r, i, 6);
	row->slot_ms = row->planned ? pg_int(r, i, 6) : 0;
	row->now_ms = pg_int(r, i, 7);
}

static void
cron_run_rows(struct cron *cron, const struct pg_result *r)
{
	for (int i = 0; i < pg_rows(r); i++) {
		struct cron_row row;
		struct cron_job job;
		struct err err;

		if (cron->in_flight >= CRON_ROUND_UNITS) {
			cron->again = true; /* the rest is still due then */
			return;
		}
		cron_read_row(r, i, &row);
		if (cron_job_open(&job, &row, &err) != 0) {
			cron_skip_bad(cron, &row, &err);
			continue;
		}
		cron_run(cron, &job);
		cron_zone_free(&job.zone);
	}
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
	cron->state = CRON_ASKING;
	pg_query(
	    cron->child->control, &cron_stmt_due, values, cron_on_due, cron);
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
	list_init(&cron->bad);
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
