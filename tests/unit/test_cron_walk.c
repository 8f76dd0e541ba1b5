/*
 * Cron's arithmetic against something slow and simple: random expressions
 * compared with a walk over every minute, random instants with the C library's
 * own idea of time zones.
 */
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/cron/cron_expr.h"
#include "common/cron/cron_next.h"
#include "common/cron/cron_rule.h"
#include "common/cron/cron_zone.h"

#include <check.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define DAY_S        86400

static const char *const zones[] = {"UTC", "Europe/Berlin", "America/New_York",
    "Australia/Lord_Howe", "Asia/Kolkata", "Europe/Dublin", "Africa/Cairo",
    "Africa/Casablanca", "America/Nuuk", "America/Sao_Paulo",
    "Antarctica/Troll", "Asia/Gaza", "Asia/Tehran", "Pacific/Apia",
    "Pacific/Chatham"};

static uint64_t random_state;

/* xorshift64*: the same on every machine, so that a failure comes again. */
static int64_t
rnd(int64_t bound)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (int64_t)((random_state * UINT64_C(2685821657736338717)) >> 33) %
	       bound;
}

static void
use_zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

static struct cron_zone *
load(const char *name)
{
	struct err err;
	struct cron_zone *zone = cron_zone_load(name, &err);

	ck_assert_msg(zone != NULL, "%s", err.message);
	return zone;
}

/* --- a random expression, as text and as the test's own sets --- */

struct wanted {
	bool minute[60], hour[24], day[32], month[13], weekday[7];
	bool last, day_star, weekday_star, hour_star;
	char text[256];
};

/* One field: a star, a star with a step, or a list of numbers and ranges.
 * Returns true if it has a star or a step. */
static bool
random_field(bool *set, int min, int max, char *text, size_t size, bool *star)
{
	int kind = (int)rnd(4), n = 0;
	bool step = false;

	*star = kind == 0 || (kind == 1 && rnd(2) == 0);
	if (*star) {
		int by = kind == 0 ? 1 : 1 + (int)rnd(max - min + 1);

		for (int i = min; i <= max; i += by)
			set[i] = true;
		snprintf(text, size, kind == 0 ? "*" : "*/%d", by);
		return true;
	}
	for (int items = 1 + (int)rnd(3); items > 0; items--) {
		int from = min + (int)rnd(max - min + 1);
		int to = from + (int)rnd(max - from + 1);
		int by = 1 + (int)rnd(3);

		if (rnd(2) == 0)
			to = from;
		if (to == from)
			by = 1;
		step = step || by > 1;
		for (int i = from; i <= to; i += by)
			set[i] = true;
		n += snprintf(text + n, size - (size_t)n,
		    to == from ? "%s%d" : "%s%d-%d", n > 0 ? "," : "", from,
		    to);
		if (by > 1)
			n += snprintf(text + n, size - (size_t)n, "/%d", by);
	}
	return step;
}

static void
random_wanted(struct wanted *w)
{
	char minute[40], hour[40], day[40], month[40], weekday[40];
	bool star;

	memset(w, 0, sizeof(*w));
	random_field(w->minute, 0, 59, minute, sizeof(minute), &star);
	w->hour_star = random_field(w->hour, 0, 23, hour, sizeof(hour), &star);
	random_field(w->day, 1, 31, day, sizeof(day), &w->day_star);
	if (!w->day_star && rnd(4) == 0) {
		w->last = true;
		strcat(day, ",L");
	}
	random_field(w->month, 1, 12, month, sizeof(month), &star);
	/* Most of the time any month will do, or little would happen. */
	if (rnd(3) != 0) {
		memset(w->month, true, sizeof(w->month));
		strcpy(month, "*");
	}
	random_field(
	    w->weekday, 0, 6, weekday, sizeof(weekday), &w->weekday_star);
	snprintf(w->text, sizeof(w->text), "%s %s %s %s %s", minute, hour, day,
	    month, weekday);
}

static bool
is_last_day(const struct tm *tm)
{
	struct tm next = *tm;

	next.tm_mday++;
	next.tm_hour = 12;
	timegm(&next);
	return next.tm_mday == 1;
}

static bool
matches(const struct wanted *w, const struct tm *tm)
{
	bool day = w->day[tm->tm_mday] || (w->last && is_last_day(tm));
	bool weekday = w->weekday[tm->tm_wday];

	if (!w->minute[tm->tm_min] || !w->hour[tm->tm_hour] ||
	    !w->month[tm->tm_mon + 1])
		return false;
	if (w->day_star || w->weekday_star)
		return day && weekday;
	return day || weekday;
}

/* What the wall clock shows at `t`, as if it were UTC. */
static time_t
wall(time_t t, struct tm *tm)
{
	localtime_r(&t, tm);
	return t + tm->tm_gmtoff;
}

/*
 * G25, minute by minute. With a star or step in the hour: the wall clock
 * matches. Otherwise: a matching time is reached for the first time ever.
 */
static bool
fires(const struct wanted *w, time_t t, time_t *reached)
{
	struct tm tm;
	time_t shown = wall(t, &tm);
	bool hit = false;

	if (w->hour_star)
		return matches(w, &tm);
	for (; *reached < shown; *reached += 60) {
		time_t next = *reached + 60;

		gmtime_r(&next, &tm);
		hit = hit || matches(w, &tm);
	}
	return hit;
}

/* The first slot after `after` within `days`; 0 if there is none. */
static time_t
walk(const struct wanted *w, time_t after, int days)
{
	time_t t = after - after % 60;
	time_t reached = 0;

	for (time_t back = t - 2 * DAY_S; back <= t; back += 60) {
		struct tm tm;
		time_t shown = wall(back, &tm);

		if (shown > reached)
			reached = shown;
	}
	for (t += 60; t <= after + days * DAY_S; t += 60)
		if (fires(w, t, &reached))
			return t;
	return 0;
}

/* Near a change of the zone's offset, where there is one that year. */
static time_t
random_instant(const char *name)
{
	struct cron_zone *zone = load(name);
	struct cron_span span;
	time_t t;

	t = 1704067200 + rnd(40 * 366) * DAY_S;
	cron_zone_span(zone, t, &span);
	if (span.end_s < t + 366 * DAY_S)
		t = span.end_s;
	cron_zone_free(&zone);
	return t - DAY_S + rnd(2 * DAY_S);
}

START_TEST(test_random_expressions_against_a_walk_over_the_minutes)
{
	struct cron_zone *zone = load(zones[_i]);

	random_state = 20261123 + (uint64_t)_i;
	use_zone(zones[_i]);
	for (int n = 0; n < 60; n++) {
		time_t after = random_instant(zones[_i]);
		struct cron_expr expr;
		struct wanted w;
		struct err err;
		int64_t next;
		time_t want;

		random_wanted(&w);
		if (cron_expr_parse(w.text, &expr, &err) != 0) {
			ck_assert_ptr_nonnull(strstr(err.message, "never"));
			continue;
		}
		want = walk(&w, after, 4);
		if (cron_next(&expr, zone, after, &next) != 0)
			next = 0;
		if (want == 0)
			ck_assert_msg(next == 0 || next > after + 4 * DAY_S,
			    "%s in %s after %lld: %lld", w.text, zones[_i],
			    (long long)after, (long long)next);
		else
			ck_assert_msg(next == want,
			    "%s in %s after %lld: %lld, not %lld", w.text,
			    zones[_i], (long long)after, (long long)next,
			    (long long)want);
	}
	cron_zone_free(&zone);
}
END_TEST

START_TEST(test_slots_rise_and_each_one_matches)
{
	struct cron_zone *zone = load("UTC");

	random_state = 7;
	for (int n = 0; n < 300; n++) {
		int64_t at = rnd(2000000000);
		struct cron_expr expr;
		struct wanted w;
		struct err err;

		random_wanted(&w);
		if (cron_expr_parse(w.text, &expr, &err) != 0)
			continue;
		for (int i = 0; i < 50; i++) {
			int64_t before = at;
			struct tm tm;
			time_t t;

			if (cron_next(&expr, zone, at, &at) != 0)
				break;
			t = at;
			gmtime_r(&t, &tm);
			ck_assert_int_gt(at, before);
			ck_assert_int_eq(tm.tm_sec, 0);
			ck_assert_msg(matches(&w, &tm), "%s: %lld", w.text,
			    (long long)at);
		}
	}
	cron_zone_free(&zone);
}
END_TEST

START_TEST(test_offsets_are_those_of_the_c_library)
{
	struct cron_zone *zone = load(zones[_i]);

	random_state = 99 + (uint64_t)_i;
	use_zone(zones[_i]);
	for (int n = 0; n < 5000; n++) {
		/* 1850 to 2260 */
		time_t t = -3786912000 + rnd(410 * 365) * DAY_S + rnd(DAY_S);
		struct cron_span span;
		struct tm tm;

		localtime_r(&t, &tm);
		cron_zone_span(zone, t, &span);
		ck_assert_msg(span.offset_s == tm.tm_gmtoff,
		    "%s at %lld: %lld, not %ld", zones[_i], (long long)t,
		    (long long)span.offset_s, tm.tm_gmtoff);
		ck_assert(span.start_s <= t && t < span.end_s);
	}
	cron_zone_free(&zone);
}
END_TEST

START_TEST(test_a_damaged_zone_file_is_refused_or_read_but_never_believed)
{
	size_t size;
	struct err err;
	char *data = fd_read_file(
	    "/usr/share/zoneinfo/Europe/Berlin", 1 << 20, &size, &err);

	ck_assert_msg(data != NULL, "%s", err.message);
	for (size_t cut = 0; cut < size; cut++) {
		/* A copy of just that size: the sanitizer sees the end. */
		char *part = malloc(cut + 1);
		struct cron_zone *zone;

		memcpy(part, data, cut);
		zone = cron_zone_parse(part, cut, &err);
		ck_assert_ptr_null(zone);
		free(part);
	}
	random_state = 5;
	for (int n = 0; n < 5000; n++) {
		size_t at = (size_t)rnd((int64_t)size);
		char old = data[at];
		struct cron_zone *zone;
		struct cron_span span;

		data[at] = (char)rnd(256);
		zone = cron_zone_parse(data, size, &err);
		if (zone != NULL)
			cron_zone_span(zone, rnd(4000000000), &span);
		cron_zone_free(&zone);
		data[at] = old;
	}
	free(data);
}
END_TEST

/* clang-format off */
static const char *const no_zones[] = { "Mars/Phobos", "../../../etc/passwd",
	"/etc/passwd", "Europe", "zone.tab", "europe berlin", "Europe/", ".",
	"+01:00", "tzdata.zi", "leapseconds" };

/* What a rule's text means in 2026; NULL: refused. */
static const struct {
	const char *rule;
	long std, dst;         /* offsets in seconds */
	int64_t start, end;    /* instants in 2026; 0: no daylight saving */
} rules[] = {
	{ "UTC0", 0, 0, 0, 0 },
	{ "IST-5:30", 19800, 0, 0, 0 },
	{ "<-03>3", -10800, 0, 0, 0 },
	{ "CET-1CEST,M3.5.0,M10.5.0/3", 3600, 7200, 1774746000, 1792890000 },
	{ "EST5EDT,M3.2.0,M11.1.0", -18000, -14400, 1772953200, 1793512800 },
	{ "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 37800, 39600, 1791041400, 1775314800 },
	{ "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", -7200, -3600, 1774746000, 1792890000 },
	{ "AAA0BBB,J60/0,J300/0", 0, 3600, 1772323200, 1793055600 },
	{ "AAA0BBB,59/0,299/0", 0, 3600, 1772323200, 1793055600 },
};
static const char *const no_rules[] = { "", "CE-1", "CET", "CET-25", "CET-1CEST",
	"CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
	"CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J1", "CET-1CEST,366,1",
	"CET-1CEST,M3.5.0/168,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0x", "<CET-1",
	"CET-1:60" };
/* clang-format on */

START_TEST(test_an_unknown_zone_is_refused_by_name)
{
	struct err err;

	ck_assert_ptr_null(cron_zone_load(no_zones[_i], &err));
	ck_assert_ptr_nonnull(strstr(err.message, no_zones[_i]));
}
END_TEST

START_TEST(test_rules_of_posix)
{
	struct cron_rule rule;
	struct err err;

	ck_assert_msg(cron_rule_parse(rules[_i].rule, strlen(rules[_i].rule),
			  &rule, &err) == 0,
	    "%s", err.message);
	ck_assert_int_eq(rule.std_offset_s, rules[_i].std);
	ck_assert_int_eq(rule.has_dst, rules[_i].start != 0);
	if (!rule.has_dst)
		return;
	ck_assert_int_eq(rule.dst_offset_s, rules[_i].dst);
	ck_assert_int_eq(cron_rule_dst_start(&rule, 2026), rules[_i].start);
	ck_assert_int_eq(cron_rule_dst_end(&rule, 2026), rules[_i].end);
}
END_TEST

START_TEST(test_a_rule_that_is_none_is_refused)
{
	struct cron_rule rule;
	struct err err;

	ck_assert_int_eq(
	    cron_rule_parse(no_rules[_i], strlen(no_rules[_i]), &rule, &err),
	    -1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cron_walk");
	TCase *tc = tcase_create("cron_walk");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc,
	    test_random_expressions_against_a_walk_over_the_minutes, 0,
	    COUNT(zones));
	tcase_add_test(tc, test_slots_rise_and_each_one_matches);
	tcase_add_loop_test(
	    tc, test_offsets_are_those_of_the_c_library, 0, COUNT(zones));
	tcase_add_test(
	    tc, test_a_damaged_zone_file_is_refused_or_read_but_never_believed);
	tcase_add_loop_test(
	    tc, test_an_unknown_zone_is_refused_by_name, 0, COUNT(no_zones));
	tcase_add_loop_test(tc, test_rules_of_posix, 0, COUNT(rules));
	tcase_add_loop_test(
	    tc, test_a_rule_that_is_none_is_refused, 0, COUNT(no_rules));
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
