/*
 * The pure parts of answers at the edge: If-None-Match, Range, names of files,
 * origins; and raw bodies.
 */
#include "common/conf/conf.h"
#include "roles/http/cors_origin.h"
#include "roles/http/etag.h"
#include "roles/http/input.h"
#include "roles/http/range.h"
#include "roles/http/raw.h"
#include "roles/http/static_path.h"

#include <string.h>

#include <check.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* --- If-None-Match --- */

static const struct {
	const char *list;
	const char *etag;
	bool listed;
} lists[] = {
    {"\"a\"", "\"a\"", true},
    {"W/\"a\"", "\"a\"", true},
    {"\"a\"", "W/\"a\"", true},
    {"W/\"a\"", "W/\"a\"", true},
    {"*", "\"a\"", true},
    {" *", "\"a\"", true},
    {"\"b\", \"a\"", "\"a\"", true},
    {"\"b\",\"a\"", "\"a\"", true},
    {",, \"b\" ,\t, W/\"a\"", "\"a\"", true},
    {"\"b,c\", \"a\"", "\"a\"", true},
    {"\"\"", "\"\"", true},
    {"\"\xc5\xbe\"", "\"\xc5\xbe\"", true},
    {"\"A\"", "\"a\"", false},
    {"w/\"a\"", "\"a\"", false},
    {"\"ab\"", "\"a\"", false},
    {"a", "\"a\"", false},
    {"", "\"a\"", false},
    {"\"a", "\"a\"", false},
    {"\"", "\"a\"", false},
    {"W/", "\"a\"", false},
    {"b, \"a\"", "\"a\"", false},
    {"\"b c\", \"a\"", "\"a\"", false},
    {"\"a\"", "a", false},
    {"\"a\"", "", false},
    {"\"b, \"a\"", "\"a\"", false},
};

START_TEST(a_tag_is_listed_or_not)
{
	const char *list = lists[_i].list, *etag = lists[_i].etag;

	ck_assert_msg(etag_listed(list, strlen(list), etag, strlen(etag)) ==
			  lists[_i].listed,
	    "%s in %s", etag, list);
}
END_TEST

START_TEST(a_tag_is_one_of_the_body)
{
	char a[ETAG_BYTES], b[ETAG_BYTES];

	etag_of("abc", 3, a);
	/* The beginning of SHA-256("abc"), FIPS 180-2, B.1. */
	ck_assert_str_eq(a, "W/\"ba7816bf8f01cfea414140de5dae2223\"");
	etag_of("abc", 3, b);
	ck_assert_str_eq(a, b);
	etag_of("abd", 3, b);
	ck_assert_str_ne(a, b);
	ck_assert_uint_eq(strlen(a), ETAG_BYTES - 1);
}
END_TEST

/* --- Range --- */

static const struct {
	const char *value;
	uint64_t size;
	enum range_answer answer;
	uint64_t first;
	uint64_t count;
} ranges[] = {
    {"bytes=0-0", 10, RANGE_PART, 0, 1},
    {"bytes=0-9", 10, RANGE_PART, 0, 10},
    {"bytes=0-10", 10, RANGE_PART, 0, 10},
    {"bytes=9-", 10, RANGE_PART, 9, 1},
    {"bytes=-3", 10, RANGE_PART, 7, 3},
    {"bytes=-11", 10, RANGE_PART, 0, 10},
    {"Bytes=1-2", 10, RANGE_PART, 1, 2},
    {"bytes=1-18446744073709551615", 10, RANGE_PART, 1, 9},
    {"bytes=1-18446744073709551616", 10, RANGE_PART, 1, 9},
    {"bytes=-99999999999999999999", 10, RANGE_PART, 0, 10},
    {"bytes=10-", 10, RANGE_BEYOND, 0, 0},
    {"bytes=18446744073709551616-", 10, RANGE_BEYOND, 0, 0},
    {"bytes=-0", 10, RANGE_BEYOND, 0, 0},
    {"bytes=0-", 0, RANGE_BEYOND, 0, 0},
    {"bytes=-1", 0, RANGE_BEYOND, 0, 0},
    {"bytes=2-1", 10, RANGE_WHOLE, 0, 0},
    {"bytes=", 10, RANGE_WHOLE, 0, 0},
    {"bytes=-", 10, RANGE_WHOLE, 0, 0},
    {"bytes=1", 10, RANGE_WHOLE, 0, 0},
    {"bytes=0-1,3-4", 10, RANGE_WHOLE, 0, 0},
    {"bytes=0-1 ", 10, RANGE_WHOLE, 0, 0},
    {"bytes= 0-1", 10, RANGE_WHOLE, 0, 0},
    {"bytes=+1-2", 10, RANGE_WHOLE, 0, 0},
    {"items=0-1", 10, RANGE_WHOLE, 0, 0},
    {"byte", 10, RANGE_WHOLE, 0, 0},
    {"", 10, RANGE_WHOLE, 0, 0},
};

START_TEST(a_range_is_a_part_or_not)
{
	const char *value = ranges[_i].value;
	uint64_t first = 0, count = 0;

	ck_assert_msg(range_parse(value, strlen(value), ranges[_i].size, &first,
			  &count) == ranges[_i].answer,
	    "%s", value);
	ck_assert_uint_eq(first, ranges[_i].first);
	ck_assert_uint_eq(count, ranges[_i].count);
}
END_TEST

/* --- names of files --- */

static const struct {
	const char *path;
	const char *name; /* NULL: refused */
} paths[] = {
    {"/", ""},
    {"/a", "a"},
    {"/a/b.css", "a/b.css"},
    {"/a/", "a/"},
    {"/a%20b/%C4%8D", "a b/\xc4\x8d"},
    {"/a..b", "a..b"},
    {"/a.", "a."},
    {"/.well-known/x", ".well-known/x"},
    {"/%2ewell-known/x", ".well-known/x"},
    {"", NULL},
    {"a", NULL},
    {"//", NULL},
    {"//a", NULL},
    {"/a//b", NULL},
    {"/a//", NULL},
    {"/.", NULL},
    {"/..", NULL},
    {"/../a", NULL},
    {"/a/..", NULL},
    {"/a/../b", NULL},
    {"/a/./b", NULL},
    {"/%2e%2e/a", NULL},
    {"/a/%2E%2e", NULL},
    {"/.git/config", NULL},
    {"/a/.htaccess", NULL},
    {"/a/.well-known/x", NULL},
    {"/.well-knownx", NULL},
    {"/.well-kno", NULL},
    {"/a%2fb", NULL},
    {"/..%2fa", NULL},
    {"/%2f", NULL},
    {"/a%00b", NULL},
    {"/a%", NULL},
    {"/%ff", NULL},
    {"/%c0%ae%c0%ae/a", NULL},
};

START_TEST(a_path_names_a_file_or_is_refused)
{
	const char *path = paths[_i].path;
	char out[64] = "?";

	ck_assert_msg(
	    static_path(path, strlen(path), out) == (paths[_i].name != NULL),
	    "%s", path);
	if (paths[_i].name != NULL)
		ck_assert_str_eq(out, paths[_i].name);
}
END_TEST

static const struct {
	const char *prefix;
	const char *path;
	const char *behind;
} prefixes[] = {
    {"/", "", ""},
    {"/", "a/b", "a/b"},
    {"/a", "a/b", "b"},
    {"/a", "a/", ""},
    {"/a", "a", ""},
    {"/a/b", "a/b/c/d", "c/d"},
    {"/a", "ab", NULL},
    {"/a", "", NULL},
    {"/a", "b/a", NULL},
    {"/a/b", "a", NULL},
    {"/a/b", "a/bc", NULL},
};

START_TEST(a_prefix_ends_at_a_slash)
{
	const char *behind =
	    static_behind(prefixes[_i].prefix, prefixes[_i].path);

	if (prefixes[_i].behind == NULL)
		ck_assert_ptr_null(behind);
	else
		ck_assert_str_eq(behind, prefixes[_i].behind);
}
END_TEST

START_TEST(a_browser_asks_for_pages)
{
	static const char page[] = "application/xml, TEXT/HTML;q=0.9, */*";
	static const char other[] = "text/plain, text/htm";

	ck_assert(static_wants_page(page, strlen(page)));
	ck_assert(!static_wants_page(other, strlen(other)));
	ck_assert(!static_wants_page("*/*", 3));
	ck_assert(!static_wants_page("", 0));
}
END_TEST

/* --- origins --- */

static bool
allows(const struct conf_cors *cors, const char *origin)
{
	return cors_allows(cors, origin, strlen(origin));
}

START_TEST(an_origin_is_listed_byte_for_byte)
{
	static char one[] = "https://a.example", two[] = "null", any[] = "*";
	char *listed[] = {one, two, NULL}, *star[] = {any, NULL};
	struct conf_cors cors = {.origins = {listed, 2}};

	ck_assert(allows(&cors, "https://a.example"));
	ck_assert(allows(&cors, "null"));
	ck_assert(!allows(&cors, "https://a.example:443"));
	ck_assert(!allows(&cors, "https://a.example/"));
	ck_assert(!allows(&cors, "https://A.example"));
	ck_assert(!allows(&cors, "https://a.exampl"));
	ck_assert(!allows(&cors, "http://a.example"));
	ck_assert(!allows(&cors, "*"));
	ck_assert(!allows(&cors, ""));
	cors.origins.count = 1;
	ck_assert(!allows(&cors, "null"));
	cors.origins.count = 0;
	ck_assert(!allows(&cors, "https://a.example"));
	cors.origins = (struct conf_strings){star, 1};
	ck_assert(allows(&cors, "https://anybody.example"));
}
END_TEST

/* --- raw bodies --- */

static const struct {
	const char *body;
	size_t length;
	const char *member;
	const char *encoding;
} raws[] = {
    {"", 0, "", "text"},
    {NULL, 0, "", "text"},
    {"a\r\n\x01", 4, "a\r\n\x01", "text"},
    {"\xc5\xbe", 2, "\xc5\xbe", "text"},
    {"\xff", 1, "/w==", "base64"},
    {"\xff\xfe", 2, "//4=", "base64"},
    {"\xff\xfe\xfd", 3, "//79", "base64"},
    {"a\0b", 3, "YQBi", "base64"},
    {"\xed\xa0\x80", 3, "7aCA", "base64"},
    {"\xc0\x80", 2, "wIA=", "base64"},
};

static const char *
member(const struct input *input, const char *name)
{
	size_t count;
	const struct input_text *text =
	    input_find(input, name, strlen(name), &count);

	ck_assert_uint_eq(count, text != NULL);
	return text != NULL ? text->value : NULL;
}

START_TEST(a_raw_body_is_text_or_base64)
{
	struct input input;

	input_init(&input);
	input_param(&input, "body", "forged", 6);
	raw_body(&input, raws[_i].body, raws[_i].length, "x/y", 3);
	ck_assert_str_eq(member(&input, "body"), raws[_i].member);
	ck_assert_str_eq(member(&input, "bodyEncoding"), raws[_i].encoding);
	ck_assert_str_eq(member(&input, "contentType"), "x/y");
	input_done(&input);
}
END_TEST

START_TEST(no_type_is_no_member)
{
	struct input input;

	input_init(&input);
	raw_body(&input, "a", 1, NULL, 0);
	ck_assert_ptr_null(member(&input, "contentType"));
	raw_body(&input, "a", 1, "\xff", 1);
	ck_assert_ptr_null(member(&input, "contentType"));
	input_done(&input);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("edge");
	TCase *tc = tcase_create("edge");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, a_tag_is_listed_or_not, 0, COUNT(lists));
	tcase_add_test(tc, a_tag_is_one_of_the_body);
	tcase_add_loop_test(tc, a_range_is_a_part_or_not, 0, COUNT(ranges));
	tcase_add_loop_test(
	    tc, a_path_names_a_file_or_is_refused, 0, COUNT(paths));
	tcase_add_loop_test(tc, a_prefix_ends_at_a_slash, 0, COUNT(prefixes));
	tcase_add_test(tc, a_browser_asks_for_pages);
	tcase_add_test(tc, an_origin_is_listed_byte_for_byte);
	tcase_add_loop_test(tc, a_raw_body_is_text_or_base64, 0, COUNT(raws));
	tcase_add_test(tc, no_type_is_no_member);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
