/*
 * common/pg/hosts and resolve: the lists, and names that hang, fail and come
 * late, with a resolver that the test switches (tests/preload/resolver.c).
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/pg/hosts.h"
#include "common/pg/resolve.h"
#include "link_bench.h"
#include "preload/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the lists --- */

/* clang-format off */
static const struct {
	const char *host, *hostaddr, *port; /* as given */
	const char *found[3];               /* by the look-ups */
	const char *names;                  /* y: a name is looked up */
	const char *hosts, *addrs, *ports;  /* NULL: no host is left */
} lists[] = {
	/* Nothing to look up. */
	{ NULL, NULL, NULL, { 0 }, "n", "", "", "" },
	{ "/tmp", NULL, "5433", { 0 }, "n", "/tmp", "", "5433" },
	{ "@abstract", "", "", { 0 }, "n", "@abstract", "", "" },
	{ "10.0.0.1", NULL, "1", { 0 }, "n", "10.0.0.1", "", "1" },
	{ "::1", NULL, "1", { 0 }, "n", "::1", "", "1" },
	{ "db", "10.0.0.1", "1", { 0 }, "n", "db", "10.0.0.1", "1" },
	{ NULL, "10.0.0.1", "1", { 0 }, "n", "", "10.0.0.1", "1" },
	/* One name. */
	{ "db", NULL, "1", { "10.0.0.1" }, "y", "db", "10.0.0.1", "1" },
	{ "db", NULL, NULL, { "10.0.0.1,::1" }, "y",
	  "db,db", "10.0.0.1,::1", "," },
	{ "db", NULL, "1", { 0 }, "y", NULL, NULL, NULL },
	/* Lists keep their order; one port serves all. */
	{ "a,b", NULL, "1", { "10.0.0.1,10.0.0.2", "10.0.0.3" }, "yy",
	  "a,a,b", "10.0.0.1,10.0.0.2,10.0.0.3", "1,1,1" },
	{ "a,b", NULL, "1,2", { "10.0.0.1,10.0.0.2", "10.0.0.3" }, "yy",
	  "a,a,b", "10.0.0.1,10.0.0.2,10.0.0.3", "1,1,2" },
	{ "a,b", NULL, "1,2", { NULL, "10.0.0.3" }, "yy",
	  "b", "10.0.0.3", "2" },
	{ "a,/tmp,10.0.0.9", NULL, "1,2,3", { "::1" }, "ynn",
	  "a,/tmp,10.0.0.9", "::1,,", "1,2,3" },
	{ "a,b", "10.0.0.1,", "1", { NULL, "10.0.0.2" }, "ny",
	  "a,b", "10.0.0.1,10.0.0.2", "1,1" },
	/* Lengths that libpq has words for. */
	{ "a,b", NULL, "1,2,3", { 0 }, "", NULL, NULL, NULL },
	{ "a", "10.0.0.1,10.0.0.2", "1", { 0 }, "", NULL, NULL, NULL },
};
/* clang-format on */

START_TEST(test_names_become_addresses_and_the_rest_stays)
{
	struct pg_hosts hosts;
	struct pg_hosts_text text;

	pg_hosts_init(
	    &hosts, lists[_i].host, lists[_i].hostaddr, lists[_i].port);
	ck_assert_uint_eq(hosts.n, strlen(lists[_i].names));
	for (size_t i = 0; i < hosts.n; i++) {
		ck_assert_int_eq(
		    pg_host_is_name(&hosts.at[i]), lists[_i].names[i] == 'y');
		if (lists[_i].found[i] != NULL)
			hosts.at[i].found = mem_strdup(lists[_i].found[i]);
	}
	if (lists[_i].hosts == NULL) {
		ck_assert(!pg_hosts_expand(&hosts, &text));
	} else {
		ck_assert(pg_hosts_expand(&hosts, &text));
		ck_assert_str_eq(text.host, lists[_i].hosts);
		ck_assert_str_eq(text.hostaddr, lists[_i].addrs);
		ck_assert_str_eq(text.port, lists[_i].ports);
		pg_hosts_text_done(&text);
	}
	pg_hosts_done(&hosts);
}
END_TEST

/* --- threads --- */

static char says[64] = "/tmp/chimp-resolver-XXXXXX";
static int n_done;

/* What the resolver does from now on. */
static void
resolver_set(const char *lines)
{
	char *next = mem_printf("%s.new", says);
	FILE *file = fopen(next, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(lines, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(rename(next, says), 0);
	free(next);
}

static void
on_resolved(void *arg)
{
	struct pg_resolve **r = arg;

	n_done++;
	ck_assert(!pg_resolve_pending(*r));
	loop_stop(loop);
}

static struct pg_resolve *
resolve(const char *conninfo, struct pg_resolve **arg)
{
	return *arg = pg_resolve_new(loop, conninfo, on_resolved, arg);
}

/* "HOSTS HOSTADDRS PORTS", or the error; the caller frees it. */
static char *
answer(const struct pg_resolve *r)
{
	struct pg_hosts_text text;
	struct err err;
	char *said;

	if (pg_resolve_answer(r, &text, &err) != 0)
		return mem_strdup(err.message);
	said = mem_printf("%s %s %s", text.host ? text.host : "-",
	    text.hostaddr ? text.hostaddr : "-", text.port ? text.port : "-");
	pg_hosts_text_done(&text);
	return said;
}

static bool
has_answer(const struct pg_resolve *r)
{
	char *said = answer(r);
	bool has = strncmp(said, "cannot", 6) != 0;

	free(said);
	return has;
}

static void
answers(const struct pg_resolve *r, const char *expected)
{
	char *said = answer(r);

	ck_assert_str_eq(said, expected);
	free(said);
}

static void
until_inside(int n)
{
	for (int ms = 0; resolver_inside != n && ms < TEST_PATIENCE_MS; ms++)
		usleep(1000);
	ck_assert_int_eq(resolver_inside, n);
}

static void
setup(void)
{
	link_setup();
	n_done = 0;
	resolver_asked = 0;
}

START_TEST(test_names_are_found_in_the_order_of_the_list)
{
	struct pg_resolve *r;

	resolver_set("one.test 10.0.0.1,10.0.0.2\ntwo.test ::1\n");
	resolve("host=two.test,/tmp,one.test port=1,2,3", &r);
	ck_assert(pg_resolve_pending(r));
	AWAIT(n_done == 1);
	answers(r,
	    "two.test,/tmp,one.test,one.test ::1,,10.0.0.1,10.0.0.2 1,2,3,3");
	pg_resolve_free(&r);
	ck_assert_ptr_null(r);
}
END_TEST

START_TEST(test_what_is_no_name_asks_nobody)
{
	struct pg_resolve *r;

	resolver_set("db.test hang\n");
	ck_assert(!pg_resolve_pending(
	    resolve("host=db.test hostaddr=10.0.0.1 port=1", &r)));
	answers(r, "db.test 10.0.0.1 1");
	pg_resolve_free(&r);
	ck_assert(!pg_resolve_pending(
	    resolve("postgres://u@[::1]:1,127.0.0.1:2/d", &r)));
	answers(r, "::1,127.0.0.1 , 1,2");
	pg_resolve_free(&r);
	/* libpq says what is wrong. */
	ck_assert(!pg_resolve_pending(resolve("host=a,b port=1,2,3", &r)));
	answers(r, "- - -");
	pg_resolve_free(&r);
	ck_assert_int_eq(resolver_asked, 0);
}
END_TEST

START_TEST(test_hosts_of_environment_and_service_file_are_looked_up)
{
	char *path = mem_printf("%s.service", says);
	FILE *file = fopen(path, "w");
	struct pg_resolve *r;

	fputs("[there]\nhost=service.test\nport=7\n", file);
	fclose(file);
	resolver_set("env.test 10.0.0.1\nservice.test 10.0.0.2\n");
	setenv("PGHOST", "env.test", 1);
	setenv("PGPORT", "6", 1);
	setenv("PGSERVICEFILE", path, 1);
	resolve("postgresql:///d", &r);
	AWAIT(n_done == 1);
	answers(r, "env.test 10.0.0.1 6");
	pg_resolve_free(&r);
	resolve("postgresql:///d?service=there", &r);
	AWAIT(n_done == 2);
	answers(r, "service.test 10.0.0.2 7");
	pg_resolve_free(&r);
	unsetenv("PGHOST");
	unsetenv("PGPORT");
	unsetenv("PGSERVICEFILE");
	unlink(path);
	free(path);
}
END_TEST

START_TEST(test_a_name_that_fails_is_left_out_and_said_if_none_is_left)
{
	struct pg_resolve *r;

	resolver_set("bad.test fail\ngood.test 10.0.0.1\n");
	resolve("host=bad.test,good.test port=1,2", &r);
	AWAIT(n_done == 1);
	answers(r, "good.test 10.0.0.1 2");
	pg_resolve_free(&r);
	resolve("host=bad.test,bad.test port=1,2", &r);
	AWAIT(n_done == 2);
	answers(r, "cannot resolve \"bad.test\": Name or service not known; "
		   "cannot resolve \"bad.test\": Name or service not known");
	pg_resolve_free(&r);
}
END_TEST

START_TEST(test_g38_a_name_that_hangs_has_one_thread)
{
	struct pg_resolve *r[3];

	resolver_set("db.test hang\n");
	for (int i = 0; i < 3; i++)
		resolve("host=db.test port=1", &r[i]);
	until_inside(1);
	answers(r[1], "cannot resolve \"db.test\": no answer for 0 s");
	/* Those who give up and come again find it on its way. */
	for (int i = 0; i < 20; i++) {
		pg_resolve_free(&r[2]);
		pg_resolve_free(&r[0]);
		resolve("host=db.test port=2", &r[0]);
		resolve("host=db.test port=3", &r[2]);
		if (i == 10)
			pg_resolve_free(&r[1]);
	}
	ck_assert_int_eq(n_done, 0);
	resolver_set("db.test 10.0.0.1\n");
	AWAIT(n_done == 2);
	answers(r[0], "db.test 10.0.0.1 2");
	answers(r[2], "db.test 10.0.0.1 3");
	pg_resolve_free(&r[0]);
	pg_resolve_free(&r[2]);
	ck_assert_int_eq(resolver_asked, 1);
}
END_TEST

START_TEST(test_all_names_of_a_list_are_waited_for)
{
	struct pg_resolve *r;

	resolver_set("slow.test hang\nfast.test 10.0.0.2\n");
	resolve("host=slow.test,fast.test port=1,2", &r);
	for (int i = 0; i < 500 && !has_answer(r); i++) {
		loop_timer_start(&patience, 10);
		loop_run(loop);
	}
	impatient = false;
	ck_assert_int_eq(n_done, 0);
	answers(r, "fast.test 10.0.0.2 2");
	resolver_set("slow.test 10.0.0.1\nfast.test 10.0.0.2\n");
	AWAIT(n_done == 1);
	answers(r, "slow.test,fast.test 10.0.0.1,10.0.0.2 1,2");
	pg_resolve_free(&r);
}
END_TEST

START_TEST(test_a_late_answer_is_dropped_and_never_served_later)
{
	struct pg_resolve *r;

	resolver_set("late.test hang\n");
	resolve("host=late.test port=1", &r);
	until_inside(1);
	pg_resolve_free(&r);
	resolver_set("late.test 10.0.0.1\n");
	until_inside(0);
	usleep(50000); /* it is sent after that */
	ck_assert_int_eq(n_done, 0);
	resolver_set("late.test 10.0.0.2\n");
	resolve("host=late.test port=1", &r);
	AWAIT(n_done == 1);
	answers(r, "late.test 10.0.0.2 1");
	pg_resolve_free(&r);
	ck_assert_int_eq(resolver_asked, 2);
}
END_TEST

static struct pg_resolve *first, *second;

static void
on_resolved_free_all(void *arg)
{
	(void)arg;
	n_done++;
	pg_resolve_free(&first);
	pg_resolve_free(&second);
	loop_stop(loop);
}

START_TEST(test_a_callback_may_free_all_who_wait)
{
	resolver_set("db.test 10.0.0.1\n");
	first = pg_resolve_new(
	    loop, "host=db.test,db.test port=1", on_resolved_free_all, NULL);
	second = pg_resolve_new(
	    loop, "host=db.test port=1", on_resolved_free_all, NULL);
	AWAIT(n_done == 1);
	ck_assert_ptr_null(first);
	ck_assert_ptr_null(second);
}
END_TEST

/* --- a link --- */

START_TEST(test_g38_a_link_waits_for_its_name_without_blocking)
{
	char conninfo[] = "host=link.test port=1 user=postgres";
	struct pg_link *link, *gone;

	resolver_set("link.test hang\n");
	link = link_within(conninfo, NULL, 200);
	gone = link_within(conninfo, NULL, 200);
	AWAIT(n_lost >= 4);
	ck_assert_str_eq(pg_link_last_error(link),
	    "cannot resolve \"link.test\": no answer for 0 s");
	ck_assert_int_eq(resolver_asked, 1);
	pg_link_free(&gone);
	/* The port is nobody's: what counts is that libpq was asked. */
	resolver_set("link.test 127.0.0.1\n");
	AWAIT(strstr(pg_link_last_error(link), "127.0.0.1") != NULL);
	pg_link_free(&link);
}
END_TEST

START_TEST(test_a_host_that_hangs_does_not_hide_the_next_one)
{
	char *conninfo = mem_printf("host=hang.test,%s user=postgres "
				    "dbname=postgres",
	    server.dir);
	struct pg_link *link;

	resolver_set("hang.test hang\n");
	/* Of which the second host has as much as the first. */
	link = link_within(conninfo, NULL, 2000);
	AWAIT(pg_link_ready(link));
	ck_assert_int_eq(n_lost, 0);
	pg_link_free(&link);
	free(conninfo);
	resolver_set("hang.test fail\n");
	until_inside(0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("resolve");
	TCase *tc = tcase_create("resolve");
	int fd = mkstemp(says), status;

	if (fd < 0)
		return 1;
	close(fd);
	setenv("CHIMP_TEST_RESOLVER", says, 1);
	tcase_add_checked_fixture(tc, setup, link_teardown);
	tcase_add_loop_test(tc, test_names_become_addresses_and_the_rest_stays,
	    0, sizeof(lists) / sizeof(lists[0]));
	tcase_add_test(tc, test_names_are_found_in_the_order_of_the_list);
	tcase_add_test(tc, test_what_is_no_name_asks_nobody);
	tcase_add_test(
	    tc, test_hosts_of_environment_and_service_file_are_looked_up);
	tcase_add_test(
	    tc, test_a_name_that_fails_is_left_out_and_said_if_none_is_left);
	tcase_add_test(tc, test_g38_a_name_that_hangs_has_one_thread);
	tcase_add_test(tc, test_all_names_of_a_list_are_waited_for);
	tcase_add_test(
	    tc, test_a_late_answer_is_dropped_and_never_served_later);
	tcase_add_test(tc, test_a_callback_may_free_all_who_wait);
	tcase_add_test(tc, test_g38_a_link_waits_for_its_name_without_blocking);
	tcase_add_test(tc, test_a_host_that_hangs_does_not_hide_the_next_one);
	suite_add_tcase(s, tc);
	status = link_main(s);
	unlink(says);
	return status;
}
