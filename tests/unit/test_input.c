/*
 * Bodies: what is refused and in which words; the raw bytes of values; what
 * clients see of errors.
 */
#include "common/base/err.h"
#include "common/base/strbuf.h"
#include "roles/http/args.h"
#include "roles/http/input.h"
#include "roles/http/parts.h"
#include "roles/http/problem.h"
#include "roles/http/span.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

static const struct {
	const char *body;
	const char *says; /* part of the error; NULL: accepted */
} bodies[] = {
    {"", NULL},
    {" \r\n\t", NULL},
    {"{}", NULL},
    {" { } ", NULL},
    {"{\"a\":123456789012345678901234567890}", NULL},
    {"{\"a\":-0.0e-0}", NULL},
    {"{\"a\":\"\\ud83d\\ude00\xf0\x9f\x98\x80\"}", NULL},
    {"{\"a\":{\"b\":1},\"b\":1}", NULL},
    {"[]", "the body must be a JSON object"},
    {"1", "the body must be a JSON object"},
    {"null", "the body must be a JSON object"},
    {"{", "not valid JSON: string or '}' expected near end of file"},
    {"{\"a\":1}x", "not valid JSON: end of file expected near 'x' (line 1, "
		   "column 8)"},
    {"{\"a\":\n 01}", "(line 2, column 2)"},
    {"{a:1}", "not valid JSON"},
    {"{\"a\":1,}", "not valid JSON"},
    {"{'a':1}", "not valid JSON"},
    {"{\"a\":NaN}", "not valid JSON"},
    {"{\"a\":+1}", "not valid JSON"},
    {"{\"a\":.5}", "not valid JSON"},
    {"{\"a\":1.}", "not valid JSON"},
    {"{\"a\":\"\n\"}", "not valid JSON"},
    {"{\"a\":\"\\x\"}", "not valid JSON"},
    {"{\"a\":\"\\u0000\"}", "has \\u0000, which no text can hold (line 1, "},
    {"{\"\\u0000\":1}", "not valid JSON: NUL byte in object key"},
    {"{\"a\":\"\\ud800\"}", "not valid JSON"},
    {"{\"a\":\"\xff\"}", "not valid JSON: unable to decode byte 0xff"},
    {"{\"a\":\"\xc0\x80\"}", "not valid JSON"},
    {"{\"a\":\"\xed\xa0\x80\"}", "not valid JSON"},
    {"{\"a\":1,\"a\":2}", "not valid JSON: duplicate object key"},
    {"{\"a\":1,\"\\u0061\":2}", "not valid JSON: duplicate object key"},
    {"{\"x\":{\"a\":1,\"a\":2}}", "not valid JSON: duplicate object key"},
    {"{\"a\":1e999}", "not valid JSON: real number overflow"},
};

START_TEST(a_body_is_an_object_or_refused_with_the_place)
{
	struct err err = {"", ""};
	struct input input;
	int rc;

	input_init(&input);
	rc = input_body(&input, bodies[_i].body, strlen(bodies[_i].body), &err);
	ck_assert_int_eq(rc, bodies[_i].says != NULL ? -1 : 0);
	if (bodies[_i].says != NULL)
		ck_assert_msg(strstr(err.message, bodies[_i].says) != NULL,
		    "%s", err.message);
	input_done(&input);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
	struct strbuf body = STRBUF_EMPTY;
	struct input input;
	struct err err;

	strbuf_puts(&body, "{\"a\":");
	for (int i = 0; i < 100000; i++)
		strbuf_putc(&body, '[');
	input_init(&input);
	ck_assert_int_eq(input_body(&input, body.data, body.length, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "maximum parsing depth"));
	input_done(&input);
	strbuf_done(&body);
}
END_TEST

START_TEST(a_nul_byte_is_refused)
{
	/* jansson would skip the second. */
	static const char bodies_with_nul[2][14] = {
	    "{\"a\":\"\0\"}    ", "{\"a\":[null\0]}"};
	struct input input;
	struct err err;

	for (int i = 0; i < 2; i++) {
		input_init(&input);
		ck_assert_int_eq(input_body(&input, bodies_with_nul[i],
				     sizeof(bodies_with_nul[i]), &err),
		    -1);
		ck_assert_ptr_nonnull(strstr(err.message, "a NUL byte"));
		input_done(&input);
	}
}
END_TEST

START_TEST(spans_are_the_raw_bytes)
{
	static const char text[] =
	    " {\"a\" : 1.0 , \"b\":[ {\"]\":\"\\\"}\"} ,2],"
	    "\"c\":null,\"d\":\"x\\\\\" } ";
	static const char *const values[] = {
	    "1.0", "[ {\"]\":\"\\\"}\"} ,2]", "null", "\"x\\\\\""};
	struct span_walk walk;
	struct span key, value;
	int n = 0;

	span_walk_start(&walk, span_of(text, strlen(text)));
	for (; span_walk_next(&walk, &key, &value); n++) {
		ck_assert_uint_eq(key.length, 3);
		ck_assert_int_eq(key.text[1], 'a' + n);
		ck_assert_uint_eq(value.length, strlen(values[n]));
		ck_assert_int_eq(
		    memcmp(value.text, values[n], value.length), 0);
	}
	ck_assert_int_eq(n, 4);
}
END_TEST

static const struct {
	const char *text;
	bool integer;
	bool number;
} numbers[] = {
    {"0", true, true},
    {"-0", true, true},
    {"12345678901234567890123", true, true},
    {"-12", true, true},
    {"1.5", false, true},
    {"1e3", false, true},
    {"1E+3", false, true},
    {"-1.50e-3", false, true},
    {"", false, false},
    {"-", false, false},
    {"+1", false, false},
    {"01", false, false},
    {"-01", false, false},
    {"1.", false, false},
    {".5", false, false},
    {"1e", false, false},
    {"1e+", false, false},
    {" 1", false, false},
    {"1x", false, false},
    {"0x1", false, false},
    {"true", false, false},
};

START_TEST(numbers_have_the_grammar_of_json)
{
	const char *text = numbers[_i].text;

	ck_assert_int_eq(
	    span_is_integer(text, strlen(text)), numbers[_i].integer);
	ck_assert_int_eq(
	    span_is_number(text, strlen(text)), numbers[_i].number);
}
END_TEST

static const struct {
	const char *sqlstate;
	int status;
	bool told; /* the client sees the message */
	bool hinted;
} states[] = {
    {"PT409", 409, true, true},
    {"PT503", 503, true, true},
    {"PT200", 500, false, false},
    {"PT99", 500, false, false},
    {"PTabc", 500, false, false},
    {"22003", 400, true, false},
    {"23502", 400, true, false},
    {"23514", 400, true, false},
    {"23503", 409, true, false},
    {"23505", 409, true, false},
    {"23P01", 409, true, false},
    {"P0001", 400, true, true},
    {"P0002", 404, true, false},
    {"28000", 401, true, false},
    {"42501", 403, true, false},
    {"40001", 503, false, false},
    {"40P01", 503, false, false},
    {"53300", 503, false, false},
    {"08006", 503, false, false},
    {"57P01", 503, false, false},
    {"57014", 503, false, false},
    {"42P01", 500, false, false},
    {"25006", 500, false, false},
    {"XX000", 500, false, false},
    {"", 500, false, false},
};

START_TEST(an_sqlstate_has_a_status_and_keeps_its_secrets)
{
	struct pg_error error = {.message = "why", .hint = "do"};
	struct problem problem;

	strcpy(error.sqlstate, states[_i].sqlstate);
	problem_of_error(&error, &problem);
	ck_assert_int_eq(problem.status, states[_i].status);
	ck_assert_int_eq(
	    problem_status(states[_i].sqlstate), states[_i].status);
	ck_assert_int_eq(problem.detail != NULL, states[_i].told);
	ck_assert_int_eq(problem.hint != NULL, states[_i].hinted);
	ck_assert_int_eq(problem.retry_later, states[_i].status == 503);
}
END_TEST

START_TEST(a_problem_is_json_whatever_the_texts_are)
{
	struct strbuf body = STRBUF_EMPTY;
	struct problem problem = {.status = 400, .detail = "a \"b\"\n\xff"};

	problem_body(&problem, &body);
	ck_assert_str_eq(body.data,
	    "{\"type\":\"about:blank\",\"title\":\"Bad Request\","
	    "\"status\":400,\"detail\":\"a \\\"b\\\"\\u000a?\"}\n");
	strbuf_done(&body);
}
END_TEST

START_TEST(parts_are_kept_apart)
{
	static const char text[] = " {\"id\": 1.0, \"a\": \"\\u00e9\"} ";
	struct strbuf out = STRBUF_EMPTY;
	struct err err = {"", ""};
	struct input input;

	input_init(&input);
	parts_json("{}", &input, &out);
	ck_assert_str_eq(out.data, "{\"collection\":{},\"body\":null,"
				   "\"path\":{},\"query\":[]}");
	strbuf_done(&out);
	ck_assert_int_eq(input_body(&input, text, strlen(text), &err), 0);
	ck_assert_int_eq(input_form(&input, INPUT_QUERY,
			     "a=%22&id=2&a=", strlen("a=%22&id=2&a="), &err),
	    0);
	input_param(&input, "id", "x/\"", 3);
	parts_json("{\"name\":\"c\"}", &input, &out);
	ck_assert_str_eq(out.data,
	    "{\"collection\":{\"name\":\"c\"},"
	    "\"body\":{\"id\": 1.0, \"a\": \"\\u00e9\"},"
	    "\"path\":{\"id\":\"x/\\\"\"},"
	    "\"query\":[[\"a\",\"\\\"\"],[\"id\",\"2\"],[\"a\",\"\"]]}");
	strbuf_done(&out);
	input_done(&input);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *suite = suite_create("input");
	TCase *tc = tcase_create("input");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, a_body_is_an_object_or_refused_with_the_place,
	    0, COUNT(bodies));
	tcase_add_test(tc, deep_nesting_is_refused);
	tcase_add_test(tc, a_nul_byte_is_refused);
	tcase_add_test(tc, spans_are_the_raw_bytes);
	tcase_add_loop_test(
	    tc, numbers_have_the_grammar_of_json, 0, COUNT(numbers));
	tcase_add_loop_test(tc, an_sqlstate_has_a_status_and_keeps_its_secrets,
	    0, COUNT(states));
	tcase_add_test(tc, a_problem_is_json_whatever_the_texts_are);
	tcase_add_test(tc, parts_are_kept_apart);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
