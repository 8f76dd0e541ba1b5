/*
 * How a link gets its connection: names, the host that answers, and what a
 * session needs before it is READY. See link_connect.h.
 */
#include "common/pg/link_connect.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/pg/resolve.h"
#include "common/pg/session.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* --- settling --- */

static void
pg_link_settled(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	(void)arg;
	if (reply->lost)
		return; /* pg_link_lose is at work */
	if (!reply->ok) {
		pg_link_lose(link, reply->error.message);
		return;
	}
	loop_timer_stop(&link->timer);
	link->state = PG_LINK_READY;
	link->failures = 0;
	pg_link_say_up(link);
	if (link->opts.on_ready != NULL)
		link->opts.on_ready(link, link->opts.arg);
}

static void
pg_link_settle(struct pg_link *link)
{
	/* Not before: it would wipe out what host and address were tried. */
	PQsetnonblocking(link->conn, 1);
	if (!PQenterPipelineMode(link->conn)) {
		pg_link_lose(link, PQerrorMessage(link->conn));
		return;
	}
	pg_pipeline_attach(&link->pipeline, link->conn);
	pg_session_settle(&link->pipeline, link->opts.listen);
	pg_pipeline_sync(&link->pipeline, pg_link_settled, NULL);
	if (link->pipeline.fault[0] != '\0')
		pg_link_lose(link, link->pipeline.fault);
	else
		pg_link_flush(link);
}

/* --- connecting --- */

/* What a handler has logged by chimp.log. */
static void
pg_link_on_log(const char *message, const char *level_name)
{
	enum log_level level = LOG_LEVEL_INFO;

	if (level_name != NULL)
		log_level_parse(level_name, &level);
	log_at(level, "%s", message);
}

static void
pg_link_on_notice(void *arg, const PGresult *res)
{
	struct pg_link *link = arg;
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *severity =
	    PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	/* An idle session's end comes as a notice (57P01). */
	if (text != NULL && severity != NULL && strcmp(severity, "FATAL") == 0)
		snprintf(link->pipeline.fault, sizeof(link->pipeline.fault),
		    "%s", text);
	if (text != NULL && sqlstate != NULL &&
	    strcmp(sqlstate, "CHP03") == 0) {
		pg_link_on_log(text, detail);
		return;
	}
	if (link->opts.on_notice != NULL && text != NULL)
		link->opts.on_notice(
		    link, sqlstate, text, detail, link->opts.arg);
	log_debug("postgres: %s: %s", severity != NULL ? severity : "notice",
	    text != NULL ? text : "");
}

/* The socket may have changed, and even have kept its number. */
static void
pg_link_watch(struct pg_link *link, int events)
{
	loop_io_done(&link->io);
	loop_io_init(&link->io, link->opts.loop, PQsocket(link->conn),
	    pg_link_on_io, link);
	loop_io_set(&link->io, events);
}

void
pg_link_connect_poll(struct pg_link *link)
{
	PostgresPollingStatusType polled;

	/* libpq may close the socket and open the next host's: what watches
	 * it must be gone by then. */
	loop_io_done(&link->io);
	polled = PQconnectPoll(link->conn);
	switch (polled) {
	case PGRES_POLLING_READING:
		pg_link_watch(link, LOOP_READ);
		break;
	case PGRES_POLLING_WRITING:
	case PGRES_POLLING_ACTIVE:
		pg_link_watch(link, LOOP_WRITE);
		break;
	case PGRES_POLLING_OK:
		pg_link_watch(link, LOOP_READ);
		pg_link_settle(link);
		break;
	case PGRES_POLLING_FAILED:
		pg_link_lose(link, PQerrorMessage(link->conn));
		break;
	}
}

static void
pg_link_dial(struct pg_link *link, const struct pg_hosts_text *to)
{
	/* What stands before dbname is a default that the URL may override,
	 * what stands behind it is not. A peer that vanished without a word
	 * is noticed after 15 s instead of the kernel's quarter of an hour. */
	const char *keywords[] = {"keepalives_idle", "keepalives_interval",
	    "keepalives_count", "tcp_user_timeout", "dbname", "host",
	    "hostaddr", "port", "application_name", "client_encoding",
	    "options", NULL};
	const char *values[] = {"5", "5", "2", "15000", link->conninfo,
	    to->host, to->hostaddr, to->port, link->application_name, "UTF8",
	    link->options, NULL};

	link->conn = PQconnectStartParams(keywords, values, 1);
	assert(link->conn != NULL); /* or out of memory */
	PQsetNoticeReceiver(link->conn, pg_link_on_notice, link);
	if (PQstatus(link->conn) == CONNECTION_BAD) {
		pg_link_lose(link, PQerrorMessage(link->conn));
		return;
	}
	pg_link_watch(link, LOOP_WRITE);
}

/* The names have addresses, or those that have none had their time. */
static void
pg_link_resolved(struct pg_link *link)
{
	struct pg_hosts_text to;
	struct err err;
	int rc = pg_resolve_answer(link->resolve, &to, &err);

	pg_resolve_free(&link->resolve);
	if (rc != 0)
		pg_link_lose(link, err.message);
	else
		pg_link_dial(link, &to);
	pg_hosts_text_done(&to);
}

static void
pg_link_on_resolved(void *arg)
{
	struct pg_link *link = arg;

	pg_link_enter(link);
	pg_link_resolved(link);
	pg_link_leave(link);
}

void
pg_link_connect(struct pg_link *link)
{
	link->state = PG_LINK_CONNECTING;
	/* libpq ignores connect_timeout on the asynchronous path. */
	loop_timer_start(&link->timer, link->opts.connect_timeout_ms);
	link->resolve = pg_resolve_new(
	    link->opts.loop, link->conninfo, pg_link_on_resolved, link);
	if (!pg_resolve_pending(link->resolve))
		pg_link_resolved(link);
}

/* With several hosts, one whose name hangs is not to hide the others. */
void
pg_link_connect_time_out(struct pg_link *link)
{
	if (link->resolve == NULL) {
		pg_link_lose(link, "no answer within connect_timeout");
		return;
	}
	loop_timer_start(&link->timer, link->opts.connect_timeout_ms);
	pg_link_resolved(link);
}
