/*
 * Conditional requests (RFC 9110, 13): a client that has the answer already
 * gets 304.
 */
#ifndef CHIMP_HTTP_CONDITIONAL_H
#define CHIMP_HTTP_CONDITIONAL_H

#include "roles/http/http.h"

/* Whether If-None-Match is there and names the tag, or is "*". */
bool conditional_has_tag(const h2o_req_t *req, h2o_iovec_t etag);

/*
 * For an answer of a readonly route that is about to be sent: see to it that
 * it has an ETag, a handler's own or one of the body. True if the client has
 * that already: the answer is 304.
 */
bool conditional_answer(
    h2o_req_t *req, int status, const char *body, size_t length);

#endif
