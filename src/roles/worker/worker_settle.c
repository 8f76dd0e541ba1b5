/*
 * Jobs that ended other than well: the failure is charged, or the claim given
 * back, over the control connection. What is lost on the way is told again
 * when the connection is back: the token makes both calls safe to repeat.
 */
#include "roles/worker/worker.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
	SETTLE_RETRY_MS = 1000,
	/* A failure that cannot be charged (its dead letter is refused, say)
	 * is given back instead, so that others can look at it. */
	SETTLE_REFUSALS_MAX = 5
};

/* clang-format off */
static const struct pg_stmt stmt_job_fail = { "job_fail",
	"select chimp.job_fail($1, $2, $3, $4, $5, $6, $7)", 7 };
static const struct pg_stmt stmt_job_release = { "job_release",
	"select chimp.job_release($1, $2)", 2 };
static const struct pg_stmt stmt_group_release = { "group_release",
	"select chimp.group_release($1, $2)", 2 };
static const struct pg_stmt stmt_group_split = { "group_split",
	"select jobs, tokens, timeouts_ms from chimp.group_split($1, $2)", 2 };
/* clang-format on */

static char *
settle_copy(const char *s)
{
	return s != NULL ? mem_strdup(s) : NULL;
}

void
job_fail(struct job *job, const struct pg_error *error)
{
	job_set_state(job, JOB_SETTLING);
	job->outcome = JOB_FAILED;
	memcpy(job->sqlstate, error->sqlstate, sizeof(job->sqlstate));
	job->message = mem_strdup(error->message);
	job->detail = settle_copy(error->detail);
	job->hint = settle_copy(error->hint);
	job->context = settle_copy(error->context);
}

void
job_release(struct job *job)
{
	job_set_state(job, JOB_SETTLING);
	job->outcome = JOB_RELEASED;
}

void
job_split(struct job *job)
{
	job_set_state(job, JOB_SETTLING);
	job->outcome = JOB_SPLIT;
}

static void
settle_say_failed(const struct job *job, const char *next)
{
	const char *queue = job->queue->name;

	if (strcmp(next, "dead") == 0)
		log_warn("job %s of queue %s failed for good: %s: %s", job->id,
		    queue, job->sqlstate, job->message);
	else if (strcmp(next, "retry") == 0)
		log_info("job %s of queue %s failed and will be retried: %s: "
			 "%s",
		    job->id, queue, job->sqlstate, job->message);
	else
		log_debug("job %s of queue %s: %s", job->id, queue, next);
}

static void
settle_told(struct job *job, const struct pg_reply *reply)
{
	switch (job->outcome) {
	case JOB_RELEASED:
		log_debug(
		    "job %s of queue %s: released", job->id, job->queue->name);
		/* It is below the floor. */
		job->queue->full_look_us = 0;
		job->queue->outcomes[QUEUE_RELEASED] += (uint64_t)job->n;
		break;
	case JOB_SPLIT:
		job_new_rest(job->queue, job->worker, reply->results[0], 0);
		break;
	case JOB_FAILED:
		job->worker->n_ended++;
		queue_failed(job->queue, pg_value(reply->results[0], 0, 0));
		settle_say_failed(job, pg_value(reply->results[0], 0, 0));
		break;
	}
}

static void
settle_refused(struct job *job, const struct pg_error *error)
{
	struct worker *w = job->worker;

	log_error("cannot settle job %s of queue %s: %s", job->id,
	    job->queue->name, error->message);
	if (++job->refusals >= SETTLE_REFUSALS_MAX)
		job->outcome = JOB_RELEASED;
	loop_timer_start(&w->settle_timer, SETTLE_RETRY_MS);
}

static void
settle_on_told(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct job *job = arg;
	struct worker *w = job->worker;
	struct queue *queue = job->queue;

	(void)link;
	job->sent = false;
	if (reply->lost) {
		/* Told again after the next registration. But into what a claim
		 * was split, if it was, nobody can say any more. */
		if (job->outcome == JOB_SPLIT)
			job->outcome = JOB_RELEASED;
		return;
	}
	if (reply->ok) {
		settle_told(job, reply);
		job_free(job);
		queue_look(queue);
	} else if (strcmp(reply->error.sqlstate, "CH001") == 0) {
		log_info("job %s of queue %s is another's by now", job->id,
		    job->queue->name);
		job_free(job);
	} else {
		settle_refused(job, &reply->error);
	}
	worker_advance(w);
}

static void
settle_tell_released(struct job *job)
{
	struct pg_link *control = job->worker->child->control;

	if (job->n == 1)
		pg_query(control, &stmt_job_release,
		    (const char *[]){job->id, job->token}, settle_on_told, job);
	else
		pg_query(control, &stmt_group_release,
		    (const char *[]){job->worker->child->birth->id, job->token},
		    settle_on_told, job);
}

static void
settle_tell(struct job *job)
{
	struct pg_link *control = job->worker->child->control;

	job->sent = true;
	switch (job->outcome) {
	case JOB_FAILED:
		pg_query(control, &stmt_job_fail,
		    (const char *[]){job->id, job->token, job->sqlstate,
			job->message, job->detail, job->hint, job->context},
		    settle_on_told, job);
		break;
	case JOB_RELEASED:
		settle_tell_released(job);
		break;
	case JOB_SPLIT:
		pg_query(control, &stmt_group_split,
		    (const char *[]){job->worker->child->birth->id, job->token},
		    settle_on_told, job);
		break;
	}
}

void
worker_settle_advance(struct worker *w)
{
	struct list *n;

	/* Before it is registered again, the process may turn out to be
	 * evicted, and then there is nothing to tell. */
	if (!worker_connected(w) || w->settle_timer.armed)
		return;
	LIST_FOREACH (n, &w->jobs[JOB_SETTLING]) {
		struct job *job = LIST_ENTRY(n, struct job, node);

		if (!job->sent)
			settle_tell(job);
	}
}

static void
settle_on_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	worker_advance(arg);
}

void
worker_settle_start(struct worker *w)
{
	loop_timer_init(&w->settle_timer, w->child->loop, settle_on_timer, w);
}

void
worker_settle_done(struct worker *w)
{
	loop_timer_done(&w->settle_timer);
}
