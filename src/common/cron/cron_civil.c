/*
 * Days and dates of the Gregorian calendar. See cron_civil.h.
 */
#include "common/cron/cron_civil.h"

/* Days of 400 years, after which the calendar repeats. */
#define CIVIL_ERA_DAYS 146097
/* Days from 0000-03-01 to 1970-01-01. */
#define CIVIL_EPOCH_DAYS 719468

static int64_t
civil_floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0 ? 1 : 0);
}

int64_t
civil_to_days(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = civil_floor_div(y, 400);
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year =
	    (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 -
			     year_of_era / 100 + day_of_year;

	return era * CIVIL_ERA_DAYS + day_of_era - CIVIL_EPOCH_DAYS;
}

void
civil_from_days(int64_t days, struct civil *civil)
{
	int64_t z = days + CIVIL_EPOCH_DAYS;
	int64_t era = civil_floor_div(z, CIVIL_ERA_DAYS);
	int64_t day_of_era = z - era * CIVIL_ERA_DAYS;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 +
				  day_of_era / 36524 - day_of_era / 146096) /
			      365;
	int64_t day_of_year =
	    day_of_era -
	    (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int month_from_march = (int)((5 * day_of_year + 2) / 153);

	civil->day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
	civil->month = month_from_march + (month_from_march < 10 ? 3 : -9);
	civil->year = year_of_era + era * 400 + (civil->month <= 2 ? 1 : 0);
	/* 1970-01-01 was a Thursday. */
	civil->weekday = (int)(days + 4 - civil_floor_div(days + 4, 7) * 7);
}

bool
civil_is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int
civil_month_days(int64_t year, int month)
{
	static const int days[] = {
	    31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && civil_is_leap(year) ? 1 : 0);
}

int64_t
civil_day_of(int64_t seconds)
{
	return civil_floor_div(seconds, CIVIL_DAY_S);
}
