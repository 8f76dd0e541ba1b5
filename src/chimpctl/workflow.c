/*
 * chimpctl workflow: runs of workflows, and their definitions.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/payload.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"
#include "chimpctl/workflow_check.h"
#include "chimpctl/workflow_look.h"

#include <stdio.h>
#include <string.h>

/* workflow start ------------------------------------------------------------*/

enum { START_ID };

static const struct ctl_option start_options[] = {
    [START_ID] = {"id", '\0', "ID",
	"of the run; where there is one with it, nothing happens"},
    {0},
};

static int
start_send(struct ctl_call *call, const char *input)
{
	const char *values[] = {call->args[0], input, call->values[START_ID]};

	return db_say(call,
	    "select id as text, jsonb_build_object('id', id) as json"
	    " from chimp.workflow_start($1, coalesce($2::jsonb, '{}'), $3) id",
	    3, values);
}

static int
workflow_start(struct ctl_call *call)
{
	return payload_send(
	    call, call->n_args > 1 ? call->args[1] : NULL, start_send);
}

/* workflow signal -----------------------------------------------------------*/

enum { SIGNAL_DEDUP };

static const struct ctl_option signal_options[] = {
    [SIGNAL_DEDUP] = {"dedup-id", '\0', "ID",
	"a second signal with it does nothing"},
    {0},
};

static int
signal_send(struct ctl_call *call, const char *payload)
{
	const char *values[] = {
	    call->args[0], call->args[1], payload, call->values[SIGNAL_DEDUP]};

	return db_say(call,
	    "select case when not sent then"
	    " 'one with this dedup id has been sent before' end as text,"
	    " jsonb_build_object('id', $1::text, 'signal', $2::text, 'sent',"
	    " sent) as json from chimp.workflow_signal($1, $2, $3::jsonb, $4)"
	    " sent",
	    4, values);
}

static int
workflow_signal(struct ctl_call *call)
{
	return payload_send(
	    call, call->n_args > 2 ? call->args[2] : NULL, signal_send);
}

/* workflow cancel, retry ----------------------------------------------------*/

/* False from the database is told as a failure. */
static int
workflow_move(struct ctl_call *call, const char *sql, int n_values,
    const char *const *values, const char *why_not)
{
	PGresult *result = db_run(call, sql, n_values, values);
	char message[256];
	int status = CTL_OK;

	if (result == NULL)
		return CTL_FAILED;
	if (call->json)
		puts(db_text(result, 0, "json"));
	if (strcmp(db_text(result, 0, "done"), "t") != 0) {
		snprintf(message, sizeof(message), "workflow run %.200s %s",
		    call->args[0], why_not);
		say_error(message, NULL, NULL);
		status = CTL_FAILED;
	}
	PQclear(result);
	return status;
}

static int
workflow_cancel(struct ctl_call *call)
{
	const char *values[] = {
	    call->args[0], call->n_args > 1 ? call->args[1] : NULL};

	return workflow_move(call,
	    "select done, jsonb_build_object('id', $1::text, 'cancelled', done)"
	    " as json from chimp.workflow_cancel($1, $2) done",
	    2, values, "has ended, fails, or was cancelled before");
}

static int
workflow_retry(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};

	return workflow_move(call,
	    "select done, jsonb_build_object('id', $1::text, 'retried', done)"
	    " as json from chimp.workflow_retry($1) done",
	    1, values, "has not failed");
}

/* workflow graph ------------------------------------------------------------*/

enum { GRAPH_VERSION };

static const struct ctl_option graph_options[] = {
    [GRAPH_VERSION] = {"version", '\0', "N",
	"default: the newest that a live node has"},
    {0},
};

static int
workflow_graph(struct ctl_call *call)
{
	const char *values[] = {call->args[0], call->values[GRAPH_VERSION]};

	return db_say(call,
	    "select graph as text, jsonb_build_object('name', $1::text,"
	    " 'version', (chimp.workflow_graph_definition($1, "
	    "$2::int)).version,"
	    " 'mermaid', graph) as json"
	    " from chimp.workflow_graph($1, $2::int) graph",
	    2, values);
}

/* The noun ------------------------------------------------------------------*/

static const struct ctl_verb workflow_verbs[] = {
    {"list", "[NAME]", "runs, of this workflow or all, the newest first", 0, 1,
	workflow_list_options, workflow_list_run},
    {"show", "ID",
	"everything about one run: what it has gone through, and signals that\n"
	"it has not read",
	1, 1, NULL, workflow_show_run},
    {"start", "NAME [INPUT|-]",
	"start a run and print its id; the input is one JSON value, default\n"
	"{}, - reads it from standard input",
	1, 2, start_options, workflow_start},
    {"signal", "ID SIGNAL [PAYLOAD|-]",
	"send a signal to a run, which is kept until the run waits for it", 2,
	3, signal_options, workflow_signal},
    {"cancel", "ID [REASON]",
	"cancel a run at its next step or wait; its steps are compensated", 1,
	2, NULL, workflow_cancel},
    {"retry", "ID",
	"have a failed run go on with the step that failed, with all attempts",
	1, 1, NULL, workflow_retry},
    {"check", "",
	"compare the workflows of the configuration with those of its\n"
	"database; fails when one has changed in what runs rely on",
	0, 0, NULL, workflow_check_run},
    {"graph", "NAME", "its steps as a flowchart in the language of Mermaid", 1,
	1, graph_options, workflow_graph},
    {0},
};

const struct ctl_noun noun_workflow = {
    .name = "workflow",
    .help = "runs of workflows, and their definitions",
    .verbs = workflow_verbs,
};
