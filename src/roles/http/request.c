/*
 * A request on its way to a handler: route, input, check.
 */
#include "roles/http/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/answer.h"
#include "roles/http/args.h"
#include "roles/http/call.h"
#include "roles/http/context.h"
#include "roles/http/health.h"
#include "roles/http/input.h"
#include "roles/http/router.h"

/* A request's way; what it points to lives as long as request_start runs. */
struct request {
	struct http *http;
	struct conn *conn;
	h2o_req_t *req;
	struct url url;
	struct router_match match;
	struct input input;
	struct problem problem; /* what to answer when a step fails */
	struct err err;         /* its text */
	struct args_violations violations;
};

static int
request_fail(struct request *r, int status, const char *detail)
{
	r->problem.status = status;
	r->problem.detail = detail;
	return -1;
}

/* --- the body --- */

enum request_type { REQUEST_JSON, REQUEST_FORM, REQUEST_OTHER };

static enum request_type
request_type(h2o_req_t *req)
{
	ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_CONTENT_TYPE, -1);
	const char *type;
	size_t n = 0;

	/* Nothing said: what a handler wants. */
	if (at < 0)
		return REQUEST_JSON;
	type = req->headers.entries[at].value.base;
	while (n < req->headers.entries[at].value.len &&
	       strchr("; \t", type[n]) == NULL)
		n++;
	if (h2o_lcstris(type, n, H2O_STRLIT("application/json")) ||
	    (n > 17 && strncasecmp(type, "application/", 12) == 0 &&
		strncasecmp(type + n - 5, "+json", 5) == 0))
		return REQUEST_JSON;
	return h2o_lcstris(
		   type, n, H2O_STRLIT("application/x-www-form-urlencoded"))
		   ? REQUEST_FORM
		   : REQUEST_OTHER;
}

static int
request_form(struct request *r, struct span body)
{
	/* What `curl -d '{...}'` sends. To read it as JSON all the same would
	 * let any web page post JSON in a user's name: CSRF. */
	if (body.text[0] == '{' || body.text[0] == '[')
		return request_fail(r, 415,
		    "the body looks like JSON: send "
		    "it with Content-Type: "
		    "application/json");
	if (input_form(
		&r->input, INPUT_FORM, body.text, body.length, &r->err) != 0)
		return request_fail(r, 400, r->err.message);
	return 0;
}

static int
request_body(struct request *r)
{
	h2o_iovec_t entity = r->req->entity;
	struct span body = span_of(entity.base, entity.len);

	if (entity.base == NULL || body.length == 0)
		return 0;
	switch (request_type(r->req)) {
	case REQUEST_JSON:
		if (input_body(&r->input, entity.base, entity.len, &r->err) !=
		    0)
			return request_fail(r, 400, r->err.message);
		return 0;
	case REQUEST_FORM:
		return request_form(r, body);
	case REQUEST_OTHER:
		return request_fail(r, 415,
		    "send the body as "
		    "application/json");
	}
	abort();
}

/* --- the input --- */

static int
request_gather(struct request *r)
{
	if (request_body(r) != 0)
		return -1;
	if (input_form(&r->input, INPUT_QUERY, r->url.query,
		r->url.query_length, &r->err) != 0)
		return request_fail(r, 400, r->err.message);
	for (size_t i = 0; i < r->match.n_params; i++)
		input_param(&r->input, r->match.params[i].name,
		    r->match.params[i].value, r->match.params[i].length);
	return 0;
}

static int
request_check(struct request *r, struct strbuf *out)
{
	if (args_apply(r->conn->endpoint->args, &r->input, out, &r->violations))
		return 0;
	r->problem.violations = &r->violations;
	return request_fail(r, 400, NULL);
}

static void
request_call(struct request *r)
{
	struct strbuf input = STRBUF_EMPTY, context = STRBUF_EMPTY;

	input_init(&r->input);
	r->violations.arena = r->input.arena;
	if (request_gather(r) != 0 || request_check(r, &input) != 0) {
		answer_problem(r->req, &r->problem);
	} else {
		context_json(r->conn, r->req, &r->url, &context);
		call_start(r->http, r->req, r->conn->endpoint,
		    strbuf_take(&context), strbuf_take(&input));
	}
	strbuf_done(&input);
	input_done(&r->input);
}

/* --- the route --- */

static void
request_dispatch(struct request *r)
{
	switch (r->conn->endpoint->kind) {
	case ENDPOINT_CALL:
		request_call(r);
		break;
	case ENDPOINT_HEALTH:
		health_live(r->req);
		break;
	case ENDPOINT_READY:
		health_ready(r->http, r->req);
		break;
	case ENDPOINT_METRICS:
		health_metrics(r->http, r->req);
		break;
	}
}

static void
request_allow(struct request *r)
{
	char allow[ROUTER_ALLOW_BYTES];

	answer_header(r->req, "allow", router_allow(r->match.methods, allow));
}

static void
request_route(struct request *r)
{
	char *buf = h2o_mem_alloc_pool(&r->req->pool, r->url.path_length + 1);

	switch (router_find(r->http->endpoints->router, r->req->method.base,
	    r->req->method.len, r->url.path, r->url.path_length, buf,
	    &r->match)) {
	case ROUTER_FOUND:
		r->conn->endpoint = r->match.target;
		request_dispatch(r);
		break;
	case ROUTER_NO_PATH:
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
}

void
request_start(struct http *http, h2o_req_t *req)
{
	struct request *r = h2o_mem_alloc_pool(&req->pool, sizeof(*r));

	memset(r, 0, sizeof(*r));
	r->http = http;
	r->req = req;
	r->conn = conn_of(req);
	r->conn->n_requests++;
	r->conn->endpoint = &http->endpoints->unmatched;
	context_request_id(r->conn, req);
	if (url_split(req->input.path.base, req->input.path.len, &r->url))
		request_route(r);
	else
		answer_error(req, 400, "the request target is not a path");
}
