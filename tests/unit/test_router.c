/*
 * The table of routes, and the pieces of request targets.
 */
#include "common/base/err.h"
#include "roles/http/router.h"
#include "roles/http/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

/* A route's target is its own pattern. */
static const char *const patterns[] = {
    "GET /",
    "GET /orders",
    "POST /orders",
    "GET /orders/{id}",
    "DELETE /orders/{id}",
    "GET /orders/stats",
    "GET /orders/{id}/events",
    "GET /orders/stats/{year}",
    "GET /a/{x}/c",
    "GET /a/b/d",
    "POST /a/{x}",
    "OPTIONS /own",
    "HEAD /head",
    "GET /ünï",
};

static struct router *router;

static void
setup(void)
{
	struct err err;

	router = router_new();
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		ck_assert_int_eq(router_add(router, patterns[i],
				     (void *)(uintptr_t)patterns[i], &err),
		    0);
}

static void
teardown(void)
{
	router_free(&router);
	ck_assert_ptr_null(router);
}

static enum router_answer
find(const char *request, struct router_match *match, char *buf)
{
	const char *path = strchr(request, ' ') + 1;

	return router_find(router, request, (size_t)(path - request) - 1, path,
	    strlen(path), buf, match);
}

/* clang-format off */
static const struct {
	const char *request;
	const char *pattern; /* NULL: see answer */
	const char *values;  /* of the parameters, with commas */
	enum router_answer answer;
} requests[] = {
    { "GET /", "GET /", "", ROUTER_FOUND },
    { "GET /orders", "GET /orders", "", ROUTER_FOUND },
    { "POST /orders", "POST /orders", "", ROUTER_FOUND },
    { "GET /orders/7", "GET /orders/{id}", "7", ROUTER_FOUND },
    { "HEAD /orders/7", "GET /orders/{id}", "7", ROUTER_FOUND },
    { "HEAD /head", "HEAD /head", "", ROUTER_FOUND },
    { "GET /orders/stats", "GET /orders/stats", "", ROUTER_FOUND },
    { "DELETE /orders/stats", "DELETE /orders/{id}", "stats", ROUTER_FOUND },
    { "GET /orders/stats/events", "GET /orders/stats/{year}", "events",
	ROUTER_FOUND },
    { "GET /a/b/c", "GET /a/{x}/c", "b", ROUTER_FOUND },
    { "GET /a/b/d", "GET /a/b/d", "", ROUTER_FOUND },
    { "POST /a/b", "POST /a/{x}", "b", ROUTER_FOUND },
    { "OPTIONS /own", "OPTIONS /own", "", ROUTER_FOUND },
    { "GET /%6frders", "GET /orders", "", ROUTER_FOUND },
    { "GET /%C3%BCn%c3%af", "GET /ünï", "", ROUTER_FOUND },
    { "GET /orders/a%2Fb", "GET /orders/{id}", "a/b", ROUTER_FOUND },
    { "GET /orders/a+b%20c", "GET /orders/{id}", "a+b c", ROUTER_FOUND },
    { "GET /orders/..", "GET /orders/{id}", "..", ROUTER_FOUND },
    { "GET /orders/{id}", "GET /orders/{id}", "{id}", ROUTER_FOUND },
    { "GET /nothing", NULL, NULL, ROUTER_NO_PATH },
    { "GET /orders/", NULL, NULL, ROUTER_NO_PATH },
    { "GET //", NULL, NULL, ROUTER_NO_PATH },
    { "GET //orders", NULL, NULL, ROUTER_NO_PATH },
    { "GET /orders/7/x", NULL, NULL, ROUTER_NO_PATH },
    { "GET /Orders", NULL, NULL, ROUTER_NO_PATH },
    { "GET /a/b/e", NULL, NULL, ROUTER_NO_PATH },
    { "GET /1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3",
	NULL, NULL, ROUTER_NO_PATH },
    { "PUT /orders", NULL, NULL, ROUTER_NO_METHOD },
    { "BREW /orders", NULL, NULL, ROUTER_NO_METHOD },
    { "get /orders", NULL, NULL, ROUTER_NO_METHOD },
    { "HEAD /own", NULL, NULL, ROUTER_NO_METHOD },
    { "GET /a/b", NULL, NULL, ROUTER_NO_METHOD },
    { "OPTIONS /orders", NULL, NULL, ROUTER_OPTIONS },
    { "OPTIONS /nothing", NULL, NULL, ROUTER_NO_PATH },
    { "GET /orders/%", NULL, NULL, ROUTER_BAD_PATH },
    { "GET /orders/%4", NULL, NULL, ROUTER_BAD_PATH },
    { "GET /orders/%zz", NULL, NULL, ROUTER_BAD_PATH },
    { "GET /orders/%00", NULL, NULL, ROUTER_BAD_PATH },
    { "GET /orders/%ff", NULL, NULL, ROUTER_BAD_PATH },
    { "GET /orders/%c0%af", NULL, NULL, ROUTER_BAD_PATH },
    { "GET /orders/%ed%a0%80", NULL, NULL, ROUTER_BAD_PATH },
    { "GET /orders/\xff", NULL, NULL, ROUTER_BAD_PATH },
};
/* clang-format on */

START_TEST(a_request_finds_its_route)
{
	struct router_match match;
	char *buf = malloc(strlen(requests[_i].request) + 1);
	char values[256] = "";

	ck_assert_int_eq(
	    find(requests[_i].request, &match, buf), requests[_i].answer);
	if (requests[_i].pattern != NULL) {
		ck_assert_str_eq(match.target, requests[_i].pattern);
		for (size_t i = 0; i < match.n_params; i++) {
			strcat(values, i > 0 ? "," : "");
			strcat(values, match.params[i].value);
			ck_assert_uint_eq(match.params[i].length,
			    strlen(match.params[i].value));
		}
		ck_assert_str_eq(values, requests[_i].values);
	}
	free(buf);
}
END_TEST

START_TEST(allow_names_the_methods_of_every_route_of_a_path)
{
	struct router_match match;
	char buf[64], allow[ROUTER_ALLOW_BYTES];

	ck_assert_int_eq(find("PUT /orders", &match, buf), ROUTER_NO_METHOD);
	ck_assert_str_eq(
	    router_allow(match.methods, allow), "GET, HEAD, POST, OPTIONS");
	ck_assert_int_eq(
	    find("PUT /orders/stats", &match, buf), ROUTER_NO_METHOD);
	ck_assert_str_eq(
	    router_allow(match.methods, allow), "GET, HEAD, DELETE, OPTIONS");
	ck_assert_str_eq(router_allow(~0U, allow),
	    "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
}
END_TEST

static const struct {
	const char *pattern;
	const char *says; /* part of the error */
} refused[] = {
    {"GET /orders/{order}", "means the same requests as \"GET /orders/{id}\""},
    {"GET /orders", "means the same requests as \"GET /orders\""},
    {"GET /a/{y}/c", "means the same requests as \"GET /a/{x}/c\""},
    {"BREW /coffee", "it must be \"METHOD /path\""},
    {"get /x", "it must be \"METHOD /path\""},
    {"GET x", "it must be \"METHOD /path\""},
    {"GET", "it must be \"METHOD /path\""},
    {"", "it must be \"METHOD /path\""},
    {"GET /x/", "a segment is empty"},
    {"GET //x", "a segment is empty"},
    {"GET /x/{}", "\"{}\" is not a parameter"},
    {"GET /x/{1}", "\"{1}\" is not a parameter"},
    {"GET /x/{a", "\"{a\" is not a parameter"},
    {"GET /x/{a}b", "\"{a}b\" is not a parameter"},
    {"GET /x/a{b}", "a character that a literal segment cannot have"},
    {"GET /x?y", "a character that a literal segment cannot have"},
    {"GET /x y", "a character that a literal segment cannot have"},
    {"GET /x%20", "a character that a literal segment cannot have"},
    {"GET /{a}/{a}", "the parameter {a} stands twice"},
    {"GET /1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3",
	"more than 32 segments"},
};

START_TEST(a_bad_pattern_is_refused_with_words)
{
	struct err err;
	char quoted[128];

	ck_assert_int_eq(
	    router_add(router, refused[_i].pattern, router, &err), -1);
	ck_assert_msg(
	    strstr(err.message, refused[_i].says) != NULL, "%s", err.message);
	snprintf(quoted, sizeof(quoted), "route \"%s\": ", refused[_i].pattern);
	ck_assert_ptr_eq(strstr(err.message, quoted), err.message);
}
END_TEST

static const struct {
	const char *target;
	const char *path; /* NULL: refused */
	const char *query;
} targets[] = {
    {"/", "/", ""},
    {"/a?b=c", "/a", "b=c"},
    {"/a?b?c", "/a", "b?c"},
    {"/?", "/", ""},
    {"http://host/a?b", "/a", "b"},
    {"HTTPS://host:1/a", "/a", ""},
    {"http://host", NULL, NULL},
    {"*", NULL, NULL},
    {"", NULL, NULL},
    {"host:80", NULL, NULL},
    {"?a", NULL, NULL},
};

START_TEST(a_target_is_path_and_query)
{
	struct url url;
	bool is =
	    url_split(targets[_i].target, strlen(targets[_i].target), &url);

	ck_assert_int_eq(is, targets[_i].path != NULL);
	if (!is)
		return;
	ck_assert_uint_eq(url.path_length, strlen(targets[_i].path));
	ck_assert_int_eq(
	    memcmp(url.path, targets[_i].path, url.path_length), 0);
	ck_assert_uint_eq(url.query_length, strlen(targets[_i].query));
	ck_assert_int_eq(
	    memcmp(url.query, targets[_i].query, url.query_length), 0);
}
END_TEST

static void
on_field(void *arg, const char *name, size_t name_length, const char *value,
    size_t value_length)
{
	char *all = arg;

	ck_assert_uint_eq(strlen(name), name_length);
	ck_assert_uint_eq(strlen(value), value_length);
	sprintf(all + strlen(all), "[%s|%s]", name, value);
}

static const struct {
	const char *form;
	const char *fields;
	enum url_fault fault;
} forms[] = {
    {"", "", URL_OK},
    {"a=1&b=2", "[a|1][b|2]", URL_OK},
    {"a", "[a|]", URL_OK},
    {"a=", "[a|]", URL_OK},
    {"=a", "[|a]", URL_OK},
    {"&&a=1&", "[a|1]", URL_OK},
    {"a=b=c", "[a|b=c]", URL_OK},
    {"a+b=c+d%2B", "[a b|c d+]", URL_OK},
    {"%C3%A9=%e2%82%ac", "[é|€]", URL_OK},
    {"a=1&b=%", "[a|1]", URL_BAD_PERCENT},
    {"a=%0", "", URL_BAD_PERCENT},
    {"%00=1", "", URL_NUL},
    {"a=%80", "", URL_BAD_UTF8},
    {"a=%f4%90%80%80", "", URL_BAD_UTF8},
};

START_TEST(a_form_is_decoded)
{
	char all[256] = "";

	ck_assert_int_eq(
	    url_form(forms[_i].form, strlen(forms[_i].form), on_field, all),
	    forms[_i].fault);
	ck_assert_str_eq(all, forms[_i].fields);
	ck_assert_ptr_nonnull(url_fault_text(forms[_i].fault));
}
END_TEST

static void
count_field(void *arg, const char *name, size_t name_length, const char *value,
    size_t value_length)
{
	(void)name;
	(void)name_length;
	(void)value;
	(void)value_length;
	++*(int *)arg;
}

START_TEST(a_form_has_a_bound)
{
	char form[2 * (URL_FIELDS_MAX + 1)];
	int n = 0;

	for (size_t i = 0; i < sizeof(form); i += 2)
		memcpy(form + i, "a&", 2);
	ck_assert_int_eq(
	    url_form(form, sizeof(form) - 2, count_field, &n), URL_OK);
	ck_assert_int_eq(n, URL_FIELDS_MAX);
	ck_assert_int_eq(
	    url_form(form, sizeof(form), count_field, &n), URL_TOO_MANY);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *suite = suite_create("router");
	TCase *tc = tcase_create("router");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_request_finds_its_route, 0, COUNT(requests));
	tcase_add_test(tc, allow_names_the_methods_of_every_route_of_a_path);
	tcase_add_loop_test(
	    tc, a_bad_pattern_is_refused_with_words, 0, COUNT(refused));
	tcase_add_loop_test(tc, a_target_is_path_and_query, 0, COUNT(targets));
	tcase_add_loop_test(tc, a_form_is_decoded, 0, COUNT(forms));
	tcase_add_test(tc, a_form_has_a_bound);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
