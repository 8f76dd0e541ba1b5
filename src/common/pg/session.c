/*
 * The settings of a session. See session.h.
 */
#include "common/pg/session.h"

#include <libpq-fe.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/pg/pipeline.h"

/*
 * search_path: nothing that users may write to is searched, and temporary
 * objects last, so that a function of ours cannot be made to call another's.
 * jit: compiling costs more than any statement of a job or request takes.
 */
#define SESSION_OPTIONS                              \
	"-c search_path=pg_catalog,pg_temp"          \
	" -c client_connection_check_interval=250ms" \
	" -c idle_in_transaction_session_timeout=60s -c jit=off"

static const struct pg_stmt session_hello = {.sql = "select 1"};

/* What the URL has as `options`, or else the environment, as libpq reads them;
 * "" if nothing. */
static char *
session_own_options(const char *conninfo)
{
	PQconninfoOption *all = PQconninfoParse(conninfo, NULL);
	char *found = NULL;

	for (PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++)
		if (strcmp(o->keyword, "options") == 0 && o->val != NULL)
			found = mem_strdup(o->val);
	PQconninfoFree(all);
	if (found == NULL)
		found =
		    mem_strdup(getenv("PGOPTIONS") ? getenv("PGOPTIONS") : "");
	return found;
}

char *
pg_session_options(const char *conninfo, int64_t statement_timeout_ms)
{
	char *own = session_own_options(conninfo);
	char *options =
	    mem_printf(SESSION_OPTIONS " -c statement_timeout=%lldms %s",
		(long long)statement_timeout_ms, own);

	free(own);
	return options;
}

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
pg_session_settle(struct pg_pipeline *pipeline, const char *const *listen)
{
	pg_pipeline_send(pipeline, &session_hello, NULL);
	for (const char *const *c = listen; c != NULL && *c != NULL; c++)
		session_listen(pipeline, *c);
}
