/*
 * handlers/sql: the one place where SQL is made from a configured name.
 */
#include "handlers/sql.h"

#include <check.h>

#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct {
	const char *function;
	bool valid;
} names[] = {
	{ "orders.create_order", true }, { "_a.b$1", true }, { "A.B", true },
	{ "orders", false }, { "a.b.c", false }, { ".b", false },
	{ "a.", false }, { "", false }, { ".", false }, { "1a.b", false },
	{ "a.1b", false }, { "a b.c", false }, { "a.b()", false },
	{ "a.b\"", false }, { "\"a\".b", false }, { "a.b;select 1", false },
	{ "a.b ", false }, { "a.\303\244", false }, { "$a.b", false },
	{ "a2345678901234567890123456789012345678901234567890123456789012345"
	  ".b", false },
};
/* clang-format on */

START_TEST(test_valid_names)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(
		    sql_handler_valid(names[i].function) == names[i].valid,
		    "%s", names[i].function);
}
END_TEST

START_TEST(test_statements)
{
	struct pg_stmt *action =
	    sql_handler_action("orders.Create_Order", false);
	struct pg_stmt *read = sql_handler_action("orders.list", true);
	struct pg_stmt *job = sql_handler_job("orders.notify");
	struct pg_stmt *event = sql_handler_event("orders.audit");
	struct pg_stmt *group = sql_handler_group("17");
	struct pg_stmt *deliver = sql_handler_deliver("9");

	ck_assert_str_eq(action->sql,
	    "select \"orders\".\"create_order\"($1::jsonb),"
	    " current_setting('chimp.response', true)"
	    " from (select set_config('chimp.request', $2, true),"
	    " set_config('chimp.trace', $3, true) offset 0) s");
	ck_assert_int_eq(action->n_params, 3);
	ck_assert_str_eq(read->sql,
	    "select \"orders\".\"list\"($1::jsonb),"
	    " current_setting('chimp.response', true)"
	    " from (select set_config('chimp.request', $2, true),"
	    " set_config('chimp.trace', $3, true),"
	    " set_config('transaction_read_only', 'on', true) offset 0) s");
	sql_handler_free(&read);
	read = sql_handler_guarded("orders.pay");
	ck_assert_str_eq(read->sql,
	    "select case when b.status is null then"
	    " chimp.idempotency_keep($3, $6, \"orders\".\"pay\"($1::jsonb))"
	    " else chimp.idempotency_replay($3, $4) end,"
	    " current_setting('chimp.response', true), b.status"
	    " from (select chimp.idempotency_begin($3, $4, $5) as status"
	    " from (select set_config('chimp.request', $2, true),"
	    " set_config('chimp.trace', $7, true) offset 0) s offset 0) b");
	ck_assert_int_eq(read->n_params, 7);
	sql_handler_free(&read);
	ck_assert_str_eq(job->sql,
	    "select chimp.job_done($1, $2, \"orders\".\"notify\"(b.payload))"
	    " from (select chimp.job_begin($1, $2) as payload"
	    " from (select chimp.session_reset() offset 0) as r offset 0)"
	    " as b");
	ck_assert_int_eq(job->n_params, 2);
	ck_assert_str_eq(event->sql,
	    "select chimp.lane_advance($1, $2, $3, $4, $5, $6, "
	    "\"orders\".\"audit\"(b.event)) from (select chimp.event_begin($7) "
	    "as event"
	    " from (select chimp.session_reset() offset 0) as r offset 0)"
	    " as b");
	ck_assert_int_eq(event->n_params, 7);
	ck_assert_str_eq(group->sql,
	    "select done, took_us, slowest_us, jobs, tokens, timeouts_ms"
	    " from chimp.run_17($1, $2)");
	ck_assert_int_eq(group->n_params, 2);
	sql_handler_free(&action);
	ck_assert_ptr_null(action);
	sql_handler_free(&action);
	sql_handler_free(&job);
	ck_assert_str_eq(deliver->sql,
	    "select handled, more, alone, waits,"
	    " tick, event_id from chimp.deliver_9($1, $2)");
	ck_assert_int_eq(deliver->n_params, 2);
	ck_assert_ptr_null(sql_handler_deliver(""));
	ck_assert_ptr_null(sql_handler_deliver("9; drop"));
	ck_assert_ptr_null(sql_handler_event("no schema"));
	sql_handler_free(&deliver);
	sql_handler_free(&event);
	sql_handler_free(&group);
}
END_TEST

START_TEST(test_a_statement_is_made_once_per_function)
{
	struct sql_handlers h;
	const struct pg_stmt *audit;

	sql_handlers_init(&h, sql_handler_event);
	audit = sql_handlers_get(&h, "orders.audit");
	ck_assert_ptr_nonnull(strstr(audit->sql, "lane_advance"));
	ck_assert_ptr_eq(sql_handlers_get(&h, "orders.audit"), audit);
	ck_assert_ptr_ne(sql_handlers_get(&h, "orders.other"), audit);
	ck_assert_ptr_null(sql_handlers_get(&h, "no; drop"));
	sql_handlers_done(&h);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sql_handler");
	TCase *tc = tcase_create("sql_handler");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_valid_names);
	tcase_add_test(tc, test_statements);
	tcase_add_test(tc, test_a_statement_is_made_once_per_function);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
