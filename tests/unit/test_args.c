/*
 * Signatures, and what they make of values.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/args.h"
#include "roles/http/input.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

/* What a body, a query and a path parameter "id" become under a signature:
 * the handler's input, or all violations as "path message; ". */
static char *
apply(
    const char *signature, const char *body, const char *query, const char *id)
{
	struct args_violations v = {.n = 0};
	struct strbuf out = STRBUF_EMPTY, text = STRBUF_EMPTY;
	struct input input;
	struct args *args = NULL;
	struct err err;

	input_init(&input);
	v.arena = input.arena;
	if (signature != NULL) {
		args = args_parse(signature, &err);
		ck_assert_msg(args != NULL, "%s", err.message);
	}
	ck_assert_int_eq(input_body(&input, body, strlen(body), &err), 0);
	ck_assert_int_eq(
	    input_form(&input, INPUT_QUERY, query, strlen(query), &err), 0);
	if (id != NULL)
		input_param(&input, "id", id, strlen(id));
	if (args_apply(args, &input, &out, &v))
		strbuf_puts(&text, strbuf_str(&out));
	for (size_t i = 0; i < v.n; i++)
		strbuf_printf(
		    &text, "%s %s; ", v.items[i].path, v.items[i].message);
	strbuf_done(&out);
	args_free(&args);
	input_done(&input);
	return strbuf_take(&text);
}

/* clang-format off */
static const struct {
	const char *signature;
	const char *body;
	const char *result;
} bodies[] = {
    /* the client's own bytes */
    { "a: integer", "{\"a\":123456789012345678901234567890}",
	"{\"a\":123456789012345678901234567890}" },
    { "a: number", "{ \"a\" : 1.10 }", "{\"a\":1.10}" },
    { "a: string", "{\"a\":\"\\u00e9\\n\"}", "{\"a\":\"\\u00e9\\n\"}" },
    { "a: object, b: array", "{\"b\":[1, 2],\"a\":{\"x\": [{}]}}",
	"{\"a\":{\"x\": [{}]},\"b\":[1, 2]}" },
    { "a: any", "{\"a\":null}", "{\"a\":null}" },
    { "a: string", "{\"\\u0061\":\"x\"}", "{\"a\":\"x\"}" },
    { "a: string", "{\"a\":\"}],\\\"{[\",\"b\":1}", "{\"a\":\"}],\\\"{[\"}" },
    /* unknown members are dropped */
    { "a: integer", "{\"b\":[1,{}],\"a\":1,\"c\":\"x\"}", "{\"a\":1}" },
    { "", "{\"b\":1}", "{}" },
    /* types */
    { "a: integer", "{\"a\":1.0}", "args.a must be an integer; " },
    { "a: integer", "{\"a\":1e3}", "args.a must be an integer; " },
    { "a: integer", "{\"a\":-0}", "{\"a\":-0}" },
    { "a: integer", "{\"a\":\"1\"}", "args.a must be an integer; " },
    { "a: integer", "{\"a\":true}", "args.a must be an integer; " },
    { "a: integer", "{\"a\":null}", "args.a must be an integer; " },
    { "a: integer", "{\"a\":[1]}", "args.a must be an integer; " },
    { "a: number", "{\"a\":\"1\"}", "args.a must be a number; " },
    { "a: boolean", "{\"a\":0}", "args.a must be a boolean; " },
    { "a: boolean", "{\"a\":false}", "{\"a\":false}" },
    { "a: string", "{\"a\":1}", "args.a must be a string; " },
    { "a: object", "{\"a\":[]}", "args.a must be an object; " },
    { "a: array", "{\"a\":{}}", "args.a must be an array; " },
    { "a: enum(x|y)", "{\"a\":\"y\"}", "{\"a\":\"y\"}" },
    { "a: enum(x|y)", "{\"a\":\"\\u0079\"}", "{\"a\":\"\\u0079\"}" },
    { "a: enum(x|y)", "{\"a\":\"z\"}", "args.a must be one of x, y; " },
    { "a: enum(x|y)", "{\"a\":1}", "args.a must be one of x, y; " },
    { "a: uuid", "{\"a\":\"0188B7a0-0000-7000-8000-00000000000f\"}",
	"{\"a\":\"0188B7a0-0000-7000-8000-00000000000f\"}" },
    { "a: uuid", "{\"a\":\"0188b7a0-0000-7000-8000-00000000000\"}",
	"args.a must be a UUID; " },
    { "a: uuid", "{\"a\":\"0188b7a0-0000-7000-8000-00000000000g\"}",
	"args.a must be a UUID; " },
    /* missing and null */
    { "a: integer", "{}", "args.a is required; " },
    { "a: integer", "", "args.a is required; " },
    { "a: integer?", "{}", "{}" },
    { "a: integer?", "{\"a\":null}", "{\"a\":null}" },
    { "a: integer[]?", "{\"a\":null}", "{\"a\":null}" },
    { "a: integer = 7", "{}", "{\"a\":7}" },
    { "a: integer = 7", "{\"a\":8}", "{\"a\":8}" },
    { "a: integer = 7", "{\"a\":null}", "args.a must be an integer; " },
    { "a: integer? = 7", "{\"a\":null}", "{\"a\":null}" },
    { "a: string = hello", "{}", "{\"a\":\"hello\"}" },
    { "a: string = \"a, b\", b: integer?", "{}", "{\"a\":\"a, b\"}" },
    { "a: any = {\"x\": [1, 2]}", "{}", "{\"a\":{\"x\": [1, 2]}}" },
    { "a: string[] = [\"x\"]", "{}", "{\"a\":[\"x\"]}" },
    { "a: enum(low|high) = low", "{}", "{\"a\":\"low\"}" },
    /* ranges */
    { "a: string(1..3)", "{\"a\":\"\"}",
	"args.a must have from 1 to 3 characters; " },
    { "a: string(1..3)", "{\"a\":\"\\u20ac\\ud83d\\ude00\xc3\xa9\"}",
	"{\"a\":\"\\u20ac\\ud83d\\ude00\xc3\xa9\"}" },
    { "a: string(1..3)", "{\"a\":\"abcd\"}",
	"args.a must have from 1 to 3 characters; " },
    { "a: string(2..)", "{\"a\":\"a\"}",
	"args.a must have at least 2 characters; " },
    { "a: string(..2)", "{\"a\":\"abc\"}",
	"args.a must have at most 2 characters; " },
    { "a: integer(1..10)", "{\"a\":10}", "{\"a\":10}" },
    { "a: integer(1..10)", "{\"a\":11}", "args.a must be from 1 to 10; " },
    { "a: integer(-5..)", "{\"a\":-6}", "args.a must be at least -5; " },
    { "a: integer(1..10)", "{\"a\":99999999999999999999999999}",
	"args.a must be from 1 to 10; " },
    { "a: integer(1..)", "{\"a\":9223372036854775808}",
	"args.a must be at most 9223372036854775807; " },
    { "a: integer(..1)", "{\"a\":-9223372036854775809}",
	"args.a must be at least -9223372036854775808; " },
    { "a: integer(1..)", "{\"a\":9223372036854775807}",
	"{\"a\":9223372036854775807}" },
    { "a: number(0.5..1)", "{\"a\":0.5}", "{\"a\":0.5}" },
    { "a: number(0.5..1)", "{\"a\":1.01}",
	"args.a must be from 0.5 to 1; " },
    { "a: number(..1)", "{\"a\":1e300}", "args.a must be at most 1; " },
    { "a: array(1..2)", "{\"a\":[]}", "args.a must have from 1 to 2 items; " },
    { "a: array(..2)", "{\"a\":[[1,2],3,\",\"]}",
	"args.a must have at most 2 items; " },
    /* lists */
    { "a: integer[]", "{\"a\":[ 1 , 2 ]}", "{\"a\":[ 1 , 2 ]}" },
    { "a: integer[]", "{\"a\":[]}", "{\"a\":[]}" },
    { "a: integer[]", "{\"a\":1}", "args.a must be an array; " },
    { "a: integer(..5)[]", "{\"a\":[1,\"x\",6]}",
	"args.a[1] must be an integer; args.a[2] must be at most 5; " },
    { "a: any[]", "{\"a\":[null,1]}", "{\"a\":[null,1]}" },
    /* patterns */
    { "a: string /^[a-z]+$/", "{\"a\":\"abc\"}", "{\"a\":\"abc\"}" },
    { "a: string /^[a-z]+$/", "{\"a\":\"ab1\"}",
	"args.a must match /^[a-z]+$/; " },
    { "a: string /^a\\/b$/", "{\"a\":\"a/b\"}", "{\"a\":\"a/b\"}" },
    { "a: string(1..2)[]? = [\"a\"] /^a/", "{\"a\":[\"ab\",\"b\",\"abc\"]}",
	"args.a[1] must match /^a/; "
	"args.a[2] must have from 1 to 2 characters; " },
    /* all at once, in the order of the signature */
    { "a: integer, b: string, c: boolean, d: uuid?",
	"{\"c\":1,\"a\":\"x\",\"d\":\"x\"}",
	"args.a must be an integer; args.b is required; "
	"args.c must be a boolean; args.d must be a UUID; " },
};
/* clang-format on */

START_TEST(a_body_is_checked)
{
	char *result = apply(bodies[_i].signature, bodies[_i].body, "", NULL);

	ck_assert_str_eq(result, bodies[_i].result);
	free(result);
}
END_TEST

/* clang-format off */
static const struct {
	const char *signature; /* NULL: none */
	const char *body;
	const char *query;
	const char *id; /* of the path; NULL: none */
	const char *result;
} texts[] = {
    { "id: integer", "", "", "7", "{\"id\":7}" },
    { "id: integer", "", "", "x", "args.id must be an integer; " },
    { "id: integer", "", "", "007", "args.id must be an integer; " },
    { "id: integer", "", "", "+7", "args.id must be an integer; " },
    { "id: integer", "", "", "7 ", "args.id must be an integer; " },
    { "id: integer", "", "", "", "args.id must be an integer; " },
    { "id: integer", "", "", "123456789012345678901234567890",
	"{\"id\":123456789012345678901234567890}" },
    { "id: integer(1..)", "", "", "123456789012345678901234567890",
	"args.id must be at most 9223372036854775807; " },
    { "a: number", "", "a=1.50e1", NULL, "{\"a\":1.50e1}" },
    { "a: number", "", "a=nan", NULL, "args.a must be a number; " },
    { "a: number", "", "a=.5", NULL, "args.a must be a number; " },
    { "a: number", "", "a=0x10", NULL, "args.a must be a number; " },
    { "a: boolean", "", "a=true", NULL, "{\"a\":true}" },
    { "a: boolean", "", "a=1", NULL, "args.a must be a boolean; " },
    { "a: string", "", "a=true", NULL, "{\"a\":\"true\"}" },
    { "a: string", "", "a=%22%5C%0A", NULL, "{\"a\":\"\\\"\\\\\\u000a\"}" },
    { "a: any", "", "a=1", NULL, "{\"a\":\"1\"}" },
    { "a: enum(x|y)", "", "a=x", NULL, "{\"a\":\"x\"}" },
    { "a: object", "", "a=%7B%7D", NULL,
	"args.a must be an object, which only a JSON body can hold; " },
    { "a: string", "", "a=x&a=y", NULL, "args.a is given more than once; " },
    { "a: integer[]", "", "a=1&b=0&a=2", NULL, "{\"a\":[1,2]}" },
    { "a: integer[]", "", "a=1&a=x", NULL,
	"args.a[1] must be an integer; " },
    { "a: integer[]", "", "a=1", NULL, "{\"a\":[1]}" },
    { "a: string", "", "b=1&b=2&a=x", NULL, "{\"a\":\"x\"}" },
    /* the later source wins, whole */
    { "id: integer", "{\"id\":1}", "", "3", "{\"id\":3}" },
    { "id: integer", "{\"id\":1}", "id=2", NULL, "{\"id\":2}" },
    { "id: integer", "{\"id\":1}", "id=2&id=4", "3", "{\"id\":3}" },
    { "id: integer", "{\"id\":1}", "id=x", NULL,
	"args.id must be an integer; " },
    /* without a signature all passes, texts as strings */
    { NULL, "{ \"a\" : 1.0, \"b\":[ ] }", "", NULL,
	"{ \"a\" : 1.0, \"b\":[ ] }" },
    { NULL, "", "", NULL, "{}" },
    { NULL, "{\"a\":1,\"b\":2}", "c=3", "4",
	"{\"a\":1,\"b\":2,\"c\":\"3\",\"id\":\"4\"}" },
    { NULL, "{\"a\":1,\"b\":2}", "b=3", NULL, "{\"a\":1,\"b\":\"3\"}" },
    { NULL, "{\"\\u0062\":2}", "b=3", NULL, "{\"b\":\"3\"}" },
    { NULL, "{\"id\":1}", "id=2", "3", "{\"id\":\"3\"}" },
    { NULL, "", "a=1&a=2", NULL, "args.a is given more than once; " },
};
/* clang-format on */

START_TEST(texts_are_converted)
{
	char *result = apply(
	    texts[_i].signature, texts[_i].body, texts[_i].query, texts[_i].id);

	ck_assert_str_eq(result, texts[_i].result);
	free(result);
}
END_TEST

static const struct {
	const char *text;
	bool well;
} date_times[] = {
    {"2026-01-31T09:30:00Z", true},
    {"2026-01-31t09:30:00z", true},
    {"2026-01-31T09:30:00.123456+02:00", true},
    {"2024-02-29T23:59:60-11:30", true},
    {"2000-02-29T00:00:00Z", true},
    {"1900-02-29T00:00:00Z", false},
    {"2026-02-29T00:00:00Z", false},
    {"2026-04-31T00:00:00Z", false},
    {"2026-13-01T00:00:00Z", false},
    {"2026-00-01T00:00:00Z", false},
    {"2026-01-00T00:00:00Z", false},
    {"2026-01-31T24:00:00Z", false},
    {"2026-01-31T09:60:00Z", false},
    {"2026-01-31T09:30:61Z", false},
    {"2026-01-31T09:30:00", false},
    {"2026-01-31T09:30:00.Z", false},
    {"2026-01-31T09:30:00+0200", false},
    {"2026-01-31T09:30:00+24:00", false},
    {"2026-01-31T09:30:00Zx", false},
    {"2026-01-31 09:30:00Z", false},
    {"2026-01-31", false},
    {"", false},
};

START_TEST(a_date_time_is_rfc_3339)
{
	char *body = mem_printf("{\"a\":\"%s\"}", date_times[_i].text);
	char *result = apply("a: date-time", body, "", NULL);

	ck_assert_str_eq(result, date_times[_i].well
				     ? body
				     : "args.a must be a date and time as in "
				       "2026-01-31T09:30:00Z; ");
	free(result);
	free(body);
}
END_TEST

static const struct {
	const char *signature;
	const char *says; /* part of the error; NULL: well-formed */
} signatures[] = {
    {"", NULL},
    {"  ", NULL},
    {"a: string", NULL},
    {"a:string,b:integer", NULL},
    {" a : string ( 1 .. 2 ) [] ? = [ \"x\" ] /x/ , b : any ", NULL},
    {"first-name: string", NULL},
    {"a: string? /x,y/, b: uuid", NULL},
    {"a: enum( x | y )", NULL},
    {"a: number(-1.5..2)", NULL},
    {"a", "\": type\" is missing behind \"a\""},
    {"a:", "\"\" is not a type"},
    {"a: strng", "column 4: \"strng\" is not a type"},
    {"a: String", "\"String\" is not a type"},
    {": string", "a name is missing"},
    {"1: string", "a name is missing"},
    {"a: string,", "a name is missing"},
    {"a: string,, b: string", "a name is missing"},
    {"a: string b: string", "\"b: string\" is not understood"},
    {"a: string, a: integer", "column 12: \"a\" stands twice"},
    {"a: string?[]", "\"[]\" is not understood"},
    {"a: string = x ?", "\"?\" is not understood"},
    {"a: boolean(1..2)", "boolean has no (min..max)"},
    {"a: string(1)", "a range is written (min..max)"},
    {"a: string(..)", "a range needs a bound"},
    {"a: string(3..1)", "the range is empty"},
    {"a: number(1..0.5)", "the range is empty"},
    {"a: string(-1..1)", "\"-1\" is not a bound of a string"},
    {"a: integer(1.5..2)", "\"1.5\" is not a bound of an integer"},
    {"a: integer(99999999999999999999..)", "is not a bound of an integer"},
    {"a: string(1..2", "\")\" is missing behind the range"},
    {"a: enum", "an enum needs values"},
    {"a: enum()", "an enum needs values"},
    {"a: enum(x|)", "an enum needs values"},
    {"a: enum(x", "\")\" is missing behind the values"},
    {"a: integer = x", "the default is not valid JSON"},
    {"a: integer =", "the default is not valid JSON"},
    {"a: string = ", "the default is not valid JSON"},
    {"a: integer = \"1\"", "the default of \"a\" must be an integer"},
    {"a: integer(1..) = 0", "the default of \"a\" must be at least 1"},
    {"a: enum(x|y) = z", "the default of \"a\" must be one of x, y"},
    {"a: string[] = [1]", "the default of \"a\" must be a string"},
    {"a: string[] = \"x\"", "the default of \"a\" must be an array"},
    {"a: string = b /^a/", "the default of \"a\" must match /^a/"},
    {"a: string /[/", "the pattern is wrong: "},
    {"a: string /a++/", "cannot stand next to each other"},
    {"a: string /a\\+*[?+]+/", NULL},
    {"a: string /x", "\"/\" is missing behind the pattern"},
    {"a: string = \xff", "it is not UTF-8"},
    {"a: integer /x/", "only a string has a /pattern/"},
};

START_TEST(a_signature_is_well_formed_or_refused_with_words)
{
	struct err err = {"", ""};
	int rc = args_check(signatures[_i].signature, &err);

	ck_assert_msg(rc == (signatures[_i].says != NULL ? -1 : 0), "%s: %s",
	    signatures[_i].signature, err.message);
	if (rc == 0)
		return;
	ck_assert_msg(strstr(err.message, signatures[_i].says) != NULL, "%s",
	    err.message);
	ck_assert_ptr_nonnull(strstr(err.message, signatures[_i].signature));
}
END_TEST

START_TEST(violations_have_a_bound)
{
	struct strbuf body = STRBUF_EMPTY;
	char *result;
	int n = 0;

	strbuf_puts(&body, "{\"a\":[0");
	for (int i = 0; i < 1000; i++)
		strbuf_puts(&body, ",\"x\"");
	strbuf_puts(&body, "]}");
	result = apply("a: integer[]", body.data, "", NULL);
	for (char *c = result; (c = strchr(c, ';')) != NULL; c++)
		n++;
	ck_assert_int_eq(n, ARGS_VIOLATIONS_MAX);
	free(result);
	strbuf_done(&body);
}
END_TEST

/* glibc's matcher takes seconds for a megabyte. */
START_TEST(a_pattern_is_not_tried_on_megabytes)
{
	struct strbuf body = STRBUF_EMPTY;
	char *result;

	strbuf_puts(&body, "{\"a\":\"");
	for (int i = 0; i < 10000; i++)
		strbuf_putc(&body, 'a');
	strbuf_puts(&body, "\"}");
	result = apply("a: string /^(a|aa)+$/", body.data, "", NULL);
	ck_assert_str_eq(result, "args.a must have at most 8192 bytes; ");
	free(result);
	strbuf_done(&body);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *suite = suite_create("args");
	TCase *tc = tcase_create("args");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, a_body_is_checked, 0, COUNT(bodies));
	tcase_add_loop_test(tc, texts_are_converted, 0, COUNT(texts));
	tcase_add_loop_test(tc, a_date_time_is_rfc_3339, 0, COUNT(date_times));
	tcase_add_loop_test(tc,
	    a_signature_is_well_formed_or_refused_with_words, 0,
	    COUNT(signatures));
	tcase_add_test(tc, violations_have_a_bound);
	tcase_add_test(tc, a_pattern_is_not_tried_on_megabytes);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
