/*
 * chimpctl event: publish events, look at them.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/event_tail.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/payload.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"

#include <stdlib.h>
#include <string.h>

/* event publish -------------------------------------------------------------*/

enum { PUBLISH_KEY };

static const struct ctl_option publish_options[] = {
    [PUBLISH_KEY] = {"key", '\0', "KEY",
	"events of one key stay in order within a subscription"},
    {0},
};

static const char publish_sql[] =
    "select id, jsonb_build_object('id', id) as json from chimp.publish($1,"
    " payload => coalesce($2::jsonb, '{}'), key => $3) as id";

static int
publish_send(struct ctl_call *call, const char *payload)
{
	const char *values[] = {
	    call->args[0], payload, call->values[PUBLISH_KEY]};
	PGresult *result = db_run(call, publish_sql, 3, values);

	if (result == NULL)
		return CTL_FAILED;
	puts(db_text(result, 0, call->json ? "json" : "id"));
	PQclear(result);
	return CTL_OK;
}

static int
event_publish(struct ctl_call *call)
{
	return payload_send(
	    call, call->n_args > 1 ? call->args[1] : NULL, publish_send);
}

/* event show ----------------------------------------------------------------*/

/* Dead events outlive the others. */
static const char show_sql[] =
    "with e as (select id, event, key, payload, published_at, request_id,"
    " traceparent from chimp.events"
    " where id = $1::bigint union select event_id, event, key, payload,"
    " published_at, request_id, traceparent"
    " from chimp.dead_events where event_id = $1::bigint limit 1),"
    " d as (select coalesce(jsonb_agg(jsonb_build_object('subscription',"
    " subscription, 'attempts', attempts, 'parked_at', parked_at,"
    " 'replay_at', replay_at, 'error', error) order by subscription), '[]')"
    " as dead from chimp.dead_events where event_id = $1::bigint)"
    " select to_jsonb(e) || to_jsonb(d) as json, e.id, e.event, e.key,"
    " e.published_at, e.request_id, e.traceparent, jsonb_pretty(e.payload) as "
    "payload,"
    " (select string_agg(x ->> 'subscription', ', ')"
    " from jsonb_array_elements(d.dead) x) as dead from e, d";

static void
show_print(const PGresult *result)
{
	static const struct {
		const char *label;
		const char *column;
	} lines[] = {
	    {"id", "id"},
	    {"event", "event"},
	    {"key", "key"},
	    {"published", "published_at"},
	    {"request", "request_id"},
	    {"traceparent", "traceparent"},
	    {"dead in", "dead"},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		const char *text = db_text(result, 0, lines[i].column);

		if (text == NULL)
			continue;
		printf("%-14s", lines[i].label);
		table_print_text(text, stdout);
	}
	puts("payload:");
	table_print_text(db_text(result, 0, "payload"), stdout);
}

static int
event_show(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};
	PGresult *result = db_run(call, show_sql, 1, values);
	int status = CTL_OK;

	if (result == NULL)
		return CTL_FAILED;
	if (PQntuples(result) == 0) {
		char message[128];

		snprintf(message, sizeof(message), "there is no event %.32s",
		    call->args[0]);
		say_error(message, NULL,
		    "Events are kept for event_retention; chimpctl event tail "
		    "shows the newest.");
		status = CTL_FAILED;
	} else if (call->json)
		puts(db_text(result, 0, "json"));
	else
		show_print(result);
	PQclear(result);
	return status;
}

/* event dead ----------------------------------------------------------------*/

enum { DEAD_COUNT };

static const struct ctl_option dead_options[] = {
    [DEAD_COUNT] = {"number", 'n', "N",
	"at most so many, the newest first; default 20"},
    {0},
};

#define DEAD_FROM                                    \
	" from (select d.* from chimp.dead_events d" \
	" where $1::text is null"                    \
	" or d.subscription = $1"                    \
	" order by d.parked_at desc, d.event_id desc limit $2::bigint) d"

/* A name that nobody has is an error, not a subscription without any. */
static const char dead_check_sql[] =
    "select case when $1::text is not null then"
    " (chimp.subscription_get($1)).name end";

static const char dead_json_sql[] =
    "select coalesce(jsonb_agg(to_jsonb(d) order by d.parked_at desc,"
    " d.event_id desc), '[]') as json" DEAD_FROM;

static const char dead_sql[] =
    "select subscription, event_id, event, key, attempts, parked_at,"
    " case when replay_at is not null then 'waits for its replay' else"
    " coalesce(error ->> 'message', '-') end as error" DEAD_FROM
    " order by d.parked_at desc, d.event_id desc";

static const struct table_column dead_columns[] = {
    {"SUBSCRIPTION", TABLE_LEFT, 50},
    {"ID", TABLE_RIGHT, 0},
    {"EVENT", TABLE_LEFT, 40},
    {"KEY", TABLE_LEFT, 30},
    {"ATTEMPTS", TABLE_RIGHT, 0},
    {"DEAD SINCE", TABLE_LEFT, 0},
    {"LAST ERROR", TABLE_LEFT, 80},
};

static void
dead_print_row(struct table *table, const PGresult *result, int row)
{
	static const char *const before[] = {
	    "subscription", "event_id", "event", "key", "attempts"};

	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++) {
		const char *text = db_text(result, row, before[i]);

		table_cell(table, "%s", text != NULL ? text : "-");
	}
	table_cell(
	    table, "%s", human_instant(db_text(result, row, "parked_at")).text);
	table_cell(table, "%s", db_text(result, row, "error"));
}

static const struct list_form dead_form = {
    .none = "no dead events",
    .columns = dead_columns,
    .n_columns = sizeof(dead_columns) / sizeof(*dead_columns),
    .row = dead_print_row,
};

static int
event_dead(struct ctl_call *call)
{
	const char *count = call->values[DEAD_COUNT];
	const char *values[] = {call->n_args > 0 ? call->args[0] : NULL,
	    count != NULL ? count : "20"};
	PGresult *result = db_run(call, dead_check_sql, 1, values);

	if (result == NULL)
		return CTL_FAILED;
	PQclear(result);
	return list_run(call, dead_sql, dead_json_sql, 2, values, &dead_form);
}

/* The noun ------------------------------------------------------------------*/

static const struct ctl_verb event_verbs[] = {
    {"publish", "NAME [PAYLOAD|-]",
	"publish an event and print its id; the payload is one JSON value,\n"
	"default {}, - reads it from standard input",
	1, 2, publish_options, event_publish},
    {"tail", "[PATTERN]",
	"the last events, of this name or pattern, in the order of the stream",
	0, 1, event_tail_options, event_tail_run},
    {"show", "ID", "everything about one event", 1, 1, NULL, event_show},
    {"dead", "[SUBSCRIPTION]",
	"events set aside after their last attempt, with their last error", 0,
	1, dead_options, event_dead},
    {0},
};

const struct ctl_noun noun_event = {
    .name = "event",
    .help = "publish events, look at them",
    .verbs = event_verbs,
};
