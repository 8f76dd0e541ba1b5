/*
 * The connections of a worker's runners. See worker_runner.h.
 */
#include "roles/worker/worker_runner.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct pg_stmt stmt_progress = { "job_progress_set",
	"select chimp.job_progress_set($1, $2, $3, $4)", 4 };
static const struct pg_stmt stmt_cancel = { "cancel",
	"select pg_cancel_backend($1)", 1 };
/* clang-format on */

void
runner_set_state(struct runner *r, enum runner_state state)
{
	r->state = state;
	r->used_ms = clock_mono_ms();
	list_remove(&r->node);
	list_prepend(&r->worker->runners, &r->node);
}

void
runner_close(struct runner *r)
{
	pg_link_free(&r->link);
	runner_unmark(r);
	list_remove(&r->node);
	r->worker->n_runners--;
	free(r->progress);
	free(r);
}

int
runner_count(const struct worker *w, enum runner_state state)
{
	struct list *n;
	int count = 0;

	LIST_FOREACH (n, &w->runners)
		count += LIST_ENTRY(n, struct runner, node)->state == state;
	return count;
}

struct runner *
runner_idle(struct worker *w)
{
	struct list *n;

	LIST_FOREACH (n, &w->runners) {
		struct runner *r = LIST_ENTRY(n, struct runner, node);

		if (r->state == RUNNER_IDLE)
			return r;
	}
	return NULL;
}

void
runner_mark(struct runner *r, const struct job *job)
{
	const struct birth *birth = r->worker->child->birth;

	/* As many places as connections: one is free. */
	for (int i = 0; i < birth->n_started && r->mark == NULL; i++)
		if (birth->started[i] == 0)
			r->mark = &birth->started[i];
	if (r->mark != NULL)
		*(volatile int64_t *)r->mark = strtoll(job->token, NULL, 10);
}

void
runner_unmark(struct runner *r)
{
	if (r->mark != NULL)
		*(volatile int64_t *)r->mark = 0;
	r->mark = NULL;
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
	r->warm = NULL;
	runner_set_state(r, RUNNER_CONNECTING);
	if (r->worker->n_jobs[JOB_WAITING] == 0 && r->worker->n_runners > 1)
		runner_close(r);
}

/* --- what handlers say of themselves --- */

static void runner_tell_progress(struct worker *w);

static void
runner_on_told(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct worker *w = arg;

	(void)link;
	w->tells_progress = false;
	if (!reply->lost)
		runner_tell_progress(w);
}

static void
runner_send_progress(
    struct runner *r, const struct job *job, pg_done_fn *on_reply)
{
	struct worker *w = r->worker;

	pg_query(w->child->control, &stmt_progress,
	    (const char *[]){
		r->progress_job, job->token, r->progress, w->child->birth->id},
	    on_reply, w);
	mem_free(&r->progress);
}

/* One at a time: however often handlers say it, the last counts (G40). */
static void
runner_tell_progress(struct worker *w)
{
	struct list *n;

	LIST_FOREACH (n, &w->runners) {
		struct runner *r = LIST_ENTRY(n, struct runner, node);

		if (w->tells_progress || !worker_connected(w))
			return;
		if (r->progress != NULL) {
			w->tells_progress = true;
			runner_send_progress(r, r->job, runner_on_told);
		}
	}
}

void
runner_end_progress(struct runner *r, const struct job *job)
{
	if (r->progress != NULL && worker_connected(r->worker))
		runner_send_progress(r, job, NULL);
	mem_free(&r->progress);
}

static void
runner_on_notice(struct pg_link *link, const char *sqlstate,
    const char *message, const char *detail, void *arg)
{
	struct runner *r = arg;

	(void)link;
	if (sqlstate == NULL || strcmp(sqlstate, "CHP01") != 0 ||
	    detail == NULL || detail[0] == '\0' || r->job == NULL)
		return;
	/* The last of every job of a group. */
	if (strcmp(r->progress_job, detail) != 0)
		runner_end_progress(r, r->job);
	mem_free(&r->progress);
	r->progress = mem_strdup(message);
	snprintf(r->progress_job, sizeof(r->progress_job), "%s", detail);
	runner_tell_progress(r->worker);
}

void
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
	    .on_notice = runner_on_notice,
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

/* --- the end of what runs --- */

static void
runner_cancel(const struct runner *r)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", pg_link_backend_pid(r->link));
	pg_query(r->worker->child->control, &stmt_cancel, (const char *[]){pid},
	    NULL, NULL);
}

void
worker_run_cancel(struct worker *w, const char *token)
{
	struct list *n;

	LIST_FOREACH (n, &w->runners) {
		struct runner *r = LIST_ENTRY(n, struct runner, node);

		if (r->state == RUNNER_BUSY &&
		    (token == NULL || strcmp(r->job->token, token) == 0))
			runner_cancel(r);
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
