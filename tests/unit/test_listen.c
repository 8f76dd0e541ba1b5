/*
 * The set of listening sockets: what stays, comes and goes with a change, and
 * what an error leaves.
 */
#include "common/base/fd.h"
#include "common/conf/conf.h"
#include "listen_set.h"

#include <check.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static int fds[LISTEN_MAX];

/* ------------------------------------------------------------- the opening */

START_TEST(test_names_the_real_port)
{
	set_open(&set, "127.0.0.1:0", NULL);
	ck_assert_int_eq(set.count, 1);
	ck_assert_int_eq(strncmp(set_names(), "127.0.0.1:", 10), 0);
	ck_assert_int_gt(atoi(set_names() + 10), 0);
}
END_TEST

START_TEST(test_a_used_port_leaves_nothing_open)
{
	static struct listeners second;
	char used[200];

	set_open(&set, "127.0.0.1:0", NULL);
	snprintf(used, sizeof(used), "%s", set_names());
	ck_assert_int_eq(set_change(&second, set_unix, used, NULL), -1);
	ck_assert_ptr_nonnull(strstr(set_err.message, used));
	ck_assert_int_eq(second.count, 0);
	ck_assert_int_ne(access(set_path, F_OK), 0);
}
END_TEST

START_TEST(test_takes_over_a_stale_socket_only)
{
	static struct listeners second;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* Bound, and closed without being removed. */
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", set_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	fd_close(&fd);
	set_open(&set, set_unix, NULL);
	ck_assert_int_eq(set_change(&second, set_unix, NULL, NULL), -1);
	ck_assert_int_eq(access(set_path, F_OK), 0);
	listen_close(&set);
	ck_assert_int_ne(access(set_path, F_OK), 0);
}
END_TEST

START_TEST(test_keeps_a_file_of_that_name)
{
	int fd = open(set_path, O_CREAT | O_WRONLY, 0600);

	fd_close(&fd);
	ck_assert_int_eq(set_change(&set, set_unix, NULL, NULL), -1);
	ck_assert_int_eq(access(set_path, F_OK), 0);
}
END_TEST

START_TEST(test_removes_its_own_file_only)
{
	static struct listeners second;

	set_open(&set, set_unix, NULL);
	ck_assert_int_eq(unlink(set_path), 0);
	set_open(&second, set_unix, NULL);
	listen_close(&set);
	ck_assert_int_eq(set_connect(set_path), 0);
	listen_close(&second);
	ck_assert_int_ne(access(set_path, F_OK), 0);
}
END_TEST

/* -------------------------------------------------------------- the change */

START_TEST(test_the_same_texts_keep_their_sockets)
{
	int before[LISTEN_MAX], n;

	/* As many as localhost has addresses, each with a port of its own. */
	set_open(&set, "localhost:0", set_unix);
	n = listen_fds(&set, before);
	ck_assert_int_ge(n, 2);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(
		    set_change(&set, set_unix, "localhost:0", NULL), 0);
		ck_assert_int_eq(listen_fds(&set, fds), n);
		ck_assert_int_eq(memcmp(fds, before, n * sizeof(int)), 0);
		if (i == 1)
			listen_revert(&set);
		else
			listen_commit(&set);
	}
	ck_assert_int_eq(set_connect(set_path), 0);
}
END_TEST

START_TEST(test_old_ones_go_with_the_commit)
{
	int old;

	set_open(&set, set_unix, NULL);
	old = set.items[0].fd;
	ck_assert_int_eq(set_change(&set, set_other, NULL, NULL), 0);
	/* Only the new one is for new children, but both take connections. */
	ck_assert_int_eq(listen_fds(&set, fds), 1);
	ck_assert_int_ne(fds[0], old);
	ck_assert_str_eq(set_names(), set_other);
	ck_assert_int_eq(set_connect(set_path), 0);
	ck_assert_int_eq(set_connect(set_other + 5), 0);
	listen_commit(&set);
	ck_assert(!set_is_open(old));
	ck_assert_int_ne(access(set_path, F_OK), 0);
	ck_assert_int_eq(set_connect(set_other + 5), 0);
	ck_assert_int_eq(set.count, 1);
}
END_TEST

START_TEST(test_new_ones_go_with_the_revert)
{
	int old;

	set_open(&set, set_unix, NULL);
	old = set.items[0].fd;
	ck_assert_int_eq(set_change(&set, "127.0.0.1:0", set_other, NULL), 0);
	ck_assert_int_eq(listen_fds(&set, fds), 2);
	listen_revert(&set);
	ck_assert(!set_is_open(fds[0]) && !set_is_open(fds[1]));
	ck_assert_int_ne(access(set_other + 5, F_OK), 0);
	ck_assert_int_eq(listen_fds(&set, fds), 1);
	ck_assert_int_eq(fds[0], old);
	ck_assert_int_eq(set_connect(set_path), 0);
}
END_TEST

START_TEST(test_a_change_that_was_not_committed_is_reverted_first)
{
	set_open(&set, set_unix, NULL);
	ck_assert_int_eq(set_change(&set, "127.0.0.1:0", NULL, NULL), 0);
	ck_assert_int_eq(set_change(&set, set_other, NULL, NULL), 0);
	ck_assert_int_eq(set.count, 2);
	listen_revert(&set);
	ck_assert_str_eq(set_names(), set_unix);
}
END_TEST

START_TEST(test_an_error_changes_nothing)
{
	int old;

	set_open(&set, set_unix, NULL);
	old = set.items[0].fd;
	ck_assert_int_eq(
	    set_change(&set, set_other, "192.0.2.1:3000", NULL), -1);
	ck_assert_ptr_nonnull(strstr(set_err.hint, "does not have"));
	ck_assert_int_ne(access(set_other + 5, F_OK), 0);
	ck_assert_int_eq(listen_fds(&set, fds), 1);
	ck_assert_int_eq(fds[0], old);
	ck_assert_int_eq(set_connect(set_path), 0);
}
END_TEST

START_TEST(test_another_text_of_the_same_address_keeps_the_socket)
{
	char text[200];
	int old;

	set_open(&set, "127.0.0.1:0", NULL);
	old = set.items[0].fd;
	/* With a port it is another text, and the same socket. */
	snprintf(text, sizeof(text), "%s", set_names());
	ck_assert_int_eq(set_change(&set, text, NULL, NULL), 0);
	ck_assert_int_eq(listen_fds(&set, fds), 1);
	ck_assert_int_eq(fds[0], old);
	listen_commit(&set);
	/* Two texts for one socket. */
	snprintf(text, sizeof(text), "localhost%s", strrchr(set_names(), ':'));
	ck_assert_int_eq(set_change(&set, text, set_names(), NULL), 0);
	listen_commit(&set);
	ck_assert_int_eq(set.items[0].fd, old);
	/* When one of them goes the other holds it. */
	ck_assert_int_eq(set_change(&set, text, NULL, NULL), 0);
	listen_commit(&set);
	ck_assert_int_eq(set.items[0].fd, old);
}
END_TEST

START_TEST(test_too_many_change_nothing)
{
	static char texts[LISTEN_MAX + 1][200];
	char *items[LISTEN_MAX + 1];
	struct conf_strings many = {items, LISTEN_MAX + 1};

	set_open(&set, set_unix, NULL);
	for (int i = 0; i <= LISTEN_MAX; i++) {
		snprintf(
		    texts[i], sizeof(texts[i]), "unix:%s/%d", set_folder, i);
		items[i] = texts[i];
	}
	ck_assert_int_eq(listen_change(&set, &many, &set_err), -1);
	ck_assert_ptr_nonnull(strstr(set_err.message, "64"));
	ck_assert_str_eq(set_names(), set_unix);
	for (int i = 0; i <= LISTEN_MAX; i++)
		ck_assert_int_ne(access(texts[i] + 5, F_OK), 0);
}
END_TEST

START_TEST(test_a_child_keeps_what_it_serves)
{
	int old;

	set_open(&set, set_unix, NULL);
	old = set.items[0].fd;
	ck_assert_int_eq(set_change(&set, set_other, NULL, NULL), 0);
	listen_forget(&set, true);
	ck_assert(!set_is_open(old));
	ck_assert_int_eq(listen_fds(&set, fds), 1);
	ck_assert(set_is_open(fds[0]));
	listen_forget(&set, false);
	ck_assert(!set_is_open(fds[0]));
	/* The master's files are not a child's to remove. */
	ck_assert_int_eq(access(set_path, F_OK), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("listeners");
	TCase *tc = tcase_create("listeners");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, set_setup, set_teardown);
	tcase_add_test(tc, test_names_the_real_port);
	tcase_add_test(tc, test_a_used_port_leaves_nothing_open);
	tcase_add_test(tc, test_takes_over_a_stale_socket_only);
	tcase_add_test(tc, test_keeps_a_file_of_that_name);
	tcase_add_test(tc, test_removes_its_own_file_only);
	tcase_add_test(tc, test_the_same_texts_keep_their_sockets);
	tcase_add_test(tc, test_old_ones_go_with_the_commit);
	tcase_add_test(tc, test_new_ones_go_with_the_revert);
	tcase_add_test(
	    tc, test_a_change_that_was_not_committed_is_reverted_first);
	tcase_add_test(tc, test_an_error_changes_nothing);
	tcase_add_test(
	    tc, test_another_text_of_the_same_address_keeps_the_socket);
	tcase_add_test(tc, test_too_many_change_nothing);
	tcase_add_test(tc, test_a_child_keeps_what_it_serves);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
