/*
 * A request's way to its answer. See request.h.
 */
#include "roles/http/request.h"

#include <string.h>

#include "roles/http/answer.h"
#include "roles/http/call.h"
#include "roles/http/context.h"
#include "roles/http/cors.h"
#include "roles/http/head.h"
#include "roles/http/health.h"
#include "roles/http/metrics.h"
#include "roles/http/static.h"

int
request_fail(struct request *r, int status, const char *detail)
{
	r->problem.status = status;
	r->problem.detail = detail;
	return -1;
}

/* --- the route --- */

static void
request_allow(struct request *r)
{
	char allow[ROUTER_ALLOW_BYTES];

	answer_header(r->req, "allow", router_allow(r->match.methods, allow));
}

static enum request_end
request_route(struct request *r)
{
	char *buf = h2o_mem_alloc_pool(&r->req->pool, r->url.path_length + 1);

	switch (router_find(r->http->endpoints->router, r->req->method.base,
	    r->req->method.len, r->url.path, r->url.path_length, buf,
	    &r->match)) {
	case ROUTER_FOUND:
		r->conn->endpoint = r->match.target;
		return REQUEST_GOES_ON;
	case ROUTER_NO_PATH:
		if (static_answer(r))
			break;
		answer_error(r->req, 404, "there is nothing at this path");
		break;
	case ROUTER_NO_METHOD:
		request_allow(r);
		answer_error(r->req, 405, "this path has no such method");
		break;
	case ROUTER_OPTIONS:
		request_allow(r);
		answer_send(r->req, 204, NULL, "", 0);
		break;
	case ROUTER_BAD_PATH:
		err_set(&r->err, "the path %s", url_fault_text(r->match.fault));
		answer_error(r->req, 400, r->err.message);
		break;
	}
	return REQUEST_ANSWERED;
}

static enum request_end
request_built_in(struct request *r)
{
	switch (r->conn->endpoint->kind) {
	case ENDPOINT_CALL:
	case ENDPOINT_STATIC:
		return REQUEST_GOES_ON;
	case ENDPOINT_HEALTH:
		health_live(r->req);
		break;
	case ENDPOINT_READY:
		health_ready(r->http, r->req);
		break;
	case ENDPOINT_METRICS:
		metrics_answer(r->http, r->req);
		break;
	}
	return REQUEST_ANSWERED;
}

/* --- the handler --- */

static enum request_end
request_input(struct request *r)
{
	input_init(&r->input);
	r->violations.arena = r->input.arena;
	if (request_gather(r) == 0)
		return REQUEST_GOES_ON;
	answer_problem(r->req, &r->problem);
	return REQUEST_ANSWERED;
}

static enum request_end
request_call(struct request *r)
{
	struct strbuf context = STRBUF_EMPTY;

	context_json(r->conn, r->req, &r->url, &context);
	call_start(r->http, r->req, r->conn->endpoint, strbuf_take(&context),
	    strbuf_take(&r->args), &r->pass);
	return REQUEST_ANSWERED;
}

/* --- the chain --- */

/* Whose place is in between: identity, behind the route. */
static request_step *const request_steps[] = {
    request_client,
    cors_preflight,
    request_route,
    request_built_in,
    request_place,
    request_input,
    request_limits,
    request_call,
};

void
request_start(struct http *http, h2o_req_t *req)
{
	struct request *r = h2o_mem_alloc_pool(&req->pool, sizeof(*r));
	size_t i = 0;

	memset(r, 0, sizeof(*r));
	r->http = http;
	r->req = req;
	r->conn = conn_of(req);
	r->conn->n_requests++;
	r->conn->endpoint = &http->endpoints->unmatched;
	access_begin(r->conn);
	context_request_id(r->conn, req);
	trace_request(&r->conn->trace, req);
	if (!head_step(r))
		return;
	if (!url_split(req->input.path.base, req->input.path.len, &r->url)) {
		answer_error(req, 400, "the request target is not a path");
		return;
	}
	while (request_steps[i](r) == REQUEST_GOES_ON)
		i++;
	/* An answer has copies of what it needs; `r` is still there: answers
	 * end requests later, from the loop. */
	strbuf_done(&r->args);
	input_done(&r->input);
}
