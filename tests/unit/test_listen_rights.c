/*
 * The rights of Unix sockets, and the sockets that systemd made.
 */
#include "listen_set.h"

#include <check.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static int fds[LISTEN_MAX];

/* -------------------------------------------------------------- the rights */

static const char *
with(const char *options)
{
	static char text[300];

	snprintf(text, sizeof(text), "%s %s", set_unix, options);
	return text;
}

START_TEST(test_mode_whatever_the_umask)
{
	mode_t before = umask(0077);

	set_open(&set, set_unix, set_other);
	ck_assert_uint_eq(set_mode_of(set_path), 0666);
	ck_assert_int_eq(set_change(&set, set_other, NULL, NULL), 0);
	listen_commit(&set);
	umask(0);
	ck_assert_int_eq(
	    set_change(&set, with("mode=0640"), set_other, NULL), 0);
	ck_assert_uint_eq(set_mode_of(set_path), 0640);
	ck_assert_uint_eq(umask(before), 0);
}
END_TEST

START_TEST(test_owner_and_group)
{
	struct stat st;
	char text[100];
	bool root = geteuid() == 0;

	/* What everybody may: one's own. Root may give it to anybody. */
	snprintf(text, sizeof(text), "owner=%u group=%u mode=0660",
	    root ? 12345 : geteuid(), root ? 54321 : getegid());
	set_open(&set, with(text), NULL);
	ck_assert_int_eq(stat(set_path, &st), 0);
	ck_assert_uint_eq(st.st_uid, root ? 12345 : geteuid());
	ck_assert_uint_eq(st.st_gid, root ? 54321 : getegid());
	ck_assert_uint_eq(st.st_mode & 0777, 0660);
}
END_TEST

static const struct {
	const char *options;
	const char *says;
} refused[] = {
    {"owner=nobody-of-that-name", "no user \"nobody-of-that-name\""},
    {"group=nobody-of-that-name", "no group \"nobody-of-that-name\""},
};

START_TEST(test_unknown_owner)
{
	ck_assert_int_eq(
	    set_change(&set, with(refused[_i].options), NULL, NULL), -1);
	ck_assert_ptr_nonnull(strstr(set_err.message, refused[_i].says));
	ck_assert_int_ne(access(set_path, F_OK), 0);
	ck_assert_int_eq(set.count, 0);
}
END_TEST

/* In a forked process of check, so that root may be given up. */
START_TEST(test_owner_that_may_not_be_set)
{
	if (geteuid() == 0) {
		ck_assert_int_eq(chmod(set_folder, 0777), 0);
		ck_assert_int_eq(setgid(65534), 0);
		ck_assert_int_eq(setuid(65534), 0);
	}
	ck_assert_int_eq(set_change(&set, with("owner=0"), NULL, NULL), -1);
	ck_assert_ptr_nonnull(strstr(set_err.hint, "as root"));
	ck_assert_int_ne(access(set_path, F_OK), 0);
}
END_TEST

START_TEST(test_new_rights_of_an_open_socket)
{
	int old;

	set_open(&set, set_unix, NULL);
	old = set.items[0].fd;
	ck_assert_int_eq(set_change(&set, with("mode=0600"), NULL, NULL), 0);
	ck_assert_int_eq(set.count, 1);
	ck_assert_int_eq(set.items[0].fd, old);
	ck_assert_uint_eq(set_mode_of(set_path), 0600);
	listen_revert(&set);
	ck_assert_uint_eq(set_mode_of(set_path), 0666);
	ck_assert_int_eq(
	    set_change(&set, with("mode=0600"), "192.0.2.1:3000", NULL), -1);
	ck_assert_uint_eq(set_mode_of(set_path), 0666);
	ck_assert_int_eq(set_change(&set, with("mode=0600"), NULL, NULL), 0);
	listen_commit(&set);
	ck_assert_uint_eq(set_mode_of(set_path), 0600);
	/* Left out again: as it was made. */
	ck_assert_int_eq(set_change(&set, set_unix, NULL, NULL), 0);
	listen_commit(&set);
	ck_assert_uint_eq(set_mode_of(set_path), 0666);
	ck_assert_int_eq(set.items[0].fd, old);
}
END_TEST

/* --------------------------------------------------------------- inherited */

/* A listening TCP socket, as systemd would make it. */
static int
foreign_tcp(int family, int v6_only)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(family, SOCK_STREAM, 0), rc;

	if (family == AF_INET6)
		setsockopt(
		    fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
	rc = family == AF_INET6 ? bind(fd, (struct sockaddr *)&in6, sizeof(in6))
				: bind(fd, (struct sockaddr *)&in, sizeof(in));
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	return fd;
}

/* Change to "HOST:PORT" of the first socket's port. */
static int
change_to_port(const char *host)
{
	char text[200];

	snprintf(
	    text, sizeof(text), "%s%s", host, strrchr(set.items[0].name, ':'));
	return set_change(&set, text, NULL, NULL);
}

START_TEST(test_an_inherited_address_is_not_opened_again)
{
	int fd = foreign_tcp(AF_INET, 0), was = fd;

	ck_assert_int_eq(listen_inherit(&set, &fd, &set_err), 0);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(change_to_port("0.0.0.0"), 0);
	ck_assert_int_eq(listen_fds(&set, fds), 1);
	ck_assert_int_eq(fds[0], was);
	/* It takes what goes to each of the addresses. */
	ck_assert_int_eq(change_to_port("127.0.0.1"), 0);
	ck_assert_int_eq(listen_fds(&set, fds), 1);
	listen_commit(&set);
	/* It stays when nothing asks for it, and others come beside it. */
	ck_assert_int_eq(set_change(&set, set_unix, NULL, NULL), 0);
	listen_commit(&set);
	ck_assert_int_eq(listen_fds(&set, fds), 2);
	ck_assert_int_eq(fds[0], was);
	ck_assert(set_is_open(was));
}
END_TEST

/* -1: there is no such socket. */
static int
speaks_tls(int fd)
{
	bool tls[LISTEN_MAX];
	int n = listen_fds(&set, fds);

	listen_tls(&set, tls);
	for (int i = 0; i < n; i++)
		if (fds[i] == fd)
			return tls[i];
	return -1;
}

START_TEST(test_tls_comes_and_goes_with_the_text_and_the_socket_stays)
{
	char with[sizeof(set_unix) + 4], tcp[sizeof(set.items[0].name) + 4];
	int fd = foreign_tcp(AF_INET, 0), inherited = fd, own;

	snprintf(with, sizeof(with), "%s tls", set_unix);
	ck_assert_int_eq(listen_inherit(&set, &fd, &set_err), 0);
	snprintf(tcp, sizeof(tcp), "%s tls", set.items[0].name);
	set_open(&set, set_unix, NULL);
	own = set.items[1].fd;
	ck_assert_int_eq(speaks_tls(inherited), false);
	ck_assert_int_eq(speaks_tls(own), false);
	/* What is reverted was never so. */
	ck_assert_int_eq(set_change(&set, with, tcp, NULL), 0);
	ck_assert_int_eq(speaks_tls(inherited), true);
	ck_assert_int_eq(speaks_tls(own), true);
	listen_revert(&set);
	ck_assert_int_eq(speaks_tls(inherited), false);
	ck_assert_int_eq(speaks_tls(own), false);
	set_open(&set, with, tcp);
	ck_assert_int_eq(speaks_tls(inherited), true);
	ck_assert_int_eq(speaks_tls(own), true);
	set_open(&set, set_unix, NULL);
	ck_assert_int_eq(speaks_tls(inherited), false);
	ck_assert_int_eq(speaks_tls(own), false);
}
END_TEST

START_TEST(test_an_inherited_socket_of_both_families)
{
	int fd = foreign_tcp(AF_INET6, 0);

	ck_assert_int_eq(listen_inherit(&set, &fd, &set_err), 0);
	ck_assert_int_eq(change_to_port("0.0.0.0"), 0);
	ck_assert_int_eq(set.count, 1);
	ck_assert_int_eq(change_to_port("*"), 0);
	ck_assert_int_eq(set.count, 1);
	listen_close(&set);
	/* Of v6 only: v4 is opened beside it. */
	fd = foreign_tcp(AF_INET6, 1);
	ck_assert_int_eq(listen_inherit(&set, &fd, &set_err), 0);
	ck_assert_int_eq(change_to_port("0.0.0.0"), 0);
	ck_assert_int_eq(set.count, 2);
}
END_TEST

START_TEST(test_an_inherited_unix_socket_is_never_removed)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", set_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(chmod(set_path, 0600), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(listen_inherit(&set, &fd, &set_err), 0);
	/* Rights are systemd's too. */
	ck_assert_int_eq(set_change(&set, with("mode=0644"), NULL, NULL), 0);
	listen_commit(&set);
	ck_assert_int_eq(set.count, 1);
	ck_assert_uint_eq(set_mode_of(set_path), 0600);
	ck_assert_int_eq(set_change(&set, set_other, NULL, NULL), 0);
	listen_revert(&set);
	ck_assert_str_eq(set_names(), set_unix);
	listen_close(&set);
	ck_assert_int_eq(access(set_path, F_OK), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rights of listeners");
	TCase *tc = tcase_create("rights of listeners");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, set_setup, set_teardown);
	tcase_add_test(tc, test_mode_whatever_the_umask);
	tcase_add_test(tc, test_owner_and_group);
	tcase_add_loop_test(tc, test_unknown_owner, 0,
	    (int)(sizeof(refused) / sizeof(*refused)));
	tcase_add_test(tc, test_owner_that_may_not_be_set);
	tcase_add_test(tc, test_new_rights_of_an_open_socket);
	tcase_add_test(tc, test_an_inherited_address_is_not_opened_again);
	tcase_add_test(
	    tc, test_tls_comes_and_goes_with_the_text_and_the_socket_stays);
	tcase_add_test(tc, test_an_inherited_socket_of_both_families);
	tcase_add_test(tc, test_an_inherited_unix_socket_is_never_removed);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
