/*
 * Days and dates of the proleptic Gregorian calendar, in plain arithmetic.
 *
 * The algorithms are Howard Hinnant's ("chrono-Compatible Low-Level Date
 * Algorithms", days_from_civil and civil_from_days): years begin in March, so
 * that the leap day is the last one.
 */
#ifndef CHIMP_COMMON_CRON_CRON_CIVIL_H
#define CHIMP_COMMON_CRON_CRON_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

#define CIVIL_DAY_S 86400

struct civil {
	int64_t year;
	int month;   /* 1..12 */
	int day;     /* 1..31 */
	int weekday; /* 0..6, 0 = Sunday */
};

/* Days since 1970-01-01. */
int64_t civil_to_days(int64_t year, int month, int day);
void civil_from_days(int64_t days, struct civil *civil);

bool civil_is_leap(int64_t year);
int civil_month_days(int64_t year, int month);

/* The day that holds a second since 1970, rounding down before 1970 too. */
int64_t civil_day_of(int64_t seconds);

#endif
