/*
 * POSIX time zone rules. See cron_rule.h.
 */
#include "common/cron/cron_rule.h"

#include "common/base/err.h"
#include "common/cron/cron_civil.h"

#include <ctype.h>
#include <string.h>

/* Longest rule; the longest of tzdata has less than 50 bytes. */
#define CRON_RULE_MAX_BYTES 127

static bool
rule_number(const char **at, int min, int max, int *value)
{
	int n = 0;

	if (!isdigit((unsigned char)**at))
		return false;
	while (isdigit((unsigned char)**at)) {
		if (n < 100000)
			n = n * 10 + (**at - '0');
		(*at)++;
	}
	*value = n;
	return n >= min && n <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool
rule_time(const char **at, int max_hours, int64_t *seconds)
{
	int sign = **at == '-' ? -1 : 1;
	int hours, minutes = 0, secs = 0;

	if (**at == '-' || **at == '+')
		(*at)++;
	if (!rule_number(at, 0, max_hours, &hours))
		return false;
	if (**at == ':') {
		(*at)++;
		if (!rule_number(at, 0, 59, &minutes))
			return false;
		if (**at == ':') {
			(*at)++;
			if (!rule_number(at, 0, 59, &secs))
				return false;
		}
	}
	*seconds = sign * ((int64_t)hours * 3600 + minutes * 60 + secs);
	return true;
}

/* CET or <+0330>: skipped. */
static bool
rule_name(const char **at)
{
	const char *start = *at;

	if (**at == '<') {
		const char *end = strchr(*at, '>');

		if (end == NULL)
			return false;
		*at = end + 1;
		return true;
	}
	while (isalpha((unsigned char)**at))
		(*at)++;
	return *at - start >= 3;
}

static bool
rule_point(const char **at)
{
	if (**at != '.')
		return false;
	(*at)++;
	return true;
}

static bool
rule_date(const char **at, struct cron_rule_date *date)
{
	if (**at != ',')
		return false;
	(*at)++;
	date->time_s = 2 * 3600; /* POSIX's default */
	if (**at == 'M') {
		date->kind = CRON_RULE_WEEKDAY;
		(*at)++;
		if (!rule_number(at, 1, 12, &date->month) || !rule_point(at) ||
		    !rule_number(at, 1, 5, &date->week) || !rule_point(at) ||
		    !rule_number(at, 0, 6, &date->day))
			return false;
	} else if (**at == 'J') {
		date->kind = CRON_RULE_JULIAN;
		(*at)++;
		if (!rule_number(at, 1, 365, &date->day))
			return false;
	} else {
		date->kind = CRON_RULE_DAY;
		if (!rule_number(at, 0, 365, &date->day))
			return false;
	}
	if (**at != '/')
		return true;
	(*at)++;
	return rule_time(at, 167, &date->time_s);
}

static bool
rule_read(const char *at, struct cron_rule *rule)
{
	memset(rule, 0, sizeof(*rule));
	if (!rule_name(&at) || !rule_time(&at, 24, &rule->std_offset_s))
		return false;
	/* POSIX counts west of Greenwich as positive. */
	rule->std_offset_s = -rule->std_offset_s;
	if (*at == '\0')
		return true;
	rule->has_dst = true;
	rule->dst_offset_s = rule->std_offset_s + 3600;
	if (!rule_name(&at))
		return false;
	if (*at != ',') {
		if (!rule_time(&at, 24, &rule->dst_offset_s))
			return false;
		rule->dst_offset_s = -rule->dst_offset_s;
	}
	return rule_date(&at, &rule->start) && rule_date(&at, &rule->end) &&
	       *at == '\0';
}

int
cron_rule_parse(
    const char *text, size_t length, struct cron_rule *rule, struct err *err)
{
	char copy[CRON_RULE_MAX_BYTES + 1];

	if (length > CRON_RULE_MAX_BYTES)
		return err_set(err, "its rule has %zu bytes", length);
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (strlen(copy) != length || !rule_read(copy, rule))
		return err_set(err, "its rule \"%s\" cannot be read", copy);
	return 0;
}

/* The first of the wall clock's day on which the change happens. */
static int64_t
rule_day(const struct cron_rule_date *date, int64_t year)
{
	int64_t january = civil_to_days(year, 1, 1);
	struct civil first;
	int64_t day;

	switch (date->kind) {
	case CRON_RULE_DAY:
		return january + date->day;
	case CRON_RULE_JULIAN:
		return january + date->day - 1 +
		       (date->day > 59 && civil_is_leap(year) ? 1 : 0);
	case CRON_RULE_WEEKDAY:
		break;
	}
	day = civil_to_days(year, date->month, 1);
	civil_from_days(day, &first);
	day += (date->day - first.weekday + 7) % 7 + 7 * (date->week - 1);
	if (day >= civil_to_days(year, date->month, 1) +
		       civil_month_days(year, date->month))
		day -= 7; /* week 5 is the last one, which may be the fourth */
	return day;
}

int64_t
cron_rule_dst_start(const struct cron_rule *rule, int64_t year)
{
	return rule_day(&rule->start, year) * CIVIL_DAY_S + rule->start.time_s -
	       rule->std_offset_s;
}

int64_t
cron_rule_dst_end(const struct cron_rule *rule, int64_t year)
{
	return rule_day(&rule->end, year) * CIVIL_DAY_S + rule->end.time_s -
	       rule->dst_offset_s;
}
