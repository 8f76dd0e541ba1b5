/*
 * Answers. Each request gets exactly one.
 */
#ifndef CHIMP_HTTP_ANSWER_H
#define CHIMP_HTTP_ANSWER_H

#include "roles/http/http.h"
#include "roles/http/problem.h"

/* Add a header; both texts are copied. */
void answer_header(h2o_req_t *req, const char *name, const char *value);

/*
 * Send. The body must live as long as the request's pool; HEAD gets its length
 * only. content_type NULL: there is no body, and for 204 and 304 no length.
 */
void answer_send(h2o_req_t *req, int status, const char *content_type,
    const char *body, size_t length);

/* The beginning alone, for those that send the body themselves: status and
 * headers. Then h2o_start_response. */
void answer_begin(
    h2o_req_t *req, int status, const char *content_type, uint64_t length);

/* An answer without its body: to HEAD, or because there is none. */
void answer_head(
    h2o_req_t *req, int status, const char *content_type, uint64_t length);

/* As answer_send, of a text that is copied. */
void answer_text(h2o_req_t *req, int status, const char *content_type,
    const char *text, size_t length);

void answer_problem(h2o_req_t *req, const struct problem *problem);

/* A problem with a status and a detail. */
void answer_error(h2o_req_t *req, int status, const char *detail);

#endif
