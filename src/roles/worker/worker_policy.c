/*
 * What a worker decides. See worker_policy.h.
 */
#include "roles/worker/worker_policy.h"

#include <stddef.h>
#include <string.h>

/* Weight of one run in the mean: 1/16. */
enum { WORKER_MEAN_WEIGHT = 16 };

static int
worker_min(int a, int b)
{
	return a < b ? a : b;
}

/* How many to claim ahead for each runner that is not slow. */
static int
worker_ahead(int64_t mean_us)
{
	int64_t n;

	if (mean_us < 0 || mean_us >= WORKER_PREFETCH_US)
		return 0;
	n = WORKER_AHEAD_US / (mean_us > 0 ? mean_us : 1);
	if (n < 1)
		n = 1;
	return n < WORKER_AHEAD_MAX ? (int)n : WORKER_AHEAD_MAX;
}

int
worker_want(const struct worker_load *load)
{
	int now = load->concurrency - load->running - load->waiting;
	int ahead =
	    worker_ahead(load->mean_us) * (load->concurrency - load->slow);
	int room = (1 + WORKER_AHEAD_MAX) * load->concurrency - load->held;

	/* A claim costs nearly the same for one as for many. */
	if (now <= 0 && load->waiting > ahead / 2)
		return 0;
	return now + ahead > 0 && room > 0 ? worker_min(now + ahead, room) : 0;
}

int64_t
worker_mean_us(int64_t mean_us, int64_t run_us)
{
	if (mean_us < 0)
		return run_us;
	return mean_us + (run_us - mean_us) / WORKER_MEAN_WEIGHT;
}

/* The median, about: it goes up and down by the same factor, so that runs that
 * a busy machine has held up hardly count. */
static int64_t
worker_typical_us(int64_t typical_us, int64_t run_us)
{
	if (typical_us == 0)
		typical_us = WORKER_RUNNER_US;
	return run_us > typical_us ? typical_us * 5 / 4
				   : (typical_us * 4 + 4) / 5;
}

/* Of so many jobs, few enough for p99 < WORKER_FAST_US? What holds up a process
 * on a busy machine does so several times in a row: of few jobs that proves
 * nothing. */
static bool
worker_is_fast(const struct worker_speed *s)
{
	return s->slow * s->seen <= 0.01 * s->seen + WORKER_SLOW_CHANCE;
}

static void
worker_speed_judge(struct worker_speed *s)
{
	const int wanted = s->wanted > 0 ? s->wanted : WORKER_SEEN_MIN;
	const bool was = s->grouping;

	if (s->grouping)
		s->grouping = worker_is_fast(s);
	else if (s->seen >= wanted)
		s->grouping = s->slow < 0.025;
	if (was && !s->grouping)
		s->wanted = worker_min(4 * wanted, WORKER_SEEN_MAX);
	if (was != s->grouping) {
		s->slow = 0;
		s->seen = 0;
	}
}

void
worker_speed_ran(struct worker_speed *s, int n, int64_t run_us, int slow)
{
	const int window = s->grouping ? WORKER_SEEN_MAX : WORKER_SEEN_LAST;
	int of;

	if (n <= 0)
		return;
	s->mean_us = worker_mean_us(s->mean_us, run_us / n);
	s->typical_us = worker_typical_us(s->typical_us, run_us / n);
	s->seen = worker_min(s->seen + n, WORKER_SEEN_MAX);
	/* The plain share at first, then that of about the last ones. */
	of = worker_min(s->seen, window);
	s->slow += (slow - s->slow * n) / (of > n ? of : n);
	worker_speed_judge(s);
}

int
worker_group(const struct worker_speed *speed, int group_max)
{
	int64_t n;

	if (!speed->grouping)
		return 1;
	/* Half of the time that a group may take: runs vary. */
	n = WORKER_GROUP_US / 2 / (speed->mean_us > 0 ? speed->mean_us : 1);
	if (n > WORKER_GROUP_MAX)
		n = WORKER_GROUP_MAX;
	return n < 1 ? 1 : worker_min((int)n, group_max);
}

/* Of jobs that run one by one: how many at once, beside slow ones. */
static int
worker_runners(const struct worker_speed *speed, int fast_runners)
{
	if (speed->seen == 0)
		return fast_runners;
	if (speed->seen >= WORKER_SEEN_MIN / 2 && speed->slow >= 0.2)
		return WORKER_NO_LIMIT;
	return fast_runners + (int)(speed->typical_us / WORKER_RUNNER_US);
}

int
worker_fast_runners(long processors)
{
	if (processors < WORKER_FAST_RUNNERS_MIN)
		return WORKER_FAST_RUNNERS_MIN;
	return processors < WORKER_FAST_RUNNERS_MAX ? (int)processors
						    : WORKER_FAST_RUNNERS_MAX;
}

int
worker_limit(const struct worker_speed *speed, int fast_runners, int group_max,
    int held, int slow)
{
	const int fast = held - slow;
	int runners;

	if (worker_group(speed, group_max) > 1)
		return fast <= fast_runners ? WORKER_FAST_CLAIMS - fast : 0;
	if (group_max == 1)
		return WORKER_NO_LIMIT;
	runners = worker_runners(speed, fast_runners);
	return fast < runners ? runners - fast : 0;
}

int64_t
worker_relook_us(int64_t now_us, int64_t phase_us, unsigned int misses)
{
	static const int64_t wait_ms[WORKER_POLLS] = {10, 50, 250, 1000};
	static const int64_t poll_us = 5000 * 1000;

	if (misses < WORKER_POLLS)
		return now_us + wait_ms[misses] * 1000;
	return phase_us +
	       (now_us - phase_us + poll_us * 3 / 2) / poll_us * poll_us;
}

enum worker_verdict
worker_judge(
    const char *sqlstate, int64_t run_ms, int64_t timeout_ms, int reruns)
{
	if (strcmp(sqlstate, "CH001") == 0)
		return WORKER_STALE;
	/* serialization_failure, deadlock_detected */
	if (strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0)
		return reruns < WORKER_RERUNS_MAX ? WORKER_RERUN : WORKER_FAIL;
	/* query_canceled: by statement_timeout or by somebody. The message
	 * would tell, but in the server's language. */
	if (strcmp(sqlstate, "57014") == 0)
		return timeout_ms > 0 && run_ms >= timeout_ms ? WORKER_TIMEOUT
							      : WORKER_RELEASE;
	/* The server ends or has no room: not the handler's doing. */
	if (strncmp(sqlstate, "57P", 3) == 0 || strcmp(sqlstate, "53300") == 0)
		return WORKER_RELEASE;
	/* The start that its queue's rate gave it has passed. */
	if (strcmp(sqlstate, "CH008") == 0)
		return WORKER_RELEASE;
	return WORKER_FAIL;
}
