/*
 * The settings of a session. See session.h.
 */
#include "common/pg/session.h"

#include <libpq-fe.h>

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/pg/pipeline.h"

/*
 * search_path: nothing that users may write to is searched, and temporary
 * objects last, so that a function of ours cannot be made to call another's.
 * jit: compiling costs more than any statement of a job or request takes.
 */
static const struct pg_stmt session_settings = {
    .sql = "select set_config('search_path', 'pg_catalog, pg_temp', false),"
	   " set_config('client_connection_check_interval', '250ms', false),"
	   " set_config('statement_timeout', $1, false),"
	   " set_config('idle_in_transaction_session_timeout', '60s', false),"
	   " set_config('jit', 'off', false)",
    .n_params = 1,
};

static void
session_listen(struct pg_pipeline *pipeline, const char *channel)
{
	struct pg_stmt stmt = {NULL, NULL, 0};
	char *name =
	    PQescapeIdentifier(pipeline->conn, channel, strlen(channel));
	char *sql = mem_printf("listen %s", name != NULL ? name : "");

	stmt.sql = sql;
	pg_pipeline_send(pipeline, &stmt, NULL);
	free(sql);
	PQfreemem(name);
}

void
pg_session_settle(struct pg_pipeline *pipeline, int64_t statement_timeout_ms,
    const char *const *listen)
{
	char timeout[32];
	const char *values[] = {timeout};

	snprintf(timeout, sizeof(timeout), "%lldms",
	    (long long)statement_timeout_ms);
	pg_pipeline_send(pipeline, &session_settings, values);
	for (const char *const *c = listen; c != NULL && *c != NULL; c++)
		session_listen(pipeline, *c);
}
