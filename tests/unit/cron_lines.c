/*
 * Cron's slots for a test in another language: reads lines of an expression, a
 * zone, an instant and a number, with tabs between, and writes for each a line
 * with that many slots strictly after the instant, in seconds since 1970. Where
 * no more come the line ends with "never"; "refused" and the reason stand
 * where the expression or the zone is no good.
 */
#include "common/base/err.h"
#include "common/cron/cron_expr.h"
#include "common/cron/cron_next.h"
#include "common/cron/cron_zone.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct line {
	char expression[CRON_EXPR_MAX_BYTES + 1];
	char zone[64];
	int64_t after_s;
	int count;
};

static int
read_line(struct line *line)
{
	return scanf(" %255[^\t]\t%63[^\t]\t%" SCNd64 "\t%d", line->expression,
	    line->zone, &line->after_s, &line->count);
}

static void
write_slots(
    const struct line *line, struct cron_expr *expr, struct cron_zone *zone)
{
	int64_t at = line->after_s;

	for (int i = 0; i < line->count; i++) {
		if (cron_next(expr, zone, at, &at) != 0) {
			fputs(i == 0 ? "never" : " never", stdout);
			break;
		}
		printf(i == 0 ? "%" PRId64 : " %" PRId64, at);
	}
	putchar('\n');
}

static int
answer(const struct line *line, struct err *err)
{
	struct cron_zone *zone;
	struct cron_expr expr;

	if (cron_expr_parse(line->expression, &expr, err) != 0)
		return -1;
	zone = cron_zone_load(line->zone, err);
	if (zone == NULL)
		return -1;
	write_slots(line, &expr, zone);
	cron_zone_free(&zone);
	return 0;
}

int
main(void)
{
	struct line line;
	struct err err;
	int n;

	while ((n = read_line(&line)) == 4)
		if (answer(&line, &err) != 0)
			printf("refused: %s\n", err.message);
	return n == EOF ? EXIT_SUCCESS : EXIT_FAILURE;
}
