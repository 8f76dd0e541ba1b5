/*
 * A blocking connection to PostgreSQL. See conn.h.
 */
#include "common/pg/conn.h"

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <libpq-fe.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pg_conn {
	PGconn *pg;
};

/* Between two attempts to reach the server. */
#define CONN_RETRY_MS 100

static void
conn_notice(void *arg, const PGresult *res)
{
	const char *severity =
	    PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	if (severity == NULL || message == NULL)
		return;
	if (strcmp(severity, "WARNING") == 0)
		log_warn("%s", message);
	else
		log_debug("%s", message);
}

/* Cut libpq's message to one line, without its trailing newline. */
static void
conn_one_line(char *s)
{
	size_t n = strlen(s);

	while (n > 0 && s[n - 1] == '\n')
		s[--n] = '\0';
	for (; *s != '\0'; s++)
		if (*s == '\n')
			*s = ' ';
}

/*
 * Is waiting of use? What the server said decides, where it said something:
 * libpq gives no SQLSTATE for a failed connection, but its text is the
 * server's own "FATAL:  ..." line when the server was reached.
 */
static bool
conn_worth_waiting(PGconn *pg)
{
	const char *message = PQerrorMessage(pg);

	/* "invalid port number" and the like are found after parsing. */
	if (strstr(message, "FATAL:") == NULL)
		return strstr(message, "password") == NULL &&
		       strstr(message, "invalid ") == NULL;
	return strstr(message, "starting up") != NULL ||
	       strstr(message, "not yet accepting connections") != NULL ||
	       strstr(message, "shutting down") != NULL ||
	       strstr(message, "recovery") != NULL ||
	       strstr(message, "too many") != NULL ||
	       strstr(message, "connection slots") != NULL;
}

/* PQconnectPoll until done or the deadline: PQconnectdb has no time-out of
 * its own below whole seconds. */
static void
conn_poll(PGconn *pg, int64_t deadline_ms)
{
	PostgresPollingStatusType s = PGRES_POLLING_WRITING;

	while (s == PGRES_POLLING_READING || s == PGRES_POLLING_WRITING) {
		struct pollfd p = {.fd = PQsocket(pg),
		    .events = s == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		int64_t left = deadline_ms - clock_mono_ms();

		if (left <= 0 || p.fd < 0)
			return;
		(void)poll(&p, 1, (int)left);
		s = PQconnectPoll(pg);
	}
}

static PGconn *
conn_attempt(
    const char *conninfo, const char *application_name, int64_t deadline_ms)
{
	const char *const keys[] = {
	    "dbname", "application_name", "client_encoding", NULL};
	const char *const values[] = {conninfo, application_name, "UTF8", NULL};
	PGconn *pg = PQconnectStartParams(keys, values, 1);

	if (pg == NULL)
		abort();
	if (PQstatus(pg) != CONNECTION_BAD)
		conn_poll(pg, deadline_ms);
	return pg;
}

struct pg_conn *
pg_conn_open(const char *conninfo, const char *application_name,
    int64_t timeout_ms, struct err *err)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;
	char *parse_error = NULL;
	PQconninfoOption *parsed = PQconninfoParse(conninfo, &parse_error);
	struct pg_conn *conn = NULL;
	bool told = false, lost;
	PGconn *pg;

	if (parsed == NULL) {
		conn_one_line(parse_error);
		err_set(err, "database.url is malformed: %s", parse_error);
		err_hint(
		    err, "write postgres://USER:PASSWORD@HOST:PORT/DATABASE");
		PQfreemem(parse_error);
		return NULL;
	}
	PQconninfoFree(parsed);
	for (;;) {
		pg = conn_attempt(conninfo, application_name, deadline_ms);
		if (PQstatus(pg) == CONNECTION_OK)
			break;
		if (PQstatus(pg) != CONNECTION_BAD)
			err_set(err, "the database did not answer in time");
		else
			err_set(err, "cannot connect to the database: %s",
			    PQerrorMessage(pg));
		conn_one_line(err->message);
		if (!conn_worth_waiting(pg) || clock_mono_ms() >= deadline_ms) {
			err_hint(err, "check database.url, and that PostgreSQL "
				      "runs there and lets this user in");
			PQfinish(pg);
			return NULL;
		}
		if (!told)
			log_warn("%s; trying again for %lld s", err->message,
			    (long long)(timeout_ms / 1000));
		told = true;
		PQfinish(pg);
		poll(NULL, 0, CONN_RETRY_MS);
	}
	PQsetNoticeReceiver(pg, conn_notice, NULL);
	conn = mem_zalloc(sizeof(*conn));
	conn->pg = pg;
	if (pg_conn_script(
		conn, "set search_path = pg_catalog; set jit = off", err) == 0)
		return conn;
	lost = pg_conn_lost(conn);
	pg_conn_close(&conn);
	timeout_ms = deadline_ms - clock_mono_ms();
	if (!lost || timeout_ms <= 0)
		return NULL;
	poll(NULL, 0, CONN_RETRY_MS);
	return pg_conn_open(conninfo, application_name, timeout_ms, err);
}

bool
pg_conn_lost(const struct pg_conn *conn)
{
	return PQstatus(conn->pg) == CONNECTION_BAD;
}

void
pg_conn_close(struct pg_conn **conn)
{
	if (*conn == NULL)
		return;
	PQfinish((*conn)->pg);
	mem_free(conn);
}

static int
conn_result(struct pg_conn *conn, PGresult *res, struct pg_result **result,
    struct err *err)
{
	ExecStatusType status = PQresultStatus(res);
	const char *detail, *hint;

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
	    status == PGRES_EMPTY_QUERY) {
		if (result != NULL)
			*result = (struct pg_result *)res;
		else
			PQclear(res);
		return 0;
	}
	if (PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) != NULL)
		err_set(err, "%s",
		    PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
	else
		err_set(err, "%s", PQerrorMessage(conn->pg));
	conn_one_line(err->message);
	detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	err_hint(err, "%s%s%s", detail ? detail : "",
	    detail && hint ? "; " : "", hint ? hint : "");
	PQclear(res);
	return -1;
}

int
pg_conn_query(struct pg_conn *conn, const char *sql, int n_params,
    const char *const *values, struct pg_result **result, struct err *err)
{
	return conn_result(conn,
	    PQexecParams(conn->pg, sql, n_params, NULL, values, NULL, NULL, 0),
	    result, err);
}

int
pg_conn_script(struct pg_conn *conn, const char *sql, struct err *err)
{
	return conn_result(conn, PQexec(conn->pg, sql), NULL, err);
}
