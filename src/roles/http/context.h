/*
 * What chimp.request() tells a handler about the request.
 */
#ifndef CHIMP_HTTP_CONTEXT_H
#define CHIMP_HTTP_CONTEXT_H

#include "common/base/strbuf.h"
#include "roles/http/http.h"
#include "roles/http/url.h"

/* Set conn->request_id: the client's X-Request-Id if it is a sane one, else a
 * new one. */
void context_request_id(struct conn *conn, h2o_req_t *req);

/*
 * Append {"method","path","scheme","headers","query","peer","requestId"}.
 * Header names are lower-case, repeated headers are joined (RFC 9110, 5.3),
 * bytes that are not UTF-8 are read as ISO 8859-1.
 */
void context_json(const struct conn *conn, h2o_req_t *req,
    const struct url *url, struct strbuf *out);

#endif
