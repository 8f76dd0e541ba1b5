/*
 * Sockets from systemd: which descriptors are taken, which are closed, and
 * that nothing of it is left in the environment.
 */
#include "common/base/fd.h"
#include "supervisor/inherit.h"

#include <check.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static struct inherit in;

/* Make it descriptor `number`. */
static void
place(int fd, int number)
{
	if (fd == number)
		return;
	ck_assert_int_eq(dup2(fd, number), number);
	fd_close(&fd);
}

/* A Unix socket with an address of its own, listening or not. */
static void
place_socket(int number, int type, bool listens)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	/* Only the family: the kernel finds a name. */
	ck_assert_int_eq(
	    bind(fd, (struct sockaddr *)&sun, sizeof(sun.sun_family)), 0);
	if (listens)
		ck_assert_int_eq(listen(fd, 5), 0);
	place(fd, number);
}

static void
set_variables(const char *fds, long pid, const char *names)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", pid);
	setenv("LISTEN_FDS", fds, 1);
	setenv("LISTEN_PID", text, 1);
	if (names != NULL)
		setenv("LISTEN_FDNAMES", names, 1);
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void
check_environment(void)
{
	ck_assert_ptr_null(getenv("LISTEN_FDS"));
	ck_assert_ptr_null(getenv("LISTEN_PID"));
	ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
}

START_TEST(test_takes_what_is_for_http)
{
	place_socket(3, SOCK_STREAM, true);
	place_socket(4, SOCK_STREAM, true);
	place_socket(5, SOCK_STREAM, true);
	set_variables("3", getpid(), "http:chimpd.socket:chimpd@eu.socket");
	inherit_take(&in);
	ck_assert_int_eq(in.count, 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(in.fds[i], 3 + i);
		ck_assert_int_eq(fcntl(3 + i, F_GETFD), FD_CLOEXEC);
		ck_assert(fcntl(3 + i, F_GETFL) & O_NONBLOCK);
	}
	check_environment();
}
END_TEST

START_TEST(test_without_names_all_are_for_http)
{
	place_socket(3, SOCK_STREAM, true);
	set_variables("1", getpid(), NULL);
	inherit_take(&in);
	ck_assert_int_eq(in.count, 1);
}
END_TEST

START_TEST(test_closes_what_it_cannot_use)
{
	int pair[2];

	place_socket(3, SOCK_STREAM, true); /* of another name */
	place_socket(4, SOCK_DGRAM, false);
	place_socket(5, SOCK_STREAM, false);
	place_socket(6, SOCK_SEQPACKET, true);
	place(open("/dev/null", O_RDONLY), 7);
	/* Accept=yes hands over a connection. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	place(pair[0], 8);
	place_socket(9, SOCK_STREAM, true); /* of no name */
	place_socket(10, SOCK_STREAM, true);
	set_variables("8", getpid(), "ssh:http:http:http:http:http::http");
	inherit_take(&in);
	ck_assert_int_eq(in.count, 1);
	ck_assert_int_eq(in.fds[0], 10);
	for (int fd = 3; fd <= 9; fd++)
		ck_assert_msg(!is_open(fd), "%d is open", fd);
	check_environment();
}
END_TEST

START_TEST(test_ignores_what_is_meant_for_another_process)
{
	place_socket(3, SOCK_STREAM, true);
	set_variables("1", (long)getppid(), "http");
	inherit_take(&in);
	ck_assert_int_eq(in.count, 0);
	ck_assert(is_open(3));
	check_environment();
}
END_TEST

static const char *const broken[] = {
    "", "-1", "x", "1x", "4294967297", "2147483647", "99999999999999999999"};

START_TEST(test_survives_broken_numbers)
{
	for (int fd = 3; fd < 20; fd++)
		close(fd);
	set_variables(broken[_i], getpid(), "http");
	inherit_take(&in);
	ck_assert_int_eq(in.count, 0);
	check_environment();
}
END_TEST

START_TEST(test_more_than_fit_are_closed)
{
	for (int i = 0; i <= LISTEN_MAX; i++)
		place_socket(3 + i, SOCK_STREAM, true);
	/* More are promised than there are. */
	set_variables("1000", getpid(), NULL);
	close(3 + LISTEN_MAX + 1);
	inherit_take(&in);
	ck_assert_int_eq(in.count, LISTEN_MAX);
	ck_assert(!is_open(3 + LISTEN_MAX));
}
END_TEST

static const struct {
	const char *name;
	bool http;
} names[] = {
    {"http", true},
    {"chimpd.socket", true},
    {"chimpd@a.b.socket", true},
    {"", false},
    {"https", false},
    {"chimpd", false},
    {"chimpd@", false},
    {"chimpd@x", false},
    {"chimpd.service", false},
    {"chimpd-admin.socket", false},
    {"unknown", false},
    {"stored", false},
};

START_TEST(test_names)
{
	ck_assert_int_eq(inherit_is_http(names[_i].name), names[_i].http);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof(*(a))))

int
main(void)
{
	Suite *s = suite_create("inherit");
	TCase *tc = tcase_create("inherit");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_takes_what_is_for_http);
	tcase_add_test(tc, test_without_names_all_are_for_http);
	tcase_add_test(tc, test_closes_what_it_cannot_use);
	tcase_add_test(tc, test_ignores_what_is_meant_for_another_process);
	tcase_add_loop_test(tc, test_survives_broken_numbers, 0, COUNT(broken));
	tcase_add_test(tc, test_more_than_fit_are_closed);
	tcase_add_loop_test(tc, test_names, 0, COUNT(names));
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
