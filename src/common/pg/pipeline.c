/*
 * The units in flight on one connection. See pipeline.h.
 *
 * Each statement of a unit is one or two entries of libpq's command queue
 * (Parse when it is not prepared yet, then the execution), and each entry is
 * answered by one result. After an error the rest of the unit is answered
 * PGRES_PIPELINE_ABORTED. PGRES_PIPELINE_SYNC ends the unit, after its commit.
 */
#include "common/pg/pipeline.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As many as units usually have; more are allocated. */
#define PG_UNIT_INLINE 6

/* One entry of libpq's command queue. */
struct pg_entry {
	struct prepared *parse; /* NULL: an execution */
};

struct pg_unit {
	struct list node;
	uint64_t number;
	pg_done_fn *done;
	void *arg;
	int n_entries;
	int room;
	int answered; /* entries */
	int n_results;
	PGresult *failed; /* the first error */
	struct pg_entry *entries;
	struct pg_result **results;
	struct pg_entry inline_entries[PG_UNIT_INLINE];
	struct pg_result *inline_results[PG_UNIT_INLINE];
};

void
pg_pipeline_init(struct pg_pipeline *p, struct pg_link *link)
{
	memset(p, 0, sizeof(*p));
	p->link = link;
	list_init(&p->units);
}

void
pg_pipeline_attach(struct pg_pipeline *p, PGconn *conn)
{
	assert(p->conn == NULL && list_empty(&p->units));
	p->conn = conn;
	p->fault[0] = '\0';
}

void
pg_pipeline_detach(struct pg_pipeline *p)
{
	p->conn = NULL;
	prepared_clear(&p->prepared);
}

static void
pg_pipeline_fault(struct pg_pipeline *p, const char *why)
{
	if (p->fault[0] == '\0')
		snprintf(p->fault, sizeof(p->fault), "%s", why);
}

/* --- units --- */

static struct pg_unit *
pg_unit_open(struct pg_pipeline *p)
{
	struct pg_unit *unit;

	if (p->open != NULL)
		return p->open;
	unit = mem_zalloc(sizeof(*unit));
	unit->number = ++p->last_unit;
	unit->room = PG_UNIT_INLINE;
	unit->entries = unit->inline_entries;
	unit->results = unit->inline_results;
	list_append(&p->units, &unit->node);
	p->n_units++;
	p->open = unit;
	return unit;
}

static void
pg_unit_free(struct pg_unit *unit)
{
	for (int i = 0; i < unit->n_results; i++)
		PQclear((PGresult *)unit->results[i]);
	PQclear(unit->failed);
	if (unit->entries != unit->inline_entries) {
		free(unit->entries);
		free(unit->results);
	}
	free(unit);
}

static void
pg_unit_grow(struct pg_unit *unit)
{
	size_t n = (size_t)unit->room;
	struct pg_entry *entries = mem_zalloc(2 * n * sizeof(*entries));
	struct pg_result **results = mem_zalloc(2 * n * sizeof(*results));

	memcpy(entries, unit->entries, n * sizeof(*entries));
	memcpy(results, unit->results, n * sizeof(*results));
	if (unit->entries != unit->inline_entries) {
		free(unit->entries);
		free(unit->results);
	}
	unit->entries = entries;
	unit->results = results;
	unit->room *= 2;
}

static void
pg_unit_add(struct pg_unit *unit, struct prepared *parse)
{
	if (unit->n_entries == unit->room)
		pg_unit_grow(unit);
	unit->entries[unit->n_entries++].parse = parse;
}

/* --- sending --- */

static void
pg_pipeline_parse(
    struct pg_pipeline *p, struct pg_unit *unit, struct prepared *prepared)
{
	prepared_rename(&p->prepared, prepared);
	prepared->state = PREPARED_SENT;
	prepared->unit = unit->number;
	pg_unit_add(unit, prepared);
	if (!PQsendPrepare(
		p->conn, prepared->name, prepared->stmt->sql, 0, NULL))
		pg_pipeline_fault(p, PQerrorMessage(p->conn));
}

/*
 * The name to execute a statement by, NULL to send its text instead. Another
 * unit's Parse that is still unanswered cannot be relied on: an error before
 * it would skip it and take this unit down, too.
 */
static const char *
pg_pipeline_name(
    struct pg_pipeline *p, struct pg_unit *unit, const struct pg_stmt *stmt)
{
	struct prepared *prepared;

	if (stmt->name == NULL)
		return NULL;
	prepared = prepared_find(&p->prepared, stmt);
	if (prepared->state == PREPARED_NOT)
		pg_pipeline_parse(p, unit, prepared);
	if (prepared->state == PREPARED_SENT && prepared->unit != unit->number)
		return NULL;
	return prepared->name;
}

void
pg_pipeline_send(struct pg_pipeline *p, const struct pg_stmt *stmt,
    const char *const *values)
{
	struct pg_unit *unit = pg_unit_open(p);
	const char *name;
	int sent;

	/* A broken connection is noticed by the loop: the unit is lost. */
	if (p->fault[0] != '\0')
		return;
	name = pg_pipeline_name(p, unit, stmt);
	pg_unit_add(unit, NULL);
	if (name != NULL)
		sent = PQsendQueryPrepared(
		    p->conn, name, stmt->n_params, values, NULL, NULL, 0);
	else
		sent = PQsendQueryParams(p->conn, stmt->sql, stmt->n_params,
		    NULL, values, NULL, NULL, 0);
	if (!sent)
		pg_pipeline_fault(p, PQerrorMessage(p->conn));
}

void
pg_pipeline_sync(struct pg_pipeline *p, pg_done_fn *done, void *arg)
{
	assert(p->open != NULL);
	p->open->done = done;
	p->open->arg = arg;
	p->open = NULL;
	if (p->fault[0] == '\0' && !PQpipelineSync(p->conn))
		pg_pipeline_fault(p, PQerrorMessage(p->conn));
}

/* --- receiving --- */

static void
pg_error_fill(struct pg_error *error, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	snprintf(error->sqlstate, sizeof(error->sqlstate), "%s",
	    state != NULL ? state : "");
	error->message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	if (error->message == NULL)
		error->message = PQresultErrorMessage(res);
	error->detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	error->hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	error->context = PQresultErrorField(res, PG_DIAG_CONTEXT);
}

/* Take a unit off the list and call back. */
static void
pg_unit_finish(
    struct pg_pipeline *p, struct pg_unit *unit, struct pg_reply *reply)
{
	list_remove(&unit->node);
	p->n_units--;
	if (p->open == unit)
		p->open = NULL;
	if (unit->done != NULL)
		unit->done(p->link, reply, unit->arg);
	pg_unit_free(unit);
}

static void
pg_unit_committed(struct pg_pipeline *p, struct pg_unit *unit)
{
	struct pg_reply reply = {.ok = unit->failed == NULL};

	if (reply.ok) {
		/* One answer to each entry, or libpq and we disagree. */
		assert(unit->answered == unit->n_entries);
		reply.n_results = unit->n_results;
		reply.results = unit->results;
	} else {
		pg_error_fill(&reply.error, unit->failed);
		/* 26000: a handler deallocated a statement of ours; 0A000:
		 * "cached plan must not change result type". */
		if (strcmp(reply.error.sqlstate, "26000") == 0 ||
		    strcmp(reply.error.sqlstate, "0A000") == 0)
			prepared_forget(&p->prepared);
	}
	pg_unit_finish(p, unit, &reply);
}

static bool
pg_result_is_fatal(const PGresult *res)
{
	const char *s = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	/* Without a severity libpq made it itself: the connection broke. */
	return s == NULL || strcmp(s, "FATAL") == 0 || strcmp(s, "PANIC") == 0;
}

static void
pg_unit_error(struct pg_pipeline *p, struct pg_unit *unit, PGresult *res)
{
	/* The session ends with it: whether the unit's commit came before is
	 * not known (57P01 when the server is shut down). */
	if (pg_result_is_fatal(res))
		pg_pipeline_fault(p, PQresultErrorMessage(res));
	if (unit->failed == NULL)
		unit->failed = res;
	else
		PQclear(res);
}

/* The answer to a Parse. */
static void
pg_unit_parsed(struct pg_unit *unit, struct prepared *prepared, bool ok)
{
	/* Forgotten meanwhile, and perhaps sent again under a new name. */
	if (prepared->unit != unit->number || prepared->state != PREPARED_SENT)
		return;
	prepared->state = ok ? PREPARED_KNOWN : PREPARED_NOT;
}

static void
pg_unit_answer(struct pg_pipeline *p, struct pg_unit *unit, PGresult *res)
{
	struct prepared *parse = NULL;
	ExecStatusType status = PQresultStatus(res);
	bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
		  status == PGRES_EMPTY_QUERY;

	/* An error at the commit answers the sync, behind the last entry. */
	if (unit->answered < unit->n_entries)
		parse = unit->entries[unit->answered++].parse;
	else
		assert(!ok);
	if (parse != NULL)
		pg_unit_parsed(unit, parse, ok);
	if (ok && parse == NULL) {
		unit->results[unit->n_results++] = (struct pg_result *)res;
	} else if (ok || status == PGRES_PIPELINE_ABORTED) {
		PQclear(res);
	} else if (status == PGRES_FATAL_ERROR) {
		pg_unit_error(p, unit, res);
	} else {
		/* COPY cannot be ended in pipeline mode. */
		PQclear(res);
		pg_pipeline_fault(p, "COPY in a handler is not possible");
	}
}

void
pg_pipeline_receive(struct pg_pipeline *p)
{
	struct pg_unit *unit;
	PGresult *res;

	/* p->conn is NULL when a callback closed the link. */
	while (p->conn != NULL && p->fault[0] == '\0' &&
	       !list_empty(&p->units) && !PQisBusy(p->conn)) {
		res = PQgetResult(p->conn);
		if (res == NULL)
			continue; /* the end of one entry's results */
		unit = LIST_ENTRY(p->units.next, struct pg_unit, node);
		if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
			PQclear(res);
			pg_unit_committed(p, unit);
		} else {
			pg_unit_answer(p, unit, res);
		}
	}
}

void
pg_pipeline_fail(struct pg_pipeline *p, const char *message)
{
	char *copy = mem_strdup(message);

	while (!list_empty(&p->units)) {
		struct pg_reply reply = {.lost = true};

		reply.error.message = copy;
		pg_unit_finish(
		    p, LIST_ENTRY(p->units.next, struct pg_unit, node), &reply);
	}
	free(copy);
}
