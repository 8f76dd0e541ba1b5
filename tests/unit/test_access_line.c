/*
 * Lines of the access log: what they say, what becomes of odd bytes.
 */
#include "roles/http/access_line.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <jansson.h>

static struct access_text
text_of(const char *s)
{
	return (struct access_text){s, strlen(s)};
}

static struct access_line
usual(void)
{
	return (struct access_line){
	    .remote = "127.0.0.1",
	    .method = text_of("GET"),
	    .path = text_of("/orders/1"),
	    .status = 200,
	    .bytes = 52,
	    .total_us = 1204,
	    .queue_us = 11,
	    .database_us = 1000020,
	    .route = "GET /orders/{id}",
	    .request_id = "abc",
	    .trace_id = "0af7651916cd43dd8448eb211c80319c-and-more",
	    .agent = text_of("curl \"7\""),
	    .referer = text_of("http://x/"),
	};
}

START_TEST(a_text_line_says_all)
{
	struct access_line line = usual();
	struct strbuf out = STRBUF_EMPTY;

	access_line_text(&line, &out);
	ck_assert_str_eq(out.data,
	    "127.0.0.1 \"GET /orders/1\" 200 52 total=1.204 queue=0.011"
	    " database=1000.020 route=\"GET /orders/{id}\" request=abc"
	    " trace=0af7651916cd43dd8448eb211c80319c"
	    " agent=\"curl \\\"7\\\"\" referer=\"http://x/\"");
	strbuf_done(&out);
}
END_TEST

static json_t *
json_of(const struct access_line *line)
{
	struct strbuf out = STRBUF_EMPTY;
	json_error_t error;
	json_t *json;

	strbuf_puts(&out, "{\"kind\":\"access\"");
	access_line_json(line, &out);
	strbuf_puts(&out, "}");
	json = json_loadb(out.data, out.length,
	    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	ck_assert_msg(json != NULL, "%s: %s", error.text, out.data);
	strbuf_done(&out);
	return json;
}

START_TEST(a_json_line_says_all)
{
	struct access_line line = usual();
	json_t *json = json_of(&line);
	char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));

	ck_assert_str_eq(text,
	    "{\"kind\":\"access\",\"remote\":\"127.0.0.1\","
	    "\"method\":\"GET\",\"path\":\"/orders/1\",\"status\":200,"
	    "\"bytes\":52,\"totalMs\":1.204,\"queueMs\":0.011,"
	    "\"databaseMs\":1000.02,\"route\":\"GET /orders/{id}\","
	    "\"requestId\":\"abc\","
	    "\"traceId\":\"0af7651916cd43dd8448eb211c80319c\","
	    "\"userAgent\":\"curl \\\"7\\\"\",\"referer\":\"http://x/\"}");
	free(text);
	json_decref(json);
}
END_TEST

START_TEST(what_is_not_known_is_left_out)
{
	struct access_line line = {
	    .remote = "unix",
	    .method = text_of("POST"),
	    .path = text_of("/"),
	    .status = 400,
	    .total_us = -1,
	    .queue_us = -1,
	    .database_us = -1,
	};
	struct strbuf out = STRBUF_EMPTY;

	access_line_text(&line, &out);
	ck_assert_str_eq(out.data, "unix \"POST /\" 400 0");
	strbuf_done(&out);
	access_line_json(&line, &out);
	ck_assert_str_eq(out.data,
	    ",\"remote\":\"unix\",\"method\":\"POST\",\"path\":\"/\","
	    "\"status\":400,\"bytes\":0");
	strbuf_done(&out);
}
END_TEST

static const struct {
	const char *path;
	const char *text;
	const char *json; /* as the reader of the JSON sees it, in UTF-8 */
} odd[] = {
    {"/a\"b\\c", "/a\\\"b\\\\c", "/a\"b\\c"},
    {"/a\nb\tc\x7f", "/a\\x0ab\\x09c\\x7f", "/a\nb\tc\x7f"},
    {"/\xc3\xa4", "/\\xc3\\xa4", "/\xc3\xa4"},
    {"/\xe4", "/\\xe4", "/\xc3\xa4"}, /* Latin 1 */
    {"/\xf0\x9f\x98\x80", "/\\xf0\\x9f\\x98\\x80", "/\xf0\x9f\x98\x80"},
    {"/\xed\xa0\x80", "/\\xed\\xa0\\x80", "/\xc3\xad\xc2\xa0\xc2\x80"},
    {"/\xc0\xaf", "/\\xc0\\xaf", "/\xc3\x80\xc2\xaf"},
    {"", "", ""},
};

START_TEST(odd_bytes_are_escaped)
{
	struct access_line line = {.remote = "unix",
	    .method = text_of("GET"),
	    .path = text_of(odd[_i].path),
	    .total_us = -1,
	    .queue_us = -1,
	    .database_us = -1};
	struct strbuf out = STRBUF_EMPTY, wanted = STRBUF_EMPTY;
	json_t *json = json_of(&line);

	ck_assert_str_eq(
	    json_string_value(json_object_get(json, "path")), odd[_i].json);
	json_decref(json);
	access_line_text(&line, &out);
	strbuf_printf(&wanted, "unix \"GET %s\" 0 0", odd[_i].text);
	ck_assert_str_eq(out.data, wanted.data);
	strbuf_done(&out);
	strbuf_done(&wanted);
}
END_TEST

/* Whatever a client sends, cut where it is cut: valid, and below PIPE_BUF. */
START_TEST(lines_are_valid_and_bounded)
{
	static const char *const units[] = {
	    "a", "\"", "\x01", "\xff", "\xc3\xa4", "\xf0\x9f\x98\x80", "\xe2"};
	struct strbuf text = STRBUF_EMPTY, out = STRBUF_EMPTY;
	struct access_line line = usual();
	json_t *json;

	for (size_t shift = 0; shift < 4; shift++) {
		text.length = 0;
		for (size_t i = 0; i < shift; i++)
			strbuf_putc(&text, 'x');
		while (text.length < 10000)
			strbuf_puts(&text, units[_i]);
		line.method = line.path = line.agent = line.referer =
		    (struct access_text){text.data, text.length};
		line.route = text.data;
		json = json_of(&line);
		json_decref(json);
		out.length = 0;
		access_line_json(&line, &out);
		ck_assert_uint_lt(out.length, 3800);
		out.length = 0;
		access_line_text(&line, &out);
		ck_assert_uint_lt(out.length, 3800);
		ck_assert_ptr_null(strchr(out.data, '\n'));
	}
	strbuf_done(&text);
	strbuf_done(&out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("access_line");
	TCase *t = tcase_create("access_line");
	SRunner *runner;
	int failed;

	tcase_add_test(t, a_text_line_says_all);
	tcase_add_test(t, a_json_line_says_all);
	tcase_add_test(t, what_is_not_known_is_left_out);
	tcase_add_loop_test(
	    t, odd_bytes_are_escaped, 0, sizeof(odd) / sizeof(odd[0]));
	tcase_add_loop_test(t, lines_are_valid_and_bounded, 0, 7);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
