/*
 * chimpctl why: what something waits for.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/table.h"

#include <stdio.h>

/* One statement, which makes the lines: the sentences are the database's. */
static const char job_sql[] =
    "select w as json, format(E'job %s of queue %s is %s, attempt %s of %s"
    "%s\\n', w ->> 'id', w ->> 'queue', w ->> 'state', w ->> 'attempt',"
    " w ->> 'max_attempts', case when w -> 'interruptions' <> '0' then"
    " ', interrupted ' || (w ->> 'interruptions') || ' times' else '' end)"
    " || (select coalesce(string_agg('  ' || (r ->> 'why') || E'\\n', ''"
    " order by n), '') from jsonb_array_elements(w -> 'reasons')"
    " with ordinality x (r, n))"
    " || (select coalesce(string_agg(format(E'  failed at %s: %s\\n',"
    " date_trunc('second', (e ->> 'at')::timestamptz),"
    " e #>> '{error,message}'), '' order by n), '')"
    " from jsonb_array_elements(w -> 'errors') with ordinality x (e, n))"
    " as text from chimp.why_job($1::bigint) w";

static const char schedule_sql[] =
    "select w as json, format(E'schedule %s (%s, %s) is %s\\n', w ->> 'name',"
    " w ->> 'schedule', w ->> 'timezone', w ->> 'state')"
    " || (select coalesce(string_agg('  ' || (r ->> 'why') || E'\\n', ''"
    " order by n), '') from jsonb_array_elements(w -> 'reasons')"
    " with ordinality x (r, n)) as text from chimp.why_schedule($1) w";

static const char subscription_sql[] =
    "select w as json, format(E'subscription %s (%s) is %s\\n', w ->> 'name',"
    " w ->> 'event', w ->> 'state')"
    " || (select coalesce(string_agg('  ' || (r ->> 'why') || E'\\n', ''"
    " order by n), '') from jsonb_array_elements(w -> 'reasons')"
    " with ordinality x (r, n)) as text from chimp.why_subscription($1) w";

static const char workflow_sql[] =
    "select w as json, format(E'run %s of workflow %s, version %s, is %s%s\\n',"
    " w ->> 'id', w ->> 'name', w ->> 'version', w ->> 'status',"
    " coalesce(' at step ' || (w ->> 'step'), ''))"
    " || (select coalesce(string_agg('  ' || (r ->> 'why') || E'\\n', ''"
    " order by n), '') from jsonb_array_elements(w -> 'reasons')"
    " with ordinality x (r, n)) as text from chimp.why_workflow($1) w";

static int
why_print(struct ctl_call *call, const char *sql)
{
	const char *values[] = {call->args[0]};
	PGresult *result = db_run(call, sql, 1, values);

	if (result == NULL)
		return CTL_FAILED;
	if (call->json)
		puts(db_text(result, 0, "json"));
	else
		table_print_text(db_text(result, 0, "text"), stdout);
	PQclear(result);
	return CTL_OK;
}

static int
why_job(struct ctl_call *call)
{
	return why_print(call, job_sql);
}

static int
why_schedule(struct ctl_call *call)
{
	return why_print(call, schedule_sql);
}

static int
why_subscription(struct ctl_call *call)
{
	return why_print(call, subscription_sql);
}

static int
why_workflow(struct ctl_call *call)
{
	return why_print(call, workflow_sql);
}

static const struct ctl_verb why_verbs[] = {
    {"job", "ID",
	"what a job waits for: a pause, a limit, a key, an instant, a worker;\n"
	"or where it runs, or how it ended; with its last errors",
	1, 1, NULL, why_job},
    {"schedule", "NAME",
	"why it fires or does not: its next slot, a pause, an error; its last\n"
	"slot and how that one's job stands",
	1, 1, NULL, why_schedule},
    {"subscription", "NAME",
	"why it lags: processes, a pause, lanes that a failed event holds, a\n"
	"gap, transactions that are open for long; or that it does not",
	1, 1, NULL, why_subscription},
    {"workflow", "ID",
	"what a run waits for: a signal, an instant, a child, its job, a node\n"
	"that has its version; or what failed, or how it ended",
	1, 1, NULL, why_workflow},
    {0},
};

const struct ctl_noun noun_why = {
    .name = "why",
    .help = "what something waits for",
    .verbs = why_verbs,
};
