/*
 * POSIX time zone rules, such as CET-1CEST,M3.5.0,M10.5.0/3: what a TZif file
 * says at its end about the years behind its table. Pure.
 */
#ifndef CHIMP_COMMON_CRON_CRON_RULE_H
#define CHIMP_COMMON_CRON_CRON_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum cron_rule_kind {
	CRON_RULE_JULIAN, /* Jn: day 1..365, 29 February is never counted */
	CRON_RULE_DAY,    /* n: day 0..365, it is counted */
	CRON_RULE_WEEKDAY /* Mm.w.d: the w-th weekday d of month m, 5 = last */
};

struct cron_rule_date {
	enum cron_rule_kind kind;
	int day; /* of the year; or the weekday, 0 = Sunday */
	int month;
	int week;
	int64_t time_s; /* of the wall clock before; -167 h to 167 h */
};

struct cron_rule {
	int64_t std_offset_s; /* wall clock = instant + offset */
	int64_t dst_offset_s;
	bool has_dst;
	struct cron_rule_date start; /* of daylight saving time */
	struct cron_rule_date end;
};

/* `text` need not be terminated. RFC 8536's extension of hours is taken. */
int cron_rule_parse(
    const char *text, size_t length, struct cron_rule *rule, struct err *err);

/* The instants of a year's two changes. */
int64_t cron_rule_dst_start(const struct cron_rule *rule, int64_t year);
int64_t cron_rule_dst_end(const struct cron_rule *rule, int64_t year);

#endif
