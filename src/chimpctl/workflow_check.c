/*
 * chimpctl workflow check: what a configuration would change about workflows.
 * The comparison is chimp.workflow_check_apps. See workflow_check.h.
 */
#include "chimpctl/workflow_check.h"

#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"
#include "common/base/err.h"
#include "common/conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One statement, which makes the lines: the words are here for all verdicts. */
static const char check_sql[] =
    "with c as (select * from chimp.workflow_check_apps($1::jsonb))"
    " select coalesce(bool_or(verdict = 'breaking'), false) as breaking,"
    " coalesce(jsonb_agg(to_jsonb(c) order by name, version), '[]') as json,"
    " coalesce(string_agg(format('%s version %s: %s%s', name, version,"
    " case verdict when 'breaking' then 'breaking: a node with it is refused'"
    " when 'changed' then 'changed, compatibly'"
    " when 'parks' then 'not in this configuration: its open runs are parked'"
    " when 'new' then 'new' else 'unchanged' end,"
    " case when open_runs > 0 then format(' (%s open %s)', open_runs,"
    " case open_runs when 1 then 'run' else 'runs' end) else '' end"
    " || coalesce((select string_agg(E'\\n  ' || d, '' order by n)"
    " from unnest(differences) with ordinality x (d, n)), '')), E'\\n'"
    " order by name, version), 'no workflows') as text from c";

static int
check_print(struct ctl_call *call, const char *apps)
{
	const char *values[] = {apps};
	PGresult *result = db_run(call, check_sql, 1, values);
	int status;

	if (result == NULL)
		return CTL_FAILED;
	if (call->json)
		puts(db_text(result, 0, "json"));
	else
		table_print_text(db_text(result, 0, "text"), stdout);
	status = strcmp(db_text(result, 0, "breaking"), "t") == 0 ? CTL_FAILED
								  : CTL_OK;
	PQclear(result);
	return status;
}

int
workflow_check_run(struct ctl_call *call)
{
	struct err err;
	char *apps;
	int status;

	if (call->where.arg_url != NULL)
		return say_usage("Say chimpctl workflow check -c chimpd.conf.",
		    "a configuration is compared with its own database; -d "
		    "names none");
	if (where_conf(&call->where, &err) != 0) {
		say_err(&err);
		return CTL_FAILED;
	}
	apps = conf_apps_json(call->where.conf);
	status = check_print(call, apps);
	free(apps);
	return status;
}
