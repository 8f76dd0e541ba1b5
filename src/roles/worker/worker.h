/*
 * The worker role: claims jobs of its queues and runs their handlers. Shared
 * by the files of this folder:
 *
 *	worker.c	 the role: start, drain, abandon, status
 *	worker_queue.c	 what it knows of its queues
 *	worker_claim.c	 when and what to claim, over the control connection
 *	worker_run.c	 what runs, and what comes of it
 *	worker_runner.c	 the connections that it runs on
 *	worker_settle.c	 failures and releases, told over the control connection
 *	worker_maintain.c	 counts and retention, when there is time
 *	worker_metrics.c what its runs came to, for /metrics
 *	worker_job.c	 claims and the lists that they are on
 *	worker_policy.c	 the decisions, pure
 *
 * After any event worker_advance is called: it alone moves the work on.
 */
#ifndef CHIMP_ROLES_WORKER_H
#define CHIMP_ROLES_WORKER_H

#include "common/base/list.h"
#include "common/pg/link.h"
#include "handlers/sql.h"
#include "roles/role.h"
#include "roles/worker/worker_policy.h"

struct worker;
struct runner;

/* --- queues (worker_queue.c) --- */

/* What runs came to. */
enum queue_outcome {
	QUEUE_DONE,
	QUEUE_RETRY, /* failed, and will be run again */
	QUEUE_DEAD,  /* failed for good */
	QUEUE_SNOOZED,
	QUEUE_CANCELLED,
	QUEUE_RELEASED /* given back uncharged */
};
enum { QUEUE_OUTCOMES = QUEUE_RELEASED + 1 };

struct queue {
	struct list node; /* of the worker's, once met */
	struct worker *worker;
	int64_t id;
	char *name;
	char *function;               /* its handler, as the last claim said */
	const struct pg_stmt *single; /* the worker's: runs one job; NULL: the
				       * name is none */
	struct pg_stmt *group;        /* own: runs a claim of several */
	int group_max;                /* 1: no two jobs in one transaction */
	struct worker_speed speed;
	int held; /* claims of it: waiting, running, being settled */
	/* Ids of the queue's own priority, the largest that was claimed: until
	 * the floors were moved last, no ready job is below, as far as it is
	 * known; and since. */
	int64_t floor, next_floor;
	/* CLOCK_MONOTONIC: nothing is there before, as far as it is known. */
	int64_t look_us;
	bool full_look;       /* the claim in flight looks at all of it */
	int64_t full_look_us; /* when to do that next */
	bool limited;         /* the end of a job may let another one start */
	bool rest;            /* it was empty, and is looked at once more */
	bool again;           /* to be looked at, whatever the claim in flight
			       * comes back with */
	unsigned int misses;  /* claims in a row that found nothing of it */
	int asked;            /* claims of it, by the claim that is in flight */
	int got;
	uint64_t outcomes[QUEUE_OUTCOMES]; /* runs, since birth */
};

/* The one of this id, which may be new. */
struct queue *queue_get(struct worker *w, int64_t id, const char *name);
void queue_learn(struct queue *q, const char *function, int group_max);
void queue_look(struct queue *q);  /* there may be jobs, new or left */
void queue_ended(struct queue *q); /* a job of it, well */
void queues_look(struct worker *w);
void queues_look_at_all(struct worker *w); /* below the floors, too */
/* Serve these: rows of chimp.served_queues. True if others were served before.
 */
bool queues_serve(struct worker *w, const struct pg_result *r);
/* A NOTIFY said that there is work of this one. */
void queues_notified(struct worker *w, const char *name);

/* Decide which queues to look at now, and for how many claims of each (asked);
 * the sum of these. *next_us: when the choice may be another one. */
int queues_choose(struct worker *w, int64_t now_us, int64_t *next_us);
/* One is to be looked at, whether there is room for its jobs or not. */
bool queues_due(const struct worker *w, int64_t now_us);
/* Of the chosen, array literals for chimp.claim; the caller frees them. */
char *queues_ids(struct worker *w);
char *queues_groups(struct worker *w);
char *queues_limits(struct worker *w);
char *queues_floors(struct worker *w);
char *queues_rests(struct worker *w);
void queue_got(struct queue *q); /* a claim */
/* The claim found fewer than the n that it was to: what it left out is not
 * there. */
void queues_exhausted(struct worker *w, int n, int64_t now_us);
bool queues_missed(const struct worker *w); /* one of the chosen, before */
/* A claim begins: which of the chosen to look at from their floors, that go to
 * where they were to go at the last call, and which of them as a whole. */
void queues_begin(struct worker *w, int64_t now_us);
/* It has ended; how long it took tells when to look at all again. */
void queues_looked(struct worker *w, int64_t now_us);
void queues_done(struct worker *w);

/* The next number of an array literal of integers, from where *array is. */
bool array_next(const char **array, int64_t *value);

/* --- claims (worker_job.c): a job, or several for one transaction --- */

enum job_state {
	JOB_WAITING, /* claimed, not started */
	JOB_RUNNING, /* on a runner */
	JOB_SETTLING /* ended other than well: to be told, or being told */
};
enum { JOB_STATES = JOB_SETTLING + 1 };

enum job_outcome {
	JOB_FAILED,   /* charged, with the error below */
	JOB_RELEASED, /* given back uncharged */
	JOB_SPLIT     /* several: to be run one by one */
};

struct job {
	struct list node; /* on the list of its state */
	struct worker *worker;
	enum job_state state;
	struct queue *queue;
	int n;              /* jobs in it */
	char id[24];        /* of the first, as the database writes it */
	char token[24];     /* likewise */
	int64_t timeout_ms; /* of one attempt; 0 = none */
	int64_t since_us;   /* CLOCK_MONOTONIC: in this state; when running, of
			     * this run */
	int reruns;         /* after serialization failures and deadlocks */

	/* JOB_SETTLING */
	enum job_outcome outcome;
	bool sent;    /* and not answered */
	int refusals; /* errors instead of an answer */
	char sqlstate[6];
	char *message;
	char *detail;
	char *hint;
	char *context;
};

/* A row of chimp.claim. */
struct job *job_new(struct worker *w, const struct pg_result *claimed, int row);
/* What is left of a claim of several, one by one: the columns jobs, tokens,
 * timeouts_ms from `column` on; NULL if nothing is. */
void job_new_rest(
    struct queue *q, struct worker *w, const struct pg_result *r, int column);
void job_set_state(struct job *job, enum job_state state);
void job_free(struct job *job); /* and takes it off its list */

/* --- the worker --- */

struct worker {
	struct child *child;
	const struct conf_worker *conf;
	const struct conf_database *db;
	char *application_name;       /* of the runners */
	struct list jobs[JOB_STATES]; /* the oldest first */
	int n_jobs[JOB_STATES];
	int n_groups;        /* of several jobs, running */
	int fast_runners;    /* how many of these may run */
	bool tells_progress; /* of a runner, and is not answered */
	int64_t mean_us;     /* run time; -1 = unknown */
	uint64_t n_ended;    /* runs, well or not, since birth */
	struct sql_handlers handlers;
	bool advancing; /* worker_advance is on the stack */
	bool again;     /* and was called meanwhile */

	/* worker_queue.c */
	struct list all_queues; /* that it has met */
	struct queue **served;  /* now */
	int n_served;
	char *served_ids; /* as an array literal; NULL = not known */

	/* worker_claim.c */
	bool refresh;       /* they may have changed: ask */
	bool suspects;      /* there may be some: ask when nothing is held */
	bool alone;         /* one is held, and nothing else may be */
	bool asking;        /* a claim or refresh is not answered */
	bool lost_claim;    /* a claim was lost with its connection: what it
			     * took, if anything, nobody knows */
	int asked;          /* how many, by the claim in flight */
	bool said_trouble;  /* the log knows */
	int64_t asked_us;   /* CLOCK_MONOTONIC: of the claim in flight */
	int64_t floors_us;  /* when to move the floors next */
	int64_t trouble_us; /* not to ask anything before */
	bool handed_over;   /* since the last claim */
	int n_hand_overs;   /* in a row, without room */
	int64_t leave_us;   /* when to do that next; 0 = there is room */
	int64_t poll_us;    /* when to ask what may have been missed */
	int64_t due_us;     /* the next scheduled job; 0 = not known */
	int64_t phase_us;   /* polls are multiples of their interval after it */
	int64_t timer_us;   /* when the timer, if armed, will fire */
	struct loop_timer look_timer;

	/* worker_run.c */
	struct list runners;
	int n_runners;
	struct loop_timer stale_timer; /* when jobs wait */

	/* worker_settle.c */
	struct loop_timer settle_timer; /* after a refusal */

	/* worker_maintain.c */
	struct loop_timer maintain_timer;
	bool maintaining;   /* a step is not answered */
	int64_t counted_us; /* CLOCK_MONOTONIC: of the last count_open */
};

void worker_advance(struct worker *w);

/* The control connection can be used, and claims stand. */
bool worker_connected(const struct worker *w);

/* --- worker_claim.c --- */

void worker_claim_start(struct worker *w);
void worker_claim_done(struct worker *w);
/* Claim or refresh if it is time to. */
void worker_claim_advance(struct worker *w);
/* No more is claimed here. */
void worker_claim_drain(struct worker *w);
/* After a registration. False: the process first gives all back, and will be
 * registered anew. */
bool worker_claim_registered(struct worker *w);

/* --- worker_run.c --- */

void worker_run_start(struct worker *w);
void worker_run_done(struct worker *w);
void worker_run_advance(struct worker *w);   /* start waiting jobs */
int worker_run_slow(const struct worker *w); /* running WORKER_SLOW_MS long */
int worker_run_slow_of(const struct worker *w, const struct queue *q);
/* Runners that there are or can be; 0 while none is connected. */
int worker_run_concurrency(const struct worker *w);
/* Cancel the statement that runs for a claim, or all (token NULL);
 * worker_connected is asserted. */
void worker_run_cancel(struct worker *w, const char *token);
void worker_run_drop(struct worker *w);  /* close all that run something */
void worker_run_sweep(struct worker *w); /* close old and idle connections */

/* --- worker_settle.c --- */

void worker_settle_start(struct worker *w);
void worker_settle_done(struct worker *w);
void worker_settle_advance(struct worker *w); /* tell what is untold */
void job_fail(struct job *job, const struct pg_error *error);
void job_release(struct job *job);
void job_split(struct job *job);

/* --- worker_metrics.c --- */

/* Count a run by what chimp.job_fail said. */
void queue_failed(struct queue *q, const char *outcome);
void worker_metrics(
    struct child *child, const char *labels, struct strbuf *out);

/* --- worker_maintain.c --- */

void worker_maintain_start(struct worker *w);
void worker_maintain_done(struct worker *w);
void worker_maintain_soon(struct worker *w); /* something has changed */

#endif
