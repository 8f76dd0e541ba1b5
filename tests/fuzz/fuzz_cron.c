/*
 * Fuzzes what cron reads: an expression, and the bytes of a time zone file. The
 * first byte says which; what is accepted must yield slots that rise, and that
 * match where no clock changes.
 */
#include "common/base/err.h"
#include "common/cron/cron_civil.h"
#include "common/cron/cron_expr.h"
#include "common/cron/cron_next.h"
#include "common/cron/cron_zone.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
matches(const struct cron_expr *e, int64_t at)
{
	int64_t day = civil_day_of(at);
	int second = (int)(at - day * CIVIL_DAY_S);
	struct civil c;

	civil_from_days(day, &c);
	return cron_expr_matches_day(e, c.year, c.month, c.day, c.weekday) &&
	       (e->set[CRON_HOUR] >> (second / 3600) & 1) != 0 &&
	       (e->set[CRON_MINUTE] >> (second / 60 % 60) & 1) != 0 &&
	       (e->set[CRON_SECOND] >> (second % 60) & 1) != 0;
}

static void
run(const struct cron_expr *expr, const struct cron_zone *zone, bool utc)
{
	int64_t at = 1774000000, next;

	for (int i = 0; i < 20; i++) {
		if (cron_next(expr, zone, at, &next) != 0)
			return;
		if (next <= at || (utc && !matches(expr, next)))
			abort();
		at = next;
	}
}

static void
fuzz_expr(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct cron_zone *zone;
	struct cron_expr expr;
	struct err err;
	int64_t next;

	memcpy(text, data, size);
	text[size] = '\0';
	if (cron_expr_parse(text, &expr, &err) == 0) {
		zone = cron_zone_load("UTC", &err);
		/* What can never match is refused. */
		if (cron_next(&expr, zone, 0, &next) != 0)
			abort();
		run(&expr, zone, true);
		cron_zone_free(&zone);
	}
	free(text);
}

static void
fuzz_zone(const uint8_t *data, size_t size)
{
	static const char *const texts[] = {
	    "30 2 * * *", "*/30 * * * *", "0 0 29 2 *"};
	struct cron_zone *zone;
	struct cron_expr expr;
	struct err err;

	zone = cron_zone_parse(data, size, &err);
	for (int i = 0; zone != NULL && i < 3; i++) {
		if (cron_expr_parse(texts[i], &expr, &err) != 0)
			abort();
		run(&expr, zone, false);
	}
	cron_zone_free(&zone);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] == 'z')
		fuzz_zone(data + 1, size - 1);
	else
		fuzz_expr(data, size);
	return 0;
}
