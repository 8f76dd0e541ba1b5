/*
 * When and what to claim, over the control connection. One question is in
 * flight at a time: the queues that this process serves, or a claim.
 *
 * Which queues to look at, and when, worker_queue.c knows.
 *
 * Most looks begin where those of 100 ms before ended (struct queue's floor):
 * what was claimed stays in the index for as long as any transaction may want
 * to see it, and is walked over by a look from the beginning. Those find jobs
 * that came late or back; the longer one takes, the rarer they are.
 *
 * While a process finds jobs, the others sleep and nobody sends a NOTIFY: it
 * will look again. When it has no room to, it says so (hand_over).
 */
#include "roles/worker/worker.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CLAIM_TROUBLE_MS = 1000,
	/* The longest time between two hand_over, as a power of two. */
	CLAIM_HAND_OVERS_MAX = 3
};

/* clang-format off */
static const struct pg_stmt stmt_served_queues = { "served_queues",
	"select id, name, limited from chimp.served_queues($1)", 1 };
static const struct pg_stmt stmt_claim = { "claim",
	"select token, queue_id, queue, handler, timeout_ms, group_max, floor, jobs"
	" from chimp.claim($1, $2, $3, $4, $5, $6, $7)", 7 };
static const struct pg_stmt stmt_claim_suspect = { "claim_suspect",
	"select token, queue_id, queue, handler, timeout_ms, group_max, floor, jobs"
	" from chimp.claim_suspect($1, $2)", 2 };
static const struct pg_stmt stmt_next_due = { "next_due_ms",
	"select chimp.next_due_ms($1)", 1 };
static const struct pg_stmt stmt_hand_over = { "hand_over",
	"select chimp.hand_over($1)", 1 };
static const struct pg_stmt stmt_give_back = { "process_end",
	"select chimp.process_end($1)", 1 };
/* clang-format on */

/* Nothing is asked for a while, or until the next registration. */
static void
claim_pause(struct worker *w)
{
	w->trouble_us = clock_mono_us() + CLAIM_TROUBLE_MS * 1000;
}

/* Declared dead: evicted follows. */
static void
claim_refused(struct worker *w)
{
	claim_pause(w);
	child_renew(w->child);
}

static void
claim_trouble(struct worker *w, const char *what, const struct pg_error *error)
{
	if (!w->said_trouble)
		log_error("cannot %s: %s%s%s; trying again every second", what,
		    error->message, error->hint != NULL ? "; " : "",
		    error->hint != NULL ? error->hint : "");
	w->said_trouble = true;
	w->refresh = true;
	claim_pause(w);
}

/* There is something to do at that time. */
static void
claim_arm(struct worker *w, int64_t now_us, int64_t at_us)
{
	if (w->look_timer.armed && w->timer_us <= at_us)
		return;
	w->timer_us = at_us;
	loop_timer_start(
	    &w->look_timer, at_us > now_us ? (at_us - now_us + 999) / 1000 : 0);
}

/* --- the queues --- */

static void
claim_on_queues(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct worker *w = arg;

	(void)link;
	w->asking = false;
	if (reply->lost)
		return;
	if (!reply->ok) {
		claim_trouble(w, "learn which queues to serve", &reply->error);
	} else if (queues_serve(w, reply->results[0])) {
		log_debug("serving the queues %s", w->served_ids);
		queues_look(w);
	}
	worker_advance(w);
}

static void
claim_ask_queues(struct worker *w)
{
	const char *values[] = {w->child->birth->id};

	w->refresh = false;
	w->asking = true;
	w->poll_us =
	    worker_relook_us(clock_mono_us(), w->phase_us, WORKER_POLLS);
	pg_query(
	    w->child->control, &stmt_served_queues, values, claim_on_queues, w);
}

/* --- claims --- */

static void
claim_took(struct worker *w, const struct pg_reply *reply)
{
	int64_t now_us = clock_mono_us(), due_ms;
	int n = pg_rows(reply->results[0]);

	w->said_trouble = w->handed_over = false;
	queues_looked(w, now_us);
	for (int i = 0; i < n; i++)
		queue_got(job_new(w, reply->results[0], i)->queue);
	if (n < w->asked)
		queues_exhausted(w, w->asked, now_us);
	if (reply->n_results == 1)
		return;
	/* Already due is what the claim has left: its queue is paused. */
	due_ms = pg_is_null(reply->results[1], 0, 0)
		     ? 0
		     : pg_int(reply->results[1], 0, 0);
	w->due_us = due_ms > 0 ? now_us + due_ms * 1000 : 0;
}

static void
claim_on_reply(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct worker *w = arg;

	(void)link;
	w->asking = false;
	if (reply->lost) {
		w->lost_claim = true;
		return;
	}
	if (reply->ok)
		claim_took(w, reply);
	else if (strcmp(reply->error.sqlstate, "CH001") == 0)
		claim_refused(w);
	else
		claim_trouble(w, "claim jobs", &reply->error);
	worker_advance(w);
}

static void
claim_ask(struct worker *w, int n)
{
	char count[16], *ids, *groups, *limits, *floors, *rests;

	w->asked = n;
	w->asked_us = clock_mono_us();
	queues_begin(w, w->asked_us);
	w->asking = true;
	snprintf(count, sizeof(count), "%d", n);
	ids = queues_ids(w);
	groups = queues_groups(w);
	limits = queues_limits(w);
	floors = queues_floors(w);
	rests = queues_rests(w);
	pg_send(w->child->control, &stmt_claim,
	    (const char *[]){w->child->birth->id, ids, count, groups, limits,
		floors, rests});
	/* Busy queues have no use for the instant of the next scheduled job. */
	if (queues_missed(w))
		pg_send(w->child->control, &stmt_next_due,
		    (const char *[]){w->served_ids});
	pg_sync(w->child->control, claim_on_reply, w);
	free(ids);
	free(groups);
	free(limits);
	free(floors);
	free(rests);
}

/* --- suspects --- */

static void
claim_on_suspect(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct worker *w = arg;

	(void)link;
	w->asking = false;
	if (reply->lost) {
		w->lost_claim = true;
		return;
	}
	if (!reply->ok) {
		w->suspects = false; /* until the next look at all */
		if (strcmp(reply->error.sqlstate, "CH001") == 0)
			claim_refused(w);
		else
			claim_trouble(w, "claim a suspect", &reply->error);
	} else if (pg_rows(reply->results[0]) > 0) {
		job_new(w, reply->results[0], 0);
		w->alone = true;
	} else {
		w->suspects = false;
	}
	worker_advance(w);
}

/*
 * A job that ran when its process died runs in one that runs nothing else, so
 * that the next death tells whether it was this one (G7). Nothing waits for
 * that: the process that takes the place of the dead one asks before all else,
 * and any other when it happens to hold nothing.
 */
static void
claim_ask_suspect(struct worker *w)
{
	w->asking = true;
	pg_query(w->child->control, &stmt_claim_suspect,
	    (const char *[]){w->child->birth->id, w->served_ids},
	    claim_on_suspect, w);
}

/* --- what to ask --- */

static int
claim_held(const struct worker *w)
{
	return w->n_jobs[JOB_RUNNING] + w->n_jobs[JOB_WAITING] +
	       w->n_jobs[JOB_SETTLING];
}

static int
claim_want(const struct worker *w)
{
	struct worker_load load = {
	    .concurrency = worker_run_concurrency(w),
	    .running = w->n_jobs[JOB_RUNNING],
	    .slow = worker_run_slow(w),
	    .held = claim_held(w),
	    .waiting = w->n_jobs[JOB_WAITING],
	    .mean_us = w->mean_us,
	};

	return worker_want(&load);
}

/* Others may look at what is left here: once after a claim, as it says that
 * they need not. */
static void
claim_hand_over(struct worker *w)
{
	pg_query(w->child->control, &stmt_hand_over,
	    (const char *[]){w->served_ids}, NULL, NULL);
	w->handed_over = true;
}

/* There is no room for what may be there. */
static void
claim_leave(struct worker *w, int64_t now_us)
{
	if (w->handed_over)
		return;
	if (w->leave_us == 0)
		w->leave_us = now_us + WORKER_SLOW_MS * 1000;
	if (now_us >= w->leave_us) {
		claim_hand_over(w);
		w->n_hand_overs += w->n_hand_overs < CLAIM_HAND_OVERS_MAX;
		w->leave_us =
		    now_us + (WORKER_SLOW_MS * 1000 << w->n_hand_overs);
	} else {
		claim_arm(w, now_us, w->leave_us);
	}
}

static void
claim_ask_something(struct worker *w)
{
	int64_t now_us = clock_mono_us(), next_us;
	int n, room;

	if (now_us < w->trouble_us) {
		claim_arm(w, now_us, w->trouble_us);
		return;
	}
	if (w->refresh || w->served_ids == NULL) {
		claim_ask_queues(w);
		return;
	}
	w->alone = w->alone && claim_held(w) > 0;
	if (w->suspects && claim_held(w) == 0) {
		claim_ask_suspect(w);
		return;
	}
	n = w->alone ? 0 : claim_want(w);
	room = queues_choose(w, now_us, &next_us);
	if (n > 0 && room > 0)
		claim_ask(w, n < room ? n : room);
	else if (queues_due(w, now_us))
		claim_leave(w, now_us);
	else
		w->leave_us = w->n_hand_overs = 0;
	if (n > 0)
		claim_arm(w, now_us, next_us);
	if (w->due_us != 0)
		claim_arm(w, now_us, w->due_us);
	claim_arm(w, now_us, w->poll_us);
}

void
worker_claim_drain(struct worker *w)
{
	if (w->served_ids != NULL && worker_connected(w))
		claim_hand_over(w);
}

void
worker_claim_advance(struct worker *w)
{
	if (!w->asking && !w->lost_claim && !w->child->draining &&
	    worker_connected(w))
		claim_ask_something(w);
}

static void
claim_on_timer(struct loop_timer *timer, void *arg)
{
	struct worker *w = arg;
	int64_t now_us = clock_mono_us();

	(void)timer;
	if (w->due_us != 0 && now_us >= w->due_us) {
		w->due_us = 0;
		queues_look(w);
	}
	/* A NOTIFY of chimp_control may have been lost. */
	if (now_us >= w->poll_us)
		w->refresh = w->suspects = true;
	worker_run_sweep(w);
	worker_maintain_soon(w);
	worker_advance(w);
}

/* --- after a lost claim --- */

static void
claim_on_given_back(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct worker *w = arg;

	(void)link;
	if (reply->lost)
		return;
	if (reply->ok)
		w->lost_claim = false;
	else
		claim_trouble(
		    w, "give back what a lost claim took", &reply->error);
	child_renew(w->child);
}

/*
 * Jobs that the server gave to a claim whose answer was lost would be ours for
 * as long as the lease is renewed, and never be run. Their tokens are not
 * known here, so the process gives back all that it holds and is born anew;
 * what still runs is fenced off.
 */
bool
worker_claim_registered(struct worker *w)
{
	const char *values[] = {w->child->birth->id};

	w->refresh = w->suspects = true;
	w->trouble_us = 0;
	queues_look(w);
	queues_look_at_all(w);
	if (!w->lost_claim)
		return true;
	pg_query(
	    w->child->control, &stmt_give_back, values, claim_on_given_back, w);
	return false;
}

void
worker_claim_start(struct worker *w)
{
	w->phase_us = clock_mono_us();
	loop_timer_init(&w->look_timer, w->child->loop, claim_on_timer, w);
}

void
worker_claim_done(struct worker *w)
{
	loop_timer_done(&w->look_timer);
}
