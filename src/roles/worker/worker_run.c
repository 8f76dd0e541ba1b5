/*
 * What runs: a job or a group of them on each runner. The handler, all its
 * writes and the job's end are one transaction and commit together (G1).
 */
#include "roles/worker/worker_runner.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* G15: jobs claimed ahead do not wait longer behind slow ones. */
	RUN_STALE_MS = 2 * WORKER_SLOW_MS,
	/* Nor for a connection: another process may have one. */
	RUN_STRANDED_MS = 1000,
	/* A group that takes so long is taken apart: WORKER_GROUP_US is what
	 * it may take, the rest is for a machine that is busy. */
	RUN_GROUP_TIMEOUT_MS = 500
};

/* clang-format off */
static const struct pg_stmt stmt_reset = { "session_reset",
	"select chimp.session_reset()", 0 };
static const struct pg_stmt stmt_timeout = { "set_timeout",
	"select set_config('statement_timeout', $1, true)", 1 };
/* clang-format on */

static void run_job(struct runner *r, struct job *job);

/* --- the end of a run --- */

/* What bounded the run: the job's own time-out, else the session's. */
static int64_t
run_limit_ms(const struct job *job)
{
	return job->timeout_ms > 0 ? job->timeout_ms
				   : job->worker->db->statement_timeout_ms;
}

static void
run_timed_out(struct job *job)
{
	char *message = mem_printf("the attempt took longer than its "
				   "time-out of %" PRId64 " ms",
	    run_limit_ms(job));
	struct pg_error error = {"57014", message, NULL, NULL, NULL};

	job_fail(job, &error);
	free(message);
}

static void
run_failed(struct runner *r, struct job *job, const struct pg_error *error)
{
	int64_t run_ms = (clock_mono_us() - job->since_us) / 1000;

	switch (worker_judge(
	    error->sqlstate, run_ms, run_limit_ms(job), job->reruns)) {
	case WORKER_STALE:
		log_info("job %s of queue %s: its claim ended while it ran; "
			 "what it did is rolled back",
		    job->id, job->queue->name);
		job_free(job);
		break;
	case WORKER_RERUN:
		job->reruns++;
		run_job(r, job);
		break;
	case WORKER_TIMEOUT:
		run_timed_out(job);
		break;
	case WORKER_RELEASE:
		log_info("job %s of queue %s was interrupted: %s", job->id,
		    job->queue->name, error->message);
		job_release(job);
		break;
	case WORKER_FAIL:
		job_fail(job, error);
		break;
	}
}

/* It was none of its jobs', or nobody can tell whose: each by itself will
 * show. Nothing is charged to any of them. */
static void
run_group_failed(struct job *job, const struct pg_error *error)
{
	log_debug("%d jobs of queue %s that ran together: %s", job->n,
	    job->queue->name, error->message);
	if (strcmp(error->sqlstate, "CH001") == 0) {
		job_free(job);
	} else if (strncmp(error->sqlstate, "57P", 3) == 0) {
		job_release(job); /* the server ends */
	} else {
		worker_speed_ran(&job->queue->speed, job->n,
		    clock_mono_us() - job->since_us, job->n);
		job_split(job);
	}
}

/* --- a run that went well --- */

/* Columns of the statement of sql_handler_group. */
enum { GROUP_DONE, GROUP_TOOK_US, GROUP_SLOWEST_US, GROUP_JOBS };

static void
run_group_done(
    const struct runner *runner, struct job *job, const struct pg_result *r)
{
	int done = (int)pg_int(r, 0, GROUP_DONE);
	int slow = pg_int(r, 0, GROUP_SLOWEST_US) >= WORKER_FAST_US;

	job->worker->n_ended += (uint64_t)done;
	job->queue->outcomes[QUEUE_DONE] += (uint64_t)done;
	if (runner->measures)
		worker_speed_ran(&job->queue->speed, done > 0 ? done : 1,
		    pg_int(r, 0, GROUP_TOOK_US), slow);
	job_new_rest(job->queue, job->worker, r, GROUP_JOBS);
}

static void
run_done(const struct runner *r, struct job *job, const struct pg_reply *reply)
{
	struct worker *w = job->worker;
	int64_t run_us = clock_mono_us() - job->since_us, handler_us;

	w->mean_us = worker_mean_us(w->mean_us, run_us);
	if (job->n > 1) {
		run_group_done(r, job, reply->results[reply->n_results - 1]);
	} else {
		w->n_ended++;
		job->queue->outcomes[QUEUE_DONE]++;
		handler_us = pg_int(reply->results[reply->n_results - 1], 0, 0);
		if (r->measures)
			worker_speed_ran(&job->queue->speed, 1, handler_us,
			    handler_us >= WORKER_FAST_US);
	}
	worker_maintain_soon(w);
	job_free(job);
}

static void
run_on_reply(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	struct worker *w = r->worker;
	struct job *job = r->job;
	struct queue *queue = job->queue;

	r->job = NULL;
	runner_unmark(r);
	runner_end_progress(r, job);
	runner_set_state(r, RUNNER_IDLE);
	if (reply->ok) {
		run_done(r, job, reply);
	} else if (reply->lost) {
		/* Whether it committed is unknown. If it did, the claim is
		 * gone, and giving it back does nothing, or, of several jobs,
		 * gives back those that it has left. */
		runner_set_state(r, RUNNER_CONNECTING);
		job_release(job);
	} else {
		/* What it left in the session, locks above all, ends now. */
		pg_query(link, &stmt_reset, NULL, NULL, NULL);
		if (job->n > 1)
			run_group_failed(job, &reply->error);
		else
			run_failed(r, job, &reply->error);
	}
	queue_ended(queue);
	worker_advance(w);
}

/* --- the start of a run --- */

static void
run_send_timeout(struct pg_link *link, int64_t timeout_ms)
{
	char timeout[32];

	if (timeout_ms <= 0)
		return;
	/* As much as PostgreSQL takes: 24 days. */
	if (timeout_ms > INT32_MAX)
		timeout_ms = INT32_MAX;
	snprintf(timeout, sizeof(timeout), "%" PRId64 "ms", timeout_ms);
	pg_send(link, &stmt_timeout, (const char *[]){timeout});
}

static void
run_job(struct runner *r, struct job *job)
{
	const struct pg_stmt *stmt =
	    job->n > 1 ? job->queue->group : job->queue->single;

	r->job = job;
	r->measures = r->warm == stmt;
	r->warm = stmt;
	runner_set_state(r, RUNNER_BUSY);
	job_set_state(job, JOB_RUNNING);
	runner_mark(r, job);
	if (job->n > 1) {
		run_send_timeout(r->link, RUN_GROUP_TIMEOUT_MS);
		pg_send(r->link, stmt,
		    (const char *[]){
			job->worker->child->birth->id, job->token});
	} else {
		run_send_timeout(r->link, job->timeout_ms);
		pg_send(r->link, stmt, (const char *[]){job->id, job->token});
	}
	pg_sync(r->link, run_on_reply, r);
}

static void
run_impossible(struct job *job)
{
	char *message = mem_printf("handler \"%s\" of queue \"%s\" is not of "
				   "the form schema.function",
	    job->queue->function, job->queue->name);
	struct pg_error error = {"CH002", message, NULL, NULL, NULL};

	job_fail(job, &error);
	free(message);
}

/* --- jobs that wait --- */

int
worker_run_slow_of(const struct worker *w, const struct queue *q)
{
	int64_t now_us = clock_mono_us();
	struct list *n;
	int slow = 0;

	/* The oldest first. */
	LIST_FOREACH (n, &w->jobs[JOB_RUNNING]) {
		struct job *job = LIST_ENTRY(n, struct job, node);

		if (now_us - job->since_us < WORKER_SLOW_MS * 1000)
			break;
		slow += q == NULL || job->queue == q;
	}
	return slow;
}

int
worker_run_slow(const struct worker *w)
{
	return worker_run_slow_of(w, NULL);
}

int
worker_run_concurrency(const struct worker *w)
{
	int n = (int)w->conf->concurrency;
	struct list *node;

	if (w->n_runners == runner_count(w, RUNNER_CONNECTING))
		return 0;
	LIST_FOREACH (node, &w->runners)
		n -= LIST_ENTRY(node, struct runner, node)->failed;
	return n;
}

/* How long a job may wait here, now; 0 = as long as it takes. */
static int64_t
run_patience_ms(const struct worker *w)
{
	if (worker_run_concurrency(w) == 0)
		return RUN_STRANDED_MS;
	return worker_run_slow(w) >= (int)w->conf->concurrency ? RUN_STALE_MS
							       : 0;
}

static void
run_on_stale(struct loop_timer *timer, void *arg)
{
	struct worker *w = arg;
	int64_t now_us = clock_mono_us();
	int64_t patience_ms = run_patience_ms(w);
	struct list *n, *next;

	if (w->n_jobs[JOB_WAITING] > 0)
		loop_timer_start(timer, RUN_STALE_MS);
	if (patience_ms == 0)
		return;
	LIST_FOREACH_SAFE (n, next, &w->jobs[JOB_WAITING]) {
		struct job *job = LIST_ENTRY(n, struct job, node);

		if (now_us - job->since_us >= patience_ms * 1000)
			job_release(job);
	}
	worker_advance(w);
}

static bool
run_may_start(const struct job *job)
{
	return job->n == 1 || job->worker->n_groups < job->worker->fast_runners;
}

/* The oldest that may start now; NULL if none may. */
static struct job *
run_next(struct worker *w)
{
	struct list *n;

	LIST_FOREACH (n, &w->jobs[JOB_WAITING]) {
		struct job *job = LIST_ENTRY(n, struct job, node);

		if (run_may_start(job))
			return job;
	}
	return NULL;
}

/* As many on the way as jobs wait, but of fast ones, which soon have another's;
 * one at least, so that the first job of a quiet time does not wait for it. */
static void
run_open(struct worker *w)
{
	int coming = runner_count(w, RUNNER_CONNECTING);
	int fast = w->fast_runners - w->n_groups, wanted = 0;
	struct list *n;

	LIST_FOREACH (n, &w->jobs[JOB_WAITING])
		wanted +=
		    !LIST_ENTRY(n, struct job, node)->queue->speed.grouping ||
		    fast-- > 0;
	if (w->n_runners == 0 && wanted == 0 && !w->child->draining)
		wanted = 1;
	while (coming++ < wanted && w->n_runners < (int)w->conf->concurrency)
		runner_open(w);
}

/* True if it went on to something else than waiting. */
static bool
run_start(struct worker *w, struct job *job)
{
	struct runner *r = runner_idle(w);

	if (job->n == 1 && job->queue->single == NULL)
		run_impossible(job);
	else if (r != NULL)
		run_job(r, job);
	else
		return false;
	return true;
}

void
worker_run_advance(struct worker *w)
{
	struct job *job;

	if (w->child->draining)
		while (w->n_jobs[JOB_WAITING] > 0)
			job_release(LIST_ENTRY(
			    w->jobs[JOB_WAITING].next, struct job, node));
	while ((job = run_next(w)) != NULL && run_start(w, job))
		continue;
	if (worker_connected(w))
		run_open(w);
	if (w->n_jobs[JOB_WAITING] > 0 && !w->stale_timer.armed)
		loop_timer_start(&w->stale_timer, RUN_STALE_MS);
}

void
worker_run_start(struct worker *w)
{
	list_init(&w->runners);
	loop_timer_init(&w->stale_timer, w->child->loop, run_on_stale, w);
}

void
worker_run_done(struct worker *w)
{
	while (!list_empty(&w->runners))
		runner_close(LIST_ENTRY(w->runners.next, struct runner, node));
	loop_timer_done(&w->stale_timer);
}
