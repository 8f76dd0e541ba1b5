/*
 * A blocking connection to PostgreSQL, for short-lived children and tests that
 * have nothing else to do. Never used inside a loop.
 */
#ifndef CHIMP_PG_CONN_H
#define CHIMP_PG_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/pg/link.h"

struct err;
struct pg_conn;

/*
 * Connect within timeout_ms. While the server cannot be reached or is starting
 * up, it tries again until then; a malformed conninfo, a refused password, a
 * missing role or database end at once.
 */
struct pg_conn *pg_conn_open(const char *conninfo, const char *application_name,
    int64_t timeout_ms, struct err *err);
void pg_conn_close(struct pg_conn **conn);

/* After an error: the server is gone, and the same on another connection may
 * well succeed. */
bool pg_conn_lost(const struct pg_conn *conn);

/* One statement with text parameters; *result may be NULL to drop it, else
 * the caller frees it with pg_result_free. The error carries the server's
 * message, detail and hint. */
int pg_conn_query(struct pg_conn *conn, const char *sql, int n_params,
    const char *const *values, struct pg_result **result, struct err *err);

/* Many statements without parameters. */
int pg_conn_script(struct pg_conn *conn, const char *sql, struct err *err);

#endif
