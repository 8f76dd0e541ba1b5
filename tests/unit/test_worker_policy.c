/*
 * What a worker decides: roles/worker/worker_policy, by tables.
 */
#include "roles/worker/worker_policy.h"

#include <check.h>

#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* clang-format off */
static const struct {
	struct worker_load load; /* concurrency, running, slow, held, waiting,
				  * mean_us */
	int want;
} wants[] = {
	/* Nothing known of the run time: what is free, no more. */
	{ { 16, 0, 0, 0, 0, -1 }, 16 },
	{ { 16, 10, 0, 10, 0, -1 }, 6 },
	{ { 16, 16, 0, 16, 0, -1 }, 0 },
	/* Slow jobs: no job is claimed ahead. */
	{ { 16, 0, 0, 0, 0, 20000 }, 16 },
	{ { 16, 16, 0, 16, 0, 20000 }, 0 },
	/* Fast jobs: as many again, in batches of half. */
	{ { 16, 0, 0, 0, 0, 19999 }, 32 },
	{ { 16, 16, 0, 16, 0, 10000 }, 16 },
	{ { 16, 16, 0, 24, 8, 10000 }, 8 },
	{ { 16, 16, 0, 25, 9, 10000 }, 0 },
	{ { 1, 1, 0, 1, 0, 10000 }, 1 },
	{ { 1, 1, 0, 2, 1, 10000 }, 0 },
	/* Faster ones: what a runner does in 10 ms, 8 at most. */
	{ { 16, 16, 0, 16, 0, 5000 }, 32 },
	{ { 16, 16, 0, 16, 0, 500 }, 128 },
	{ { 16, 16, 0, 16, 0, 0 }, 128 },
	{ { 16, 16, 0, 80, 64, 500 }, 64 },
	{ { 16, 16, 0, 81, 65, 500 }, 0 },
	/* Runners held by slow jobs free nobody soon. */
	{ { 16, 16, 12, 16, 0, 10000 }, 4 },
	{ { 16, 16, 16, 16, 0, 500 }, 0 },
	{ { 16, 15, 15, 15, 0, 10000 }, 2 },
	/* What is being settled counts against the bound. */
	{ { 4, 0, 0, 35, 0, 500 }, 1 },
	{ { 4, 0, 0, 36, 0, 500 }, 0 },
	/* No connection to run anything on. */
	{ { 0, 0, 0, 0, 0, 500 }, 0 },
	{ { 0, 0, 0, 3, 3, -1 }, 0 },
};

static const struct {
	int64_t now_ms;
	unsigned int misses;
	int64_t at_ms;
} relooks[] = {
	{ 70000, 0, 70010 }, { 70000, 1, 70050 }, { 70000, 2, 70250 },
	{ 70000, 3, 71000 },
	/* Polls, in phase with 60001. */
	{ 70001, 4, 75001 }, { 70002, 4, 75001 }, { 72500, 4, 75001 },
	{ 72501, 4, 80001 }, { 75000, 5, 80001 }, { 75001, 4294967295u, 80001 },
};

static const struct {
	const char *sqlstate;
	int64_t run_ms;
	int64_t timeout_ms;
	int reruns;
	enum worker_verdict verdict;
} verdicts[] = {
	{ "CH001", 5, 0, 0, WORKER_STALE },
	{ "40001", 5, 0, 0, WORKER_RERUN },
	{ "40P01", 1000, 0, 4, WORKER_RERUN },
	{ "40001", 5, 0, 5, WORKER_FAIL },
	{ "40002", 5, 0, 0, WORKER_FAIL },
	{ "57014", 500, 500, 0, WORKER_TIMEOUT },
	{ "57014", 499, 500, 0, WORKER_RELEASE },
	{ "57014", 9999, 0, 0, WORKER_RELEASE },
	{ "57P01", 5, 0, 0, WORKER_RELEASE },
	{ "53300", 5, 0, 0, WORKER_RELEASE },
	{ "P0001", 5, 0, 0, WORKER_FAIL },
	{ "22012", 5, 5, 0, WORKER_FAIL },
	{ "CH002", 5, 0, 0, WORKER_FAIL },
	{ "CH005", 5, 0, 0, WORKER_FAIL },
	{ "CH008", 5, 0, 0, WORKER_RELEASE },
};
/* clang-format on */

START_TEST(test_want)
{
	for (size_t i = 0; i < COUNT(wants); i++)
		ck_assert_msg(worker_want(&wants[i].load) == wants[i].want,
		    "row %zu: %d instead of %d", i, worker_want(&wants[i].load),
		    wants[i].want);
}
END_TEST

START_TEST(test_relook)
{
	for (size_t i = 0; i < COUNT(relooks); i++)
		ck_assert_int_eq(worker_relook_us(relooks[i].now_ms * 1000,
				     60001 * 1000, relooks[i].misses),
		    relooks[i].at_ms * 1000);
}
END_TEST

START_TEST(test_judge)
{
	for (size_t i = 0; i < COUNT(verdicts); i++)
		ck_assert_msg(worker_judge(verdicts[i].sqlstate,
				  verdicts[i].run_ms, verdicts[i].timeout_ms,
				  verdicts[i].reruns) == verdicts[i].verdict,
		    "row %zu: %s", i, verdicts[i].sqlstate);
}
END_TEST

START_TEST(test_mean_follows_the_runs)
{
	int64_t mean = worker_mean_us(-1, 100000);

	ck_assert_int_eq(mean, 100000);
	for (int i = 0; i < 100; i++)
		mean = worker_mean_us(mean, 1000);
	ck_assert_int_lt(mean, 2000);
	ck_assert_int_ge(mean, 1000);
}
END_TEST

static struct worker_speed
fast(int jobs)
{
	struct worker_speed speed = {.mean_us = -1};

	for (int i = 0; i < jobs; i++)
		worker_speed_ran(&speed, 1, 100, 0);
	return speed;
}

START_TEST(test_fast_jobs_come_to_share_transactions)
{
	struct worker_speed speed = fast(WORKER_SEEN_MIN - 1);

	ck_assert_int_eq(worker_group(&speed, 32), 1);
	worker_speed_ran(&speed, 1, 100, 0);
	ck_assert_int_eq(worker_group(&speed, 32), 32);
	ck_assert_int_eq(worker_group(&speed, 5), 5);
	ck_assert_int_eq(worker_group(&speed, 1), 1);
	/* As many as half of the time allows: 10 ms. */
	for (int i = 0; i < 200; i++)
		worker_speed_ran(&speed, 4, 4 * 2000, 0);
	ck_assert_int_eq(worker_group(&speed, 32), 5);
	for (int i = 0; i < 200; i++)
		worker_speed_ran(&speed, 1, 4900, 0);
	ck_assert_int_eq(worker_group(&speed, 32), 2);
}
END_TEST

START_TEST(test_slow_jobs_do_not)
{
	struct worker_speed speed = {.mean_us = -1};

	for (int i = 0; i < 1000; i++)
		worker_speed_ran(&speed, 1, i % 20 ? 100 : 9000, i % 20 == 0);
	ck_assert_int_eq(worker_group(&speed, 32), 1);
}
END_TEST

START_TEST(test_those_that_turn_slow_have_to_prove_themselves)
{
	struct worker_speed speed = fast(WORKER_SEEN_MIN);
	int jobs = 0;

	ck_assert_int_eq(worker_group(&speed, 32), 32);
	/* One slow job in each group is more than one of a hundred. */
	for (int i = 0; i < 20 && worker_group(&speed, 32) > 1; i++)
		worker_speed_ran(&speed, 32, 3200, 1);
	ck_assert_int_eq(worker_group(&speed, 32), 1);
	while (worker_group(&speed, 32) == 1 && ++jobs < 100000)
		worker_speed_ran(&speed, 1, 100, 0);
	ck_assert_int_eq(jobs, 4 * WORKER_SEEN_MIN);
}
END_TEST

START_TEST(test_a_busy_machine_does_not_part_fast_jobs)
{
	struct worker_speed speed = fast(WORKER_SEEN_MIN);

	/* It holds up one group of six, and several in a row: 0.7 % of all. */
	for (int i = 0; i < 10000; i++)
		worker_speed_ran(&speed, 25, 2500, i % 60 < 10);
	ck_assert_int_eq(worker_group(&speed, 32), 32);
	/* Jobs of which 2 % are slow are found out all the same. */
	for (int i = 0; i < 400 && worker_group(&speed, 32) > 1; i++)
		worker_speed_ran(&speed, 25, 2500, i % 2);
	ck_assert_int_eq(worker_group(&speed, 32), 1);
}
END_TEST

START_TEST(test_as_many_fast_jobs_at_once_as_processors)
{
	ck_assert_int_eq(worker_fast_runners(-1), 2);
	ck_assert_int_eq(worker_fast_runners(1), 2);
	ck_assert_int_eq(worker_fast_runners(3), 3);
	ck_assert_int_eq(worker_fast_runners(64), 4);
}
END_TEST

START_TEST(test_claims_of_fast_jobs_are_few_and_in_batches)
{
	struct worker_speed unknown = {.mean_us = -1}, speed = fast(100);
	struct worker_speed slow = {.mean_us = -1};

	ck_assert_int_eq(worker_limit(&unknown, 3, 32, 0, 0), 3);
	ck_assert_int_eq(worker_limit(&unknown, 3, 32, 3, 0), 0);
	ck_assert_int_eq(worker_limit(&unknown, 3, 1, 4, 0), WORKER_NO_LIMIT);
	/* The first ones take long: so many more each time that this shows, for
	 * all of them at once would be slow on connections that are new. */
	ck_assert_int_eq(worker_limit(&unknown, 3, 32, 4, 3), 2);
	ck_assert_int_eq(worker_limit(&unknown, 3, 32, 9, 9), 3);
	ck_assert_int_eq(worker_limit(&speed, 3, 32, 0, 0), WORKER_FAST_CLAIMS);
	ck_assert_int_eq(worker_limit(&speed, 3, 32, 3, 0), 9);
	ck_assert_int_eq(worker_limit(&speed, 3, 32, 4, 0), 0);
	/* Rare slow jobs of a fast queue do not hold the others. */
	ck_assert_int_eq(worker_limit(&speed, 3, 32, 13, 10), 9);
	ck_assert_int_eq(worker_limit(&speed, 3, 1, 500, 0), WORKER_NO_LIMIT);
	/* The longer they take, the more run at once; what a busy machine
	 * adds now and then does not count. */
	for (int i = 0; i < 15; i++)
		worker_speed_ran(&slow, 1, i % 5 == 4 ? 9000 : 200, 0);
	ck_assert_int_eq(worker_limit(&slow, 3, 32, 4, 0), 0);
	for (int i = 0; i < 15; i++)
		worker_speed_ran(&slow, 1, 4000, 0);
	ck_assert_int_gt(worker_limit(&slow, 3, 32, 4, 0), 5);
	/* A third of them take long, whatever is typical. */
	for (int i = 0; i < 300; i++)
		worker_speed_ran(
		    &slow, 1, i % 3 == 0 ? 50000 : 200, i % 3 == 0);
	ck_assert_int_gt(worker_limit(&slow, 3, 32, 4, 0), WORKER_NO_LIMIT - 5);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("worker_policy");
	TCase *tc = tcase_create("worker_policy");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_want);
	tcase_add_test(tc, test_relook);
	tcase_add_test(tc, test_judge);
	tcase_add_test(tc, test_mean_follows_the_runs);
	tcase_add_test(tc, test_fast_jobs_come_to_share_transactions);
	tcase_add_test(tc, test_slow_jobs_do_not);
	tcase_add_test(tc, test_those_that_turn_slow_have_to_prove_themselves);
	tcase_add_test(tc, test_a_busy_machine_does_not_part_fast_jobs);
	tcase_add_test(tc, test_as_many_fast_jobs_at_once_as_processors);
	tcase_add_test(tc, test_claims_of_fast_jobs_are_few_and_in_batches);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
