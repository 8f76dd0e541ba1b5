/*
 * The set of listening sockets: what stays, comes and goes with a change, what
 * an error leaves, and the rights of Unix sockets.
 */
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/conf/conf.h"
#include "supervisor/listen.h"

#include <check.h>

#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/chimp-test-XXXXXX";
static char path[128];       /* FOLDER/thing */
static char unix_text[200];  /* unix:FOLDER/thing */
static char other_text[200]; /* unix:FOLDER/other */
static struct err err;
static struct listeners l;
static int fds[LISTEN_MAX];

static void
setup(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/thing", folder);
	snprintf(unix_text, sizeof(unix_text), "unix:%s", path);
	snprintf(other_text, sizeof(other_text), "unix:%s/other", folder);
	memset(&l, 0, sizeof(l));
}

static int
remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static void
teardown(void)
{
	listen_close(&l);
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Change to at most three addresses. */
static int
change(struct listeners *set, const char *a, const char *b, const char *c)
{
	char texts[3][200];
	char *items[] = {texts[0], texts[1], texts[2], NULL};
	struct conf_strings addresses = {
	    items, (a != NULL) + (b != NULL) + (c != NULL)};

	snprintf(texts[0], sizeof(texts[0]), "%s", a != NULL ? a : "");
	snprintf(texts[1], sizeof(texts[1]), "%s", b != NULL ? b : "");
	snprintf(texts[2], sizeof(texts[2]), "%s", c != NULL ? c : "");
	return listen_change(set, &addresses, &err);
}

/* A set that listens on up to two addresses. */
static void
open_set(struct listeners *set, const char *a, const char *b)
{
	ck_assert_int_eq(change(set, a, b, NULL), 0);
	listen_commit(set);
}

static const char *
names(void)
{
	static char buf[200];

	listen_names(&l, buf, sizeof(buf));
	return buf;
}

/* 0 if a connection to the Unix socket is taken. */
static int
connect_to(const char *name)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), rc;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", name);
	rc = connect(fd, (struct sockaddr *)&sun, sizeof(sun));
	fd_close(&fd);
	return rc;
}

static mode_t
mode_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(stat(name, &st), 0);
	return st.st_mode & 07777;
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* ------------------------------------------------------------- the opening */

START_TEST(test_names_the_real_port)
{
	open_set(&l, "127.0.0.1:0", NULL);
	ck_assert_int_eq(l.count, 1);
	ck_assert_int_eq(strncmp(names(), "127.0.0.1:", 10), 0);
	ck_assert_int_gt(atoi(names() + 10), 0);
}
END_TEST

START_TEST(test_a_used_port_leaves_nothing_open)
{
	static struct listeners second;
	char used[200];

	open_set(&l, "127.0.0.1:0", NULL);
	snprintf(used, sizeof(used), "%s", names());
	ck_assert_int_eq(change(&second, unix_text, used, NULL), -1);
	ck_assert_ptr_nonnull(strstr(err.message, used));
	ck_assert_int_eq(second.count, 0);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_takes_over_a_stale_socket_only)
{
	static struct listeners second;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* Bound, and closed without being removed. */
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	fd_close(&fd);
	open_set(&l, unix_text, NULL);
	ck_assert_int_eq(change(&second, unix_text, NULL, NULL), -1);
	ck_assert_int_eq(access(path, F_OK), 0);
	listen_close(&l);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_keeps_a_file_of_that_name)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	fd_close(&fd);
	ck_assert_int_eq(change(&l, unix_text, NULL, NULL), -1);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_removes_its_own_file_only)
{
	static struct listeners second;

	open_set(&l, unix_text, NULL);
	ck_assert_int_eq(unlink(path), 0);
	open_set(&second, unix_text, NULL);
	listen_close(&l);
	ck_assert_int_eq(connect_to(path), 0);
	listen_close(&second);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* -------------------------------------------------------------- the change */

START_TEST(test_the_same_texts_keep_their_sockets)
{
	int before[LISTEN_MAX], n;

	/* As many as localhost has addresses, each with a port of its own. */
	open_set(&l, "localhost:0", unix_text);
	n = listen_fds(&l, before);
	ck_assert_int_ge(n, 2);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(change(&l, unix_text, "localhost:0", NULL), 0);
		ck_assert_int_eq(listen_fds(&l, fds), n);
		ck_assert_int_eq(memcmp(fds, before, n * sizeof(int)), 0);
		if (i == 1)
			listen_revert(&l);
		else
			listen_commit(&l);
	}
	ck_assert_int_eq(connect_to(path), 0);
}
END_TEST

START_TEST(test_old_ones_go_with_the_commit)
{
	int old;

	open_set(&l, unix_text, NULL);
	old = l.items[0].fd;
	ck_assert_int_eq(change(&l, other_text, NULL, NULL), 0);
	/* Only the new one is for new children, but both take connections. */
	ck_assert_int_eq(listen_fds(&l, fds), 1);
	ck_assert_int_ne(fds[0], old);
	ck_assert_str_eq(names(), other_text);
	ck_assert_int_eq(connect_to(path), 0);
	ck_assert_int_eq(connect_to(other_text + 5), 0);
	listen_commit(&l);
	ck_assert(!is_open(old));
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(connect_to(other_text + 5), 0);
	ck_assert_int_eq(l.count, 1);
}
END_TEST

START_TEST(test_new_ones_go_with_the_revert)
{
	int old;

	open_set(&l, unix_text, NULL);
	old = l.items[0].fd;
	ck_assert_int_eq(change(&l, "127.0.0.1:0", other_text, NULL), 0);
	ck_assert_int_eq(listen_fds(&l, fds), 2);
	listen_revert(&l);
	ck_assert(!is_open(fds[0]) && !is_open(fds[1]));
	ck_assert_int_ne(access(other_text + 5, F_OK), 0);
	ck_assert_int_eq(listen_fds(&l, fds), 1);
	ck_assert_int_eq(fds[0], old);
	ck_assert_int_eq(connect_to(path), 0);
}
END_TEST

START_TEST(test_a_change_that_was_not_committed_is_reverted_first)
{
	open_set(&l, unix_text, NULL);
	ck_assert_int_eq(change(&l, "127.0.0.1:0", NULL, NULL), 0);
	ck_assert_int_eq(change(&l, other_text, NULL, NULL), 0);
	ck_assert_int_eq(l.count, 2);
	listen_revert(&l);
	ck_assert_str_eq(names(), unix_text);
}
END_TEST

START_TEST(test_an_error_changes_nothing)
{
	int old;

	open_set(&l, unix_text, NULL);
	old = l.items[0].fd;
	ck_assert_int_eq(change(&l, other_text, "192.0.2.1:3000", NULL), -1);
	ck_assert_ptr_nonnull(strstr(err.hint, "does not have"));
	ck_assert_int_ne(access(other_text + 5, F_OK), 0);
	ck_assert_int_eq(listen_fds(&l, fds), 1);
	ck_assert_int_eq(fds[0], old);
	ck_assert_int_eq(connect_to(path), 0);
}
END_TEST

START_TEST(test_another_text_of_the_same_address_keeps_the_socket)
{
	char text[200];
	int old;

	open_set(&l, "127.0.0.1:0", NULL);
	old = l.items[0].fd;
	/* With a port it is another text, and the same socket. */
	snprintf(text, sizeof(text), "%s", names());
	ck_assert_int_eq(change(&l, text, NULL, NULL), 0);
	ck_assert_int_eq(listen_fds(&l, fds), 1);
	ck_assert_int_eq(fds[0], old);
	listen_commit(&l);
	/* Two texts for one socket. */
	snprintf(text, sizeof(text), "localhost%s", strrchr(names(), ':'));
	ck_assert_int_eq(change(&l, text, names(), NULL), 0);
	listen_commit(&l);
	ck_assert_int_eq(l.items[0].fd, old);
	/* When one of them goes the other holds it. */
	ck_assert_int_eq(change(&l, text, NULL, NULL), 0);
	listen_commit(&l);
	ck_assert_int_eq(l.items[0].fd, old);
}
END_TEST

START_TEST(test_too_many_change_nothing)
{
	static char texts[LISTEN_MAX + 1][200];
	char *items[LISTEN_MAX + 1];
	struct conf_strings many = {items, LISTEN_MAX + 1};

	open_set(&l, unix_text, NULL);
	for (int i = 0; i <= LISTEN_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "unix:%s/%d", folder, i);
		items[i] = texts[i];
	}
	ck_assert_int_eq(listen_change(&l, &many, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "64"));
	ck_assert_str_eq(names(), unix_text);
	for (int i = 0; i <= LISTEN_MAX; i++)
		ck_assert_int_ne(access(texts[i] + 5, F_OK), 0);
}
END_TEST

START_TEST(test_a_child_keeps_what_it_serves)
{
	int old;

	open_set(&l, unix_text, NULL);
	old = l.items[0].fd;
	ck_assert_int_eq(change(&l, other_text, NULL, NULL), 0);
	listen_forget(&l, true);
	ck_assert(!is_open(old));
	ck_assert_int_eq(listen_fds(&l, fds), 1);
	ck_assert(is_open(fds[0]));
	listen_forget(&l, false);
	ck_assert(!is_open(fds[0]));
	/* The master's files are not a child's to remove. */
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* -------------------------------------------------------------- the rights */

static const char *
with(const char *options)
{
	static char text[300];

	snprintf(text, sizeof(text), "%s %s", unix_text, options);
	return text;
}

START_TEST(test_mode_whatever_the_umask)
{
	mode_t before = umask(0077);

	open_set(&l, unix_text, other_text);
	ck_assert_uint_eq(mode_of(path), 0666);
	ck_assert_int_eq(change(&l, other_text, NULL, NULL), 0);
	listen_commit(&l);
	umask(0);
	ck_assert_int_eq(change(&l, with("mode=0640"), other_text, NULL), 0);
	ck_assert_uint_eq(mode_of(path), 0640);
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
	open_set(&l, with(text), NULL);
	ck_assert_int_eq(stat(path, &st), 0);
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
	ck_assert_int_eq(change(&l, with(refused[_i].options), NULL, NULL), -1);
	ck_assert_ptr_nonnull(strstr(err.message, refused[_i].says));
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(l.count, 0);
}
END_TEST

/* In a forked process of check, so that root may be given up. */
START_TEST(test_owner_that_may_not_be_set)
{
	if (geteuid() == 0) {
		ck_assert_int_eq(chmod(folder, 0777), 0);
		ck_assert_int_eq(setgid(65534), 0);
		ck_assert_int_eq(setuid(65534), 0);
	}
	ck_assert_int_eq(change(&l, with("owner=0"), NULL, NULL), -1);
	ck_assert_ptr_nonnull(strstr(err.hint, "as root"));
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_new_rights_of_an_open_socket)
{
	int old;

	open_set(&l, unix_text, NULL);
	old = l.items[0].fd;
	ck_assert_int_eq(change(&l, with("mode=0600"), NULL, NULL), 0);
	ck_assert_int_eq(l.count, 1);
	ck_assert_int_eq(l.items[0].fd, old);
	ck_assert_uint_eq(mode_of(path), 0600);
	listen_revert(&l);
	ck_assert_uint_eq(mode_of(path), 0666);
	ck_assert_int_eq(
	    change(&l, with("mode=0600"), "192.0.2.1:3000", NULL), -1);
	ck_assert_uint_eq(mode_of(path), 0666);
	ck_assert_int_eq(change(&l, with("mode=0600"), NULL, NULL), 0);
	listen_commit(&l);
	ck_assert_uint_eq(mode_of(path), 0600);
	/* Left out again: as it was made. */
	ck_assert_int_eq(change(&l, unix_text, NULL, NULL), 0);
	listen_commit(&l);
	ck_assert_uint_eq(mode_of(path), 0666);
	ck_assert_int_eq(l.items[0].fd, old);
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
	    text, sizeof(text), "%s%s", host, strrchr(l.items[0].name, ':'));
	return change(&l, text, NULL, NULL);
}

START_TEST(test_an_inherited_address_is_not_opened_again)
{
	int fd = foreign_tcp(AF_INET, 0), was = fd;

	ck_assert_int_eq(listen_inherit(&l, &fd, &err), 0);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(change_to_port("0.0.0.0"), 0);
	ck_assert_int_eq(listen_fds(&l, fds), 1);
	ck_assert_int_eq(fds[0], was);
	/* It takes what goes to each of the addresses. */
	ck_assert_int_eq(change_to_port("127.0.0.1"), 0);
	ck_assert_int_eq(listen_fds(&l, fds), 1);
	listen_commit(&l);
	/* It stays when nothing asks for it, and others come beside it. */
	ck_assert_int_eq(change(&l, unix_text, NULL, NULL), 0);
	listen_commit(&l);
	ck_assert_int_eq(listen_fds(&l, fds), 2);
	ck_assert_int_eq(fds[0], was);
	ck_assert(is_open(was));
}
END_TEST

START_TEST(test_an_inherited_socket_of_both_families)
{
	int fd = foreign_tcp(AF_INET6, 0);

	ck_assert_int_eq(listen_inherit(&l, &fd, &err), 0);
	ck_assert_int_eq(change_to_port("0.0.0.0"), 0);
	ck_assert_int_eq(l.count, 1);
	ck_assert_int_eq(change_to_port("*"), 0);
	ck_assert_int_eq(l.count, 1);
	listen_close(&l);
	/* Of v6 only: v4 is opened beside it. */
	fd = foreign_tcp(AF_INET6, 1);
	ck_assert_int_eq(listen_inherit(&l, &fd, &err), 0);
	ck_assert_int_eq(change_to_port("0.0.0.0"), 0);
	ck_assert_int_eq(l.count, 2);
}
END_TEST

START_TEST(test_an_inherited_unix_socket_is_never_removed)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(listen_inherit(&l, &fd, &err), 0);
	/* Rights are systemd's too. */
	ck_assert_int_eq(change(&l, with("mode=0644"), NULL, NULL), 0);
	listen_commit(&l);
	ck_assert_int_eq(l.count, 1);
	ck_assert_uint_eq(mode_of(path), 0600);
	ck_assert_int_eq(change(&l, other_text, NULL, NULL), 0);
	listen_revert(&l);
	ck_assert_str_eq(names(), unix_text);
	listen_close(&l);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("listeners");
	TCase *tc = tcase_create("listeners");

	tcase_add_checked_fixture(tc, setup, teardown);
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
	tcase_add_test(tc, test_mode_whatever_the_umask);
	tcase_add_test(tc, test_owner_and_group);
	tcase_add_loop_test(tc, test_unknown_owner, 0,
	    (int)(sizeof(refused) / sizeof(*refused)));
	tcase_add_test(tc, test_owner_that_may_not_be_set);
	tcase_add_test(tc, test_new_rights_of_an_open_socket);
	tcase_add_test(tc, test_an_inherited_address_is_not_opened_again);
	tcase_add_test(tc, test_an_inherited_socket_of_both_families);
	tcase_add_test(tc, test_an_inherited_unix_socket_is_never_removed);
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
