/*
 * Runners: up to `concurrency` connections, each of which runs one job at a
 * time, opened when jobs wait. The handler, all its writes and the job's end
 * are one statement and commit together (G1).
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
	/* G15: jobs claimed ahead do not wait longer behind slow ones. */
	RUN_STALE_MS = 2 * WORKER_SLOW_MS,
	/* Nor for a connection: another process may have one. */
	RUN_STRANDED_MS = 1000
};

enum runner_state {
	RUNNER_CONNECTING, /* or waiting for its next attempt */
	RUNNER_IDLE,
	RUNNER_BUSY
};

struct runner {
	struct list node; /* the last used first */
	struct worker *worker;
	struct pg_link *link;
	enum runner_state state;
	bool failed;     /* RUNNER_CONNECTING, not for the first time */
	struct job *job; /* RUNNER_BUSY */
	int64_t born_ms; /* CLOCK_MONOTONIC */
	int64_t used_ms;
};

/* clang-format off */
static const struct pg_stmt stmt_timeout = { "set_timeout",
	"select set_config('statement_timeout', $1, true)", 1 };
static const struct pg_stmt stmt_cancel = { "cancel",
	"select pg_cancel_backend($1)", 1 };
/* clang-format on */

static void run_job(struct runner *r, struct job *job);

static void
runner_set_state(struct runner *r, enum runner_state state)
{
	r->state = state;
	r->used_ms = clock_mono_ms();
	list_remove(&r->node);
	list_prepend(&r->worker->runners, &r->node);
}

/* A job that it runs becomes one to be given back (run_on_reply). */
static void
runner_close(struct runner *r)
{
	pg_link_free(&r->link);
	list_remove(&r->node);
	r->worker->n_runners--;
	free(r);
}

static int
run_count(const struct worker *w, enum runner_state state)
{
	struct list *n;
	int count = 0;

	LIST_FOREACH (n, &w->runners)
		count += LIST_ENTRY(n, struct runner, node)->state == state;
	return count;
}

static struct runner *
run_idle(struct worker *w)
{
	struct list *n;

	LIST_FOREACH (n, &w->runners) {
		struct runner *r = LIST_ENTRY(n, struct runner, node);

		if (r->state == RUNNER_IDLE)
			return r;
	}
	return NULL;
}

/* --- connections --- */

static void
runner_on_ready(struct pg_link *link, void *arg)
{
	struct runner *r = arg;

	(void)link;
	r->failed = false;
	runner_set_state(r, RUNNER_IDLE);
	worker_advance(r->worker);
}

static void
runner_on_lost(struct pg_link *link, void *arg)
{
	struct runner *r = arg;

	(void)link;
	/* Its job, if it had one, was given to worker_settle.c just now. */
	assert(r->state != RUNNER_BUSY);
	r->failed = true;
	runner_set_state(r, RUNNER_CONNECTING);
	if (r->worker->n_jobs[JOB_WAITING] == 0 && r->worker->n_runners > 1)
		runner_close(r);
}

static void
runner_open(struct worker *w)
{
	struct runner *r = mem_zalloc(sizeof(*r));
	struct pg_link_opts opts = {
	    .loop = w->child->loop,
	    .conninfo = w->db->url,
	    .application_name = w->application_name,
	    .connect_timeout_ms = w->db->connect_timeout_ms,
	    .statement_timeout_ms = w->db->statement_timeout_ms,
	    .quiet = true, /* the control connection tells of outages */
	    .on_ready = runner_on_ready,
	    .on_lost = runner_on_lost,
	    .arg = r,
	};

	r->worker = w;
	r->born_ms = r->used_ms = clock_mono_ms();
	r->link = pg_link_new(&opts);
	list_append(&w->runners, &r->node);
	w->n_runners++;
}

void
worker_run_sweep(struct worker *w)
{
	int64_t now = clock_mono_ms();
	struct list *n, *next;

	LIST_FOREACH_SAFE (n, next, &w->runners) {
		struct runner *r = LIST_ENTRY(n, struct runner, node);

		if (r->state == RUNNER_IDLE &&
		    (now - r->born_ms >= w->db->pool_life_ms ||
			(now - r->used_ms >= w->db->pool_idle_ms &&
			    w->n_runners > 1)))
			runner_close(r);
	}
}

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
		    job->id, job->queue);
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
		    job->queue, error->message);
		job_release(job);
		break;
	case WORKER_FAIL:
		job_fail(job, error);
		break;
	}
}

static void
run_on_reply(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct runner *r = arg;
	struct worker *w = r->worker;
	struct job *job = r->job;

	(void)link;
	r->job = NULL;
	runner_set_state(r, RUNNER_IDLE);
	if (reply->ok) {
		w->n_ended++;
		w->mean_us =
		    worker_mean_us(w->mean_us, clock_mono_us() - job->since_us);
		job_free(job);
	} else if (reply->lost) {
		/* Whether it committed is unknown. If it did, the claim is
		 * gone, and giving it back does nothing. */
		runner_set_state(r, RUNNER_CONNECTING);
		job_release(job);
	} else {
		run_failed(r, job, &reply->error);
	}
	w->look = true;
	worker_advance(w);
}

/* --- the start of a run --- */

static void
run_job(struct runner *r, struct job *job)
{
	const char *values[] = {job->id, job->token};
	char timeout[32];
	const char *timeouts[] = {timeout};

	r->job = job;
	runner_set_state(r, RUNNER_BUSY);
	job_set_state(job, JOB_RUNNING);
	snprintf(timeout, sizeof(timeout), "%" PRId64 "ms", job->timeout_ms);
	if (job->timeout_ms > 0)
		pg_send(r->link, &stmt_timeout, timeouts);
	pg_send(r->link, job->handler, values);
	pg_sync(r->link, run_on_reply, r);
}

static void
run_impossible(struct job *job)
{
	char *message = mem_printf("handler \"%s\" of queue \"%s\" is not of "
				   "the form schema.function",
	    job->function, job->queue);
	struct pg_error error = {"CH002", message, NULL, NULL, NULL};

	job_fail(job, &error);
	free(message);
}

/* --- jobs that wait --- */

int
worker_run_slow(const struct worker *w)
{
	int64_t now_us = clock_mono_us();
	struct list *n;
	int slow = 0;

	/* The oldest first. */
	LIST_FOREACH (n, &w->jobs[JOB_RUNNING]) {
		struct job *job = LIST_ENTRY(n, struct job, node);

		if (now_us - job->since_us < WORKER_SLOW_MS * 1000)
			break;
		slow++;
	}
	return slow;
}

int
worker_run_concurrency(const struct worker *w)
{
	int n = (int)w->conf->concurrency;
	struct list *node;

	if (w->n_runners == run_count(w, RUNNER_CONNECTING))
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

/* As many on the way as jobs wait; one at least, so that the first job of a
 * quiet time does not wait for it. */
static void
run_open(struct worker *w)
{
	int wanted = w->n_jobs[JOB_WAITING];
	int coming = run_count(w, RUNNER_CONNECTING);

	if (w->n_runners == 0 && wanted == 0 && !w->child->draining)
		wanted = 1;
	while (coming++ < wanted && w->n_runners < (int)w->conf->concurrency)
		runner_open(w);
}

void
worker_run_advance(struct worker *w)
{
	struct runner *r;
	struct job *job;

	while (w->n_jobs[JOB_WAITING] > 0) {
		job = LIST_ENTRY(w->jobs[JOB_WAITING].next, struct job, node);
		r = run_idle(w);
		if (w->child->draining)
			job_release(job);
		else if (job->handler == NULL)
			run_impossible(job);
		else if (r != NULL)
			run_job(r, job);
		else
			break;
	}
	if (worker_connected(w))
		run_open(w);
	if (w->n_jobs[JOB_WAITING] > 0 && !w->stale_timer.armed)
		loop_timer_start(&w->stale_timer, RUN_STALE_MS);
}

/* --- the end --- */

void
worker_run_cancel(struct worker *w)
{
	char pid[16];
	const char *values[] = {pid};
	struct list *n;

	LIST_FOREACH (n, &w->runners) {
		struct runner *r = LIST_ENTRY(n, struct runner, node);

		if (r->state != RUNNER_BUSY)
			continue;
		snprintf(pid, sizeof(pid), "%d", pg_link_backend_pid(r->link));
		pg_query(w->child->control, &stmt_cancel, values, NULL, NULL);
	}
}

/* The server notices a closed connection within
 * client_connection_check_interval and rolls back. */
void
worker_run_drop(struct worker *w)
{
	struct list *n, *next;

	LIST_FOREACH_SAFE (n, next, &w->runners) {
		struct runner *r = LIST_ENTRY(n, struct runner, node);

		if (r->state == RUNNER_BUSY)
			runner_close(r);
	}
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
