/*
 * Built-in routes: what load balancers ask. For Prometheus see metrics.h.
 */
#ifndef CHIMP_HTTP_HEALTH_H
#define CHIMP_HTTP_HEALTH_H

#include "roles/http/http.h"

/* GET /health: the process answers. */
void health_live(h2o_req_t *req);

/* GET /ready: requests can be served; else 503 with the reason. */
void health_ready(struct http *http, h2o_req_t *req);

#endif
