/*
 * What a session needs before its link is READY. Called by link.c alone.
 */
#ifndef CHIMP_PG_SESSION_H
#define CHIMP_PG_SESSION_H

#include <stdint.h>

struct pg_pipeline;

/* The settings of design.md, section 2, as the `options` of a connection to
 * `conninfo`, what that has as options behind them. Given with the connection,
 * they are what RESET goes back to, so that a job's settings can be undone.
 * statement_timeout_ms: 0 = none. The caller frees it. */
char *pg_session_options(const char *conninfo, int64_t statement_timeout_ms);

/* Put a first question, and a LISTEN for each channel (a NULL-terminated list,
 * or NULL), into the open unit; the caller closes it. */
void pg_session_settle(struct pg_pipeline *pipeline, const char *const *listen);

#endif
