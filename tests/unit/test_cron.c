/*
 * Cron: expressions, slots over changes of the clock, and missed slots, as
 * tables of what people expect. test_cron_walk.c compares the same code with a
 * minute-by-minute walk.
 */
#include "common/base/err.h"
#include "roles/cron/cron_check.h"
#include "common/cron/cron_expr.h"
#include "roles/cron/cron_misfire.h"
#include "common/cron/cron_next.h"
#include "common/cron/cron_zone.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* "2026-03-29 01:00" or "2026-03-29 01:00:30", in UTC. */
static int64_t
utc(const char *text)
{
	struct tm tm;
	const char *end;

	memset(&tm, 0, sizeof(tm));
	end = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);
	if (end == NULL) {
		memset(&tm, 0, sizeof(tm));
		end = strptime(text, "%Y-%m-%d %H:%M", &tm);
	}
	ck_assert_msg(end != NULL && *end == '\0', "bad time %s", text);
	return timegm(&tm);
}

static struct cron_expr
parse(const char *text)
{
	struct cron_expr expr;
	struct err err;

	ck_assert_msg(
	    cron_expr_parse(text, &expr, &err) == 0, "%s", err.message);
	return expr;
}

static struct cron_zone *
zone(const char *name)
{
	struct err err;
	struct cron_zone *z = cron_zone_load(name, &err);

	ck_assert_msg(z != NULL, "%s", err.message);
	return z;
}

/* clang-format off */
static const struct {
	const char *expr;
	const char *same;
} same[] = {
	{ "@yearly", "0 0 1 1 *" },
	{ "@annually", "0 0 1 1 *" },
	{ "@monthly", "0 0 1 * *" },
	{ "@weekly", "0 0 * * 0" },
	{ "@daily", "0 0 * * *" },
	{ "@midnight", "0 0 * * *" },
	{ "@hourly", "0 * * * *" },
	{ "@Daily", "0 0 * * *" },
	{ "  @daily\n", "0 0 * * *" },
	{ "0 5 * * * *", "5 * * * *" },
	{ "\t5  *\t* * *  ", "5 * * * *" },
	{ "0 0 * * 7", "0 0 * * 0" },
	{ "0 0 * * SUN", "0 0 * * 0" },
	{ "0 0 * * sun", "0 0 * * 7" },
	{ "0 0 * * MON-FRI", "0 0 * * 1-5" },
	{ "0 0 * * mon,Wed,FRI", "0 0 * * 1,3,5" },
	{ "0 0 * * 5-7", "0 0 * * 5,6,0" },
	{ "0 0 * * SAT-SUN", "0 0 * * 6,0" },
	{ "0 0 * * MON-SUN", "0 0 * * 0-6" },
	{ "0 0 * * 0-7", "0 0 * * 0-6" },
	{ "0 0 * * 1/2", "0 0 * * 1,3,5" },
	{ "0 0 * * 7/3", "0 0 * * 0,3,6" },
	{ "0 0 1 JAN,Jul *", "0 0 1 1,7 *" },
	{ "0 0 1 mar-may *", "0 0 1 3-5 *" },
	{ "0 0 1 FEB/4 *", "0 0 1 2,6,10 *" },
	{ "*/15 * * * *", "0,15,30,45 * * * *" },
	{ "5/20 * * * *", "5,25,45 * * * *" },
	{ "10-30/10 * * * *", "10,20,30 * * * *" },
	{ "10-35/10 * * * *", "10,20,30 * * * *" },
	{ "*/60 * * * *", "0 * * * *" },
	{ "0-59 * * * *", "* * * * *" },
	{ "007 * * * *", "7 * * * *" },
	{ "3,1,2,2,1-3 * * * *", "1-3 * * * *" },
	{ "0 0 ? * 1", "0 0 * * 1" },
	{ "0 0 1 * ?", "0 0 1 * *" },
	{ "0 0 l * *", "0 0 L * *" },
	{ "0 0 15,L * *", "0 0 L,15 * *" },
};

static const struct {
	const char *expr;
	const char *message; /* is part of it */
} refused[] = {
	{ "", "0 fields stand where 5 or 6" },
	{ "   ", "0 fields" },
	{ "*", "1 field stands" },
	{ "* * * *", "4 fields stand" },
	{ "* * * * * * *", "7 fields stand" },
	{ "60 * * * *", "minute: 60 is outside 0-59" },
	{ "61 * * * *", "\"61 * * * *\": minute: 61" },
	{ "* 24 * * *", "hour: 24 is outside 0-23" },
	{ "* * 0 * *", "day of month: 0 is outside 1-31" },
	{ "* * 32 * *", "day of month: 32" },
	{ "* * * 0 *", "month: 0 is outside 1-12" },
	{ "* * * 13 *", "month: 13" },
	{ "* * * * 8", "day of week: 8 is outside 0-7" },
	{ "60 * * * * *", "second: 60 is outside 0-59" },
	{ "99999999999999999999 * * * *", "minute: 9999" },
	{ "-1 * * * *", "minute: a value is expected at \"-1\"" },
	{ "x * * * *", "minute: unknown name \"x\"" },
	{ "* * * FOO *", "month: unknown name \"FOO\"" },
	{ "* * * JANUARY *", "month: unknown name \"JANUARY\"" },
	{ "* * * MON *", "month: unknown name \"MON\"" },
	{ "* * * * JAN", "day of week: unknown name \"JAN\"" },
	{ "MON * * * *", "minute: unknown name \"MON\"" },
	{ "*/0 * * * *", "minute: a step of 0" },
	{ "*/61 * * * *", "minute: the step 61 is longer" },
	{ "* */25 * * *", "hour: the step 25 is longer" },
	{ "*/ * * * *", "minute: a number is expected after \"/\"" },
	{ "*/x * * * *", "minute: a number is expected after \"/\"" },
	{ "*/-5 * * * *", "minute: a number is expected after \"/\"" },
	{ "*/2/3 * * * *", "minute: unexpected \"/3\"" },
	{ "30-10 * * * *", "minute: the range 30-10 runs backwards" },
	{ "* 22-2 * * *", "hour: the range 22-2 runs backwards" },
	{ "* * * * SAT-MON", "day of week: the range 6-1 runs backwards" },
	{ "10- * * * *", "minute: a value is missing" },
	{ "1-2-3 * * * *", "minute: unexpected \"-3\"" },
	{ ", * * * *", "minute: a value is missing in the list" },
	{ "1, * * * *", "minute: a value is missing in the list" },
	{ "1,,2 * * * *", "minute: a value is missing in the list" },
	{ "1.5 * * * *", "minute: unexpected \".5\"" },
	{ "** * * * *", "minute: unexpected \"*\"" },
	{ "? * * * *", "minute: a value is expected at \"?\"" },
	{ "L * * * *", "minute: unknown name \"L\"" },
	{ "* * * * 5L", "day of week: unexpected \"L\"" },
	{ "* * L-3 * *", "day of month: unknown name \"L\"" },
	{ "* * 15W * *", "day of month: unexpected \"W\"" },
	{ "* * * * 1#2", "day of week: unexpected \"#2\"" },
	{ "0 0 30 2 *", "day of month: 30 never comes in month 2" },
	{ "0 0 30 FEB *", "day of month: 30 never comes in month FEB" },
	{ "0 0 31 4,6,9,11 *", "day of month: 31 never comes" },
	{ "0 0 30-31 2 *", "day of month: 30-31 never comes" },
	{ "@reboot", "unknown name @reboot" },
	{ "@", "unknown name @" },
	{ "@daily 5", "nothing may stand behind @daily" },
	{ "0 0 * * \xc3\xa4", "day of week: a value is expected" },
};
/* clang-format on */

START_TEST(test_spellings_of_the_same_schedule)
{
	struct cron_expr a = parse(same[_i].expr);
	struct cron_expr b = parse(same[_i].same);

	ck_assert_mem_eq(a.set, b.set, sizeof(a.set));
	ck_assert_int_eq(a.last_day, b.last_day);
	ck_assert_int_eq(a.either_day, b.either_day);
}
END_TEST

START_TEST(test_refused_with_the_field_and_why)
{
	struct cron_expr expr;
	struct err err = {"", ""};

	ck_assert_msg(cron_expr_parse(refused[_i].expr, &expr, &err) == -1,
	    "accepted: %s", refused[_i].expr);
	ck_assert_msg(strstr(err.message, refused[_i].message) != NULL,
	    "%s: %s", refused[_i].expr, err.message);
}
END_TEST

START_TEST(test_an_endless_expression_is_refused)
{
	char text[4096];
	struct cron_expr expr;
	struct err err;

	memset(text, '1', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(cron_expr_parse(text, &expr, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "longer than 255 bytes"));
}
END_TEST

/* clang-format off */
/* From `after` on, these and no other; "" ends the list, "never" says so. */
static const struct next_case {
	const char *expr;
	const char *zone;
	const char *after;
	const char *slots[6]; /* in UTC */
} next_cases[] = {
	/* Plain UTC. */
	{ "* * * * *", "UTC", "2026-01-01 00:00", { "2026-01-01 00:01", "2026-01-01 00:02" } },
	{ "* * * * *", "UTC", "2026-01-01 00:00:01", { "2026-01-01 00:01" } },
	{ "* * * * *", "UTC", "2025-12-31 23:59:59", { "2026-01-01 00:00" } },
	{ "*/15 * * * *", "UTC", "2026-01-01 00:00", { "2026-01-01 00:15", "2026-01-01 00:30", "2026-01-01 00:45", "2026-01-01 01:00", "2026-01-01 01:15" } },
	{ "*/7 * * * *", "UTC", "2026-01-01 00:50", { "2026-01-01 00:56", "2026-01-01 01:00" } },
	{ "30 4 1,15 * *", "", "2026-01-01 04:30", { "2026-01-15 04:30", "2026-02-01 04:30" } },
	{ "0 9-17/4 * * MON-FRI", "UTC", "2026-01-02 17:00", { "2026-01-05 09:00", "2026-01-05 13:00", "2026-01-05 17:00", "2026-01-06 09:00" } },
	{ "0 0 1 1 *", "UTC", "2026-01-01 00:00", { "2027-01-01 00:00", "2028-01-01 00:00" } },
	{ "59 23 31 12 *", "UTC", "2026-01-01 00:00", { "2026-12-31 23:59", "2027-12-31 23:59" } },
	{ "0 0 31 * *", "UTC", "2026-01-31 00:00", { "2026-03-31 00:00", "2026-05-31 00:00", "2026-07-31 00:00", "2026-08-31 00:00", "2026-10-31 00:00" } },
	{ "@weekly", "UTC", "2026-01-01 00:00", { "2026-01-04 00:00", "2026-01-11 00:00" } },
	{ "0 0 * * 7", "UTC", "2026-01-01 00:00", { "2026-01-04 00:00" } },
	/* Before 1970. */
	{ "0 0 1 * *", "UTC", "1969-11-15 00:00", { "1969-12-01 00:00", "1970-01-01 00:00" } },
	{ "30 1 * * WED", "UTC", "1899-12-31 00:00", { "1900-01-03 01:30" } },
	/* Six fields. */
	{ "*/20 * * * * *", "UTC", "2026-01-01 00:00:01", { "2026-01-01 00:00:20", "2026-01-01 00:00:40", "2026-01-01 00:01:00" } },
	{ "59 59 23 * * *", "UTC", "2026-01-01 23:59:58", { "2026-01-01 23:59:59", "2026-01-02 23:59:59" } },
	{ "5,10 0 12 * * *", "UTC", "2026-01-01 12:00:05", { "2026-01-01 12:00:10", "2026-01-02 12:00:05" } },
	/* Leap years. */
	{ "0 0 29 2 *", "UTC", "2026-01-01 00:00", { "2028-02-29 00:00", "2032-02-29 00:00" } },
	{ "0 0 29 2 *", "UTC", "2096-02-29 00:00", { "2104-02-29 00:00" } },
	{ "0 0 29 2 *", "UTC", "1999-01-01 00:00", { "2000-02-29 00:00" } },
	/* L. */
	{ "0 0 L * *", "UTC", "2028-01-01 00:00", { "2028-01-31 00:00", "2028-02-29 00:00", "2028-03-31 00:00", "2028-04-30 00:00" } },
	{ "0 0 L 2 *", "UTC", "2026-01-01 00:00", { "2026-02-28 00:00", "2027-02-28 00:00", "2028-02-29 00:00" } },
	{ "0 0 15,L 4 *", "UTC", "2026-01-01 00:00", { "2026-04-15 00:00", "2026-04-30 00:00", "2027-04-15 00:00" } },
	{ "0 0 30,L 4 *", "UTC", "2026-01-01 00:00", { "2026-04-30 00:00", "2027-04-30 00:00" } },
	{ "59 23 L * *", "UTC", "2026-01-31 23:59", { "2026-02-28 23:59" } },
	/* Both day fields restricted: either. One with a star: both. */
	{ "0 0 13 * FRI", "UTC", "2026-02-05 00:00", { "2026-02-06 00:00", "2026-02-13 00:00", "2026-02-20 00:00", "2026-02-27 00:00", "2026-03-06 00:00", "2026-03-13 00:00" } },
	{ "0 0 1 * MON", "UTC", "2026-03-25 00:00", { "2026-03-30 00:00", "2026-04-01 00:00", "2026-04-06 00:00" } },
	{ "0 0 L * SUN", "UTC", "2026-03-25 00:00", { "2026-03-29 00:00", "2026-03-31 00:00", "2026-04-05 00:00" } },
	{ "0 0 30 2 MON", "UTC", "2026-01-30 00:00", { "2026-02-02 00:00", "2026-02-09 00:00" } },
	{ "0 0 */10 * MON", "UTC", "2026-01-01 00:00", { "2026-05-11 00:00", "2026-06-01 00:00", "2026-08-31 00:00", "2026-09-21 00:00" } },
	{ "0 0 1-31 * MON", "UTC", "2026-01-01 00:00", { "2026-01-02 00:00", "2026-01-03 00:00" } },
	{ "0 0 ? * FRI", "UTC", "2026-01-01 00:00", { "2026-01-02 00:00", "2026-01-09 00:00" } },
	/* Five weekday-and-date combinations need decades. */
	{ "0 0 */28 2 MON", "UTC", "2027-02-01 00:00", { "2038-02-01 00:00" } },
	/* Europe/Berlin: +1, +2 from 2026-03-29 01:00 to 2026-10-25 01:00 UTC. */
	{ "0 12 * * *", "Europe/Berlin", "2026-03-28 00:00", { "2026-03-28 11:00", "2026-03-29 10:00" } },
	{ "30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", { "2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30" } },
	{ "0 3 * * *", "Europe/Berlin", "2026-03-28 12:00", { "2026-03-29 01:00", "2026-03-30 01:00" } },
	{ "*/20 2 * * *", "Europe/Berlin", "2026-03-28 12:00", { "2026-03-29 01:00", "2026-03-30 00:00", "2026-03-30 00:20" } },
	{ "30 2,3 * * *", "Europe/Berlin", "2026-03-28 12:00", { "2026-03-29 01:00", "2026-03-29 01:30", "2026-03-30 00:30" } },
	{ "0 2,3 * * *", "Europe/Berlin", "2026-03-28 12:00", { "2026-03-29 01:00", "2026-03-30 00:00", "2026-03-30 01:00" } },
	{ "15 1-4 * * *", "Europe/Berlin", "2026-03-28 12:00", { "2026-03-29 00:15", "2026-03-29 01:00", "2026-03-29 01:15", "2026-03-29 02:15", "2026-03-29 23:15" } },
	{ "30 2 29 3 *", "Europe/Berlin", "2026-01-01 00:00", { "2026-03-29 01:00", "2027-03-29 00:30" } },
	{ "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", { "2026-10-25 00:30", "2026-10-26 01:30" } },
	{ "30 2 * * *", "Europe/Berlin", "2026-10-25 00:30", { "2026-10-26 01:30" } },
	{ "*/30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", { "2026-10-25 00:00", "2026-10-25 00:30", "2026-10-26 01:00" } },
	{ "0 3 * * *", "Europe/Berlin", "2026-10-24 12:00", { "2026-10-25 02:00", "2026-10-26 02:00" } },
	{ "30 * * * *", "Europe/Berlin", "2026-10-24 23:00", { "2026-10-24 23:30", "2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 02:30" } },
	{ "30 */2 * * *", "Europe/Berlin", "2026-10-24 23:00", { "2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 03:30" } },
	{ "30 * * * *", "Europe/Berlin", "2026-03-29 00:00", { "2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30" } },
	{ "30 */2 * * *", "Europe/Berlin", "2026-03-28 23:30", { "2026-03-29 02:30", "2026-03-29 04:30" } },
	{ "0 */2 * * *", "Europe/Berlin", "2026-03-28 23:30", { "2026-03-29 02:00" } },
	/* Behind the table of the file, by its rule. */
	{ "30 2 * * *", "Europe/Berlin", "2099-03-28 12:00", { "2099-03-29 01:00", "2099-03-30 00:30" } },
	{ "30 2 * * *", "Europe/Berlin", "2099-10-24 12:00", { "2099-10-25 00:30", "2099-10-26 01:30" } },
	/* America/New_York: -5, -4 from 2026-03-08 07:00 to 2026-11-01 06:00. */
	{ "30 2 * * *", "America/New_York", "2026-03-07 12:00", { "2026-03-08 07:00", "2026-03-09 06:30" } },
	{ "30 1 * * *", "America/New_York", "2026-10-31 12:00", { "2026-11-01 05:30", "2026-11-02 06:30" } },
	{ "*/30 * * * *", "America/New_York", "2026-11-01 05:00", { "2026-11-01 05:30", "2026-11-01 06:00", "2026-11-01 06:30", "2026-11-01 07:00" } },
	{ "@daily", "America/New_York", "2026-03-07 12:00", { "2026-03-08 05:00", "2026-03-09 04:00" } },
	/* Australia/Lord_Howe: half an hour; +10:30, +11 from October to April. */
	{ "15 2 * * *", "Australia/Lord_Howe", "2026-10-02 18:00", { "2026-10-03 15:30", "2026-10-04 15:15" } },
	{ "30 2 * * *", "Australia/Lord_Howe", "2026-10-02 18:00", { "2026-10-03 15:30", "2026-10-04 15:30" } },
	{ "45 1 * * *", "Australia/Lord_Howe", "2026-04-03 18:00", { "2026-04-04 14:45", "2026-04-05 15:15" } },
	{ "45 * * * *", "Australia/Lord_Howe", "2026-04-04 14:00", { "2026-04-04 14:45", "2026-04-04 15:15", "2026-04-04 16:15" } },
	/* Asia/Kolkata: +5:30, no changes. */
	{ "0 9 * * *", "Asia/Kolkata", "2026-01-01 00:00", { "2026-01-01 03:30", "2026-01-02 03:30" } },
	{ "@hourly", "Asia/Kolkata", "2026-01-01 00:00", { "2026-01-01 00:30", "2026-01-01 01:30" } },
	/* Africa/Cairo's gap is at midnight: 2026-04-23 22:00 UTC. */
	{ "@daily", "Africa/Cairo", "2026-04-22 23:00", { "2026-04-23 22:00", "2026-04-24 21:00" } },
	/* Pacific/Apia skipped 2011-12-30 as a whole. */
	{ "0 6 30 12 *", "Pacific/Apia", "2011-12-01 00:00", { "2011-12-30 10:00", "2012-12-29 16:00" } },
	{ "0 6 * * *", "Pacific/Apia", "2011-12-29 12:00", { "2011-12-29 16:00", "2011-12-30 10:00", "2011-12-30 16:00" } },
	{ "0 */6 30 12 *", "Pacific/Apia", "2011-12-01 00:00", { "2012-12-29 10:00" } },
};
/* clang-format on */

START_TEST(test_the_slots_that_people_expect)
{
	const struct next_case *c = &next_cases[_i];
	struct cron_expr expr = parse(c->expr);
	struct cron_zone *z = zone(c->zone);
	int64_t at = utc(c->after);

	for (int i = 0; i < COUNT(c->slots) && c->slots[i] != NULL; i++) {
		char got[64];
		time_t t;

		ck_assert_int_eq(cron_next(&expr, z, at, &at), 0);
		t = at;
		strftime(got, sizeof(got), "%F %T", gmtime(&t));
		ck_assert_msg(at == utc(c->slots[i]),
		    "%s in %s: slot %d is %s, not %s", c->expr, c->zone, i, got,
		    c->slots[i]);
	}
	cron_zone_free(&z);
}
END_TEST

START_TEST(test_at_the_ends_of_the_calendar)
{
	struct cron_expr every = parse("* * * * * *");
	struct cron_zone *z = zone("UTC");
	int64_t at;

	ck_assert_int_eq(cron_next(&every, z, CRON_TIME_MAX, &at), -1);
	ck_assert_int_eq(cron_next(&every, z, CRON_TIME_MAX - 1, &at), -1);
	ck_assert_int_eq(cron_next(&every, z, INT64_MAX, &at), -1);
	ck_assert_int_eq(cron_next(&every, z, CRON_TIME_MAX - 2, &at), 0);
	ck_assert_int_eq(at, CRON_TIME_MAX - 1);
	ck_assert_int_eq(cron_next(&every, z, INT64_MIN, &at), 0);
	ck_assert_int_eq(at, CRON_TIME_MIN);
	cron_zone_free(&z);
}
END_TEST

START_TEST(test_check_names_the_expression_or_the_zone)
{
	struct err err;

	ck_assert_int_eq(cron_check("@daily", "Europe/Berlin", &err), 0);
	ck_assert_int_eq(cron_check("@daily", "", &err), 0);
	ck_assert_int_eq(cron_check("61 * * * *", "UTC", &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "61 * * * *"));
	ck_assert_int_eq(cron_check("@daily", "Mars/Phobos", &err), -1);
	ck_assert_str_eq(err.message, "time zone \"Mars/Phobos\" is unknown");
	ck_assert_int_eq(cron_check_misfire("all(3)", &err), 0);
	ck_assert_int_eq(cron_check_misfire("sometimes", &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "\"sometimes\""));
}
END_TEST

static const char *const bad_policies[] = {"", "Skip", "all", "all()", "all(0)",
    "all(-1)", "all(1001)", "all(99999)", "all(3", "all(3) ", "latest(1)"};

START_TEST(test_a_policy_that_is_none_is_refused)
{
	struct cron_policy policy;
	struct err err;

	ck_assert_int_eq(
	    cron_policy_parse(bad_policies[_i], &policy, &err), -1);
}
END_TEST

/* clang-format off */
static const struct misfire_case {
	const char *expr;
	const char *policy;
	const char *due;
	const char *now;
	const char *slots[4]; /* fired now */
	const char *next;
} misfire_cases[] = {
	/* In time: all policies agree. */
	{ "0 * * * *", "latest", "2026-01-01 01:00", "2026-01-01 01:00", { "2026-01-01 01:00" }, "2026-01-01 02:00" },
	{ "0 * * * *", "skip", "2026-01-01 01:00", "2026-01-01 01:00:02", { "2026-01-01 01:00" }, "2026-01-01 02:00" },
	{ "0 * * * *", "all(10)", "2026-01-01 01:00", "2026-01-01 01:00", { "2026-01-01 01:00" }, "2026-01-01 02:00" },
	/* One missed. */
	{ "0 * * * *", "latest", "2026-01-01 01:00", "2026-01-01 01:30", { "2026-01-01 01:00" }, "2026-01-01 02:00" },
	{ "0 * * * *", "skip", "2026-01-01 01:00", "2026-01-01 01:30", { NULL }, "2026-01-01 02:00" },
	{ "0 * * * *", "skip", "2026-01-01 01:00", "2026-01-01 01:00:05", { "2026-01-01 01:00" }, "2026-01-01 02:00" },
	{ "0 * * * *", "skip", "2026-01-01 01:00", "2026-01-01 01:00:06", { NULL }, "2026-01-01 02:00" },
	/* Several. */
	{ "0 * * * *", "latest", "2026-01-01 01:00", "2026-01-01 03:30", { "2026-01-01 03:00" }, "2026-01-01 04:00" },
	{ "0 * * * *", "skip", "2026-01-01 01:00", "2026-01-01 03:00:01", { "2026-01-01 03:00" }, "2026-01-01 04:00" },
	{ "0 * * * *", "all(10)", "2026-01-01 01:00", "2026-01-01 03:30", { "2026-01-01 01:00", "2026-01-01 02:00", "2026-01-01 03:00" }, "2026-01-01 04:00" },
	{ "0 * * * *", "all(2)", "2026-01-01 01:00", "2026-01-01 03:30", { "2026-01-01 02:00", "2026-01-01 03:00" }, "2026-01-01 04:00" },
	{ "0 * * * *", "all(1)", "2026-01-01 01:00", "2026-01-01 03:30", { "2026-01-01 03:00" }, "2026-01-01 04:00" },
	/* A month of seconds is not walked through. */
	{ "* * * * * *", "all(2)", "2026-01-01 00:00", "2026-02-01 00:00", { "2026-01-31 23:59:59", "2026-02-01 00:00" }, "2026-02-01 00:00:01" },
	{ "0 0 1 1 *", "all(3)", "2016-01-01 00:00", "2026-06-01 00:00", { "2024-01-01 00:00", "2025-01-01 00:00", "2026-01-01 00:00" }, "2027-01-01 00:00" },
	/* The zone's rules changed since: the planned slot counts. */
	{ "0 * * * *", "latest", "2026-01-01 01:10", "2026-01-01 01:10", { "2026-01-01 01:10" }, "2026-01-01 02:00" },
	{ "0 * * * *", "latest", "2026-01-01 01:10", "2026-01-01 02:10", { "2026-01-01 02:00" }, "2026-01-01 03:00" },
};
/* clang-format on */

START_TEST(test_which_missed_slots_fire)
{
	const struct misfire_case *c = &misfire_cases[_i];
	static struct cron_firings f;
	struct cron_expr expr = parse(c->expr);
	struct cron_zone *z = zone("UTC");
	struct cron_policy policy;
	struct err err;
	int n = 0;

	ck_assert_int_eq(cron_policy_parse(c->policy, &policy, &err), 0);
	cron_firings(&expr, z, &policy, utc(c->due), utc(c->now), &f);
	for (; n < COUNT(c->slots) && c->slots[n] != NULL; n++)
		if (n < f.count)
			ck_assert_int_eq(f.slots_s[n], utc(c->slots[n]));
	ck_assert_int_eq(f.count, n);
	ck_assert(!f.ends);
	ck_assert_int_eq(f.next_s, utc(c->next));
	cron_zone_free(&z);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cron");
	TCase *tc = tcase_create("cron");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(
	    tc, test_spellings_of_the_same_schedule, 0, COUNT(same));
	tcase_add_loop_test(
	    tc, test_refused_with_the_field_and_why, 0, COUNT(refused));
	tcase_add_test(tc, test_an_endless_expression_is_refused);
	tcase_add_loop_test(
	    tc, test_the_slots_that_people_expect, 0, COUNT(next_cases));
	tcase_add_test(tc, test_at_the_ends_of_the_calendar);
	tcase_add_test(tc, test_check_names_the_expression_or_the_zone);
	tcase_add_loop_test(
	    tc, test_a_policy_that_is_none_is_refused, 0, COUNT(bad_policies));
	tcase_add_loop_test(
	    tc, test_which_missed_slots_fire, 0, COUNT(misfire_cases));
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
