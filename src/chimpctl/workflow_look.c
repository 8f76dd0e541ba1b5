/*
 * chimpctl workflow list and show. See workflow_look.h.
 */
#include "chimpctl/workflow_look.h"

#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"

#include <stdio.h>
#include <string.h>

static const char *
text_or_dash(const char *text)
{
	return text != NULL && *text != '\0' ? text : "-";
}

/* Columns as they are, from one to another; NULL is a dash. */
static void
cells(struct table *table, const PGresult *result, int row,
    const char *const *columns)
{
	for (; *columns != NULL; columns++)
		table_cell(
		    table, "%s", text_or_dash(db_text(result, row, *columns)));
}

/* workflow list -------------------------------------------------------------*/

enum { LIST_STATUS, LIST_OLDER, LIST_WHERE, LIST_COUNT, LIST_AFTER };

const struct ctl_option workflow_list_options[] = {
    [LIST_STATUS] = {"status", 's', "STATUS",
	"only in this status: running, sleeping, failed ..."},
    [LIST_OLDER] = {"older", '\0', "INTERVAL",
	"only those begun at least so long ago: 5s, 2 days"},
    [LIST_WHERE] = {"where", '\0', "JSONPATH",
	"only those whose state fits: '$.total > 100'"},
    [LIST_COUNT] = {"number", 'n', "N",
	"at most so many, the newest first; default 20"},
    [LIST_AFTER] = {"after", '\0', "ID",
	"those behind this run, the last one of a list"},
    {0},
};

/* The view's columns, in the order of the function. */
#define LIST_FROM                                                            \
	" from chimp.workflow_list($1, $2, $3::interval, $4::jsonpath,"      \
	" $5::int, $6) with ordinality l (run, n) join chimp.workflows w on" \
	" w.id = l.run ->> 'workflowId'"

static const char list_json_sql[] =
    "select coalesce(jsonb_agg(to_jsonb(w) order by l.n), '[]') as "
    "json" LIST_FROM;

static const char list_sql[] =
    "select w.id, w.name, w.version, w.status, w.current_step, w.waits_for,"
    " w.wake_at, w.created_at, coalesce(w.error ->> 'message',"
    " w.error #>> '{}') as error" LIST_FROM " order by l.n";

/* What nobody has is an error, not an empty list. */
static const char list_check_sql[] =
    "select $1::text is null or exists (select from chimp.workflow w"
    " where w.name = $1) as known, case when $2::text is not null then"
    " (chimp.workflow_find($2)).id end";

static const struct table_column list_columns[] = {
    {"ID", TABLE_LEFT, 60},
    {"WORKFLOW", TABLE_LEFT, 40},
    {"VERSION", TABLE_RIGHT, 0},
    {"STATUS", TABLE_LEFT, 0},
    {"STEP", TABLE_LEFT, 40},
    {"WAITS FOR", TABLE_LEFT, 40},
    {"UNTIL", TABLE_LEFT, 0},
    {"CREATED", TABLE_LEFT, 0},
    {"ERROR", TABLE_LEFT, 60},
};

static void
list_print_row(struct table *table, const PGresult *result, int row)
{
	static const char *const before[] = {"id", "name", "version", "status",
	    "current_step", "waits_for", NULL};

	cells(table, result, row, before);
	table_cell(
	    table, "%s", human_instant(db_text(result, row, "wake_at")).text);
	table_cell(table, "%s",
	    human_instant(db_text(result, row, "created_at")).text);
	table_cell(table, "%s", text_or_dash(db_text(result, row, "error")));
}

static const struct list_form list_form = {
    .none = "no such runs",
    .columns = list_columns,
    .n_columns = sizeof(list_columns) / sizeof(*list_columns),
    .row = list_print_row,
};

/* Misspelt ones would silently match nothing. */
static bool
list_status_valid(const char *status)
{
	static const char *const all[] = {"running", "sleeping",
	    "waiting_signal", "completed", "failed", "cancelled", "parked",
	    NULL};

	for (const char *const *s = all; *s != NULL; s++) {
		if (status == NULL || strcmp(status, *s) == 0)
			return true;
	}
	return false;
}

static int
list_check(struct ctl_call *call, const char *name)
{
	const char *values[] = {name, call->values[LIST_AFTER]};
	PGresult *result;
	char message[128];
	bool known;

	if (!list_status_valid(call->values[LIST_STATUS]))
		return say_usage("They are running, sleeping, waiting_signal, "
				 "completed, failed, cancelled and parked.",
		    "unknown status \"%s\"", call->values[LIST_STATUS]);
	result = db_run(call, list_check_sql, 2, values);
	if (result == NULL)
		return CTL_FAILED;
	known = strcmp(db_text(result, 0, "known"), "t") == 0;
	PQclear(result);
	if (known)
		return CTL_OK;
	snprintf(message, sizeof(message), "unknown workflow \"%.64s\"", name);
	say_error(message, NULL, "No node has ever registered it.");
	return CTL_FAILED;
}

int
workflow_list_run(struct ctl_call *call)
{
	const char *count = call->values[LIST_COUNT];
	const char *name = call->n_args > 0 ? call->args[0] : NULL;
	const char *values[] = {name, call->values[LIST_STATUS],
	    call->values[LIST_OLDER], call->values[LIST_WHERE],
	    count != NULL ? count : "20", call->values[LIST_AFTER]};
	int status = list_check(call, name);

	if (status != CTL_OK)
		return status;
	return list_run(call, list_sql, list_json_sql, 6, values, &list_form);
}

/* workflow show -------------------------------------------------------------*/

#define SIGNALS_FROM                                                 \
	" from chimp.workflow_signal s join chimp.workflow_run r on" \
	" r.id = s.run_id where r.external_id = $1 and"              \
	" s.consumed_seq is null"

/* chimp.workflow_find is what an unknown id fails in. */
static const char show_json_sql[] =
    "select to_jsonb(w) || jsonb_build_object('history', (select coalesce("
    "jsonb_agg(to_jsonb(e) - 'id' order by e.seq), '[]')"
    " from chimp.workflow_events e where e.id = w.id), 'signals', (select"
    " coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'payload',"
    " s.payload, 'dedup_id', s.dedup_id, 'received_at', s.received_at)"
    " order by s.id), '[]')" SIGNALS_FROM ")) as json"
    " from chimp.workflow_find($1) f join chimp.workflows w on"
    " w.id = f.external_id";

static const char show_sql[] =
    "select w.id, w.name, w.version, w.status, w.current_step, w.waits_for,"
    " w.wake_at, w.parent, w.created_at, w.updated_at, w.ended_at,"
    " jsonb_pretty(w.input) as input, jsonb_pretty(w.state) as state,"
    " jsonb_pretty(w.results) as results, jsonb_pretty(w.error) as error"
    " from chimp.workflow_find($1) f join chimp.workflows w on"
    " w.id = f.external_id";

static const char history_sql[] =
    "select seq, step, what, at, attempts, job_id,"
    " coalesce(error ->> 'message', error #>> '{}') as error"
    " from chimp.workflow_events where id = $1 order by seq";

static const char signals_sql[] =
    "select s.name, s.received_at, s.dedup_id, s.payload" SIGNALS_FROM
    " order by s.id";

static const struct table_column history_columns[] = {
    {"SEQ", TABLE_RIGHT, 0},
    {"STEP", TABLE_LEFT, 40},
    {"WHAT", TABLE_LEFT, 40},
    {"AT", TABLE_LEFT, 0},
    {"ATTEMPTS", TABLE_RIGHT, 0},
    {"JOB", TABLE_RIGHT, 0},
    {"ERROR", TABLE_LEFT, 80},
};

static void
history_print_row(struct table *table, const PGresult *result, int row)
{
	static const char *const before[] = {"seq", "step", "what", NULL};
	static const char *const behind[] = {
	    "attempts", "job_id", "error", NULL};

	cells(table, result, row, before);
	table_cell(table, "%s", human_instant(db_text(result, row, "at")).text);
	cells(table, result, row, behind);
}

static const struct list_form history_form = {
    .none = "no transitions yet",
    .columns = history_columns,
    .n_columns = sizeof(history_columns) / sizeof(*history_columns),
    .row = history_print_row,
};

static const struct table_column signal_columns[] = {
    {"SIGNAL", TABLE_LEFT, 40},
    {"RECEIVED", TABLE_LEFT, 0},
    {"DEDUP ID", TABLE_LEFT, 40},
    {"PAYLOAD", TABLE_LEFT, 80},
};

static void
signal_print_row(struct table *table, const PGresult *result, int row)
{
	static const char *const behind[] = {"dedup_id", "payload", NULL};

	table_cell(table, "%s", db_text(result, row, "name"));
	table_cell(table, "%s",
	    human_instant(db_text(result, row, "received_at")).text);
	cells(table, result, row, behind);
}

static const struct list_form signal_form = {
    .none = "no signals wait",
    .columns = signal_columns,
    .n_columns = sizeof(signal_columns) / sizeof(*signal_columns),
    .row = signal_print_row,
};

/* What a person sees of a run, line by line; what is NULL is left out. */
static const struct {
	const char *label;
	const char *column;
	enum { SHOW_TEXT, SHOW_TIME, SHOW_JSON } form;
} show_lines[] = {
    {"id", "id", SHOW_TEXT},
    {"workflow", "name", SHOW_TEXT},
    {"version", "version", SHOW_TEXT},
    {"status", "status", SHOW_TEXT},
    {"step", "current_step", SHOW_TEXT},
    {"waits for", "waits_for", SHOW_TEXT},
    {"until", "wake_at", SHOW_TIME},
    {"parent", "parent", SHOW_TEXT},
    {"created", "created_at", SHOW_TIME},
    {"updated", "updated_at", SHOW_TIME},
    {"ended", "ended_at", SHOW_TIME},
    {"input", "input", SHOW_JSON},
    {"state", "state", SHOW_JSON},
    {"results", "results", SHOW_JSON},
    {"error", "error", SHOW_JSON},
};

static void
show_print(const PGresult *result)
{
	for (size_t i = 0; i < sizeof(show_lines) / sizeof(*show_lines); i++) {
		const char *text = db_text(result, 0, show_lines[i].column);

		if (text == NULL)
			continue;
		switch (show_lines[i].form) {
		case SHOW_TEXT:
			printf("%-14s", show_lines[i].label);
			table_print_text(text, stdout);
			break;
		case SHOW_TIME:
			printf("%-14s%s\n", show_lines[i].label,
			    human_instant(text).text);
			break;
		case SHOW_JSON:
			printf("%s:\n", show_lines[i].label);
			table_print_text(text, stdout);
			break;
		}
	}
}

int
workflow_show_run(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};
	PGresult *result =
	    db_run(call, call->json ? show_json_sql : show_sql, 1, values);
	int status = CTL_OK;

	if (result == NULL)
		return CTL_FAILED;
	if (call->json)
		puts(db_text(result, 0, "json"));
	else {
		show_print(result);
		putchar('\n');
		status =
		    list_run(call, history_sql, NULL, 1, values, &history_form);
		putchar('\n');
		if (status == CTL_OK)
			status = list_run(
			    call, signals_sql, NULL, 1, values, &signal_form);
	}
	PQclear(result);
	return status;
}
