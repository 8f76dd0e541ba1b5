/*
 * The supervisor's pure texts: durations and ends of processes in words,
 * listen addresses, postmaster.pid.
 */
#include "common/base/address.h"
#include "common/base/err.h"
#include "supervisor/pgdata.h"
#include "supervisor/words.h"

#include <check.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct {
	int64_t ms;
	const char *words;
} durations[] = {
	{ 0, "0 ms" },
	{ 999, "999 ms" },
	{ 1000, "1.0 s" },
	{ 1999, "1.9 s" },
	{ 9999, "9.9 s" },
	{ 10000, "10 s" },
	{ 119999, "119 s" },
	{ 120000, "2 min" },
	{ 7199999, "119 min" },
	{ 7200000, "2 h" },
	{ 172799999, "47 h" },
	{ 172800000, "2 days" },
};

/* Statuses as wait(2) encodes them: code << 8, signal, 0x80 for a core. */
static const struct {
	int status;
	const char *words;
} exits[] = {
	{ 0, "exited with status 0" },
	{ 78 << 8, "exited with status 78" },
	{ SIGKILL, "killed by signal 9 (Killed)" },
	{ SIGABRT | 0x80, "killed by signal 6 (Aborted), core dumped" },
};

static const struct {
	const char *text;
	const char *host; /* NULL: refused */
	const char *port;
	const char *unix_path;
} addresses[] = {
	{ "0.0.0.0:3000", "0.0.0.0", "3000", "" },
	{ "*:80", "", "80", "" },
	{ "localhost:0", "localhost", "0", "" },
	{ "[::]:3000", "::", "3000", "" },
	{ "[fe80::1%eth0]:65535", "fe80::1%eth0", "65535", "" },
	{ "unix:/run/a:1.sock", "", "", "/run/a:1.sock" },
	{ "::1:80", NULL, NULL, NULL },
	{ "host", NULL, NULL, NULL },
	{ "host:", NULL, NULL, NULL },
	{ ":80", NULL, NULL, NULL },
	{ "[]:80", NULL, NULL, NULL },
	{ "host:65536", NULL, NULL, NULL },
	{ "host:000080", NULL, NULL, NULL },
	{ "host:-1", NULL, NULL, NULL },
	{ "host:80x", NULL, NULL, NULL },
	{ "host:80 mode=0660", NULL, NULL, NULL },
	{ "host: 80", NULL, NULL, NULL },
	{ "", NULL, NULL, NULL },
	{ "unix:run/x.sock", NULL, NULL, NULL },
	{ "unix:", NULL, NULL, NULL },
	{ "unix: mode=0660", NULL, NULL, NULL },
	{ "unix:/run/a b.sock", NULL, NULL, NULL },
	{ "unix:/s mode", NULL, NULL, NULL },
	{ "unix:/s mode=", NULL, NULL, NULL },
	{ "unix:/s mode=66", NULL, NULL, NULL },
	{ "unix:/s mode=1777", NULL, NULL, NULL },
	{ "unix:/s mode=0690", NULL, NULL, NULL },
	{ "unix:/s mode=rw", NULL, NULL, NULL },
	{ "unix:/s owner=", NULL, NULL, NULL },
	{ "unix:/s backlog=5", NULL, NULL, NULL },
};

static const struct {
	const char *text;
	unsigned mode;
	const char *owner;
	const char *group;
} rights[] = {
	{ "unix:/s", 0666, "", "" },
	{ "unix:/s ", 0666, "", "" },
	{ "unix:/s mode=660", 0660, "", "" },
	{ "unix:/s\tmode=0600  owner=chimp", 0600, "chimp", "" },
	{ "unix:/s group=33 mode=0000 owner=0", 0, "0", "33" },
};

static const struct {
	const char *text;
	int pid;
	const char *status;
} postmasters[] = {
	{ "", 0, "" },
	{ "garbage\n", 0, "" },
	{ "4711\n", 4711, "" },
	{ "4711\n/data\n1700000000\n5432\n/sock\n\n  123  456\nready   \n",
	  4711, "ready" },
	{ "4711\n/data\n1700000000\n5432\n/sock\n\n  123  456\nstopping\n",
	  4711, "stopping" },
	{ "4711\n/data\n1700000000\n5432\n/sock\n\n  123  456\n", 4711, "" },
	{ "-4711\n/data\n", 4711, "" }, /* a single-user backend */
	{ "99999999999999\n", 0, "" },
	{ "1\n2\n3\n4\n5\n6\n7\nfar-too-long-to-be-a-status\n", 1, "" },
};
/* clang-format on */

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

START_TEST(test_duration)
{
	char buf[WORDS_BYTES];

	ck_assert_str_eq(
	    words_duration(durations[_i].ms, buf), durations[_i].words);
}
END_TEST

START_TEST(test_exit)
{
	char buf[WORDS_BYTES];

	ck_assert_str_eq(words_exit(exits[_i].status, buf), exits[_i].words);
}
END_TEST

START_TEST(test_address)
{
	struct address address;
	struct err err;
	int rc = address_parse(addresses[_i].text, &address, &err);

	if (addresses[_i].host == NULL) {
		ck_assert_int_eq(rc, -1);
		/* The error quotes what is wrong. */
		ck_assert_ptr_nonnull(strstr(err.message, addresses[_i].text));
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_str_eq(address.host, addresses[_i].host);
	ck_assert_str_eq(address.port, addresses[_i].port);
	ck_assert_str_eq(address.unix_path, addresses[_i].unix_path);
}
END_TEST

START_TEST(test_address_rights)
{
	struct address address, other;
	struct err err;

	ck_assert_int_eq(address_parse(rights[_i].text, &address, &err), 0);
	ck_assert_str_eq(address.unix_path, "/s");
	ck_assert_uint_eq(address.mode, rights[_i].mode);
	ck_assert_str_eq(address.owner, rights[_i].owner);
	ck_assert_str_eq(address.group, rights[_i].group);
	ck_assert_int_eq(address_parse("unix:/s", &other, &err), 0);
	ck_assert(address_same_place(&address, &other));
	ck_assert_int_eq(address_same_rights(&address, &other), _i < 2);
}
END_TEST

START_TEST(test_address_error_says_what_to_do)
{
	struct address address;
	struct err err;

	ck_assert_int_eq(address_parse("unix:/s user=x", &address, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "\"user=x\" is no option"));
	ck_assert_ptr_nonnull(strstr(err.hint, "owner=NAME"));
	ck_assert_int_eq(address_parse("h:80 mode=0660", &address, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.hint, "only a Unix socket"));
}
END_TEST

START_TEST(test_address_too_long)
{
	char text[600];
	struct address address;
	struct err err;

	/* 107 bytes fit into a socket's address, 108 do not. */
	snprintf(text, sizeof(text), "unix:/%0*d", 106, 0);
	ck_assert_int_eq(address_parse(text, &address, &err), 0);
	snprintf(text, sizeof(text), "unix:/%0*d", 107, 0);
	ck_assert_int_eq(address_parse(text, &address, &err), -1);
	snprintf(text, sizeof(text), "%0*d:80", 256, 0);
	ck_assert_int_eq(address_parse(text, &address, &err), -1);
}
END_TEST

START_TEST(test_postmaster_pid)
{
	struct pgdata_postmaster p;

	pgdata_parse_postmaster(postmasters[_i].text, &p);
	ck_assert_int_eq(p.pid, postmasters[_i].pid);
	ck_assert_str_eq(p.status, postmasters[_i].status);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("supervisor texts");
	TCase *tc = tcase_create("texts");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_duration, 0, COUNT(durations));
	tcase_add_loop_test(tc, test_exit, 0, COUNT(exits));
	tcase_add_loop_test(tc, test_address, 0, COUNT(addresses));
	tcase_add_loop_test(tc, test_address_rights, 0, COUNT(rights));
	tcase_add_test(tc, test_address_error_says_what_to_do);
	tcase_add_test(tc, test_address_too_long);
	tcase_add_loop_test(tc, test_postmaster_pid, 0, COUNT(postmasters));
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
