/*
 * The restart policy, row by row.
 */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "supervisor/policy.h"

/* As wait(2) encodes them. */
#define EXITED(code)   ((code) << 8)
#define KILLED(signal) (signal)

static const int64_t max_ms = 1000;

struct row {
	const char *what;
	struct policy_death death;
	int deaths; /* before it */
	struct policy_verdict expected;
};

/* clang-format off */
static const struct row rows[] = {
	{ "a crash is followed at once",
	  { .status = KILLED(SIGSEGV), .healthy_ms = 5 }, 0,
	  { POLICY_RESTART, 0, true } },
	{ "the second one waits",
	  { .status = KILLED(SIGSEGV), .healthy_ms = 5 }, 1,
	  { POLICY_RESTART, 100, true } },
	{ "and the third twice as long",
	  { .status = KILLED(SIGKILL), .healthy_ms = 0 }, 2,
	  { POLICY_RESTART, 200, true } },
	{ "never longer than the limit",
	  { .status = KILLED(SIGKILL), .healthy_ms = 0 }, 30,
	  { POLICY_RESTART, 1000, true } },
	{ "a minute of health forgives all",
	  { .status = KILLED(SIGKILL), .healthy_ms = 60000 }, 30,
	  { POLICY_RESTART, 0, true } },
	{ "status 1 is a crash",
	  { .status = EXITED(1) }, 0, { POLICY_RESTART, 0, true } },
	{ "status 0 left nothing behind",
	  { .status = EXITED(0) }, 0, { POLICY_RESTART, 0, false } },
	{ "a loop of exits with 0 waits as well",
	  { .status = EXITED(0) }, 1, { POLICY_RESTART, 100, false } },
	{ "78 is not retried",
	  { .status = EXITED(78) }, 0, { POLICY_FAIL, 0, true } },
	{ "78 is not retried however well it was",
	  { .status = EXITED(78), .healthy_ms = 60000 }, 3,
	  { POLICY_FAIL, 0, true } },
	{ "a signal of that number is no exit status",
	  { .status = KILLED(78 & 0x7f) }, 0, { POLICY_RESTART, 0, true } },
	{ "in a stop nothing follows",
	  { .status = KILLED(SIGKILL), .stopping = true }, 0,
	  { POLICY_NOTHING, 0, true } },
	{ "nor after a place that is not wanted",
	  { .status = EXITED(0), .leaving = true }, 0,
	  { POLICY_NOTHING, 0, false } },
	{ "nor where a successor starts already",
	  { .status = KILLED(SIGSEGV), .replaced = true }, 0,
	  { POLICY_NOTHING, 0, true } },
	{ "nor after a successor, while the old one serves",
	  { .status = EXITED(78), .predecessor = true }, 0,
	  { POLICY_NOTHING, 0, true } },
	{ "not even with 78 in a stop",
	  { .status = EXITED(78), .stopping = true }, 0,
	  { POLICY_NOTHING, 0, true } },
};
/* clang-format on */

START_TEST(test_policy)
{
	const struct row *row = &rows[_i];
	struct backoff backoff = {.deaths = row->deaths};
	struct policy_verdict v =
	    policy_after_death(&row->death, &backoff, max_ms);

	ck_assert_msg(v.next == row->expected.next, "%s: next is %d", row->what,
	    (int)v.next);
	ck_assert_msg(v.rescue == row->expected.rescue, "%s: rescue is %d",
	    row->what, v.rescue);
	if (v.next == POLICY_RESTART)
		ck_assert_msg(v.delay_ms == row->expected.delay_ms,
		    "%s: waits %d ms", row->what, (int)v.delay_ms);
}
END_TEST

START_TEST(test_only_restarts_count)
{
	struct policy_death stop = {
	    .status = KILLED(SIGKILL), .stopping = true};
	struct backoff backoff = {.deaths = 3};

	policy_after_death(&stop, &backoff, max_ms);
	ck_assert_int_eq(backoff.deaths, 3);
}
END_TEST

START_TEST(test_own_fault)
{
	static const int own[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	static const int from_outside[] = {SIGKILL, SIGTERM, SIGINT, SIGQUIT};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		ck_assert(policy_own_fault(KILLED(own[i]), false));
	for (size_t i = 0; i < 4; i++) {
		ck_assert(!policy_own_fault(KILLED(from_outside[i]), false));
		/* What hangs may not die of ABRT. */
		ck_assert(policy_own_fault(KILLED(from_outside[i]), true));
	}
	ck_assert(!policy_own_fault(EXITED(0), true));
	ck_assert(!policy_own_fault(EXITED(1), false));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(
	    tc, test_policy, 0, (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tc, test_only_restarts_count);
	tcase_add_test(tc, test_own_fault);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
