/*
 * One asynchronous connection to PostgreSQL. See link.h.
 *
 * This file is the life of the connection: resolve, connect, settle (session
 * settings and LISTEN), serve, lose, wait, connect again. What is sent and
 * answered is pipeline.c's.
 *
 *	WAITING -> CONNECTING -> READY
 *	   ^____________|__________|      pg_link_lose is the only way back
 */
#include "common/pg/link.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/pg/backoff.h"
#include "common/pg/pipeline.h"
#include "common/pg/resolve.h"
#include "common/pg/session.h"

#include <libpq-fe.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pg_link {
	struct pg_link_opts opts; /* its texts are our own copies */
	char *conninfo;
	char *application_name;
	char *options;
	enum pg_link_state state;
	PGconn *conn;
	struct loop_io io;
	struct pg_resolve *resolve; /* CONNECTING: names come first */
	struct loop_timer timer;    /* CONNECTING: time-out; WAITING: the next
				     * attempt; READY: a fault was noticed while
				     * sending */
	struct pg_pipeline pipeline;
	unsigned int failures; /* since it was last ready */
	bool said_lost;        /* the log knows */
	bool said_away;        /* that it cannot connect, too */
	int depth;             /* callbacks of ours on the stack */
	bool freed;            /* gone when depth is 0 again */
	char last_error[512];
};

static void pg_link_lose(struct pg_link *link, const char *why);
static void pg_link_on_io(struct loop_io *io, int events, void *arg);

/* Callbacks run between enter and leave; after leave the link may be gone. */
static void
pg_link_enter(struct pg_link *link)
{
	link->depth++;
}

static void
pg_link_leave(struct pg_link *link)
{
	if (--link->depth > 0 || !link->freed)
		return;
	free(link->conninfo);
	free(link->application_name);
	free(link->options);
	free(link);
}

/* libpq's messages end with a line break and may have several lines. */
static void
pg_link_remember(struct pg_link *link, const char *why)
{
	size_t n;

	snprintf(link->last_error, sizeof(link->last_error), "%s", why);
	n = strlen(link->last_error);
	while (n > 0 && link->last_error[n - 1] == '\n')
		link->last_error[--n] = '\0';
	while (n-- > 0)
		if (link->last_error[n] == '\n' || link->last_error[n] == '\t')
			link->last_error[n] = ' ';
}

/* Once per change of state, and once why it does not come back: that is often
 * another reason than the loss had. */
static void
pg_link_say_down(struct pg_link *link, bool was_ready)
{
	bool *said = was_ready ? &link->said_lost : &link->said_away;

	if (*said || link->opts.quiet)
		return;
	*said = true;
	log_warn("%s the database: %s; trying again until it answers",
	    was_ready ? "lost" : "cannot connect to", link->last_error);
}

static void
pg_link_say_up(struct pg_link *link)
{
	if (link->said_lost || link->said_away)
		log_info("the database is back");
	link->said_lost = link->said_away = false;
}

/* --- connected: reading and writing --- */

static void
pg_link_flush(struct pg_link *link)
{
	int left;

	if (link->conn == NULL)
		return;
	left = PQflush(link->conn);
	if (left < 0)
		pg_link_lose(link, PQerrorMessage(link->conn));
	else
		loop_io_set(
		    &link->io, left > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void
pg_link_notifies(struct pg_link *link)
{
	PGnotify *n;

	while (link->conn != NULL && (n = PQnotifies(link->conn)) != NULL) {
		if (link->opts.on_notify != NULL)
			link->opts.on_notify(
			    link, n->relname, n->extra, link->opts.arg);
		PQfreemem(n);
	}
}

static void
pg_link_serve(struct pg_link *link, int events)
{
	if ((events & LOOP_READ) && !PQconsumeInput(link->conn)) {
		pg_link_lose(link, PQerrorMessage(link->conn));
		return;
	}
	pg_pipeline_receive(&link->pipeline);
	pg_link_notifies(link);
	if (link->conn == NULL)
		return;
	if (link->pipeline.fault[0] != '\0')
		pg_link_lose(link, link->pipeline.fault);
	else
		pg_link_flush(link);
}

/* --- settling: what a session needs before it is READY --- */

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

static void
pg_link_on_notice(void *arg, const PGresult *res)
{
	struct pg_link *link = arg;
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *severity =
	    PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	/* An idle session's end comes as a notice (57P01). */
	if (text != NULL && severity != NULL && strcmp(severity, "FATAL") == 0)
		snprintf(link->pipeline.fault, sizeof(link->pipeline.fault),
		    "%s", text);
	if (link->opts.on_notice != NULL && text != NULL)
		link->opts.on_notice(link,
		    PQresultErrorField(res, PG_DIAG_SQLSTATE), text,
		    PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL),
		    link->opts.arg);
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

static void
pg_link_poll(struct pg_link *link)
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

static void
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
static void
pg_link_time_out(struct pg_link *link)
{
	if (link->resolve == NULL) {
		pg_link_lose(link, "no answer within connect_timeout");
		return;
	}
	loop_timer_start(&link->timer, link->opts.connect_timeout_ms);
	pg_link_resolved(link);
}

/* --- the end of a connection --- */

static void
pg_link_close(struct pg_link *link)
{
	loop_timer_stop(&link->timer);
	loop_io_done(&link->io);
	pg_resolve_free(&link->resolve);
	pg_pipeline_detach(&link->pipeline);
	PQfinish(link->conn);
	link->conn = NULL;
}

static void
pg_link_lose(struct pg_link *link, const char *why)
{
	bool was_ready = link->state == PG_LINK_READY;

	assert(was_ready || link->state == PG_LINK_CONNECTING);
	/* The server's own last words say more than "closed unexpectedly". */
	pg_link_remember(
	    link, link->pipeline.fault[0] != '\0' ? link->pipeline.fault : why);
	pg_link_close(link);
	link->pipeline.fault[0] = '\0';
	link->state = PG_LINK_WAITING;
	link->failures++;
	loop_timer_start(
	    &link->timer, pg_backoff_ms(link->failures, clock_jitter(1000)));
	pg_link_say_down(link, was_ready);
	pg_pipeline_fail(&link->pipeline, link->last_error);
	if (!link->freed && link->opts.on_lost != NULL)
		link->opts.on_lost(link, link->opts.arg);
}

static void
pg_link_on_io(struct loop_io *io, int events, void *arg)
{
	struct pg_link *link = arg;

	(void)io;
	pg_link_enter(link);
	if (link->pipeline.conn == NULL)
		pg_link_poll(link);
	else
		pg_link_serve(link, events);
	pg_link_leave(link);
}

void
pg_link_look(struct pg_link *link)
{
	if (link->state != PG_LINK_READY || link->depth > 0)
		return;
	pg_link_enter(link);
	pg_link_serve(link, LOOP_READ);
	pg_link_leave(link);
}

static void
pg_link_on_timer(struct loop_timer *timer, void *arg)
{
	struct pg_link *link = arg;

	(void)timer;
	pg_link_enter(link);
	switch (link->state) {
	case PG_LINK_WAITING:
		pg_link_connect(link);
		break;
	case PG_LINK_CONNECTING:
		pg_link_time_out(link);
		break;
	case PG_LINK_READY:
		pg_link_lose(link, link->pipeline.fault);
		break;
	case PG_LINK_STOPPED:
		assert(!"a stopped link has no timer");
	}
	pg_link_leave(link);
}

/* --- the public face --- */

struct pg_link *
pg_link_new(const struct pg_link_opts *opts)
{
	struct pg_link *link = mem_zalloc(sizeof(*link));

	assert(opts->loop != NULL && opts->connect_timeout_ms > 0);
	link->opts = *opts;
	link->conninfo = mem_strdup(opts->conninfo);
	link->application_name = mem_strndup(opts->application_name, 63);
	link->options =
	    pg_session_options(link->conninfo, opts->statement_timeout_ms);
	link->opts.conninfo = link->conninfo;
	link->opts.application_name = link->application_name;
	pg_pipeline_init(&link->pipeline, link);
	loop_timer_init(&link->timer, opts->loop, pg_link_on_timer, link);
	link->state = PG_LINK_WAITING;
	loop_timer_start(&link->timer, 0);
	return link;
}

void
pg_link_free(struct pg_link **linkp)
{
	struct pg_link *link = *linkp;

	if (link == NULL)
		return;
	*linkp = NULL;
	assert(!link->freed);
	pg_link_enter(link);
	link->freed = true;
	pg_link_remember(link, "the connection was closed");
	pg_link_close(link);
	link->state = PG_LINK_STOPPED;
	pg_pipeline_fail(&link->pipeline, link->last_error);
	loop_timer_done(&link->timer);
	pg_link_leave(link);
}

enum pg_link_state
pg_link_state(const struct pg_link *link)
{
	return link->state;
}

bool
pg_link_ready(const struct pg_link *link)
{
	return link->state == PG_LINK_READY;
}

int
pg_link_in_flight(const struct pg_link *link)
{
	return link->pipeline.n_units;
}

const char *
pg_link_last_error(const struct pg_link *link)
{
	return link->last_error;
}

int
pg_link_backend_pid(const struct pg_link *link)
{
	return pg_link_ready(link) ? PQbackendPID(link->conn) : 0;
}

void
pg_send(
    struct pg_link *link, const struct pg_stmt *stmt, const char *const *values)
{
	assert(pg_link_ready(link));
	pg_pipeline_send(&link->pipeline, stmt, values);
}

/* A fault is noticed by the loop, so that no callback comes from in here. */
void
pg_sync(struct pg_link *link, pg_done_fn *done, void *arg)
{
	assert(pg_link_ready(link));
	pg_pipeline_sync(&link->pipeline, done, arg);
	if (link->pipeline.fault[0] == '\0') {
		int left = PQflush(link->conn);

		if (left > 0)
			loop_io_set(&link->io, LOOP_READ | LOOP_WRITE);
		else if (left < 0)
			snprintf(link->pipeline.fault,
			    sizeof(link->pipeline.fault), "%s",
			    PQerrorMessage(link->conn));
	}
	if (link->pipeline.fault[0] != '\0')
		loop_timer_start(&link->timer, 0);
}

void
pg_query(struct pg_link *link, const struct pg_stmt *stmt,
    const char *const *values, pg_done_fn *done, void *arg)
{
	pg_send(link, stmt, values);
	pg_sync(link, done, arg);
}
