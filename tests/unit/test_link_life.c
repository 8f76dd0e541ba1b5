/*
 * common/pg/link: the life of the connection, its losses and notifications,
 * against a real PostgreSQL.
 */
#include "common/base/mem.h"
#include "common/pg/backoff.h"
#include "link_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct pg_stmt stmt_echo = { "echo", "select $1::text", 1 };
static const struct pg_stmt stmt_two = { "two", "select 2", 0 };
static const struct pg_stmt stmt_sleep = { "sleep",
	"select pg_catalog.pg_sleep(30)", 0 };
static const struct pg_stmt stmt_notify = { "notify",
	"select pg_notify('chimp_work', $1)", 1 };
static const struct pg_stmt stmt_kill = { "kill",
	"select pg_terminate_backend($1::int)", 1 };
static const struct pg_stmt stmt_table = { "table",
	"create table if not exists public.pairs (a int unique"
	" deferrable initially deferred)", 0 };
static const struct pg_stmt stmt_copy = { "copy",
	"copy public.pairs from stdin", 0 };
/* clang-format on */

START_TEST(test_lost_connection_calls_back_and_reconnects)
{
	struct pg_link *victim = link_ready();
	struct pg_link *killer = link_ready();
	struct outcome sleeping = {0}, behind = {0}, o;
	char pid[16];
	const char *values[] = {pid}, *text[] = {"again"};

	snprintf(pid, sizeof(pid), "%d", pg_link_backend_pid(victim));
	pg_query(victim, &stmt_sleep, NULL, on_done, &sleeping);
	pg_query(victim, &stmt_echo, text, on_done, &behind);
	run(killer, &stmt_kill, values, &o);
	AWAIT(n_lost == 1);
	ck_assert(sleeping.lost && behind.lost);
	ck_assert_int_eq(sleeping.calls + behind.calls, 2);
	ck_assert_str_eq(sleeping.sqlstate, "");
	ck_assert_msg(strstr(pg_link_last_error(victim), "administrator"), "%s",
	    pg_link_last_error(victim));
	AWAIT(n_ready == 3);
	run(victim, &stmt_echo, text, &o);
	ck_assert_str_eq(o.value, "again");
	pg_link_free(&victim);
	pg_link_free(&killer);
}
END_TEST

START_TEST(test_idle_connection_notices_its_end)
{
	struct pg_link *victim = link_ready();
	struct pg_link *killer = link_ready();
	struct outcome o;
	char pid[16];
	const char *values[] = {pid};

	snprintf(pid, sizeof(pid), "%d", pg_link_backend_pid(victim));
	run(killer, &stmt_kill, values, &o);
	AWAIT(n_lost == 1 && n_ready == 3);
	pg_link_free(&victim);
	pg_link_free(&killer);
}
END_TEST

START_TEST(test_server_that_is_away_is_waited_for)
{
	struct pg_link *link = link_ready();
	const char *text[] = {"back"};
	struct outcome o;

	pg_server_stop(&server);
	AWAIT(n_lost >= 3);
	ck_assert(!pg_link_ready(link));
	ck_assert_int_eq(pg_link_backend_pid(link), 0);
	ck_assert_str_ne(pg_link_last_error(link), "");
	pg_server_start(&server);
	AWAIT(pg_link_ready(link));
	run(link, &stmt_echo, text, &o);
	ck_assert_str_eq(o.value, "back");
	pg_link_free(&link);
}
END_TEST

START_TEST(test_notify_arrives_also_after_a_reconnect)
{
	const char *const channels[] = {"chimp_work", "Odd \"name\"", NULL};
	struct pg_link *listener = link_to(server.conninfo, channels);
	struct pg_link *sender = link_ready();
	const char *values[] = {"orders"};
	char pid[16];
	const char *pids[] = {pid};
	struct outcome o;

	AWAIT(n_ready == 2);
	run(sender, &stmt_notify, values, &o);
	AWAIT(n_notified == 1);
	ck_assert_str_eq(notified, "chimp_work:orders");
	snprintf(pid, sizeof(pid), "%d", pg_link_backend_pid(listener));
	run(sender, &stmt_kill, pids, &o);
	AWAIT(n_ready == 3);
	run(sender, &stmt_notify, values, &o);
	AWAIT(n_notified == 2);
	pg_link_free(&listener);
	pg_link_free(&sender);
}
END_TEST

START_TEST(test_refused_connection_says_why)
{
	char *conninfo = mem_printf("%s dbname=nowhere", server.conninfo);
	struct pg_link *link = link_to(conninfo, NULL);

	AWAIT(n_lost == 2);
	ck_assert_int_eq(n_ready, 0);
	ck_assert_ptr_nonnull(strstr(pg_link_last_error(link), "nowhere"));
	ck_assert_ptr_null(strchr(pg_link_last_error(link), '\n'));
	pg_link_free(&link);
	free(conninfo);
}
END_TEST

START_TEST(test_copy_loses_the_connection_and_nothing_else)
{
	struct pg_link *link = link_ready();
	struct outcome copy = {0}, o;

	run(link, &stmt_table, NULL, &o);
	pg_query(link, &stmt_copy, NULL, on_done, &copy);
	AWAIT(n_lost == 1);
	ck_assert(copy.lost);
	AWAIT(n_ready == 2);
	run(link, &stmt_two, NULL, &o);
	ck_assert(o.ok);
	pg_link_free(&link);
}
END_TEST

static void
on_done_free(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct pg_link **owner = arg;

	ck_assert_ptr_eq(link, *owner);
	ck_assert(reply->ok);
	pg_link_free(owner);
	ck_assert_str_eq(pg_value(reply->results[0], 0, 0), "2");
	loop_stop(loop);
}

START_TEST(test_free_inside_a_callback)
{
	struct pg_link *link = link_ready();
	struct outcome behind = {0};

	pg_query(link, &stmt_two, NULL, on_done_free, &link);
	pg_query(link, &stmt_sleep, NULL, on_done, &behind);
	AWAIT(link == NULL);
	ck_assert_int_eq(behind.calls, 1);
	ck_assert(behind.lost);
	ck_assert_int_eq(n_lost, 0);
}
END_TEST

START_TEST(test_backoff_doubles_to_its_cap)
{
	/* clang-format off */
	static const struct {
		unsigned int failures;
		uint32_t jitter;
		int64_t ms;
	} cases[] = {
		{ 1, 0, 50 }, { 1, 999, 26 }, { 2, 0, 100 }, { 3, 0, 200 },
		{ 5, 0, 800 }, { 6, 0, 1000 }, { 6, 500, 750 },
		{ 4000000000u, 0, 1000 }, { 7, 999, 501 },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_int_eq(
		    pg_backoff_ms(cases[i].failures, cases[i].jitter),
		    cases[i].ms);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("link_life");
	TCase *tc = tcase_create("link_life");

	tcase_add_checked_fixture(tc, link_setup, link_teardown);
	tcase_add_test(tc, test_lost_connection_calls_back_and_reconnects);
	tcase_add_test(tc, test_idle_connection_notices_its_end);
	tcase_add_test(tc, test_server_that_is_away_is_waited_for);
	tcase_add_test(tc, test_notify_arrives_also_after_a_reconnect);
	tcase_add_test(tc, test_refused_connection_says_why);
	tcase_add_test(tc, test_copy_loses_the_connection_and_nothing_else);
	tcase_add_test(tc, test_free_inside_a_callback);
	tcase_add_test(tc, test_backoff_doubles_to_its_cap);
	suite_add_tcase(s, tc);
	return link_main(s);
}
