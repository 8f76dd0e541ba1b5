/*
 * chimpctl kv: key-value state.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/payload.h"
#include "chimpctl/say.h"

#include <stdio.h>
#include <stdlib.h>

/* kv get ------------------------------------------------------------------ */

static int
kv_get(struct ctl_call *call)
{
	static const char sql[] = "select chimp.kv_get($1) as json";
	const char *values[] = {call->args[0]};
	PGresult *result = db_run(call, sql, 1, values);
	const char *json;
	int status = CTL_OK;

	if (result == NULL)
		return CTL_FAILED;
	json = db_text(result, 0, "json");
	if (json != NULL) {
		puts(json);
	} else {
		say_error("there is no such key, or it has expired", NULL,
		    "chimpctl kv list shows which there are.");
		status = CTL_FAILED;
	}
	PQclear(result);
	return status;
}

/* kv set ------------------------------------------------------------------ */

enum { SET_TTL };

static const struct ctl_option set_options[] = {
    [SET_TTL] = {"ttl", '\0', "INTERVAL",
	"it ends after so long, such as '90 s' or '1 day'; default never"},
    {0},
};

static int
kv_set_send(struct ctl_call *call, const char *payload)
{
	static const char sql[] = "select 'true' as json, null as text from"
				  " chimp.kv_set($1, $2::jsonb, $3::interval)";
	const char *values[] = {call->args[0], payload, call->values[SET_TTL]};

	return db_say(call, sql, 3, values);
}

static int
kv_set(struct ctl_call *call)
{
	return payload_send(call, call->args[1], kv_set_send);
}

/* kv delete --------------------------------------------------------------- */

static int
kv_delete(struct ctl_call *call)
{
	static const char sql[] =
	    "select d::text as json, case when d then 'deleted'"
	    " else 'there was no such key' end as text"
	    " from chimp.kv_delete($1) d";
	const char *values[] = {call->args[0]};

	return db_say(call, sql, 1, values);
}

/* kv list ----------------------------------------------------------------- */

enum { LIST_COUNT, LIST_AFTER };

static const struct ctl_option list_options[] = {
    [LIST_COUNT] = {"number", 'n', "N", "at most so many; default 100"},
    [LIST_AFTER] = {"after", '\0', "KEY",
	"only those behind that key, where another list has ended"},
    {0},
};

#define LIST_FROM                                              \
	" from chimp.kv_list(coalesce($1, ''), $2::int, $3) l" \
	" left join chimp.kv k on k.key = l.key"

static const char list_sql[] =
    "select l.key, l.value::text as value, k.expires_at" LIST_FROM
    " order by l.key collate \"C\"";

static const char list_json_sql[] =
    "select coalesce(jsonb_agg(jsonb_build_object('key', l.key, 'value',"
    " l.value, 'expires_at', k.expires_at) order by l.key collate \"C\"), '[]')"
    " as json" LIST_FROM;

static const struct table_column list_columns[] = {
    {"KEY", TABLE_LEFT, 60},
    {"EXPIRES", TABLE_LEFT, 0},
    {"VALUE", TABLE_LEFT, 100},
};

static void
list_row(struct table *table, const PGresult *result, int row)
{
	const char *expires = db_text(result, row, "expires_at");

	table_cell(table, "%s", db_text(result, row, "key"));
	table_cell(table, "%s",
	    expires != NULL ? human_instant(expires).text : "never");
	table_cell(table, "%s", db_text(result, row, "value"));
}

static const struct list_form list_form = {
    .none = "no keys",
    .columns = list_columns,
    .n_columns = sizeof(list_columns) / sizeof(*list_columns),
    .row = list_row,
};

static int
kv_list(struct ctl_call *call)
{
	const char *count = call->values[LIST_COUNT];
	const char *values[] = {call->n_args > 0 ? call->args[0] : NULL,
	    count != NULL ? count : "100", call->values[LIST_AFTER]};

	return list_run(call, list_sql, list_json_sql, 3, values, &list_form);
}

/* The noun ---------------------------------------------------------------- */

static const struct ctl_verb kv_verbs[] = {
    {"get", "KEY", "print the value of a key", 1, 1, NULL, kv_get},
    {"set", "KEY VALUE|-",
	"set it: one JSON value, - reads it from standard input", 2, 2,
	set_options, kv_set},
    {"delete", "KEY", "delete a key", 1, 1, NULL, kv_delete},
    {"list", "[PREFIX]", "keys that begin with this, in their order", 0, 1,
	list_options, kv_list},
    {0},
};

const struct ctl_noun noun_kv = {
    .name = "kv",
    .help = "key-value state",
    .verbs = kv_verbs,
};
