/*
 * Jobs that a worker holds, and the lists that they are on. See worker.h.
 */
#include "roles/worker/worker.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns of chimp.claim. */
enum { CLAIM_JOB, CLAIM_TOKEN, CLAIM_QUEUE, CLAIM_HANDLER, CLAIM_TIMEOUT };

struct job *
job_new(struct worker *w, const struct pg_result *claimed, int row)
{
	struct job *job = mem_zalloc(sizeof(*job));

	job->worker = w;
	snprintf(
	    job->id, sizeof(job->id), "%s", pg_value(claimed, row, CLAIM_JOB));
	snprintf(job->token, sizeof(job->token), "%s",
	    pg_value(claimed, row, CLAIM_TOKEN));
	job->queue = mem_strdup(pg_value(claimed, row, CLAIM_QUEUE));
	job->function = mem_strdup(pg_value(claimed, row, CLAIM_HANDLER));
	job->handler = sql_handlers_get(&w->handlers, job->function);
	job->timeout_ms = pg_int(claimed, row, CLAIM_TIMEOUT);
	job->since_us = clock_mono_us();
	job->state = JOB_WAITING;
	list_append(&w->jobs[JOB_WAITING], &job->node);
	w->n_jobs[JOB_WAITING]++;
	return job;
}

void
job_set_state(struct job *job, enum job_state state)
{
	struct worker *w = job->worker;

	w->n_jobs[job->state]--;
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
	list_remove(&job->node);
	free(job->queue);
	free(job->function);
	free(job->message);
	free(job->detail);
	free(job->hint);
	free(job->context);
	free(job);
}
