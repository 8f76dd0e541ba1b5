/*
 * chimpctl cron: schedules, when they fire, and whether they do.
 */
#include "chimpctl/command.h"
#include "chimpctl/cron_next.h"
#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/list.h"
#include "chimpctl/table.h"

#include <stdio.h>

/* cron list -----------------------------------------------------------------*/

static const char list_sql[] =
    "select s.*, coalesce(s.app, '-') as owner, case s.state"
    " when 'paused' then 'paused by ' || s.paused_by"
    " when 'error' then s.error else s.state end as status"
    " from chimp.schedules s order by s.name";

static const char list_json_sql[] =
    "select coalesce(jsonb_agg(to_jsonb(s) order by s.name), '[]') as json"
    " from chimp.schedules s";

static const struct table_column list_columns[] = {
    {"SCHEDULE", TABLE_LEFT, 50},
    {"EXPRESSION", TABLE_LEFT, 40},
    {"TIME ZONE", TABLE_LEFT, 30},
    {"NEXT", TABLE_LEFT, 0},
    {"LAST", TABLE_LEFT, 0},
    {"APP", TABLE_LEFT, 30},
    {"STATUS", TABLE_LEFT, 80},
};

static void
list_print_row(struct table *table, const PGresult *result, int row)
{
	table_cell(table, "%s", db_text(result, row, "name"));
	table_cell(table, "%s", db_text(result, row, "schedule"));
	table_cell(table, "%s", db_text(result, row, "timezone"));
	table_cell(
	    table, "%s", human_instant(db_text(result, row, "next_at")).text);
	table_cell(
	    table, "%s", human_instant(db_text(result, row, "last_at")).text);
	table_cell(table, "%s", db_text(result, row, "owner"));
	table_cell(table, "%s", db_text(result, row, "status"));
}

static const struct list_form list_form = {
    .none = "no schedules",
    .columns = list_columns,
    .n_columns = sizeof(list_columns) / sizeof(*list_columns),
    .row = list_print_row,
};

static int
cron_list(struct ctl_call *call)
{
	return list_run(call, list_sql, list_json_sql, 0, NULL, &list_form);
}

/* cron run, pause, resume ---------------------------------------------------*/

static int
cron_run(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};

	return db_say(call,
	    "select job as text, jsonb_build_object('schedule', $1::text,"
	    " 'job', job) as json from chimp.cron_run($1) job",
	    1, values);
}

static int
cron_pause(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};

	return db_say(call,
	    "select null as text, jsonb_build_object('schedule', $1::text,"
	    " 'paused', true) as json from (select chimp.cron_pause($1)) x",
	    1, values);
}

static int
cron_resume(struct ctl_call *call)
{
	const char *values[] = {call->args[0]};

	return db_say(call,
	    "select null as text, jsonb_build_object('schedule', $1::text,"
	    " 'paused', false) as json from (select chimp.cron_resume($1)) x",
	    1, values);
}

/* The noun ------------------------------------------------------------------*/

static const struct ctl_verb cron_verbs[] = {
    {"list", "", "schedules: their next and last slot, and how they stand", 0,
	0, NULL, cron_list},
    {"next", "[NAME]",
	"the next slots of a schedule or of an expression, in UTC and by the\n"
	"clock on the wall",
	0, 1, cron_next_options, cron_next_run},
    {"run", "NAME",
	"enqueue its job now, which is no slot, and print the job's id", 1, 1,
	NULL, cron_run},
    {"pause", "NAME", "have it fire nothing on all nodes", 1, 1, NULL,
	cron_pause},
    {"resume", "NAME", "go on after a pause, as its misfire policy says", 1, 1,
	NULL, cron_resume},
    {0},
};

const struct ctl_noun noun_cron = {
    .name = "cron",
    .help = "schedules and their slots; pause, resume and run them",
    .verbs = cron_verbs,
};
