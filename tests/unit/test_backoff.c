/*
 * supervisor/backoff: how long a dead process's slot waits (G35).
 */
#include "supervisor/backoff.h"

#include <check.h>

#include <stdlib.h>

enum { MAX_MS = 30000 };

START_TEST(test_at_once_then_doubling_to_the_maximum)
{
	static const int64_t expected[] = {0, 100, 200, 400, 800, 1600, 3200,
	    6400, 12800, 25600, 30000, 30000};
	struct backoff b = {0};

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		ck_assert_int_eq(backoff_next_ms(&b, 0, MAX_MS), expected[i]);
}
END_TEST

START_TEST(test_never_overflows)
{
	struct backoff b = {0};

	for (int i = 0; i < 1000; i++)
		ck_assert_int_le(backoff_next_ms(&b, 0, MAX_MS), MAX_MS);
	ck_assert_int_eq(backoff_next_ms(&b, 0, MAX_MS), MAX_MS);
	ck_assert_int_eq(backoff_next_ms(&b, 0, INT64_MAX) > 0, 1);
}
END_TEST

START_TEST(test_a_minute_of_health_forgives)
{
	struct backoff b = {0};

	for (int i = 0; i < 5; i++)
		backoff_next_ms(&b, 0, MAX_MS);
	/* 59.999 s are not enough, 60 s are. */
	ck_assert_int_eq(
	    backoff_next_ms(&b, BACKOFF_HEALTHY_MS - 1, MAX_MS), 1600);
	ck_assert_int_eq(backoff_next_ms(&b, BACKOFF_HEALTHY_MS, MAX_MS), 0);
	ck_assert_int_eq(backoff_next_ms(&b, 0, MAX_MS), 100);
}
END_TEST

START_TEST(test_a_small_maximum_wins)
{
	struct backoff b = {0};

	ck_assert_int_eq(backoff_next_ms(&b, 0, 50), 0);
	ck_assert_int_eq(backoff_next_ms(&b, 0, 50), 50);
	ck_assert_int_eq(backoff_next_ms(&b, 0, 0), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backoff");
	TCase *tc = tcase_create("backoff");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_at_once_then_doubling_to_the_maximum);
	tcase_add_test(tc, test_never_overflows);
	tcase_add_test(tc, test_a_minute_of_health_forgives);
	tcase_add_test(tc, test_a_small_maximum_wins);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
