/*
 * Reading results; see link.h. A pg_result is libpq's PGresult behind a name
 * of our own, so that libpq-fe.h stays inside common/pg.
 */
#include "common/pg/link.h"

#include <libpq-fe.h>

#include <assert.h>
#include <stdlib.h>

static const PGresult *
pg_libpq(const struct pg_result *result)
{
	assert(result != NULL);
	return (const PGresult *)(const void *)result;
}

int
pg_rows(const struct pg_result *result)
{
	return PQntuples(pg_libpq(result));
}

bool
pg_is_null(const struct pg_result *result, int row, int col)
{
	return PQgetisnull(pg_libpq(result), row, col) != 0;
}

const char *
pg_value(const struct pg_result *result, int row, int col)
{
	assert(row < PQntuples(pg_libpq(result)));
	assert(col < PQnfields(pg_libpq(result)));
	return PQgetvalue(pg_libpq(result), row, col);
}

size_t
pg_length(const struct pg_result *result, int row, int col)
{
	return (size_t)PQgetlength(pg_libpq(result), row, col);
}

int64_t
pg_int(const struct pg_result *result, int row, int col)
{
	return strtoll(pg_value(result, row, col), NULL, 10);
}

bool
pg_bool(const struct pg_result *result, int row, int col)
{
	return pg_value(result, row, col)[0] == 't';
}

struct pg_result *
pg_reply_take(struct pg_reply *reply, int i)
{
	struct pg_result *result;

	assert(i >= 0 && i < reply->n_results);
	result = reply->results[i];
	reply->results[i] = NULL;
	return result;
}

void
pg_result_free(struct pg_result **result)
{
	PQclear((PGresult *)(void *)*result);
	*result = NULL;
}
