/*
 * Single values of the configuration: durations, sizes, names, routes,
 * secrets, and the tables of keys.
 */
#include "common/conf/conf.h"
#include "common/conf/conf_draft.h"
#include "common/conf/conf_keys.h"
#include "common/conf/conf_nearest.h"
#include "common/conf/conf_shape.h"
#include "common/conf/conf_value.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

/* ------------------------------------------------------------- values */

static const struct {
	const char *text;
	int64_t ms; /* -1: refused */
} durations[] = {
    {"0", 0},
    {"0s", 0},
    {"250ms", 250},
    {"30s", 30000},
    {"5m", 300000},
    {"1h", 3600000},
    {"7d", 604800000},
    {"90m", 5400000},
    {"", -1},
    {"30", -1},
    {"s", -1},
    {"-1s", -1},
    {"+1s", -1},
    {"1.5s", -1},
    {"1 s", -1},
    {" 1s", -1},
    {"1S", -1},
    {"1w", -1},
    {"1h30m", -1},
    {"9223372036854775807ms", INT64_MAX},
    {"9223372036854775808ms", -1},
    {"9223372036854775807s", -1},
};

START_TEST(durations_have_units)
{
	int64_t ms = 0;
	int rc = conf_duration_parse(durations[_i].text, &ms);

	if (durations[_i].ms < 0)
		ck_assert_int_eq(rc, -1);
	else
		ck_assert_int_eq(ms, durations[_i].ms);
}
END_TEST

static const struct {
	const char *text;
	int64_t bytes; /* -1: refused */
} sizes[] = {
    {"0", 0},
    {"100B", 100},
    {"512KiB", 524288},
    {"4MiB", 4194304},
    {"1GiB", 1073741824},
    {"2TiB", INT64_C(2199023255552)},
    {"4", -1},
    {"4MB", -1},
    {"4M", -1},
    {"4mib", -1},
    {"9999999999TiB", -1},
};

START_TEST(sizes_have_binary_units)
{
	int64_t bytes = 0;
	int rc = conf_size_parse(sizes[_i].text, &bytes);

	if (sizes[_i].bytes < 0)
		ck_assert_int_eq(rc, -1);
	else
		ck_assert_int_eq(bytes, sizes[_i].bytes);
}
END_TEST

static const struct {
	const char *text;
	struct conf_rate rate;
	const char *printed; /* NULL: refused */
	const char *reason;  /* a piece of it */
} rates[] = {
    {"", {0, 0}, "", NULL},
    {"100/1m", {100, 60000}, "100/1m", NULL},
    {"1/100ms", {1, 100}, "1/100ms", NULL},
    {"1000000/24h", {1000000, 86400000}, "1000000/1d", NULL},
    {"7/1d", {7, 86400000}, "7/1d", NULL},
    {"010/90s", {10, 90000}, "10/90s", NULL},
    /* no count and slash */
    {"100", {0, 0}, NULL, "like \"100/1m\", not \"100\""},
    {"100 per 1m", {0, 0}, NULL, "like \"100/1m\", not"},
    {"1m", {0, 0}, NULL, "like \"100/1m\", not"},
    {" ", {0, 0}, NULL, "like \"100/1m\", not \" \""},
    {"100\\1m", {0, 0}, NULL, "like \"100/1m\", not"},
    /* the count */
    {"/", {0, 0}, NULL, "count from 1 to 1000000, not \"/\""},
    {"/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"0/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"-1/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"-/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"+1/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"1.5/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"1e3/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"0x10/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {" 1/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"1 /1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"x/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"1000001/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"4294967297/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    {"18446744073709551617/1m", {0, 0}, NULL, "count from 1 to 1000000"},
    /* the duration */
    {"1/", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/0", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/0s", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/99ms", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/86400001ms", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/25h", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/60", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/m", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/-1m", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/ 1m", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/1m ", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/1m/1m", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1//1m", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/1min", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/9223372036854775808ms", {0, 0}, NULL, "duration from 100ms to 1d"},
    {"1/9223372036854775807d", {0, 0}, NULL, "duration from 100ms to 1d"},
};

START_TEST(rates_are_a_count_in_a_duration)
{
	struct strbuf printed = STRBUF_EMPTY;
	struct conf_rate rate;
	struct err err;
	int rc = conf_rate_parse(rates[_i].text, &rate, &err);

	ck_assert_int_eq(rc, rates[_i].printed != NULL ? 0 : -1);
	if (rc < 0) {
		ck_assert_msg(strstr(err.message, rates[_i].reason) != NULL,
		    "\"%s\": %s", rates[_i].text, err.message);
		ck_assert_ptr_nonnull(strstr(err.message, "like \"100/1m\""));
		return;
	}
	ck_assert_int_eq(rate.count, rates[_i].rate.count);
	ck_assert_int_eq(rate.window_ms, rates[_i].rate.window_ms);
	conf_rate_print(&rate, &printed);
	ck_assert_str_eq(strbuf_str(&printed), rates[_i].printed);
	strbuf_done(&printed);
}
END_TEST

static void
each_key(const struct conf_section *s,
    void (*fn)(const struct conf_section *s, const struct conf_key *key))
{
	for (size_t i = 0; i < s->n_keys; i++)
		fn(s, &s->keys[i]);
	for (size_t i = 0; i < s->n_subs; i++)
		each_key(&s->subs[i], fn);
}

static void
key_is_sound(const struct conf_section *s, const struct conf_key *key)
{
	size_t width = key->type == CONF_STRINGS ? sizeof(struct conf_strings)
		       : key->type == CONF_BOOL  ? sizeof(bool)
		       : key->type == CONF_RATE  ? sizeof(struct conf_rate)
						 : 8;

	if (key->type == CONF_LATER)
		return;
	ck_assert_msg(
	    key->offset + width <= s->size, "%s.%s", s->name, key->name);
	ck_assert_msg(!conf_key_in_file(key) || key->help != NULL, "%s.%s",
	    s->name, key->name);
	ck_assert_msg((key->type == CONF_CHOICE) == (key->choices != NULL),
	    "%s.%s", s->name, key->name);
}

START_TEST(every_key_of_the_tables_is_sound)
{
	each_key(&conf_root, key_is_sound);
}
END_TEST

static char *shipped;

static void
key_is_shipped(const struct conf_section *s, const struct conf_key *key)
{
	if (conf_key_in_file(key) && key->type != CONF_LATER)
		ck_assert_msg(strstr(shipped, key->name) != NULL,
		    "etc/chimpd.conf does not show %s.%s", s->name, key->name);
}

START_TEST(etc_chimpd_conf_shows_every_key)
{
	struct err err;
	size_t size;

	shipped = fd_read_file(SRCDIR "/etc/chimpd.conf", 1 << 20, &size, &err);
	ck_assert_msg(shipped != NULL, "%s", err.message);
	each_key(&conf_root, key_is_shipped);
	mem_free(&shipped);
}
END_TEST

/* -------------------------------------------------------------- names */

static const struct {
	const char *text;
	bool name;
	bool pattern;
} names[] = {
    {"a", true, true},
    {"a.b-c_D.9", true, true},
    {"*", false, true},
    {"a.*", false, true},
    {"a.b.*", false, true},
    {"", false, false},
    {".", false, false},
    {"a.", false, false},
    {".a", false, false},
    {"a..b", false, false},
    {"a.*.b", false, false},
    {"*.a", false, false},
    {"a*", false, false},
    {".*", false, false},
    {"**", false, false},
    {"a b", false, false},
    {"cron:x", false, false},
    {"\xc3\xa4", false, false},
};

START_TEST(names_and_patterns)
{
	ck_assert_int_eq(conf_name_valid(names[_i].text, 128), names[_i].name);
	ck_assert_int_eq(conf_pattern_valid(names[_i].text), names[_i].pattern);
}
END_TEST

START_TEST(names_have_a_longest_length)
{
	char name[140];

	memset(name, 'x', sizeof(name));
	name[128] = '\0';
	ck_assert(conf_name_valid(name, 128));
	ck_assert(conf_pattern_valid(name));
	memcpy(name + 126, ".*", 3);
	ck_assert(conf_pattern_valid(name));
	memcpy(name + 128, ".*", 3);
	ck_assert(!conf_pattern_valid(name));
	ck_assert(!conf_name_valid("12345", 4));
}
END_TEST

static const struct {
	const char *pattern;
	const char *shape; /* NULL: refused */
} routes[] = {
    {"GET /", "GET /"},
    {"POST /a", "POST /a"},
    {"PATCH /a/{id}/b/{x_1}", "PATCH /a/{}/b/{}"},
    {"DELETE /{a}", "DELETE /{}"},
    {"PUT /a-b.c~d/:x@y", "PUT /a-b.c~d/:x@y"},
    {"", NULL},
    {"GET", NULL},
    {"GET ", NULL},
    {"get /", NULL},
    {"HEAD /", NULL},
    {"OPTIONS /", NULL},
    {"GET a", NULL},
    {"GET /a/", NULL},
    {"GET //a", NULL},
    {"GET /{}", NULL},
    {"GET /{1}", NULL},
    {"GET /{a-b}", NULL},
    {"GET /x{a}", NULL},
    {"GET /{a}/{a}", NULL},
    {"GET /a b", NULL},
    {"GET /a?b", NULL},
    {"GET /a#b", NULL},
    {"GET /%41", NULL},
    {"GET /\xc3\xa4", NULL},
};

START_TEST(routes_are_well_formed)
{
	struct err err;
	char shape[64];
	int rc = conf_route_shape(routes[_i].pattern, shape, &err);

	if (routes[_i].shape == NULL)
		ck_assert_int_eq(rc, -1);
	else
		ck_assert_str_eq(shape, routes[_i].shape);
}
END_TEST

static const struct {
	const char *a;
	const char *b;
	size_t distance;
} distances[] = {
    {"", "", 0},
    {"a", "", 1},
    {"http", "http", 0},
    {"htpp", "http", 1},
    {"queus", "queues", 1},
    {"qeueus", "queues", 2},
    {"ab", "ba", 1},
    {"lease", "poll", 5},
};

START_TEST(distance_counts_slips)
{
	ck_assert_uint_eq(conf_distance(distances[_i].a, distances[_i].b),
	    distances[_i].distance);
	ck_assert_uint_eq(conf_distance(distances[_i].b, distances[_i].a),
	    distances[_i].distance);
}
END_TEST

/* ------------------------------------------------------------ secrets */

static const struct {
	const char *url;
	const char *masked;
} urls[] = {
    {"", ""},
    {"postgres://h/d", "postgres://h/d"},
    {"postgres://u@h:5432/d", "postgres://u@h:5432/d"},
    {"postgres://u:p@h/d", "postgres://u:***@h/d"},
    {"postgresql://u:p%40q@h:1/d?x=y", "postgresql://u:***@h:1/d?x=y"},
    {"postgres://u:p@q@h/d", "postgres://u:***@h/d"},
    {"postgres://u:p/q@h/d", "postgres://u:***@h/d"},
    {"postgres://h:5432/d?user=a@b", "postgres://h:5432/d?user=a@b"},
    {"postgres://h/d?password=p&x=y", "postgres://h/d?password=***&x=y"},
    {"host=h password=p dbname=d", "host=h password=*** dbname=d"},
    {"password = 'a \\' b' host=h", "password = *** host=h"},
    {"password='open", "password=***"},
    {"sslpassword=p", "sslpassword=***"},
    {"passwordfile=p", "passwordfile=p"},
    {"host='/var/x.sock' dbname=chimp", "host='/var/x.sock' dbname=chimp"},
};

START_TEST(passwords_are_masked)
{
	char *masked = conf_mask_url(urls[_i].url);

	ck_assert_str_eq(masked, urls[_i].masked);
	mem_free(&masked);
}
END_TEST

/* ------------------------------------------------------------- shape */

START_TEST(comments_become_blanks_of_the_same_length)
{
	char text[] = "a = \"#1\" # two\n'#' #three";
	struct err err;

	ck_assert_int_eq(conf_shape_check(text, strlen(text), "f", &err), 0);
	ck_assert_str_eq(text, "a = \"#1\"      \n'#'       ");
}
END_TEST

/* One run of the test for each row of the table. */
#define ADD_ROWS(tcase, test, table) \
	tcase_add_loop_test(         \
	    tcase, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

static Suite *
suite(void)
{
	Suite *s = suite_create("conf_values");
	TCase *t = tcase_create("values");

	ADD_ROWS(t, durations_have_units, durations);
	ADD_ROWS(t, sizes_have_binary_units, sizes);
	ADD_ROWS(t, rates_are_a_count_in_a_duration, rates);
	tcase_add_test(t, every_key_of_the_tables_is_sound);
	tcase_add_test(t, etc_chimpd_conf_shows_every_key);
	ADD_ROWS(t, names_and_patterns, names);
	tcase_add_test(t, names_have_a_longest_length);
	ADD_ROWS(t, routes_are_well_formed, routes);
	ADD_ROWS(t, distance_counts_slips, distances);
	ADD_ROWS(t, passwords_are_masked, urls);
	tcase_add_test(t, comments_become_blanks_of_the_same_length);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
