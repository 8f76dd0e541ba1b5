/*
 * What a session needs before its link is READY. Called by link.c alone.
 */
#ifndef CHIMP_PG_SESSION_H
#define CHIMP_PG_SESSION_H

#include <stdint.h>

struct pg_pipeline;

/* Put the settings of design.md, section 2, and a LISTEN for each channel (a
 * NULL-terminated list, or NULL) into the open unit; the caller closes it.
 * statement_timeout_ms: 0 = none. */
void pg_session_settle(struct pg_pipeline *pipeline,
    int64_t statement_timeout_ms, const char *const *listen);

#endif
