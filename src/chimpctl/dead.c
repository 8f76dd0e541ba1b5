/*
 * chimpctl dead: jobs whose last attempt has failed.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEAD_COUNT };

/* dead list -----------------------------------------------------------------*/

static const struct ctl_option list_options[] = {
    [DEAD_COUNT] = {"number", 'n', "N",
	"at most so many, the newest first; default 20"},
    {0},
};

#define LIST_FROM                                                    \
	" from (select * from chimp.jobs"                            \
	" where state = 'dead' and ($1::text is null or queue = $1)" \
	" order by ended_at desc limit $2::bigint) j"

static const char list_json_sql[] =
    "select coalesce(jsonb_agg(to_jsonb(j) order by j.ended_at desc), '[]')"
    " as json" LIST_FROM;

static const char list_sql[] =
    "select id, queue, attempt, ended_at, coalesce(error ->> 'kind',"
    " error ->> 'sqlstate', '-') as kind,"
    " coalesce(error ->> 'message', error #>> '{}', '-') as error" LIST_FROM
    " order by j.ended_at desc";

static const struct table_column list_columns[] = {
    {"ID", TABLE_RIGHT, 0},
    {"QUEUE", TABLE_LEFT, 40},
    {"ATTEMPTS", TABLE_RIGHT, 0},
    {"DEAD SINCE", TABLE_LEFT, 0},
    {"KIND", TABLE_LEFT, 0},
    {"LAST ERROR", TABLE_LEFT, 80},
};

static void
list_print_row(struct table *table, const PGresult *result, int row)
{
	table_cell(table, "%s", db_text(result, row, "id"));
	table_cell(table, "%s", db_text(result, row, "queue"));
	table_cell(table, "%s", db_text(result, row, "attempt"));
	table_cell(
	    table, "%s", human_instant(db_text(result, row, "ended_at")).text);
	table_cell(table, "%s", db_text(result, row, "kind"));
	table_cell(table, "%s", db_text(result, row, "error"));
}

static const struct list_form list_form = {
    .none = "no dead jobs",
    .columns = list_columns,
    .n_columns = sizeof(list_columns) / sizeof(*list_columns),
    .row = list_print_row,
};

static int
dead_list(struct ctl_call *call)
{
	const char *count = call->values[DEAD_COUNT];
	const char *values[] = {call->n_args > 0 ? call->args[0] : NULL,
	    count != NULL ? count : "20"};

	return list_run(call, list_sql, list_json_sql, 2, values, &list_form);
}

/* dead redrive, purge -------------------------------------------------------*/

static const struct ctl_option some_options[] = {
    [DEAD_COUNT] = {"number", 'n', "N",
	"at most so many, the oldest first; default: all"},
    {0},
};

enum { DEAD_PIECE = 1000 };

/* How many of at most `wanted` there were; -1 after an error. */
static long
dead_piece(struct ctl_call *call, const char *sql, long wanted)
{
	char number[24];
	const char *values[] = {call->args[0], number};
	PGresult *result;
	long n;

	snprintf(number, sizeof(number), "%ld", wanted);
	result = db_run(call, sql, 2, values);
	if (result == NULL)
		return -1;
	n = strtol(db_text(result, 0, "n"), NULL, 10);
	PQclear(result);
	return n;
}

/* Up to max, a piece at a time, so that no transaction is long. */
static int
dead_pieces(struct ctl_call *call, const char *sql, const char *word)
{
	const char *count = call->values[DEAD_COUNT];
	char *end = NULL;
	long max = count != NULL ? strtol(count, &end, 10) : LONG_MAX;
	long all = 0, n = 0, wanted;

	if (max < 0 || (count != NULL && (*count == '\0' || *end != '\0')))
		return say_usage(NULL, "\"%s\" is not a number of jobs", count);
	do {
		wanted = max - all < DEAD_PIECE ? max - all : DEAD_PIECE;
		n = dead_piece(call, sql, wanted);
		if (n < 0)
			return CTL_FAILED;
		all += n;
	} while (n == wanted && n > 0);
	if (call->json)
		printf("{\"%s\": %ld}\n", word, all);
	else
		printf("%ld jobs %s\n", all, word);
	return CTL_OK;
}

static int
dead_redrive(struct ctl_call *call)
{
	return dead_pieces(
	    call, "select chimp.redrive($1, $2::int) as n", "redriven");
}

static int
dead_purge(struct ctl_call *call)
{
	return dead_pieces(
	    call, "select chimp.purge($1, $2::int) as n", "purged");
}

/* The noun ------------------------------------------------------------------*/

static const struct ctl_verb dead_verbs[] = {
    {"list", "[QUEUE]", "dead jobs and their last error, the newest first", 0,
	1, list_options, dead_list},
    {"redrive", "QUEUE", "make dead jobs ready again, with all their attempts",
	1, 1, some_options, dead_redrive},
    {"purge", "QUEUE", "delete dead jobs", 1, 1, some_options, dead_purge},
    {0},
};

const struct ctl_noun noun_dead = {
    .name = "dead",
    .help = "jobs whose last attempt has failed; redrive or purge them",
    .verbs = dead_verbs,
};
