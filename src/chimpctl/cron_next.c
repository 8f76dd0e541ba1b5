/*
 * chimpctl cron next: the slots of a schedule, which needs its database, or of
 * an expression, which needs none. See cron_next.h.
 */
#include "chimpctl/cron_next.h"

#include "chimpctl/db.h"
#include "chimpctl/instant.h"
#include "chimpctl/say.h"
#include "common/base/err.h"
#include "common/cron/cron_expr.h"
#include "common/cron/cron_next.h"
#include "common/cron/cron_zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NEXT_EXPRESSION, NEXT_TIMEZONE, NEXT_FROM, NEXT_COUNT };

const struct ctl_option cron_next_options[] = {
    [NEXT_EXPRESSION] = {"expression", '\0', "CRON",
	"of this expression instead of a schedule; needs no database"},
    [NEXT_TIMEZONE] = {"timezone", '\0', "ZONE",
	"where the expression is read; default UTC"},
    [NEXT_FROM] = {"from", '\0', "INSTANT",
	"those after it: 2026-03-28T00:00:00Z; default now"},
    [NEXT_COUNT] = {"number", 'n', "N", "at most so many; default 5"},
    {0},
};

/* What to print. */
struct next {
	struct cron_expr expr;
	struct cron_zone *zone;
	int64_t from_s;
	long count;
};

/* What is wrong with the options is usage; what they say about a schedule that
 * cannot be is failure. */
static int
next_usage(const struct ctl_call *call, struct next *next)
{
	const char *count = call->values[NEXT_COUNT];
	const char *from = call->values[NEXT_FROM];
	char *end = NULL;

	next->count = count == NULL ? 5 : strtol(count, &end, 10);
	if (count != NULL &&
	    (*count == '\0' || *end != '\0' || next->count < 1))
		return say_usage(
		    NULL, "\"%s\" is not a number of slots", count);
	if (from != NULL && instant_parse(from, &next->from_s) != 0)
		return say_usage("Write it as 2026-03-28T00:00:00Z or "
				 "2026-03-28T01:00+01:00.",
		    "\"%s\" is not an instant", from);
	if (call->values[NEXT_EXPRESSION] == NULL) {
		if (call->n_args == 0)
			return say_usage(NULL, "chimpctl cron next needs the "
					       "NAME of a schedule or "
					       "--expression");
		if (call->values[NEXT_TIMEZONE] != NULL)
			return say_usage(NULL, "--timezone goes with "
					       "--expression; a schedule has "
					       "its own");
	} else if (call->n_args > 0)
		return say_usage(
		    NULL, "NAME and --expression exclude each other");
	return CTL_OK;
}

static int
next_read(struct next *next, const char *expression, const char *timezone)
{
	struct err err;

	if (cron_expr_parse(expression, &next->expr, &err) == 0)
		next->zone = cron_zone_load(timezone, &err);
	if (next->zone != NULL)
		return CTL_OK;
	say_err(&err);
	return CTL_FAILED;
}

/* Its expression, its zone, and the time by the database's clock. */
static int
next_read_schedule(struct ctl_call *call, struct next *next)
{
	const char *values[] = {call->args[0]};
	PGresult *result = db_run(call,
	    "select (s).expression, (s).timezone,"
	    " floor(extract(epoch from clock_timestamp()))::bigint as now_s"
	    " from chimp.schedule_get($1) s",
	    1, values);
	int status;

	if (result == NULL)
		return CTL_FAILED;
	if (call->values[NEXT_FROM] == NULL)
		next->from_s = strtoll(db_text(result, 0, "now_s"), NULL, 10);
	status = next_read(next, db_text(result, 0, "expression"),
	    db_text(result, 0, "timezone"));
	PQclear(result);
	return status;
}

static int
next_read_option(struct ctl_call *call, struct next *next)
{
	const char *timezone = call->values[NEXT_TIMEZONE];

	if (call->values[NEXT_FROM] == NULL)
		next->from_s = time(NULL);
	return next_read(next, call->values[NEXT_EXPRESSION],
	    timezone != NULL ? timezone : "UTC");
}

static void
next_print_json(int64_t at_s, bool first)
{
	printf("%s\"%s\"", first ? "" : ", ", instant_utc(at_s).text);
}

static void
next_print_line(const struct cron_zone *zone, int64_t at_s)
{
	struct cron_span span;

	cron_zone_span(zone, at_s, &span);
	printf("%s  %s\n", instant_utc(at_s).text,
	    instant_wall(at_s, span.offset_s).text);
}

static int
next_print(const struct next *next, bool json)
{
	int64_t at_s = next->from_s;
	long n = 0;

	if (json)
		putchar('[');
	while (n < next->count &&
	       cron_next(&next->expr, next->zone, at_s, &at_s) == 0) {
		if (json)
			next_print_json(at_s, n == 0);
		else
			next_print_line(next->zone, at_s);
		n++;
	}
	if (json)
		puts("]");
	else if (n == 0)
		puts("no slots");
	return CTL_OK;
}

int
cron_next_run(struct ctl_call *call)
{
	struct next next = {0};
	int status = next_usage(call, &next);

	if (status == CTL_OK)
		status = call->n_args > 0 ? next_read_schedule(call, &next)
					  : next_read_option(call, &next);
	if (status == CTL_OK)
		status = next_print(&next, call->json);
	cron_zone_free(&next.zone);
	return status;
}
