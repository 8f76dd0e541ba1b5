/*
 * The units in flight on one connection: sends statements in libpq's pipeline
 * mode and gives each unit its reply. Used by link.c alone, which owns the
 * connection; nothing here connects, waits or closes.
 */
#ifndef CHIMP_PG_PIPELINE_H
#define CHIMP_PG_PIPELINE_H

#include <libpq-fe.h>

#include "common/base/list.h"
#include "common/pg/link.h"
#include "common/pg/prepared.h"

struct pg_unit;

struct pg_pipeline {
	struct pg_link *link; /* handed to the callbacks */
	PGconn *conn;         /* NULL between connections */
	struct list units;    /* in flight, oldest first */
	struct pg_unit *open; /* the last of them, until its sync */
	int n_units;
	uint64_t last_unit; /* number of the newest */
	struct prepared_set prepared;
	char fault[512]; /* why the connection is of no more use; "" */
};

void pg_pipeline_init(struct pg_pipeline *p, struct pg_link *link);

/* Use a new connection, already in pipeline mode. */
void pg_pipeline_attach(struct pg_pipeline *p, PGconn *conn);

/* Forget the connection; the units stay until pg_pipeline_fail. */
void pg_pipeline_detach(struct pg_pipeline *p);

/* Add to the open unit. A failure is kept in `fault`. With `stmt->name` NULL
 * it is parsed once and not kept. */
void pg_pipeline_send(struct pg_pipeline *p, const struct pg_stmt *stmt,
    const char *const *values);
void pg_pipeline_sync(struct pg_pipeline *p, pg_done_fn *done, void *arg);

/* Call back for every unit whose answer is complete. A callback may detach
 * the pipeline. */
void pg_pipeline_receive(struct pg_pipeline *p);

/* Call back every unit with lost set. */
void pg_pipeline_fail(struct pg_pipeline *p, const char *message);

#endif
