/*
 * What a request brings for its handler: body, query, path. See request.h.
 */
#include "roles/http/request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "roles/http/parts.h"
#include "roles/http/raw.h"

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

static void
request_raw(struct request *r)
{
	h2o_iovec_t entity = r->req->entity;
	ssize_t at =
	    h2o_find_header(&r->req->headers, H2O_TOKEN_CONTENT_TYPE, -1);
	h2o_iovec_t type = {NULL, 0};

	if (at >= 0)
		type = r->req->headers.entries[at].value;
	raw_body(&r->input, entity.base, entity.base != NULL ? entity.len : 0,
	    type.base, type.len);
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
		if (r->conn->endpoint->collection == NULL)
			return request_form(r, body);
		break;
	case REQUEST_OTHER:
		break;
	}
	return request_fail(r, 415, "send the body as application/json");
}

/* --- all of it --- */

static int
request_collect(struct request *r)
{
	if (!r->conn->endpoint->raw && request_body(r) != 0)
		return -1;
	if (input_form(&r->input, INPUT_QUERY, r->url.query,
		r->url.query_length, &r->err) != 0)
		return request_fail(r, 400, r->err.message);
	for (size_t i = 0; i < r->match.n_params; i++)
		input_param(&r->input, r->match.params[i].name,
		    r->match.params[i].value, r->match.params[i].length);
	/* The last: nothing in the target may stand for the body. */
	if (r->conn->endpoint->raw)
		request_raw(r);
	return 0;
}

int
request_gather(struct request *r)
{
	const char *collection = r->conn->endpoint->collection;

	if (request_collect(r) != 0)
		return -1;
	if (collection != NULL) {
		parts_json(collection, &r->input, &r->args);
		return 0;
	}
	if (args_apply(
		r->conn->endpoint->args, &r->input, &r->args, &r->violations))
		return 0;
	r->problem.violations = &r->violations;
	return request_fail(r, 400, NULL);
}
