/*
 * One asynchronous connection to PostgreSQL in pipeline mode, on any loop.
 *
 * Statements are queued with pg_send and closed by pg_sync into one unit: one
 * implicit transaction, one round trip, one callback. The callback comes when
 * the server has answered the sync, that is after the commit: nobody who waits
 * for it can answer too early. When the connection dies, every unit in flight
 * gets its callback with reply->lost set: whether it committed is unknown.
 *
 * The link reconnects by itself with jittered backoff (50 ms to 1 s: G38 wants
 * everything resumed within 2 s of the server's return) until
 * pg_link_free. It says in the log once that it lost the server, once why it
 * cannot connect, and once that it is back. Names are looked up off the loop
 * (resolve.h), within the time that connecting has.
 */
#ifndef CHIMP_PG_LINK_H
#define CHIMP_PG_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/loop.h"

struct pg_link;
struct pg_result; /* a libpq PGresult behind a name of our own */

enum pg_link_state {
	PG_LINK_CONNECTING, /* includes names, session settings, LISTEN */
	PG_LINK_READY,
	PG_LINK_WAITING, /* for the next attempt */
	PG_LINK_STOPPED  /* pg_link_stop was called, or never started */
};

struct pg_link_opts {
	struct loop *loop;
	const char *conninfo;         /* URL or keywords; copied */
	const char *application_name; /* copied, cut at 63 bytes */
	int64_t connect_timeout_ms;
	int64_t statement_timeout_ms; /* of the session; 0 = none */
	const char *const *listen;    /* channels, NULL-terminated, or NULL;
				       * must outlive the link */
	bool quiet;                   /* do not log losses: another link of
				       * the process does */
	/* Any may be NULL. on_ready: each time it becomes READY.
	 * on_lost: each time READY or an attempt to connect ends. */
	void (*on_ready)(struct pg_link *link, void *arg);
	void (*on_lost)(struct pg_link *link, void *arg);
	void (*on_notify)(struct pg_link *link, const char *channel,
	    const char *payload, void *arg);
	/* Warnings and the like; sqlstate and detail may be NULL. It may send
	 * on other links, not on this one. */
	void (*on_notice)(struct pg_link *link, const char *sqlstate,
	    const char *message, const char *detail, void *arg);
	void *arg;
};

/* A prepared statement; must outlive every link that it is sent on. Prepared
 * at its first use on a connection. Parameter types are the server's choice. */
struct pg_stmt {
	const char *name; /* unique in the process */
	const char *sql;
	int n_params;
};

struct pg_error {
	char sqlstate[6]; /* "" if the connection was lost */
	char *message;    /* never NULL */
	char *detail;     /* NULL if none; so are the others */
	char *hint;
	char *context;
};

/* What a unit came to; valid only during the callback. */
struct pg_reply {
	bool ok;   /* every statement succeeded and the commit is done */
	bool lost; /* the connection died: the outcome is unknown */
	struct pg_error error; /* when neither ok nor lost; when lost, only
				* message */
	int n_results;
	struct pg_result **results; /* one per pg_send, in order, when ok */
};

typedef void pg_done_fn(
    struct pg_link *link, struct pg_reply *reply, void *arg);

/* Begins to connect at once (through the loop). */
struct pg_link *pg_link_new(const struct pg_link_opts *opts);

/* Closes the connection without waiting; units in flight get their callback
 * with lost set before it returns. Safe inside callbacks of the same link. */
void pg_link_free(struct pg_link **link);

enum pg_link_state pg_link_state(const struct pg_link *link);
bool pg_link_ready(const struct pg_link *link);
int pg_link_in_flight(const struct pg_link *link); /* units not answered */
const char *pg_link_last_error(const struct pg_link *link); /* "" if none */
int pg_link_backend_pid(const struct pg_link *link);        /* 0 if not ready */

/* Add a statement to the open unit. values[i] NULL is SQL NULL; texts are
 * terminated; they are copied before the call returns. The link must be
 * READY (asserted). */
void pg_send(struct pg_link *link, const struct pg_stmt *stmt,
    const char *const *values);

/* Close the open unit, which must have a statement. `done` may be NULL. */
void pg_sync(struct pg_link *link, pg_done_fn *done, void *arg);

/* pg_send and pg_sync of one statement. */
void pg_query(struct pg_link *link, const struct pg_stmt *stmt,
    const char *const *values, pg_done_fn *done, void *arg);

/* Take what has arrived, without waiting for the loop to come round to it.
 * Nothing inside a callback of the same link. */
void pg_link_look(struct pg_link *link);

/* Results: text values. */
int pg_rows(const struct pg_result *result);
bool pg_is_null(const struct pg_result *result, int row, int col);
const char *pg_value(const struct pg_result *result, int row, int col);
size_t pg_length(const struct pg_result *result, int row, int col);
int64_t pg_int(const struct pg_result *result, int row, int col);
bool pg_bool(const struct pg_result *result, int row, int col);

/* Keep a result beyond the callback (an answer's body that is still being
 * written); free it with pg_result_free, which accepts NULL. */
struct pg_result *pg_reply_take(struct pg_reply *reply, int i);
void pg_result_free(struct pg_result **result);

#endif
