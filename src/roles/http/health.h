/*
 * The built-in routes: what load balancers and Prometheus ask.
 */
#ifndef CHIMP_HTTP_HEALTH_H
#define CHIMP_HTTP_HEALTH_H

#include "roles/http/http.h"

/* GET /health: the process answers. */
void health_live(h2o_req_t *req);

/* GET /ready: requests can be served; else 503 with the reason. */
void health_ready(struct http *http, h2o_req_t *req);

/* GET /metrics: of this process, which its labels name; needs no database. */
void health_metrics(struct http *http, h2o_req_t *req);

#endif
