/*
 * common/pg/link against a real PostgreSQL.
 */
#include "common/base/log.h"
#include "common/base/loop.h"
#include "common/base/mem.h"
#include "common/pg/backoff.h"
#include "common/pg/link.h"
#include "pg_server.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_PATIENCE_MS = 10000 };

static struct pg_server server;
static struct loop *loop;
static struct loop_timer patience;
static bool impatient;
static int n_ready, n_lost, n_notified;
static char notified[256];

/* What a unit came to, kept beyond its callback. */
struct outcome {
	int calls;
	bool ok;
	bool lost;
	char sqlstate[6];
	char message[256];
	int n_results;
	char value[256]; /* of the last result, row 0, column 0 */
};

/* Every callback stops the loop, so that the test looks at what it awaits. */
#define AWAIT(condition)                                                      \
	do {                                                                  \
		loop_timer_start(&patience, TEST_PATIENCE_MS);                \
		while (!(condition)) {                                        \
			loop_run(loop);                                       \
			ck_assert_msg(                                        \
			    !impatient, "waited in vain for %s", #condition); \
		}                                                             \
		loop_timer_stop(&patience);                                   \
	} while (0)

static void
on_patience(struct loop_timer *timer, void *arg)
{
	(void)timer;
	(void)arg;
	impatient = true;
	loop_stop(loop);
}

static void
on_ready(struct pg_link *link, void *arg)
{
	(void)arg;
	ck_assert(pg_link_ready(link));
	n_ready++;
	loop_stop(loop);
}

static void
on_lost(struct pg_link *link, void *arg)
{
	(void)arg;
	ck_assert_int_eq(pg_link_state(link), PG_LINK_WAITING);
	ck_assert_int_eq(pg_link_in_flight(link), 0);
	n_lost++;
	loop_stop(loop);
}

static void
on_notify(
    struct pg_link *link, const char *channel, const char *payload, void *arg)
{
	(void)link;
	(void)arg;
	n_notified++;
	snprintf(notified, sizeof(notified), "%s:%s", channel, payload);
	loop_stop(loop);
}

static void
on_done(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct outcome *o = arg;
	const struct pg_result *last;

	(void)link;
	o->calls++;
	o->ok = reply->ok;
	o->lost = reply->lost;
	o->n_results = reply->n_results;
	if (reply->ok) {
		last = reply->results[reply->n_results - 1];
		if (pg_rows(last) > 0 && !pg_is_null(last, 0, 0))
			snprintf(o->value, sizeof(o->value), "%s",
			    pg_value(last, 0, 0));
	} else {
		memcpy(o->sqlstate, reply->error.sqlstate, 6);
		snprintf(
		    o->message, sizeof(o->message), "%s", reply->error.message);
	}
	loop_stop(loop);
}

static struct pg_link *
link_to(const char *conninfo, const char *const *channels)
{
	struct pg_link_opts opts = {
	    .loop = loop,
	    .conninfo = conninfo,
	    .application_name = "chimpd/test/0@here",
	    .connect_timeout_ms = 5000,
	    .statement_timeout_ms = 7000,
	    .listen = channels,
	    .quiet = true,
	    .on_ready = on_ready,
	    .on_lost = on_lost,
	    .on_notify = on_notify,
	};

	return pg_link_new(&opts);
}

static struct pg_link *
link_ready(void)
{
	struct pg_link *link = link_to(server.conninfo, NULL);

	AWAIT(pg_link_ready(link));
	return link;
}

/* Run one statement on a link of its own kind and wait for its value. */
static void
run(struct pg_link *link, const struct pg_stmt *stmt, const char *const *values,
    struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	pg_query(link, stmt, values, on_done, o);
	AWAIT(o->calls == 1);
}

static void
setup(void)
{
	loop = loop_event_new();
	loop_timer_init(&patience, loop, on_patience, NULL);
	impatient = false;
	n_ready = n_lost = n_notified = 0;
}

static void
teardown(void)
{
	loop_timer_done(&patience);
	loop_free(&loop);
}

/* clang-format off */
static const struct pg_stmt stmt_echo = { "echo", "select $1::text", 1 };
static const struct pg_stmt stmt_two = { "two", "select 2", 0 };
static const struct pg_stmt stmt_divide = { "divide", "select 1/$1::int", 1 };
static const struct pg_stmt stmt_wrong = { "wrong", "selekt", 0 };
static const struct pg_stmt stmt_sleep = { "sleep",
	"select pg_catalog.pg_sleep(30)", 0 };
static const struct pg_stmt stmt_notify = { "notify",
	"select pg_notify('chimp_work', $1)", 1 };
static const struct pg_stmt stmt_kill = { "kill",
	"select pg_terminate_backend($1::int)", 1 };
static const struct pg_stmt stmt_prepared = { "prepared",
	"select count(*) from pg_prepared_statements where statement ="
	" 'select $1::text'", 0 };
static const struct pg_stmt stmt_deallocate = { "deallocate",
	"deallocate all", 0 };
static const struct pg_stmt stmt_settings = { "settings",
	"select concat_ws(' ', current_setting('application_name'),"
	" current_setting('client_encoding'),"
	" current_setting('statement_timeout'),"
	" current_setting('client_connection_check_interval'),"
	" current_setting('idle_in_transaction_session_timeout'),"
	" current_setting('jit'), current_setting('search_path'))", 0 };
static const struct pg_stmt stmt_set_local = { "set_local",
	"select set_config('statement_timeout', $1, true)", 1 };
static const struct pg_stmt stmt_timeout = { "timeout",
	"select current_setting('statement_timeout')", 0 };
static const struct pg_stmt stmt_table = { "table",
	"create table if not exists public.pairs (a int unique"
	" deferrable initially deferred)", 0 };
static const struct pg_stmt stmt_insert = { "insert",
	"insert into public.pairs values ($1::int)", 1 };
static const struct pg_stmt stmt_count = { "count",
	"select count(*) from public.pairs where a = $1::int", 1 };
static const struct pg_stmt stmt_copy = { "copy",
	"copy public.pairs from stdin", 0 };
/* clang-format on */

START_TEST(test_round_trip)
{
	struct pg_link *link = link_ready();
	const char *values[] = {"h\303\251llo"};
	struct outcome o;

	run(link, &stmt_echo, values, &o);
	ck_assert(o.ok && !o.lost);
	ck_assert_str_eq(o.value, "h\303\251llo");
	ck_assert_int_eq(o.n_results, 1);
	ck_assert_int_eq(pg_link_in_flight(link), 0);
	ck_assert_int_ne(pg_link_backend_pid(link), 0);
	pg_link_free(&link);
	ck_assert_ptr_null(link);
}
END_TEST

START_TEST(test_session_settings)
{
	struct pg_link *link = link_ready();
	struct outcome o;

	run(link, &stmt_settings, NULL, &o);
	ck_assert_str_eq(o.value, "chimpd/test/0@here UTF8 7s 250ms 1min off "
				  "pg_catalog, pg_temp");
	pg_link_free(&link);
}
END_TEST

START_TEST(test_unit_is_one_transaction_with_its_settings)
{
	struct pg_link *link = link_ready();
	const char *values[] = {"1234ms"};
	struct outcome o = {0};

	pg_send(link, &stmt_set_local, values);
	pg_send(link, &stmt_timeout, NULL);
	pg_sync(link, on_done, &o);
	AWAIT(o.calls == 1);
	ck_assert_int_eq(o.n_results, 2);
	ck_assert_str_eq(o.value, "1234ms");
	run(link, &stmt_timeout, NULL, &o);
	ck_assert_str_eq(o.value, "7s");
	pg_link_free(&link);
}
END_TEST

START_TEST(test_error_in_one_unit_does_not_hurt_the_next)
{
	struct pg_link *link = link_ready();
	const char *zero[] = {"0"}, *text[] = {"after"};
	struct outcome bad = {0}, good = {0}, wrong = {0}, last = {0};

	pg_send(link, &stmt_divide, zero);
	pg_send(link, &stmt_two, NULL); /* aborted, its Parse skipped */
	pg_sync(link, on_done, &bad);
	pg_send(link, &stmt_two, NULL);
	pg_send(link, &stmt_echo, text);
	pg_sync(link, on_done, &good);
	pg_query(link, &stmt_wrong, NULL, on_done, &wrong);
	pg_query(link, &stmt_two, NULL, on_done, &last);
	ck_assert_int_eq(pg_link_in_flight(link), 4);
	AWAIT(last.calls == 1);
	ck_assert(!bad.ok && !bad.lost);
	ck_assert_str_eq(bad.sqlstate, "22012");
	ck_assert_str_eq(bad.message, "division by zero");
	ck_assert(good.ok);
	ck_assert_str_eq(good.value, "after");
	ck_assert_str_eq(wrong.sqlstate, "42601");
	ck_assert(last.ok);
	ck_assert_str_eq(last.value, "2");
	ck_assert_int_eq(n_lost, 0);
	pg_link_free(&link);
}
END_TEST

START_TEST(test_reply_comes_after_the_commit)
{
	struct pg_link *link = link_ready();
	const char *one[] = {"1"};
	struct outcome o, twice = {0}, next = {0};

	run(link, &stmt_table, NULL, &o);
	ck_assert(o.ok);
	/* The deferred constraint fails only at the commit. */
	pg_send(link, &stmt_insert, one);
	pg_send(link, &stmt_insert, one);
	pg_sync(link, on_done, &twice);
	pg_query(link, &stmt_count, one, on_done, &next);
	AWAIT(next.calls == 1);
	ck_assert(!twice.ok && !twice.lost);
	ck_assert_str_eq(twice.sqlstate, "23505");
	ck_assert(next.ok);
	ck_assert_str_eq(next.value, "0");
	pg_link_free(&link);
}
END_TEST

START_TEST(test_statement_is_prepared_once)
{
	struct pg_link *link = link_ready();
	const char *values[] = {"x"};
	struct outcome o, many[20] = {0};

	for (int i = 0; i < 20; i++)
		pg_query(link, &stmt_echo, values, on_done, &many[i]);
	AWAIT(many[19].calls == 1);
	for (int i = 0; i < 20; i++)
		ck_assert(many[i].ok);
	run(link, &stmt_prepared, NULL, &o);
	ck_assert_str_eq(o.value, "1");
	pg_link_free(&link);
}
END_TEST

START_TEST(test_deallocated_statement_is_prepared_again)
{
	struct pg_link *link = link_ready();
	const char *values[] = {"x"};
	struct outcome o;

	run(link, &stmt_echo, values, &o);
	run(link, &stmt_deallocate, NULL, &o);
	ck_assert(o.ok);
	run(link, &stmt_echo, values, &o);
	ck_assert_str_eq(o.sqlstate, "26000");
	run(link, &stmt_echo, values, &o);
	ck_assert(o.ok);
	pg_link_free(&link);
}
END_TEST

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

static void
on_done_take(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct pg_result **taken = arg;

	(void)link;
	*taken = pg_reply_take(reply, 0);
	loop_stop(loop);
}

START_TEST(test_result_is_kept_beyond_the_link)
{
	struct pg_link *link = link_ready();
	struct pg_result *result = NULL;

	pg_query(link, &stmt_two, NULL, on_done_take, &result);
	AWAIT(result != NULL);
	pg_link_free(&link);
	ck_assert_int_eq(pg_int(result, 0, 0), 2);
	ck_assert_int_eq((int)pg_length(result, 0, 0), 1);
	pg_result_free(&result);
	ck_assert_ptr_null(result);
	pg_result_free(&result);
}
END_TEST

START_TEST(test_big_values_and_many_statements)
{
	struct pg_link *link = link_ready();
	size_t size = 4 << 20;
	char *big = mem_alloc(size + 1);
	const char *values[] = {big}, *text[] = {"small"};
	struct pg_result *result = NULL;
	struct outcome o = {0};

	memset(big, 'x', size);
	big[size] = '\0';
	pg_query(link, &stmt_echo, values, on_done_take, &result);
	AWAIT(result != NULL);
	ck_assert_uint_eq(pg_length(result, 0, 0), size);
	for (int i = 0; i < 100; i++)
		pg_send(link, &stmt_echo, text);
	pg_sync(link, on_done, &o);
	AWAIT(o.calls == 1);
	ck_assert_int_eq(o.n_results, 100);
	pg_result_free(&result);
	free(big);
	pg_link_free(&link);
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

static Suite *
suite(void)
{
	Suite *s = suite_create("link");
	TCase *tc = tcase_create("link");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_round_trip);
	tcase_add_test(tc, test_session_settings);
	tcase_add_test(tc, test_unit_is_one_transaction_with_its_settings);
	tcase_add_test(tc, test_error_in_one_unit_does_not_hurt_the_next);
	tcase_add_test(tc, test_reply_comes_after_the_commit);
	tcase_add_test(tc, test_statement_is_prepared_once);
	tcase_add_test(tc, test_deallocated_statement_is_prepared_again);
	tcase_add_test(tc, test_lost_connection_calls_back_and_reconnects);
	tcase_add_test(tc, test_idle_connection_notices_its_end);
	tcase_add_test(tc, test_server_that_is_away_is_waited_for);
	tcase_add_test(tc, test_notify_arrives_also_after_a_reconnect);
	tcase_add_test(tc, test_refused_connection_says_why);
	tcase_add_test(tc, test_copy_loses_the_connection_and_nothing_else);
	tcase_add_test(tc, test_free_inside_a_callback);
	tcase_add_test(tc, test_result_is_kept_beyond_the_link);
	tcase_add_test(tc, test_big_values_and_many_statements);
	tcase_add_test(tc, test_backoff_doubles_to_its_cap);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	log_init(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	pg_server_create(&server);
	/* In this process: the server is stopped and started by a test. */
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	pg_server_destroy(&server);
	return failed == 0 ? 0 : 1;
}
