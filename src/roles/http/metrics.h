/*
 * GET /metrics: the figures of this process as they are now, those that the
 * others of its node have said in the database, and those of the database.
 *
 * It answers within a second whatever the database does, then without what has
 * not come. Scrapes that come together share one round of queries, and what it
 * brought is good for a second.
 */
#ifndef CHIMP_HTTP_METRICS_H
#define CHIMP_HTTP_METRICS_H

#include "roles/http/http.h"

void metrics_start(struct http *http);
void metrics_done(struct http *http); /* no request is left */

/* Answers it, now or within a second. */
void metrics_answer(struct http *http, h2o_req_t *req);

/* For struct role: this process's own as lines. */
void metrics_lines(struct child *child, const char *labels, struct strbuf *out);

#endif
