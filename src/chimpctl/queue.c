/*
 * chimpctl queue: how full queues are, and whether they go on.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* queue list ----------------------------------------------------------------*/

static const char list_sql[] =
    "select q.*, round(extract(epoch from q.oldest_ready_age) * 1000)::bigint"
    " as oldest_ms, case when not q.active then 'not registered'"
    " when q.paused_at is not null then 'paused by ' || q.paused_by"
    " when q.consumers = 0 then 'no consumer' else 'served' end as status,"
    " concat_ws(', ',"
    " case when q.concurrency > 0 then q.concurrency || ' at once' end,"
    " case when q.key_concurrency > 1 then q.key_concurrency || ' per key' "
    "end,"
    " case when q.rate_count > 0 then q.rate_count || ' in '"
    " || q.rate_ms || ' ms' end,"
    " case when q.max_ready > 0 then q.max_ready || ' ready' end) as limits"
    " from chimp.queues q order by q.name";

static const char list_json_sql[] =
    "select coalesce(jsonb_agg(to_jsonb(q) order by q.name), '[]') as json"
    " from chimp.queues q";

static const struct table_column list_columns[] = {
    {"QUEUE", TABLE_LEFT, 50},
    {"READY", TABLE_RIGHT, 0},
    {"SCHEDULED", TABLE_RIGHT, 0},
    {"RUNNING", TABLE_RIGHT, 0},
    {"DONE", TABLE_RIGHT, 0},
    {"DEAD", TABLE_RIGHT, 0},
    {"CANCELLED", TABLE_RIGHT, 0},
    {"OLDEST", TABLE_RIGHT, 0},
    {"CONSUMERS", TABLE_RIGHT, 0},
    {"STATUS", TABLE_LEFT, 40},
    {"LIMITS", TABLE_LEFT, 60},
};

static void
list_print_row(struct table *table, const PGresult *result, int row)
{
	static const char *const counts[] = {
	    "ready", "scheduled", "running", "done", "dead", "cancelled"};
	const char *oldest_ms = db_text(result, row, "oldest_ms");

	table_cell(table, "%s", db_text(result, row, "name"));
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		table_cell(table, "%s", db_text(result, row, counts[i]));
	table_cell(table, "%s",
	    oldest_ms == NULL
		? "-"
		: human_duration(strtoll(oldest_ms, NULL, 10)).text);
	table_cell(table, "%s", db_text(result, row, "consumers"));
	table_cell(table, "%s", db_text(result, row, "status"));
	table_cell(table, "%s", db_text(result, row, "limits"));
}

static const struct list_form list_form = {
    .none = "no queues",
    .columns = list_columns,
    .n_columns = sizeof(list_columns) / sizeof(*list_columns),
    .row = list_print_row,
};

static int
queue_list(struct ctl_call *call)
{
	return list_run(call, list_sql, list_json_sql, 0, NULL, &list_form);
}

/* queue pause, resume, drain ------------------------------------------------*/

/* One call per queue that is named; nothing is printed but by JSON. */
static int
queue_each(struct ctl_call *call, const char *sql)
{
	for (int i = 0; i < call->n_args; i++) {
		const char *values[] = {call->args[i]};
		PGresult *result = db_run(call, sql, 1, values);

		if (result == NULL)
			return CTL_FAILED;
		if (call->json)
			puts(db_text(result, 0, "json"));
		PQclear(result);
	}
	return CTL_OK;
}

static int
queue_pause(struct ctl_call *call)
{
	return queue_each(call,
	    "select jsonb_build_object('queue', $1::text, 'paused', true) as "
	    "json from (select chimp.pause($1)) x");
}

static int
queue_resume(struct ctl_call *call)
{
	return queue_each(call,
	    "select jsonb_build_object('queue', $1::text, 'paused', false) as "
	    "json from (select chimp.resume($1)) x");
}

/* A piece at a time, so that no transaction is long. */
static int
queue_drain(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};
	long cancelled = 0, piece;

	do {
		PGresult *result =
		    db_run(call, "select chimp.drain($1) as n", 1, values);

		if (result == NULL)
			return CTL_FAILED;
		piece = strtol(db_text(result, 0, "n"), NULL, 10);
		cancelled += piece;
		PQclear(result);
	} while (piece > 0);
	printf(call->json ? "{\"cancelled\": %ld}\n" : "%ld jobs cancelled\n",
	    cancelled);
	return CTL_OK;
}

/* The noun ------------------------------------------------------------------*/

static const struct ctl_verb queue_verbs[] = {
    {"list", "", "queues: their jobs by state, and who serves them", 0, 0, NULL,
	queue_list},
    {"pause", "QUEUE ...", "stop new claims on all nodes; jobs that run finish",
	1, 100, NULL, queue_pause},
    {"resume", "QUEUE ...", "go on after a pause", 1, 100, NULL, queue_resume},
    {"drain", "QUEUE",
	"cancel all jobs that wait, and say how many; those that run go on", 1,
	1, NULL, queue_drain},
    {0},
};

const struct ctl_noun noun_queue = {
    .name = "queue",
    .help = "how full queues are; pause, resume and drain them",
    .verbs = queue_verbs,
};
