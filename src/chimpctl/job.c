/*
 * chimpctl job: put jobs into queues, look at them.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/payload.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"

#include <stdlib.h>
#include <string.h>

/* job enqueue ---------------------------------------------------------------*/

enum {
	ENQUEUE_DELAY,
	ENQUEUE_RUN_AT,
	ENQUEUE_PRIORITY,
	ENQUEUE_UNIQUE,
	ENQUEUE_ORDERING,
	ENQUEUE_ATTEMPTS,
	ENQUEUE_TIMEOUT
};

static const struct ctl_option enqueue_options[] = {
    [ENQUEUE_DELAY] = {"delay", '\0', "INTERVAL",
	"run it no sooner than this from now: 5s, 10 minutes"},
    [ENQUEUE_RUN_AT] = {"run-at", '\0', "INSTANT",
	"run it no sooner than then: 2027-01-31T08:00+01"},
    [ENQUEUE_PRIORITY] = {"priority", '\0', "N",
	"higher ones run first; default: the queue's"},
    [ENQUEUE_UNIQUE] = {"unique-key", '\0', "KEY",
	"while a job with this key has not ended, answer its id"},
    [ENQUEUE_ORDERING] = {"ordering-key", '\0', "KEY",
	"jobs of one key run one at a time, in order"},
    [ENQUEUE_ATTEMPTS] = {"max-attempts", '\0', "N",
	"dead after so many failures; default: the queue's"},
    [ENQUEUE_TIMEOUT] = {"timeout", '\0', "INTERVAL",
	"of one attempt; default: the queue's"},
    {0},
};

static const char enqueue_sql[] =
    "select id, jsonb_build_object('id', id) as json"
    " from chimp.enqueue(queue => $1, payload => coalesce($2::jsonb, '{}'),"
    " delay => $3::interval, priority => $4::int, unique_key => $5,"
    " ordering_key => $6, run_at => $7::timestamptz,"
    " max_attempts => $8::int, timeout => $9::interval) as id";

static int
enqueue_send(struct ctl_call *call, const char *payload)
{
	const char *values[] = {call->args[0], payload,
	    call->values[ENQUEUE_DELAY], call->values[ENQUEUE_PRIORITY],
	    call->values[ENQUEUE_UNIQUE], call->values[ENQUEUE_ORDERING],
	    call->values[ENQUEUE_RUN_AT], call->values[ENQUEUE_ATTEMPTS],
	    call->values[ENQUEUE_TIMEOUT]};
	PGresult *result = db_run(call, enqueue_sql, 9, values);

	if (result == NULL)
		return CTL_FAILED;
	puts(db_text(result, 0, call->json ? "json" : "id"));
	PQclear(result);
	return CTL_OK;
}

static int
job_enqueue(struct ctl_call *call)
{
	return payload_send(
	    call, call->n_args > 1 ? call->args[1] : NULL, enqueue_send);
}

/* job list ------------------------------------------------------------------*/

enum { LIST_QUEUE, LIST_STATE, LIST_COUNT };

static const struct ctl_option list_options[] = {
    [LIST_QUEUE] = {"queue", 'q', "QUEUE", "only of this queue"},
    [LIST_STATE] = {"state", 's', "STATE",
	"only in this state: ready, scheduled, done ..."},
    [LIST_COUNT] = {"number", 'n', "N",
	"at most so many, the newest first; default 20"},
    {0},
};

#define LIST_FROM                                 \
	" from (select * from chimp.jobs"         \
	" where ($1::text is null or queue = $1)" \
	" and ($2::text is null or state = $2)"   \
	" order by id desc limit $3::bigint) j"

static const char list_json_sql[] =
    "select coalesce(jsonb_agg(to_jsonb(j) order by j.id desc), '[]') as "
    "json" LIST_FROM;

static const char list_sql[] =
    "select id, queue, state, attempt || '/' || max_attempts as attempt,"
    " priority, created_at,"
    " round(extract(epoch from coalesce(ended_at, clock_timestamp())"
    " - started_at) * 1000)::bigint as ran_ms, node,"
    " coalesce(error ->> 'message', error #>> '{}') as error" LIST_FROM
    " order by j.id desc";

static const struct table_column list_columns[] = {
    {"ID", TABLE_RIGHT, 0},
    {"QUEUE", TABLE_LEFT, 40},
    {"STATE", TABLE_LEFT, 0},
    {"ATTEMPT", TABLE_RIGHT, 0},
    {"PRIORITY", TABLE_RIGHT, 0},
    {"CREATED", TABLE_LEFT, 0},
    {"RAN", TABLE_RIGHT, 0},
    {"NODE", TABLE_LEFT, 24},
    {"LAST ERROR", TABLE_LEFT, 60},
};

static const char *
text_or_dash(const char *text)
{
	return text != NULL ? text : "-";
}

static void
list_print_row(struct table *table, const PGresult *result, int row)
{
	const char *ran_ms = db_text(result, row, "ran_ms");

	table_cell(table, "%s", db_text(result, row, "id"));
	table_cell(table, "%s", db_text(result, row, "queue"));
	table_cell(table, "%s", db_text(result, row, "state"));
	table_cell(table, "%s", db_text(result, row, "attempt"));
	table_cell(table, "%s", db_text(result, row, "priority"));
	table_cell(table, "%s",
	    human_instant(db_text(result, row, "created_at")).text);
	table_cell(table, "%s",
	    ran_ms == NULL ? "-"
			   : human_duration(strtoll(ran_ms, NULL, 10)).text);
	table_cell(table, "%s", text_or_dash(db_text(result, row, "node")));
	table_cell(table, "%s", text_or_dash(db_text(result, row, "error")));
}

static const struct list_form list_form = {
    .none = "no such jobs",
    .columns = list_columns,
    .n_columns = sizeof(list_columns) / sizeof(*list_columns),
    .row = list_print_row,
};

/* Misspelt states would silently match nothing. */
static bool
list_state_valid(const char *state)
{
	static const char *const states[] = {
	    "ready", "scheduled", "running", "done", "dead", "cancelled", NULL};

	for (const char *const *s = states; *s != NULL; s++) {
		if (state == NULL || strcmp(state, *s) == 0)
			return true;
	}
	return false;
}

static int
job_list(struct ctl_call *call)
{
	const char *state = call->values[LIST_STATE];
	const char *count = call->values[LIST_COUNT];
	const char *values[] = {
	    call->values[LIST_QUEUE], state, count != NULL ? count : "20"};

	if (!list_state_valid(state))
		return say_usage("States are ready, scheduled, running, done, "
				 "dead and cancelled.",
		    "unknown state \"%s\"", state);
	return list_run(call, list_sql, list_json_sql, 3, values, &list_form);
}

/* job show ------------------------------------------------------------------*/

/* Values as text: numbers in a payload keep the digits that they have. */
static const char show_sql[] =
    "select to_jsonb(j) as json, id, queue, state,"
    " attempt || ' of ' || max_attempts as attempt, priority, node,"
    " unique_key, ordering_key, request_id, traceparent, created_at, run_at, "
    "started_at, ended_at,"
    " round(extract(epoch from n - created_at) * 1000) as created_at_ms,"
    " round(extract(epoch from n - run_at) * 1000) as run_at_ms,"
    " round(extract(epoch from n - started_at) * 1000) as started_at_ms,"
    " round(extract(epoch from n - ended_at) * 1000) as ended_at_ms,"
    " jsonb_pretty(payload) as payload, jsonb_pretty(result) as result,"
    " jsonb_pretty(error) as error"
    " from chimp.jobs j, clock_timestamp() n where id = $1::bigint";

/* What a person sees of a job, line by line; what is NULL is left out. */
static const struct {
	const char *label;
	const char *column;
	enum { SHOW_TEXT, SHOW_TIME, SHOW_JSON } form;
} show_lines[] = {
    {"id", "id", SHOW_TEXT},
    {"queue", "queue", SHOW_TEXT},
    {"state", "state", SHOW_TEXT},
    {"attempt", "attempt", SHOW_TEXT},
    {"priority", "priority", SHOW_TEXT},
    {"unique key", "unique_key", SHOW_TEXT},
    {"ordering key", "ordering_key", SHOW_TEXT},
    {"node", "node", SHOW_TEXT},
    {"request", "request_id", SHOW_TEXT},
    {"traceparent", "traceparent", SHOW_TEXT},
    {"created", "created_at", SHOW_TIME},
    {"due", "run_at", SHOW_TIME},
    {"started", "started_at", SHOW_TIME},
    {"ended", "ended_at", SHOW_TIME},
    {"payload", "payload", SHOW_JSON},
    {"result", "result", SHOW_JSON},
    {"last error", "error", SHOW_JSON},
};

static void
show_time(const PGresult *result, const char *column)
{
	char ms_column[64];

	snprintf(ms_column, sizeof(ms_column), "%s_ms", column);
	printf("%s (%s)\n", human_instant(db_text(result, 0, column)).text,
	    human_ago(strtoll(db_text(result, 0, ms_column), NULL, 10)).text);
}

static void
show_print(const PGresult *result)
{
	size_t n = sizeof(show_lines) / sizeof(*show_lines);

	for (size_t i = 0; i < n; i++) {
		const char *text = db_text(result, 0, show_lines[i].column);

		if (text == NULL)
			continue;
		switch (show_lines[i].form) {
		case SHOW_TEXT:
			printf("%-14s", show_lines[i].label);
			table_print_text(text, stdout);
			break;
		case SHOW_TIME:
			printf("%-14s", show_lines[i].label);
			show_time(result, show_lines[i].column);
			break;
		case SHOW_JSON:
			printf("%s:\n", show_lines[i].label);
			table_print_text(text, stdout);
			break;
		}
	}
}

static int
job_show(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};
	PGresult *result = db_run(call, show_sql, 1, values);
	int status = CTL_OK;

	if (result == NULL)
		return CTL_FAILED;
	if (PQntuples(result) == 0) {
		char message[128];

		snprintf(message, sizeof(message), "there is no job %.32s",
		    call->args[0]);
		say_error(message, NULL, "chimpctl job list shows them.");
		status = CTL_FAILED;
	} else if (call->json)
		puts(db_text(result, 0, "json"));
	else
		show_print(result);
	PQclear(result);
	return status;
}

/* job cancel, retry ---------------------------------------------------------*/

/* For each id; false from the database is told as a failure, and the others
 * are done all the same. */
static int
job_each(struct ctl_call *call, const char *sql, const char *why_not)
{
	int status = CTL_OK;

	for (int i = 0; i < call->n_args; i++) {
		const char *values[] = {call->args[i]};
		PGresult *result = db_run(call, sql, 1, values);
		char message[128];

		if (result == NULL) {
			status = CTL_FAILED;
			continue;
		}
		if (call->json)
			puts(db_text(result, 0, "json"));
		if (strcmp(db_text(result, 0, "done"), "t") != 0) {
			snprintf(message, sizeof(message), "job %.32s %s",
			    call->args[i], why_not);
			say_error(message, NULL, NULL);
			status = CTL_FAILED;
		}
		PQclear(result);
	}
	return status;
}

static int
job_cancel(struct ctl_call *call)
{
	return job_each(call,
	    "select done, jsonb_build_object('id', $1::bigint, 'cancelled',"
	    " done) as json from chimp.cancel($1::bigint) done",
	    "has ended already");
}

static int
job_retry(struct ctl_call *call)
{
	return job_each(call,
	    "select done, jsonb_build_object('id', $1::bigint, 'ready', done)"
	    " as json from chimp.retry($1::bigint) done",
	    "is neither scheduled, dead nor cancelled");
}

/* The noun ------------------------------------------------------------------*/

static const struct ctl_verb job_verbs[] = {
    {"enqueue", "QUEUE [PAYLOAD|-]",
	"put a job into a queue and print its id; the payload is one JSON\n"
	"value, default {}, - reads it from standard input",
	1, 2, enqueue_options, job_enqueue},
    {"list", "", "list jobs, the newest first", 0, 0, list_options, job_list},
    {"cancel", "ID ...",
	"cancel jobs that have not ended; the query of a running one ends too",
	1, 100, NULL, job_cancel},
    {"retry", "ID ...",
	"make scheduled, dead or cancelled jobs ready now, with all attempts",
	1, 100, NULL, job_retry},
    {"show", "ID", "everything about one job", 1, 1, NULL, job_show},
    {0},
};

const struct ctl_noun noun_job = {
    .name = "job",
    .help = "put jobs into queues, look at them",
    .verbs = job_verbs,
};
