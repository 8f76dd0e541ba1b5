/*
 * chimpctl event tail. See event_tail.h.
 *
 * It reads as a subscription does: up to a tick, in the order of the stream,
 * from its position on. So it misses nothing, whatever the order in which
 * transactions commit, and shows nothing twice.
 */
#include "chimpctl/event_tail.h"

#include "chimpctl/db.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TAIL_LOOK_MS 200
enum { TAIL_PIECE = 1000 }; /* events per statement */

enum { TAIL_COUNT, TAIL_FOLLOW };

const struct ctl_option event_tail_options[] = {
    [TAIL_COUNT] = {"number", 'n', "N",
	"begin with the last so many; default 10"},
    [TAIL_FOLLOW] = {"follow", 'f', NULL,
	"go on with those that come, until it is interrupted"},
    {0},
};

struct tail {
	struct ctl_call *call;
	const char *pattern;
	/* Everything up to here has been printed. */
	int64_t tick;
	int64_t id; /* INT64_MAX: all of the tick */
};

static const char tail_back_sql[] =
    "select tick, id from chimp.events_back($1, $2::int)";
static const char tail_tick_sql[] = "select chimp.tick() as tick";
static const char tail_read_sql[] =
    "select tick, id, event as json, translate(concat_ws('  ', id,"
    " date_trunc('second', (event ->> 'publishedAt')::timestamptz),"
    " event ->> 'event', 'key ' || (event ->> 'key'), event ->> 'payload'),"
    " E'\n\t', '?\?') as line"
    " from chimp.events_after($1::bigint, $2::bigint, $3, $4::int)";

static int64_t
tail_int(const PGresult *result, int row, const char *column)
{
	return strtoll(db_text(result, row, column), NULL, 10);
}

/* Print what is behind the position, a piece of it; how many, -1 after an
 * error. */
static int
tail_piece(struct tail *tail)
{
	char tick[24], id[24], piece[24];
	const char *values[] = {tick, id, tail->pattern, piece};
	PGresult *result;
	int rows;

	snprintf(tick, sizeof(tick), "%" PRId64, tail->tick);
	snprintf(id, sizeof(id), "%" PRId64, tail->id);
	snprintf(piece, sizeof(piece), "%d", TAIL_PIECE);
	result = db_run(tail->call, tail_read_sql, 4, values);
	if (result == NULL)
		return -1;
	rows = PQntuples(result);
	for (int row = 0; row < rows; row++)
		table_print_text(
		    db_text(result, row, tail->call->json ? "json" : "line"),
		    stdout);
	if (rows > 0) {
		tail->tick = tail_int(result, rows - 1, "tick");
		tail->id = tail_int(result, rows - 1, "id");
	}
	PQclear(result);
	return rows;
}

/* Print all up to the newest tick, which is cut now. */
static int
tail_look(struct tail *tail)
{
	PGresult *result = db_run(tail->call, tail_tick_sql, 0, NULL);
	int64_t newest;
	int rows;

	if (result == NULL)
		return -1;
	newest = tail_int(result, 0, "tick");
	PQclear(result);
	if (tail->tick == newest && tail->id == INT64_MAX)
		return 0;
	do {
		rows = tail_piece(tail);
	} while (rows == TAIL_PIECE);
	/* A later tick may have come meanwhile, and been read in part. */
	if (rows >= 0 && tail->tick <= newest) {
		tail->tick = newest;
		tail->id = INT64_MAX;
	}
	return rows < 0 || fflush(stdout) != 0 ? -1 : 0;
}

static int
tail_begin(struct tail *tail, const char *count)
{
	const char *values[] = {tail->pattern, count};
	PGresult *result = db_run(tail->call, tail_back_sql, 2, values);

	if (result == NULL)
		return -1;
	tail->tick = tail_int(result, 0, "tick");
	tail->id = tail_int(result, 0, "id");
	PQclear(result);
	return 0;
}

int
event_tail_run(struct ctl_call *call)
{
	static const struct timespec pause = {
	    .tv_nsec = TAIL_LOOK_MS * 1000 * 1000};
	const char *count = call->values[TAIL_COUNT];
	char *end = NULL;
	long n = count == NULL ? 10 : strtol(count, &end, 10);
	struct tail tail = {
	    .call = call, .pattern = call->n_args > 0 ? call->args[0] : "*"};

	if (n < 0 || n > INT32_MAX - 1 ||
	    (count != NULL && (*count == '\0' || *end != '\0')))
		return say_usage(
		    NULL, "\"%s\" is not a number of events", count);
	if (tail_begin(&tail, count != NULL ? count : "10") != 0 ||
	    tail_look(&tail) != 0)
		return CTL_FAILED;
	while (call->values[TAIL_FOLLOW] != NULL) {
		nanosleep(&pause, NULL);
		if (tail_look(&tail) != 0)
			return CTL_FAILED;
	}
	return CTL_OK;
}
