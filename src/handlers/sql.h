/*
 * How `sql = "schema.function"` handlers are called. The one place where a
 * statement is made from a configured name; the name is checked and quoted.
 *
 * All statements take and return text forms of jsonb.
 */
#ifndef CHIMP_HANDLERS_SQL_H
#define CHIMP_HANDLERS_SQL_H

#include <stdbool.h>

#include "common/base/list.h"
#include "common/pg/link.h"

/* True for "schema.function" made of letters, digits, _ and $. */
bool sql_handler_valid(const char *function);

/* select F($1), the setting chimp.response, with the settings chimp.request
 * and chimp.trace, in a read-only transaction if so wanted. Parameters: input,
 * request, trace. */
struct pg_stmt *sql_handler_action(const char *function, bool readonly);

/* The same under a key: runs F($1) and keeps its answer, or gives the answer
 * that is kept, all in one transaction. Parameters: input, request, key,
 * fingerprint, retention in milliseconds, HTTP status of a result, trace.
 * Columns: the result, the setting chimp.response, and the status of an answer
 * that was kept (NULL: F has run). */
struct pg_stmt *sql_handler_guarded(const char *function);

/* select chimp.job_done(job, token, F(payload)) from chimp.job_begin(job,
 * token), after chimp.session_reset(): begin checks the claim and returns the
 * payload, done closes the job in the same transaction; a stale token raises in
 * either. Parameters: job, token. */
struct pg_stmt *sql_handler_job(const char *function);

/* select ... from chimp.run_ID(process, token), which the database made for the
 * queue with this id: it runs a claim of several jobs in one transaction, and
 * says which of them are to be run one by one. Parameters: process, token.
 * Columns: done, took_us, slowest_us, jobs, tokens, timeouts_ms. */
struct pg_stmt *sql_handler_group(const char *queue_id);

/* select chimp.lane_advance($1..$6, F($7)), after chimp.session_reset():
 * handles one event and moves the lane in one transaction. Parameters: lane,
 * epoch, from_tick, from_id, tick, id, event. NULL if it is no valid name. */
struct pg_stmt *sql_handler_event(const char *function);

/* select ... from chimp.deliver_ID(lanes, epochs), which the database made for
 * the subscription with this id: it handles the next events of lanes in one
 * transaction. Parameters: arrays of lanes and their epochs. Columns: handled,
 * more, alone, waits, tick, event_id.
 * NULL if it is no number. */
struct pg_stmt *sql_handler_deliver(const char *subscription_id);

void sql_handler_free(struct pg_stmt **stmt);

/*
 * The statements of one kind by name, each made once and kept until
 * sql_handlers_done: links may hold them. For roles that learn from the
 * database what to run.
 */
struct sql_handlers {
	struct list all;
	struct pg_stmt *(*make)(const char *name);
};

void sql_handlers_init(
    struct sql_handlers *h, struct pg_stmt *(*make)(const char *name));

/* NULL if make refuses the name: a row may have been written by hand. */
const struct pg_stmt *sql_handlers_get(
    struct sql_handlers *h, const char *name);

void sql_handlers_done(struct sql_handlers *h);

#endif
