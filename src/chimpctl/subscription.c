/*
 * chimpctl subscription: how far subscriptions are; stop, move and replay them.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
text_or_dash(const char *text)
{
	return text != NULL && *text != '\0' ? text : "-";
}

/* subscription list ---------------------------------------------------------*/

/* What it wants and how it stands, in words. */
#define SUBSCRIPTION_WORDS                                                   \
	" concat_ws(', ', event, 'key ' || key, 'where ' || \"where\") as "  \
	"wants, round(extract(epoch from lag) * 1000)::bigint as lag_ms,"    \
	" case when lag_exact then '' else 'up to ' end || lag_events as "   \
	"waiting, concat_ws(', ', case state"                                \
	" when 'paused' then 'paused by ' || paused_by"                      \
	" when 'stopped' then paused || ' of ' || lanes || ' lanes stopped'" \
	" else state end, case when gap_until is not null then 'gap' end)"   \
	" as status"

static const char list_sql[] =
    "select *," SUBSCRIPTION_WORDS " from chimp.subscriptions order by name";

static const char list_json_sql[] =
    "select coalesce(jsonb_agg(to_jsonb(s) order by s.name), '[]') as json"
    " from chimp.subscriptions s";

static const struct table_column list_columns[] = {
    {"SUBSCRIPTION", TABLE_LEFT, 50},
    {"EVENTS", TABLE_LEFT, 50},
    {"LANES", TABLE_RIGHT, 0},
    {"OWNED", TABLE_RIGHT, 0},
    {"LAG", TABLE_RIGHT, 0},
    {"BEHIND", TABLE_RIGHT, 0},
    {"DEAD", TABLE_RIGHT, 0},
    {"STATUS", TABLE_LEFT, 40},
};

static void
list_print_row(struct table *table, const PGresult *result, int row)
{
	static const char *const before[] = {
	    "name", "wants", "lanes", "owned", "waiting"};
	const char *lag_ms = db_text(result, row, "lag_ms");

	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
		table_cell(table, "%s", db_text(result, row, before[i]));
	table_cell(table, "%s", human_duration(strtoll(lag_ms, NULL, 10)).text);
	table_cell(table, "%s", db_text(result, row, "dead"));
	table_cell(table, "%s", db_text(result, row, "status"));
}

static const struct list_form list_form = {
    .none = "no subscriptions",
    .columns = list_columns,
    .n_columns = sizeof(list_columns) / sizeof(*list_columns),
    .row = list_print_row,
};

static int
subscription_list(struct ctl_call *call)
{
	return list_run(call, list_sql, list_json_sql, 0, NULL, &list_form);
}

/* subscription show ---------------------------------------------------------*/

/* chimp.subscription_get is what an unknown name fails in. */
static const char show_json_sql[] =
    "select to_jsonb(s) || jsonb_build_object('lane_list', (select"
    " coalesce(jsonb_agg(to_jsonb(l) - 'subscription' order by l.newest,"
    " l.number), '[]') from chimp.lanes l where l.subscription = s.name))"
    " as json from chimp.subscription_get($1) g"
    " join chimp.subscriptions s on s.name = g.name";

static const char show_sql[] =
    "select s.*," SUBSCRIPTION_WORDS
    " from (select s.* from chimp.subscription_get($1) g"
    " join chimp.subscriptions s on s.name = g.name) s";

static const char lanes_sql[] =
    "select number || case when newest then '' else ' (old)' end as number,"
    " tick || '/' || coalesce(event_id::text, 'all') as position,"
    " node || ' ' || process as owner, attempts, retry_at, paused_at,"
    " error ->> 'message' as error"
    " from chimp.lanes where subscription = $1 order by newest, number";

static const struct table_column lane_columns[] = {
    {"LANE", TABLE_RIGHT, 0},
    {"TICK/EVENT", TABLE_LEFT, 0},
    {"OWNER", TABLE_LEFT, 40},
    {"ATTEMPTS", TABLE_RIGHT, 0},
    {"RETRY AT", TABLE_LEFT, 0},
    {"STOPPED SINCE", TABLE_LEFT, 0},
    {"LAST ERROR", TABLE_LEFT, 80},
};

static const struct {
	const char *label;
	const char *column;
	enum { SHOW_TEXT, SHOW_TIME, SHOW_MS } form;
} show_lines[] = {
    {"name", "name", SHOW_TEXT},
    {"events", "wants", SHOW_TEXT},
    {"handler", "handler", SHOW_TEXT},
    {"mode", "mode", SHOW_TEXT},
    {"batch", "batch", SHOW_TEXT},
    {"status", "status", SHOW_TEXT},
    {"paused since", "paused_since", SHOW_TIME},
    {"lag", "waiting", SHOW_TEXT},
    {"behind", "lag_ms", SHOW_MS},
    {"dead events", "dead", SHOW_TEXT},
    {"gap from", "gap_from", SHOW_TIME},
    {"gap until", "gap_until", SHOW_TIME},
};

static void
show_print(const PGresult *result)
{
	for (size_t i = 0; i < sizeof(show_lines) / sizeof(*show_lines); i++) {
		const char *text = db_text(result, 0, show_lines[i].column);

		if (text == NULL)
			continue;
		printf("%-14s", show_lines[i].label);
		switch (show_lines[i].form) {
		case SHOW_TEXT:
			table_print_text(text, stdout);
			break;
		case SHOW_TIME:
			puts(human_instant(text).text);
			break;
		case SHOW_MS:
			puts(human_duration(strtoll(text, NULL, 10)).text);
			break;
		}
	}
}

static void
lanes_print(const PGresult *result)
{
	struct table *table = table_new(
	    lane_columns, sizeof(lane_columns) / sizeof(*lane_columns));

	for (int row = 0; row < PQntuples(result); row++) {
		table_cell(table, "%s", db_text(result, row, "number"));
		table_cell(table, "%s", db_text(result, row, "position"));
		table_cell(
		    table, "%s", text_or_dash(db_text(result, row, "owner")));
		table_cell(table, "%s", db_text(result, row, "attempts"));
		table_cell(table, "%s",
		    human_instant(db_text(result, row, "retry_at")).text);
		table_cell(table, "%s",
		    human_instant(db_text(result, row, "paused_at")).text);
		table_cell(
		    table, "%s", text_or_dash(db_text(result, row, "error")));
	}
	table_print(table, stdout);
	table_free(&table);
}

static int
subscription_show(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};
	PGresult *result =
	    db_run(call, call->json ? show_json_sql : show_sql, 1, values);
	PGresult *lanes = NULL;

	if (result == NULL)
		return CTL_FAILED;
	if (!call->json)
		lanes = db_run(call, lanes_sql, 1, values);
	if (call->json)
		puts(db_text(result, 0, "json"));
	else if (lanes != NULL) {
		show_print(result);
		putchar('\n');
		lanes_print(lanes);
	}
	PQclear(result);
	PQclear(lanes);
	return call->json || lanes != NULL ? CTL_OK : CTL_FAILED;
}

/* subscription pause, resume, seek, replay ----------------------------------*/

static int
subscription_pause(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};

	return db_say(call,
	    "select null as text, jsonb_build_object('subscription', $1::text,"
	    " 'paused', true) as json"
	    " from (select chimp.subscription_pause($1)) x",
	    1, values);
}

static int
subscription_resume(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};

	return db_say(call,
	    "select null as text, jsonb_build_object('subscription', $1::text,"
	    " 'paused', false) as json"
	    " from (select chimp.subscription_resume($1)) x",
	    1, values);
}

static int
subscription_seek(struct ctl_call *call)
{
	const char *to = call->args[1];
	const char *values[] = {call->args[0], NULL, NULL};

	if (strcmp(to, "beginning") == 0)
		values[1] = "0";
	else if (*to != '\0' && to[strspn(to, "0123456789")] == '\0')
		values[1] = to;
	else if (strcmp(to, "now") != 0)
		values[2] = to;
	return db_say(call,
	    "select null as text, jsonb_build_object('subscription', $1::text,"
	    " 'tick', tick) as json from chimp.subscription_seek($1,"
	    " \"position\" => $2::bigint, at => $3::timestamptz) tick",
	    3, values);
}

static int
subscription_replay(struct ctl_call *call)
{
	const char *values[] = {
	    call->args[0], call->n_args > 1 ? call->args[1] : NULL};

	return db_say(call,
	    "select n || ' dead events to be handled again' as text,"
	    " jsonb_build_object('subscription', $1::text, 'events', n) as json"
	    " from chimp.subscription_replay($1, event => $2::bigint) n",
	    2, values);
}

/* The noun ------------------------------------------------------------------*/

static const struct ctl_verb subscription_verbs[] = {
    {"list", "", "subscriptions: how far behind they are, and how they stand",
	0, 0, NULL, subscription_list},
    {"show", "NAME",
	"one of them with its lanes: where each stands, who has it, what "
	"failed",
	1, 1, NULL, subscription_show},
    {"pause", "NAME", "hand it no further events, on all nodes; none is missed",
	1, 1, NULL, subscription_pause},
    {"resume", "NAME",
	"go on after a pause; lanes that a failed event has stopped try again",
	1, 1, NULL, subscription_resume},
    {"seek", "NAME now|beginning|EVENT-ID|TIME",
	"go on behind all events; with the oldest; with this event and all\n"
	"that follow it, again; with those since then",
	2, 2, NULL, subscription_seek},
    {"replay", "NAME [EVENT-ID]",
	"hand its dead events, or this one, to its handler again", 1, 2, NULL,
	subscription_replay},
    {0},
};

const struct ctl_noun noun_subscription = {
    .name = "subscription",
    .help = "how far subscriptions are; stop, move and replay them",
    .verbs = subscription_verbs,
};
