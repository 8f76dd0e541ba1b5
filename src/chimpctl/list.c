/*
 * A verb that lists. See list.h.
 */
#include "chimpctl/list.h"

#include "chimpctl/command.h"
#include "chimpctl/db.h"

#include <stdio.h>

static void
list_print(const PGresult *result, const struct list_form *form)
{
	struct table *table;
	int rows = PQntuples(result);

	if (rows == 0) {
		puts(form->none);
		return;
	}
	table = table_new(form->columns, (int)form->n_columns);
	for (int row = 0; row < rows; row++)
		form->row(table, result, row);
	table_print(table, stdout);
	table_free(&table);
}

int
list_run(struct ctl_call *call, const char *sql, const char *json_sql,
    int n_values, const char *const *values, const struct list_form *form)
{
	PGresult *result =
	    db_run(call, call->json ? json_sql : sql, n_values, values);

	if (result == NULL)
		return CTL_FAILED;
	if (call->json)
		puts(db_text(result, 0, "json"));
	else
		list_print(result, form);
	PQclear(result);
	return CTL_OK;
}
