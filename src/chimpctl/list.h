/*
 * A verb that lists: a table for people, or the array of its JSON form.
 */
#ifndef CHIMP_CHIMPCTL_LIST_H
#define CHIMP_CHIMPCTL_LIST_H

#include <libpq-fe.h>
#include <stddef.h>

#include "chimpctl/table.h"

struct ctl_call;

struct list_form {
	const char *none; /* said when there are no rows: "no queues" */
	const struct table_column *columns;
	size_t n_columns;
	void (*row)(struct table *table, const PGresult *result, int row);
};

/*
 * Run `json_sql`, whose one row has the column "json", if JSON is asked for,
 * else `sql`, and print what it returns. Both take the same values. Returns an
 * exit status; the error has been told.
 */
int list_run(struct ctl_call *call, const char *sql, const char *json_sql,
    int n_values, const char *const *values, const struct list_form *form);

#endif
