/*
 * Nothing that a process has started outlives it: not what was forked twice,
 * left its session, ignores signals or goes on forking.
 *
 * Every test runs in a process of its own (check forks) that adopts, so that
 * "no child is left" is what waitpid says.
 */
#include "common/base/clock.h"
#include "common/base/descend.h"
#include "common/base/fd.h"

#include <check.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_MS = 2000 };

/* Every process of a tree writes its number here once it is set up. */
static int tell[2];

static void
setup(void)
{
	ck_assert_int_eq(pipe(tell), 0);
	descend_adopt();
}

static void
here(void)
{
	pid_t pid = getpid();

	if (write(tell[1], &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
		_exit(1);
}

static pid_t
told(void)
{
	pid_t pid = 0;

	ck_assert_int_eq(read(tell[0], &pid, sizeof(pid)), sizeof(pid));
	return pid;
}

static void __attribute__((noreturn)) stay(void)
{
	here();
	for (;;)
		pause();
}

static bool
no_child(void)
{
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

/* A chain of `depth` processes, each in a session of its own and deaf. */
static void __attribute__((noreturn)) chain(int depth)
{
	setsid();
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (depth > 1 && fork() == 0)
		chain(depth - 1);
	stay();
}

START_TEST(test_a_deep_chain_of_sessions_ends)
{
	enum { DEPTH = 12 };
	int64_t begun_ms;

	if (fork() == 0)
		chain(DEPTH);
	for (int i = 0; i < DEPTH; i++)
		told();
	begun_ms = clock_mono_ms();
	ck_assert(descend_end(NULL, NULL, LIMIT_MS));
	printf("descend_end: a chain of %d ended in %d ms\n", (int)DEPTH,
	    (int)(clock_mono_ms() - begun_ms));
	ck_assert(no_child());
}
END_TEST

/* A daemon: its parent has ended, so that no pointer leads to it. */
static void
start_daemon(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		if (fork() == 0)
			stay();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(test_daemons_end)
{
	pid_t daemons[20];

	for (int i = 0; i < 20; i++) {
		start_daemon();
		daemons[i] = told();
	}
	ck_assert(descend_end(NULL, NULL, LIMIT_MS));
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(kill(daemons[i], 0), -1);
	ck_assert(no_child());
}
END_TEST

/* Forks children that stay for as long as it lives. */
static void __attribute__((noreturn)) breed(void)
{
	here();
	for (int i = 0; i < 5000; i++)
		if (fork() == 0)
			for (;;)
				pause();
	for (;;)
		pause();
}

START_TEST(test_what_goes_on_forking_ends)
{
	for (int i = 0; i < 2; i++)
		if (fork() == 0)
			breed();
	told();
	told();
	ck_assert(descend_end(NULL, NULL, 10 * LIMIT_MS));
	ck_assert(no_child());
}
END_TEST

static bool
is(pid_t child, void *arg)
{
	return child == *(pid_t *)arg;
}

START_TEST(test_the_spared_live_with_all_they_have)
{
	pid_t spared = fork(), grandchild;
	int left;

	if (spared == 0)
		chain(2);
	grandchild = told() + told() - spared;
	for (int i = 0; i < 3; i++) {
		start_daemon();
		told();
	}
	ck_assert(descend_end(is, &spared, LIMIT_MS));
	ck_assert_int_eq(kill(spared, 0), 0);
	ck_assert_int_eq(kill(grandchild, 0), 0);
	ck_assert_int_eq(descend_kill(is, &spared), 0);
	/* As the master does it: one look at each death, no waiting. The
	 * second may become ours while the first look goes on. */
	left = descend_kill(NULL, NULL);
	ck_assert_int_ge(left, 1);
	ck_assert_int_eq(waitpid(spared, NULL, 0), spared);
	descend_kill(NULL, NULL);
	ck_assert_int_eq(waitpid(grandchild, NULL, 0), grandchild);
	ck_assert_int_eq(descend_kill(NULL, NULL), 0);
}
END_TEST

START_TEST(test_with_no_child_it_returns_at_once)
{
	int64_t begun_ms = clock_mono_ms();

	ck_assert(descend_end(NULL, NULL, LIMIT_MS));
	ck_assert_int_lt(clock_mono_ms() - begun_ms, 50);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("descend");
	TCase *tc = tcase_create("descend");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_a_deep_chain_of_sessions_ends);
	tcase_add_test(tc, test_daemons_end);
	tcase_add_test(tc, test_what_goes_on_forking_ends);
	tcase_add_test(tc, test_the_spared_live_with_all_they_have);
	tcase_add_test(tc, test_with_no_child_it_returns_at_once);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
