/*
 * The worker role: what role.c calls. See worker.h.
 */
#include "roles/worker/worker.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool
worker_connected(const struct worker *w)
{
	/* While the units of a lost connection are called back, the child
	 * still counts as registered. */
	return w->child->registered && pg_link_ready(w->child->control);
}

static bool
worker_idle(const struct worker *w)
{
	/* What cannot be told ends with the process's row or its lease. */
	return !w->asking && w->n_jobs[JOB_RUNNING] == 0 &&
	       w->n_jobs[JOB_WAITING] == 0 &&
	       (w->n_jobs[JOB_SETTLING] == 0 || !worker_connected(w));
}

void
worker_advance(struct worker *w)
{
	w->again = true;
	if (w->advancing)
		return;
	w->advancing = true;
	while (w->again) {
		w->again = false;
		worker_run_advance(w);
		worker_settle_advance(w);
		worker_claim_advance(w);
	}
	w->advancing = false;
	if (w->child->draining && worker_idle(w))
		child_finished(w->child);
}

static int
worker_start(struct child *child, struct err *err)
{
	struct worker *w = mem_zalloc(sizeof(*w));

	(void)err;
	assert(child->birth->worker != NULL);
	child->state = w;
	w->child = child;
	w->conf = child->birth->worker;
	w->db = &child->birth->conf->database;
	w->application_name =
	    mem_printf("chimpd/%s@%s", child->name, child->birth->conf->node);
	w->mean_us = -1;
	for (int i = 0; i < JOB_STATES; i++)
		list_init(&w->jobs[i]);
	sql_handlers_init(&w->handlers, sql_handler_job);
	list_init(&w->all_queues);
	w->fast_runners = worker_fast_runners(sysconf(_SC_NPROCESSORS_ONLN));
	worker_run_start(w);
	worker_claim_start(w);
	worker_settle_start(w);
	worker_maintain_start(w);
	return 0;
}

static void
worker_registered(struct child *child)
{
	struct worker *w = child->state;

	if (worker_claim_registered(w))
		worker_advance(w);
}

/* Jobs whose outcome is just being told keep their answer's address. */
static void
worker_drop_jobs(struct worker *w, enum job_state state)
{
	struct list *n, *next;

	LIST_FOREACH_SAFE (n, next, &w->jobs[state]) {
		struct job *job = LIST_ENTRY(n, struct job, node);

		if (!job->sent)
			job_free(job);
	}
}

static void
worker_evicted(struct child *child)
{
	struct worker *w = child->state;

	/* First what waits, so that none is started on a freed runner. */
	worker_drop_jobs(w, JOB_WAITING);
	worker_run_drop(w);
	worker_drop_jobs(w, JOB_SETTLING);
	assert(w->n_jobs[JOB_RUNNING] == 0);
}

static void
worker_db_lost(struct child *child)
{
	worker_advance(child->state);
}

/* chimp.cancel: the claim is gone, and its handler need not go on. */
#define CANCEL "cancel "

static void
worker_cancelled(struct worker *w, const char *token)
{
	if (worker_connected(w))
		worker_run_cancel(w, token);
}

/* One that is gone may have been about to look: nobody would send a NOTIFY. */
static void
worker_others_changed(struct worker *w)
{
	w->refresh = w->suspects = true;
	queues_look(w);
}

static void
worker_notified(struct child *child, const char *channel, const char *payload)
{
	struct worker *w = child->state;

	if (strcmp(channel, "chimp_control") == 0 &&
	    strncmp(payload, CANCEL, strlen(CANCEL)) == 0)
		worker_cancelled(w, payload + strlen(CANCEL));
	else if (strcmp(channel, "chimp_control") == 0)
		worker_others_changed(w);
	else
		queues_notified(w, payload);
	worker_advance(w);
}

static void
worker_drain(struct child *child, int64_t deadline_ms)
{
	struct worker *w = child->state;

	(void)deadline_ms;
	if (w->n_jobs[JOB_RUNNING] > 0)
		log_info("finishing %d jobs", w->n_jobs[JOB_RUNNING]);
	worker_claim_drain(w);
	worker_advance(w);
}

static void
worker_abandon(struct child *child)
{
	struct worker *w = child->state;

	/* The cancelled runs end as interrupted, are given back, and the last
	 * of them finishes the child. */
	if (worker_connected(w))
		worker_run_cancel(w, NULL);
	else
		worker_run_drop(w);
	worker_advance(w);
}

static void
worker_status(struct child *child, struct msg *heartbeat)
{
	const struct worker *w = child->state;
	int running = w->n_jobs[JOB_RUNNING];
	int waiting = w->n_jobs[JOB_WAITING] + w->n_jobs[JOB_SETTLING];

	heartbeat->busy = (uint32_t)running;
	heartbeat->done = w->n_ended;
	heartbeat->capacity = (uint32_t)w->conf->concurrency;
	if (running == 0 && waiting == 0)
		snprintf(heartbeat->text, sizeof(heartbeat->text), "idle");
	else if (child->draining)
		snprintf(heartbeat->text, sizeof(heartbeat->text),
		    "finishing %d jobs", running + waiting);
	else
		snprintf(heartbeat->text, sizeof(heartbeat->text),
		    "running %d jobs, %d more claimed", running, waiting);
}

static void
worker_done(struct child *child)
{
	struct worker *w = child->state;

	worker_run_done(w);
	worker_claim_done(w);
	worker_settle_done(w);
	worker_maintain_done(w);
	for (int i = 0; i < JOB_STATES; i++)
		worker_drop_jobs(w, (enum job_state)i);
	queues_done(w);
	sql_handlers_done(&w->handlers);
	free(w->application_name);
	free(w);
	child->state = NULL;
}

static const char *const worker_channels[] = {
    "chimp_work", "chimp_control", NULL};

const struct role role_worker = {
    .name = "worker",
    .loop_new = loop_event_new,
    .start = worker_start,
    .drain = worker_drain,
    .abandon = worker_abandon,
    .registered = worker_registered,
    .evicted = worker_evicted,
    .db_lost = worker_db_lost,
    .notified = worker_notified,
    .status = worker_status,
    .metrics = worker_metrics,
    .done = worker_done,
    .listen = worker_channels,
};
