/*
 * Answers. See answer.h.
 */
#include "roles/http/answer.h"

#include <string.h>

#include "roles/http/conditional.h"

void
answer_header(h2o_req_t *req, const char *name, const char *value)
{
	h2o_iovec_t n = h2o_strdup(&req->pool, name, SIZE_MAX);
	h2o_iovec_t v = h2o_strdup(&req->pool, value, SIZE_MAX);

	h2o_strtolower(n.base, n.len);
	h2o_add_header_by_str(&req->pool, &req->res.headers, n.base, n.len, 1,
	    NULL, v.base, v.len);
}

static void
answer_count(struct conn *conn, int status)
{
	conn->endpoint->answers[status / 100]++;
	conn->http->n_answers++;
}

static bool
answer_is_bodiless(int status)
{
	return status == 204 || status == 304;
}

void
answer_begin(
    h2o_req_t *req, int status, const char *content_type, uint64_t length)
{
	struct conn *conn = conn_of(req);

	req->res.status = status;
	req->res.reason = problem_reason(status);
	/* RFC 9110, 8.6: no Content-Length with 204. */
	if (!answer_is_bodiless(status))
		req->res.content_length = length;
	if (content_type != NULL)
		answer_header(req, "content-type", content_type);
	answer_header(req, "x-request-id", conn->request_id);
	trace_answer(&conn->trace, req);
	if (conn->http->draining)
		req->http1_is_persistent = 0;
	answer_count(conn, status);
	conn->call = NULL;
}

static void
answer_finish(h2o_req_t *req, h2o_iovec_t *buf, size_t n)
{
	h2o_generator_t *generator =
	    h2o_mem_alloc_pool(&req->pool, sizeof(*generator));

	memset(generator, 0, sizeof(*generator));
	h2o_start_response(req, generator);
	h2o_send(req, buf, n, H2O_SEND_STATE_FINAL);
}

void
answer_head(
    h2o_req_t *req, int status, const char *content_type, uint64_t length)
{
	answer_begin(req, status, content_type, length);
	answer_finish(req, NULL, 0);
}

void
answer_send(h2o_req_t *req, int status, const char *content_type,
    const char *body, size_t length)
{
	h2o_iovec_t buf = h2o_iovec_init(body, length);
	bool head =
	    h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));

	if (conditional_answer(req, status, body, length)) {
		status = 304;
		content_type = NULL;
	}
	answer_begin(req, status, content_type, length);
	answer_finish(
	    req, &buf, length > 0 && !head && !answer_is_bodiless(status));
}

void
answer_text(h2o_req_t *req, int status, const char *content_type,
    const char *text, size_t length)
{
	h2o_iovec_t copy = h2o_strdup(&req->pool, text, length);

	answer_send(req, status, content_type, copy.base, copy.len);
}

void
answer_problem(h2o_req_t *req, const struct problem *problem)
{
	struct strbuf body = STRBUF_EMPTY;

	if (problem->retry_later)
		answer_header(req, "retry-after", "1");
	problem_body(problem, &body);
	answer_text(
	    req, problem->status, PROBLEM_CONTENT_TYPE, body.data, body.length);
	strbuf_done(&body);
}

void
answer_error(h2o_req_t *req, int status, const char *detail)
{
	struct problem problem = {.status = status, .detail = detail};

	problem.retry_later = status == 503;
	answer_problem(req, &problem);
}
