/*
 * Claims that a worker holds, and the lists that they are on. See worker.h.
 */
#include "roles/worker/worker.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns of chimp.claim. */
enum {
	CLAIM_TOKEN,
	CLAIM_QUEUE_ID,
	CLAIM_QUEUE,
	CLAIM_HANDLER,
	CLAIM_TIMEOUT,
	CLAIM_GROUP_MAX,
	CLAIM_FLOOR,
	CLAIM_JOBS
};

static struct job *
job_make(struct worker *w, struct queue *q, const char *token, int64_t id)
{
	struct job *job = mem_zalloc(sizeof(*job));

	job->worker = w;
	job->queue = q;
	q->held++;
	job->n = 1;
	snprintf(job->id, sizeof(job->id), "%" PRId64, id);
	snprintf(job->token, sizeof(job->token), "%s", token);
	job->since_us = clock_mono_us();
	job->state = JOB_WAITING;
	list_append(&w->jobs[JOB_WAITING], &job->node);
	w->n_jobs[JOB_WAITING]++;
	return job;
}

struct job *
job_new(struct worker *w, const struct pg_result *claimed, int row)
{
	struct queue *q = queue_get(w, pg_int(claimed, row, CLAIM_QUEUE_ID),
	    pg_value(claimed, row, CLAIM_QUEUE));
	const char *ids = pg_value(claimed, row, CLAIM_JOBS);
	struct job *job;
	int64_t id = 0;

	queue_learn(q, pg_value(claimed, row, CLAIM_HANDLER),
	    (int)pg_int(claimed, row, CLAIM_GROUP_MAX));
	array_next(&ids, &id);
	job = job_make(w, q, pg_value(claimed, row, CLAIM_TOKEN), id);
	while (array_next(&ids, &id))
		job->n++;
	job->timeout_ms = pg_int(claimed, row, CLAIM_TIMEOUT);
	if (pg_int(claimed, row, CLAIM_FLOOR) > q->next_floor)
		q->next_floor = pg_int(claimed, row, CLAIM_FLOOR);
	return job;
}

void
job_new_rest(
    struct queue *q, struct worker *w, const struct pg_result *r, int column)
{
	const char *ids, *tokens, *timeouts;
	int64_t id, token, timeout_ms = 0;
	char text[24];

	if (pg_rows(r) == 0 || pg_is_null(r, 0, column))
		return;
	ids = pg_value(r, 0, column);
	tokens = pg_value(r, 0, column + 1);
	timeouts = pg_value(r, 0, column + 2);
	while (array_next(&ids, &id) && array_next(&tokens, &token)) {
		array_next(&timeouts, &timeout_ms);
		snprintf(text, sizeof(text), "%" PRId64, token);
		job_make(w, q, text, id)->timeout_ms = timeout_ms;
	}
}

void
job_set_state(struct job *job, enum job_state state)
{
	struct worker *w = job->worker;

	w->n_jobs[job->state]--;
	w->n_groups -= job->n > 1 && job->state == JOB_RUNNING;
	w->n_groups += job->n > 1 && state == JOB_RUNNING;
	list_remove(&job->node);
	job->state = state;
	job->since_us = clock_mono_us();
	list_append(&w->jobs[state], &job->node);
	w->n_jobs[state]++;
}

void
job_free(struct job *job)
{
	job->worker->n_jobs[job->state]--;
	job->worker->n_groups -= job->n > 1 && job->state == JOB_RUNNING;
	job->queue->held--;
	list_remove(&job->node);
	free(job->message);
	free(job->detail);
	free(job->hint);
	free(job->context);
	free(job);
}
