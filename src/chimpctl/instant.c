/*
 * Instants as text. See instant.h.
 */
#include "chimpctl/instant.h"

#include "common/cron/cron_civil.h"
#include "common/cron/cron_zone.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Two digits up to `max` at *text, which moves behind them; -1 if not. */
static int
instant_two(const char **text, int max)
{
	const char *t = *text;
	int value;

	if (t[0] < '0' || t[0] > '9' || t[1] < '0' || t[1] > '9')
		return -1;
	value = (t[0] - '0') * 10 + t[1] - '0';
	*text += 2;
	return value <= max ? value : -1;
}

/* True, and past it, if the next character is one of these. */
static bool
instant_skip(const char **text, const char *any)
{
	if (**text == '\0' || strchr(any, **text) == NULL)
		return false;
	++*text;
	return true;
}

static int
instant_date(const char **t, int64_t *days)
{
	int century = instant_two(t, 99);
	int year = century < 0 ? -1 : instant_two(t, 99);
	int month, day;

	if (year < 0 || !instant_skip(t, "-"))
		return -1;
	year += century * 100;
	month = instant_two(t, 12);
	if (month < 1 || !instant_skip(t, "-"))
		return -1;
	day = instant_two(t, 31);
	if (day < 1 || day > civil_month_days(year, month))
		return -1;
	*days = civil_to_days(year, month, day);
	return 0;
}

static int
instant_time(const char **t, int *time_s)
{
	int hour = instant_two(t, 23);
	int minute, second = 0;

	if (hour < 0 || !instant_skip(t, ":"))
		return -1;
	minute = instant_two(t, 59);
	if (minute < 0)
		return -1;
	if (instant_skip(t, ":")) {
		second = instant_two(t, 59);
		if (second < 0)
			return -1;
		if (instant_skip(t, "."))
			*t += strspn(*t, "0123456789");
	}
	*time_s = hour * 3600 + minute * 60 + second;
	return 0;
}

static int
instant_offset(const char **t, int *offset_s)
{
	int sign = **t == '-' ? -1 : 1;
	int hour, minute = 0;

	*offset_s = 0;
	if (instant_skip(t, "Zz"))
		return 0;
	if (!instant_skip(t, "+-"))
		return -1;
	hour = instant_two(t, 23);
	if (hour < 0)
		return -1;
	instant_skip(t, ":");
	if (**t != '\0')
		minute = instant_two(t, 59);
	*offset_s = sign * (hour * 3600 + minute * 60);
	return minute < 0 ? -1 : 0;
}

int
instant_parse(const char *text, int64_t *at_s)
{
	int64_t days;
	int time_s, offset_s;

	if (instant_date(&text, &days) != 0 || !instant_skip(&text, "Tt ") ||
	    instant_time(&text, &time_s) != 0 ||
	    instant_offset(&text, &offset_s) != 0 || *text != '\0')
		return -1;
	*at_s = days * CIVIL_DAY_S + time_s - offset_s;
	return *at_s < CRON_TIME_MIN || *at_s >= CRON_TIME_MAX ? -1 : 0;
}

static struct instant_text
instant_format(int64_t at_s, char between, const char *after)
{
	int64_t day = civil_day_of(at_s);
	int second = (int)(at_s - day * CIVIL_DAY_S);
	struct civil c;
	struct instant_text t;

	civil_from_days(day, &c);
	snprintf(t.text, sizeof(t.text),
	    "%04" PRId64 "-%02d-%02d%c%02d:%02d:%02d%s", c.year, c.month, c.day,
	    between, second / 3600, second / 60 % 60, second % 60, after);
	return t;
}

struct instant_text
instant_utc(int64_t at_s)
{
	return instant_format(at_s, 'T', "Z");
}

struct instant_text
instant_wall(int64_t at_s, int64_t offset_s)
{
	static const char *const names[] = {
	    "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	int minutes = (int)(offset_s < 0 ? -offset_s : offset_s) / 60;
	struct instant_text wall, t;
	struct civil c;

	civil_from_days(civil_day_of(at_s + offset_s), &c);
	wall = instant_format(at_s + offset_s, ' ', "");
	snprintf(t.text, sizeof(t.text), "%s %.40s %c%02d:%02d",
	    names[c.weekday], wall.text, offset_s < 0 ? '-' : '+',
	    minutes / 60 % 100, minutes % 60);
	return t;
}
