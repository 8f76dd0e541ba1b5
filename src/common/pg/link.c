/*
 * One asynchronous connection to PostgreSQL. See link.h.
 *
 * This file is the life of the connection: serve, lose, wait, connect again.
 * How it comes about is link_connect.c's matter, what is sent and answered
 * pipeline.c's.
 *
 *	WAITING -> CONNECTING -> READY
 *	   ^____________|__________|      pg_link_lose is the only way back
 */
#include "common/pg/link.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/pg/backoff.h"
#include "common/pg/link_connect.h"
#include "common/pg/resolve.h"
#include "common/pg/session.h"

#include <libpq-fe.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
pg_link_enter(struct pg_link *link)
{
	link->depth++;
}

void
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

void
pg_link_say_up(struct pg_link *link)
{
	if (link->said_lost || link->said_away)
		log_info("the database is back");
	link->said_lost = link->said_away = false;
}

/* --- connected: reading and writing --- */

void
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

void
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

void
pg_link_on_io(struct loop_io *io, int events, void *arg)
{
	struct pg_link *link = arg;

	(void)io;
	pg_link_enter(link);
	if (link->pipeline.conn == NULL)
		pg_link_connect_poll(link);
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
		pg_link_connect_time_out(link);
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
