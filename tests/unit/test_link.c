/*
 * common/pg/link: units, their replies and prepared statements, against a real
 * PostgreSQL.
 */
#include "common/base/mem.h"
#include "link_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct pg_stmt stmt_echo = { "echo", "select $1::text", 1 };
static const struct pg_stmt stmt_two = { "two", "select 2", 0 };
static const struct pg_stmt stmt_divide = { "divide", "select 1/$1::int", 1 };
static const struct pg_stmt stmt_wrong = { "wrong", "selekt", 0 };
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
static const struct pg_stmt stmt_set_session = { "set_session",
	"select set_config('lock_timeout', $1, false),"
	" set_config('statement_timeout', '5s', false)", 1 };
static const struct pg_stmt stmt_reset_all = { "reset_all", "reset all", 0 };
static const struct pg_stmt stmt_timeout = { "timeout",
	"select current_setting('statement_timeout')", 0 };
static const struct pg_stmt stmt_table = { "table",
	"create table if not exists public.pairs (a int unique"
	" deferrable initially deferred)", 0 };
static const struct pg_stmt stmt_insert = { "insert",
	"insert into public.pairs values ($1::int)", 1 };
static const struct pg_stmt stmt_count = { "count",
	"select count(*) from public.pairs where a = $1::int", 1 };
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
				  "pg_catalog,pg_temp");
	pg_link_free(&link);
}
END_TEST

START_TEST(test_reset_goes_back_to_the_session_s_settings)
{
	struct pg_link *link = link_ready();
	const char *values[] = {"1ms"};
	struct outcome o;

	run(link, &stmt_set_session, values, &o);
	run(link, &stmt_reset_all, NULL, &o);
	run(link, &stmt_settings, NULL, &o);
	ck_assert_ptr_nonnull(strstr(o.value, " 7s 250ms 1min off "));
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

int
main(void)
{
	Suite *s = suite_create("link");
	TCase *tc = tcase_create("link");

	tcase_add_checked_fixture(tc, link_setup, link_teardown);
	tcase_add_test(tc, test_round_trip);
	tcase_add_test(tc, test_session_settings);
	tcase_add_test(tc, test_reset_goes_back_to_the_session_s_settings);
	tcase_add_test(tc, test_unit_is_one_transaction_with_its_settings);
	tcase_add_test(tc, test_error_in_one_unit_does_not_hurt_the_next);
	tcase_add_test(tc, test_reply_comes_after_the_commit);
	tcase_add_test(tc, test_statement_is_prepared_once);
	tcase_add_test(tc, test_deallocated_statement_is_prepared_again);
	tcase_add_test(tc, test_result_is_kept_beyond_the_link);
	tcase_add_test(tc, test_big_values_and_many_statements);
	suite_add_tcase(s, tc);
	return link_main(s);
}
