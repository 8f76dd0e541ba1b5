/*
 * Runners: up to `concurrency` connections, each of which runs one claim at a
 * time, opened when jobs wait. Between worker_runner.c, which has the
 * connections, and worker_run.c, which has what runs on them.
 */
#ifndef CHIMP_ROLES_WORKER_RUNNER_H
#define CHIMP_ROLES_WORKER_RUNNER_H

#include "roles/worker/worker.h"

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
	int64_t *mark;   /* RUNNER_BUSY: where the master sees its token */
	/* What it ran last. The first run of another statement has plans to
	 * make, and says little of those that follow. */
	const struct pg_stmt *warm;
	bool measures; /* RUNNER_BUSY: the run is none of those */
	/* RUNNER_BUSY: what a handler last said of itself (chimp.progress) and
	 * is not told yet; NULL = nothing. */
	char *progress;
	char progress_job[24];
	int64_t born_ms; /* CLOCK_MONOTONIC */
	int64_t used_ms;
};

/* The one function that changes a runner's state. */
void runner_set_state(struct runner *r, enum runner_state state);

void runner_open(struct worker *w);

/* Say to the master that the job's claim is started, or not any more: what is
 * when the process dies by its own fault is suspected of it (G7). */
void runner_mark(struct runner *r, const struct job *job);
void runner_unmark(struct runner *r);

/* A job that it runs becomes one to be given back (run_on_reply). */
void runner_close(struct runner *r);

/* Tell what waits to be told: job will say no more. Before its failure is told,
 * for with that its token ends. */
void runner_end_progress(struct runner *r, const struct job *job);

/* How many are in a state; one that is idle, NULL if none is. */
int runner_count(const struct worker *w, enum runner_state state);
struct runner *runner_idle(struct worker *w);

#endif
