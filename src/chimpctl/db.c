/*
 * The database. See db.h.
 */
#include "chimpctl/db.h"

#include "chimpctl/command.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"
#include "common/base/err.h"
#include "common/conf/conf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* What to do about an error whose own text does not say it. */
static const struct {
	const char *sqlstate;
	const char *hint;
} db_hints[] = {
    {"3F000", "This database has no schema of chimpd (of this version): "
	      "start chimpd on it, or run chimpctl migrate."},
    {"42P01", "This database has no schema of chimpd (of this version): "
	      "start chimpd on it, or run chimpctl migrate."},
    {"42883", "This database has no schema of chimpd (of this version): "
	      "start chimpd on it, or run chimpctl migrate."},
    {"42501", "Connect as the user that chimpd connects as."},
};

static const char *
db_hint(const char *sqlstate)
{
	size_t n = sizeof(db_hints) / sizeof(*db_hints);

	for (size_t i = 0; sqlstate != NULL && i < n; i++) {
		if (strcmp(sqlstate, db_hints[i].sqlstate) == 0)
			return db_hints[i].hint;
	}
	return NULL;
}

static void
db_connect_failed(const struct ctl_call *call, const PGconn *conn)
{
	const struct conf *conf = call->where.conf;
	const char *hint = NULL;
	char message[512];

	if (conf != NULL && strcmp(conf->database.mode, "embedded") == 0)
		hint = "The embedded PostgreSQL runs only while its chimpd "
		       "does: is chimpd running with this configuration?";
	snprintf(message, sizeof(message),
	    "cannot connect to the database named by %s", call->where.named_by);
	say_error(message, PQerrorMessage(conn), hint);
}

static PGconn *
db_connect(struct ctl_call *call)
{
	/* What stands before dbname can be overruled by the URL. */
	const char *const keys[] = {"connect_timeout",
	    "fallback_application_name", "dbname", "client_encoding", NULL};
	const char *values[] = {"10", "chimpctl", NULL, "UTF8", NULL};
	struct err err;
	PGconn *conn;

	if (where_find(&call->where, &err) != 0) {
		say_err(&err);
		return NULL;
	}
	values[2] = call->where.url;
	conn = PQconnectdbParams(keys, values, 1);
	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	db_connect_failed(call, conn);
	PQfinish(conn);
	return NULL;
}

static void
db_failed(const PGconn *conn, const PGresult *result)
{
	const char *message, *hint, *sqlstate;

	message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (db_hint(sqlstate) != NULL)
		hint = db_hint(sqlstate);
	/* Without a message it is not the server that speaks but libpq: the
	 * connection is lost. */
	if (message == NULL)
		message = PQerrorMessage(conn);
	say_error(
	    message, PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL), hint);
}

PGresult *
db_run(struct ctl_call *call, const char *sql, int n_params,
    const char *const *values)
{
	PGresult *result;

	if (call->db == NULL)
		call->db = db_connect(call);
	if (call->db == NULL)
		return NULL;
	result =
	    PQexecParams(call->db, sql, n_params, NULL, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		db_failed(call->db, result);
		PQclear(result);
		result = NULL;
	}
	return result;
}

int
db_say(struct ctl_call *call, const char *sql, int n_params,
    const char *const *values)
{
	PGresult *result = db_run(call, sql, n_params, values);
	const char *text;

	if (result == NULL)
		return CTL_FAILED;
	text = db_text(result, 0, call->json ? "json" : "text");
	if (text != NULL)
		table_print_text(text, stdout);
	PQclear(result);
	return CTL_OK;
}

void
db_done(struct ctl_call *call)
{
	PQfinish(call->db);
	call->db = NULL;
}

const char *
db_text(const PGresult *result, int row, const char *column)
{
	int i = PQfnumber(result, column);

	assert(i >= 0);
	if (PQgetisnull(result, row, i))
		return NULL;
	return PQgetvalue(result, row, i);
}
