/*
 * What every answer gets on its way out, whoever made it, h2o's own refusals
 * included: compression, security headers, CORS. Filters of h2o.
 */
#ifndef CHIMP_HTTP_EDGE_H
#define CHIMP_HTTP_EDGE_H

#include "roles/http/http.h"

/* For all answers of a path of h2o's configuration. */
void edge_register(struct http *http, h2o_pathconf_t *path);

/* Whether a type (a value of Content-Type) is text that is worth compressing;
 * not of streams of events, which must not wait for more. */
bool edge_is_text(h2o_iovec_t type);

/* Add a header of constant texts, unless the answer has one of that name. The
 * name, in lower case, must outlive the request. */
void edge_header(h2o_req_t *req, h2o_iovec_t *name, h2o_iovec_t value);

#endif
