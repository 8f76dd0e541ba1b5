/*
 * Jobs that a worker holds, and the lists that they are on. See worker.h.
 */
#include "roles/worker/worker.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "handlers/sql.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns of chimp.claim. */
enum { CLAIM_JOB, CLAIM_TOKEN, CLAIM_QUEUE, CLAIM_HANDLER, CLAIM_TIMEOUT };

static const struct pg_stmt *
worker_handler(struct worker *w, const char *function)
{
	struct handler *h;
	struct list *n;

	LIST_FOREACH (n, &w->handlers) {
		h = LIST_ENTRY(n, struct handler, node);
		if (strcmp(h->function, function) == 0)
			return h->stmt;
	}
	/* The registry checks names; a row may have been written by hand. */
	if (!sql_handler_valid(function))
		return NULL;
	h = mem_zalloc(sizeof(*h));
	h->function = mem_strdup(function);
	h->stmt = sql_handler_job(function);
	list_append(&w->handlers, &h->node);
	return h->stmt;
}

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
	job->handler = worker_handler(w, job->function);
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
