/*
 * What a worker decides, apart from how it does it: pure functions.
 */
#ifndef CHIMP_ROLES_WORKER_POLICY_H
#define CHIMP_ROLES_WORKER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* --- how many jobs to claim --- */

struct worker_load {
	int concurrency; /* runners there may be */
	int running;
	int slow;        /* of those, running for WORKER_SLOW_MS or more */
	int held;        /* claimed: running, waiting and being settled */
	int waiting;     /* claimed and not started */
	int64_t mean_us; /* of the last runs; -1 = none ended yet */
};

/*
 * Jobs of a mean run time under WORKER_PREFETCH_US are worth claiming ahead:
 * a claim costs as much as several of them. As many as a runner gets through
 * in WORKER_AHEAD_US, so that none waits long behind the others (G15). A runner
 * busy for WORKER_SLOW_MS is not one to wait for.
 */
enum {
	WORKER_PREFETCH_US = 20000,
	WORKER_AHEAD_US = 10000,
	WORKER_AHEAD_MAX = 8, /* per runner */
	WORKER_SLOW_MS = 100
};

/*
 * How many jobs to claim now, 0 = none. Enough for the free runners; when runs
 * are short, more for those that will soon be free, in batches of at least
 * half of that. In all never more than concurrency * (1 + WORKER_AHEAD_MAX).
 */
int worker_want(const struct worker_load *load);

/* The mean run time with one more run in it. */
int64_t worker_mean_us(int64_t mean_us, int64_t run_us);

/* --- how many jobs to one transaction --- */

/*
 * What is known of the run times of a queue's jobs. G15: jobs may share a
 * transaction only where 99 of 100 take less than WORKER_FAST_US.
 *
 * One by one a few more may seem slow: what a busy machine adds to a handler's
 * own time is a large part of it then, and a small one in a group. A queue that
 * turns out slow in groups has to prove itself with more jobs each time.
 */
struct worker_speed {
	int64_t mean_us;    /* of one job; -1 = none has ended yet */
	int64_t typical_us; /* half of them take longer; 0 = likewise */
	double slow;        /* the share of slow ones, of about the last
			     * WORKER_SEEN_LAST, or _MAX when they share */
	int seen;           /* jobs that it is of */
	int wanted;         /* before any share a transaction; 0 = the least */
	bool grouping;      /* they may */
};

enum {
	WORKER_FAST_US = 5000,
	WORKER_SEEN_MIN = 32,
	WORKER_SEEN_LAST = 256,
	WORKER_SEEN_MAX = 8192,
	WORKER_SLOW_CHANCE = 10,
	WORKER_GROUP_MAX = 32,
	WORKER_GROUP_US = 20000,
	/* Fast jobs keep a processor busy each; more of them at once only
	 * wait for each other, and look slow. */
	WORKER_FAST_RUNNERS_MIN = 2,
	WORKER_FAST_RUNNERS_MAX = 4,
	/* One by one, a runner more for each of these that a job typically
	 * takes: what takes longer waits for something. */
	WORKER_RUNNER_US = 500,
	WORKER_FAST_CLAIMS = 12,
	WORKER_NO_LIMIT = 1000000
};

/* After n jobs that ran run_us in all, `slow` of them WORKER_FAST_US or more,
 * as the server has measured. */
void worker_speed_ran(
    struct worker_speed *speed, int n, int64_t run_us, int slow);

/* How many jobs of the queue to claim for one transaction: from 1 to
 * group_max. */
int worker_group(const struct worker_speed *speed, int group_max);

/* How many fast jobs, or groups of them, to run at once, where there are so
 * many processors. (PostgreSQL's may be others; it has as many as a rule.) */
int worker_fast_runners(long processors);

/* How many claims more of the queue to make, with `held` of them here, `slow`
 * of which have been running for WORKER_SLOW_MS. Of jobs that are fast, or
 * not known, fast_runners at once, of others more: at fast ones, more
 * runners only wait for each other. Claims of groups are made in batches, up to
 * WORKER_FAST_CLAIMS. The slow ones are in nobody's way. */
int worker_limit(const struct worker_speed *speed, int fast_runners,
    int group_max, int held, int slow);

/* --- when to look again --- */

enum { WORKER_POLLS = 4 };

/*
 * When to look again, after `misses` (from 0) claims in a row that found none:
 * 10, 50, 250, 1000, then always 5000 ms after now. The short ones find what an
 * enqueuer that did not know of the sleeper committed meanwhile. The long ones,
 * from WORKER_POLLS misses on, end at the multiple of 5000 ms after phase_us
 * that is the nearest, so that all that is idle is polled at once.
 */
int64_t worker_relook_us(int64_t now_us, int64_t phase_us, unsigned int misses);

/* --- what an error means --- */

enum worker_verdict {
	WORKER_STALE,   /* the claim is another's: forget it */
	WORKER_RERUN,   /* nobody's fault: once more, uncharged */
	WORKER_TIMEOUT, /* charge it as a time-out */
	WORKER_RELEASE, /* interrupted from outside: give back, uncharged */
	WORKER_FAIL     /* the handler's own: charge it */
};

enum { WORKER_RERUNS_MAX = 5 };

/* run_ms: how long the statement ran; timeout_ms: what it was given, 0 =
 * unlimited. */
enum worker_verdict worker_judge(
    const char *sqlstate, int64_t run_ms, int64_t timeout_ms, int reruns);

#endif
