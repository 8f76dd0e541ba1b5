/*
 * The next slot of a schedule. See cron_next.h.
 */
#include "common/cron/cron_next.h"

#include "common/cron/cron_civil.h"
#include "common/cron/cron_expr.h"
#include "common/cron/cron_zone.h"

#include <stdbool.h>

/* The rarest dates (29 February on one weekday) are 40 years apart; more
 * only where a zone's gaps swallow some. */
#define CRON_HORIZON_S (INT64_C(100) * 366 * CIVIL_DAY_S)

/* The smallest member >= from, or -1. */
static int
set_from(uint64_t set, int from)
{
	uint64_t rest = set >> from;

	return rest == 0 ? -1 : from + __builtin_ctzll(rest);
}

/* The first matching second of a day that is >= from, or -1. */
static int
next_time(const struct cron_expr *e, int from)
{
	int from_hour = from / 3600, from_minute = from / 60 % 60;
	int hour = set_from(e->set[CRON_HOUR], from_hour);
	int minute = set_from(e->set[CRON_MINUTE], 0);
	int second = set_from(e->set[CRON_SECOND], 0);

	if (hour == from_hour) {
		int m = set_from(e->set[CRON_MINUTE], from_minute);
		int s = set_from(e->set[CRON_SECOND], from % 60);

		if (m == from_minute && s >= 0)
			return hour * 3600 + m * 60 + s;
		if (m == from_minute)
			m = set_from(e->set[CRON_MINUTE], from_minute + 1);
		if (m >= 0)
			return hour * 3600 + m * 60 + second;
		hour = set_from(e->set[CRON_HOUR], from_hour + 1);
	}
	return hour < 0 ? -1 : hour * 3600 + minute * 60 + second;
}

/* The first matching day in [day, last], as days since 1970. */
static bool
next_day(const struct cron_expr *e, int64_t day, int64_t last, int64_t *found)
{
	struct civil c;

	while (day <= last) {
		civil_from_days(day, &c);
		if ((e->set[CRON_MONTH] >> c.month & 1) == 0) {
			day += civil_month_days(c.year, c.month) - c.day + 1;
			continue;
		}
		if (cron_expr_matches_day(
			e, c.year, c.month, c.day, c.weekday)) {
			*found = day;
			return true;
		}
		day++;
	}
	return false;
}

/* The first matching wall-clock time in [from, until). */
static bool
next_wall(
    const struct cron_expr *e, int64_t from, int64_t until, int64_t *found)
{
	int64_t day = civil_day_of(from);
	int start = (int)(from - day * CIVIL_DAY_S);
	int time = -1;

	while (time < 0) {
		int64_t match;

		if (!next_day(e, day, civil_day_of(until), &match))
			return false;
		time = next_time(e, match == day ? start : 0);
		day = match;
		if (time < 0) {
			/* The rest of the first day has none. */
			day++;
			start = 0;
		}
	}
	*found = day * CIVIL_DAY_S + time;
	return *found < until;
}

/* The wall-clock time from which a slot at or after the instant `at_s` may
 * come; G25 is decided here. */
static int64_t
wall_start(
    const struct cron_expr *e, const struct cron_span *span, int64_t at_s)
{
	int64_t shown = at_s + span->offset_s;

	if (!e->fixed_hours)
		return shown;
	/* Skipped times come with the first instant of the span. */
	if (at_s == span->start_s)
		return span->reached_s;
	return shown > span->reached_s ? shown : span->reached_s;
}

int
cron_next(const struct cron_expr *expr, const struct cron_zone *zone,
    int64_t after_s, int64_t *next_s)
{
	int64_t at, limit;

	if (after_s >= CRON_TIME_MAX - 1)
		return -1;
	at = after_s < CRON_TIME_MIN ? CRON_TIME_MIN : after_s + 1;
	limit = at + CRON_HORIZON_S;
	if (limit > CRON_TIME_MAX)
		limit = CRON_TIME_MAX;
	while (at < limit) {
		struct cron_span span;
		int64_t wall, end;

		cron_zone_span(zone, at, &span);
		end = span.end_s < limit ? span.end_s : limit;
		if (next_wall(expr, wall_start(expr, &span, at),
			end + span.offset_s, &wall)) {
			wall -= span.offset_s;
			*next_s = wall > at ? wall : at;
			return 0;
		}
		at = span.end_s;
	}
	return -1;
}
