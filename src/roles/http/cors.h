/*
 * CORS (the Fetch standard, 3.2): which other sites' pages may read answers.
 */
#ifndef CHIMP_HTTP_CORS_H
#define CHIMP_HTTP_CORS_H

#include "common/conf/conf.h"
#include "roles/http/request.h"

/* For every answer: permission for the request's origin, if it is listed, and
 * what caches must know. A handler's own permission stands. */
void cors_headers(const struct conf_cors *cors, h2o_req_t *req);

/* A step: answers a preflight of a listed origin, for a path with routes. */
enum request_end cors_preflight(struct request *r);

#endif
