/* What the client of bench-http makes of numbers and answers. */
#include "bench/load/load.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *text;
	enum answer_state state;
	int status;
	const char *body;
	bool closes;
} answers[] = {
    {"", ANSWER_PART, 0, NULL, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", ANSWER_PART, 0, NULL, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", ANSWER_PART, 0, NULL,
	false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", ANSWER_WHOLE, 200, "ab",
	false},
    {"HTTP/1.1 503 Service Unavailable\r\nCONTENT-LENGTH:0\r\n"
     "connection: Close\r\n\r\n",
	ANSWER_WHOLE, 503, "", true},
    {"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"
     "Content-Length: 1\r\n\r\nx",
	ANSWER_WHOLE, 200, "x", false},
    {"HTTP/1.1 200 OK\r\n\r\nContent-Length: 1\r\n", ANSWER_BAD, 0, NULL,
	false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", ANSWER_BAD, 0, NULL,
	false},
    {"SSH-2.0\r\n\r\n", ANSWER_BAD, 0, NULL, false},
};

START_TEST(test_answer_is_taken_apart)
{
	const char *text = answers[_i].text;
	struct answer a = {0};

	ck_assert_int_eq(
	    answer_parse(text, strlen(text), &a), answers[_i].state);
	if (answers[_i].state != ANSWER_WHOLE)
		return;
	ck_assert_int_eq(a.status, answers[_i].status);
	ck_assert_uint_eq(a.body_len, strlen(answers[_i].body));
	ck_assert_mem_eq(a.body, answers[_i].body, a.body_len);
	ck_assert_int_eq(a.closes, answers[_i].closes);
}
END_TEST

START_TEST(test_number_stands_where_it_must)
{
	char out[LOAD_TEXT_MAX];
	char *text = calloc(1, 2 * LOAD_TEXT_MAX);

	ck_assert_uint_eq(text_fill(out, "{\"id\": {}, \"name\": \"{}{\"}", 42),
	    strlen("{\"id\": 42, \"name\": \"42{\"}"));
	ck_assert_str_eq(out, "{\"id\": 42, \"name\": \"42{\"}");
	ck_assert_uint_eq(text_fill(out, "", 1), 0);
	ck_assert_ptr_nonnull(text);
	memset(text, 'x', 2 * LOAD_TEXT_MAX - 1);
	ck_assert_uint_lt(text_fill(out, text, 1), LOAD_TEXT_MAX);
	free(text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("load");
	TCase *tcase = tcase_create("load");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, test_answer_is_taken_apart, 0,
	    sizeof(answers) / sizeof(answers[0]));
	tcase_add_test(tcase, test_number_stands_where_it_must);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
