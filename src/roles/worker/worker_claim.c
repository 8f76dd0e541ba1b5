/*
 * When and what to claim, over the control connection. One question is in
 * flight at a time: the queues that this process serves, or a claim.
 *
 * `look` says that there may be work. A NOTIFY, the end of a job and the timer
 * set it; a claim takes it away, and a claim that got all that it asked for
 * sets it again. It waits while there is no room.
 *
 * Most looks begin where the last one ended (struct queue's floor): what was
 * claimed stays in the index for as long as any transaction may want to see
 * it, and is walked over by a look from the beginning. Those find jobs that
 * came late or back; the longer one takes, the rarer they are.
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
	/* Looks at all that is ready take at most this part of the time. */
	CLAIM_FULL_LOOK_PART = 20
};

/* clang-format off */
static const struct pg_stmt stmt_worker_queues = { "worker_queues",
	"select chimp.worker_queues($1)", 1 };
static const struct pg_stmt stmt_claim = { "claim",
	"select token, queue_id, queue, handler, timeout_ms, group_max, floor, jobs"
	" from chimp.claim($1, $2, $3, $4, $5, $6)", 6 };
static const struct pg_stmt stmt_claim_suspect = { "claim_suspect",
	"select token, queue_id, queue, handler, timeout_ms, group_max, floor, jobs"
	" from chimp.claim_suspect($1, $2)", 2 };
static const struct pg_stmt stmt_next_due = { "next_due_ms",
	"select chimp.next_due_ms($1)", 1 };
static const struct pg_stmt stmt_give_back = { "process_end",
	"select chimp.process_end($1)", 1 };
/* clang-format on */

void
worker_look(struct worker *w)
{
	w->look = true;
	w->misses = 0;
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
	loop_timer_start(&w->look_timer, CLAIM_TROUBLE_MS);
}

/* --- the queues --- */

static void
claim_on_queues(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct worker *w = arg;
	const char *queues;

	(void)link;
	w->asking = false;
	if (reply->lost)
		return;
	if (!reply->ok) {
		claim_trouble(w, "learn which queues to serve", &reply->error);
		return;
	}
	queues = pg_value(reply->results[0], 0, 0);
	if (w->queues == NULL || strcmp(w->queues, queues) != 0) {
		log_debug("serving the queues %s", queues);
		free(w->queues);
		w->queues = mem_strdup(queues);
		worker_look(w);
	}
	worker_advance(w);
}

static void
claim_ask_queues(struct worker *w)
{
	const char *values[] = {w->child->birth->id};

	w->refresh = false;
	w->asking = true;
	pg_query(
	    w->child->control, &stmt_worker_queues, values, claim_on_queues, w);
}

/* --- claims --- */

/* results[1] is there when the claim before had found too few. */
static void
claim_sleep(struct worker *w, const struct pg_reply *reply)
{
	int64_t due_ms = 0;

	if (reply->n_results > 1 && !pg_is_null(reply->results[1], 0, 0))
		due_ms = pg_int(reply->results[1], 0, 0);
	loop_timer_start(
	    &w->look_timer, worker_relook_due_ms(w->misses, due_ms));
	/* Busy times have no use for the instant of the next scheduled job. */
	w->misses += pg_rows(reply->results[0]) == 0;
}

static void
claim_took(struct worker *w, const struct pg_reply *reply)
{
	int n = pg_rows(reply->results[0]);

	w->said_trouble = false;
	if (w->full_look)
		w->full_look_us =
		    clock_mono_us() +
		    CLAIM_FULL_LOOK_PART * (clock_mono_us() - w->asked_us);
	for (int i = 0; i < n; i++)
		job_new(w, reply->results[0], i);
	if (n > 0)
		w->misses = 0;
	if (n == w->asked)
		w->look = true;
	else
		claim_sleep(w, reply);
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
		child_renew(w->child); /* declared dead: evicted follows */
	else
		claim_trouble(w, "claim jobs", &reply->error);
	worker_advance(w);
}

static void
claim_ask(struct worker *w, int n)
{
	char count[16];
	char *groups = queues_groups(w), *limits = queues_limits(w), *floors;
	const char *queues[] = {w->queues};

	w->asked = n;
	w->asked_us = clock_mono_us();
	w->full_look = w->asked_us >= w->full_look_us;
	if (w->full_look)
		queues_look_at_all(w);
	w->look = false;
	w->asking = true;
	loop_timer_stop(&w->look_timer);
	floors = queues_floors(w);
	snprintf(count, sizeof(count), "%d", n);
	pg_send(w->child->control, &stmt_claim,
	    (const char *[]){
		w->child->birth->id, w->queues, count, groups, limits, floors});
	if (w->misses > 0)
		pg_send(w->child->control, &stmt_next_due, queues);
	pg_sync(w->child->control, claim_on_reply, w);
	free(groups);
	free(limits);
	free(floors);
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
			child_renew(w->child);
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
	    (const char *[]){w->child->birth->id, w->queues}, claim_on_suspect,
	    w);
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

void
worker_claim_advance(struct worker *w)
{
	int n, room;

	if (w->asking || w->lost_claim || w->child->draining ||
	    !worker_connected(w))
		return;
	if (w->refresh || w->queues == NULL) {
		claim_ask_queues(w);
		return;
	}
	w->alone = w->alone && claim_held(w) > 0;
	if (w->suspects && claim_held(w) == 0) {
		claim_ask_suspect(w);
		return;
	}
	if (!w->look || w->alone)
		return;
	n = claim_want(w);
	room = queues_room(w);
	if (n > 0 && room > 0)
		claim_ask(w, n < room ? n : room);
	else if (n > 0 && !w->look_timer.armed)
		/* By then some may have turned out to be slow. */
		loop_timer_start(&w->look_timer, WORKER_SLOW_MS);
}

static void
claim_on_timer(struct loop_timer *timer, void *arg)
{
	struct worker *w = arg;

	(void)timer;
	w->look = true;
	/* The safety poll: a NOTIFY of chimp_control may have been lost. */
	if (worker_relook_ms(w->misses) == worker_relook_ms(w->misses + 1))
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
	w->full_look_us = 0;
	worker_look(w);
	if (!w->lost_claim)
		return true;
	pg_query(
	    w->child->control, &stmt_give_back, values, claim_on_given_back, w);
	return false;
}

void
worker_claim_start(struct worker *w)
{
	loop_timer_init(&w->look_timer, w->child->loop, claim_on_timer, w);
}

void
worker_claim_done(struct worker *w)
{
	loop_timer_done(&w->look_timer);
	mem_free(&w->queues);
}
