/*
 * The database: a run of chimpctl is one connection and mostly one statement.
 */
#ifndef CHIMP_CHIMPCTL_DB_H
#define CHIMP_CHIMPCTL_DB_H

#include <libpq-fe.h>

struct ctl_call;

/*
 * Find the database (call->where) and connect, the first time; run one
 * statement with text parameters (NULL values are SQL NULL) in a transaction of
 * its own. NULL when any of it failed, which the user has been told; the caller
 * frees a result with PQclear.
 */
PGresult *db_run(struct ctl_call *call, const char *sql, int n_params,
    const char *const *values);

/* The same, and print the column "json" or, without --json, "text" of its only
 * row; nothing where that is NULL. An exit status. */
int db_say(struct ctl_call *call, const char *sql, int n_params,
    const char *const *values);

/* Disconnect, if need be. */
void db_done(struct ctl_call *call);

/* A field as text, NULL if it is SQL NULL. */
const char *db_text(const PGresult *result, int row, const char *column);

#endif
