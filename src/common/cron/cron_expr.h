/*
 * Cron expressions: text to sets of numbers. Pure: no clock, no zone, no I/O.
 *
 *	minute hour day-of-month month day-of-week
 *	second minute hour day-of-month month day-of-week
 *	@hourly @daily @midnight @weekly @monthly @yearly @annually
 *
 * A field is a list of `*`, `n`, `a-b`, each with an optional `/step`; `n/step`
 * means from n to the field's end. Months and weekdays have English names
 * (JAN, MON, in any case), a weekday 7 is Sunday, `?` is `*` in the two day
 * fields, and `L` is the last day of the month.
 *
 * As in crontab(5), a day field that begins with `*` is unrestricted. If both
 * day fields are restricted, a day matches that fits either; otherwise it must
 * fit both.
 */
#ifndef CHIMP_COMMON_CRON_CRON_EXPR_H
#define CHIMP_COMMON_CRON_CRON_EXPR_H

#include <stdbool.h>
#include <stdint.h>

struct err;

/* Longest expression that is looked at, without the terminator. */
#define CRON_EXPR_MAX_BYTES 255

enum cron_field {
	CRON_SECOND,
	CRON_MINUTE,
	CRON_HOUR,
	CRON_DAY,
	CRON_MONTH,
	CRON_WEEKDAY,
	CRON_FIELDS
};

struct cron_expr {
	uint64_t set[CRON_FIELDS]; /* bit n: value n matches; no set is empty
				    * but CRON_DAY's when last_day is set */
	bool last_day;    /* L: the last day of the month matches too */
	bool either_day;  /* both day fields are restricted */
	bool fixed_hours; /* no * and no step in the hour: it follows the wall
			   * clock over changes of the offset (G25) */
};

/*
 * 0, or -1 with an error that names the field and why. Refuses what can never
 * match, such as 30 February.
 */
int cron_expr_parse(const char *text, struct cron_expr *expr, struct err *err);

/* Does the calendar date match? weekday 0 = Sunday. */
bool cron_expr_matches_day(const struct cron_expr *expr, int64_t year,
    int month, int day, int weekday);

#endif
