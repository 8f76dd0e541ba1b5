/*
 * CORS. See cors.h.
 */
#include "roles/http/cors.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "roles/http/answer.h"
#include "roles/http/cors_origin.h"

/* What a page may read besides the few that it always may. */
#define CORS_EXPOSED                                               \
	"x-request-id, etag, location, retry-after, ratelimit, "   \
	"ratelimit-policy, ratelimit-limit, ratelimit-remaining, " \
	"ratelimit-reset"

static bool
cors_is_any(const struct conf_cors *cors)
{
	return cors->origins.count == 1 &&
	       strcmp(cors->origins.items[0], "*") == 0;
}

static bool
cors_origin(const h2o_req_t *req, h2o_iovec_t *origin)
{
	ssize_t at =
	    h2o_find_header_by_str(&req->headers, H2O_STRLIT("origin"), -1);

	if (at != -1)
		*origin = req->headers.entries[at].value;
	return at != -1;
}

static void
cors_add(h2o_req_t *req, const char *name, size_t length, h2o_iovec_t value)
{
	h2o_add_header_by_str(&req->pool, &req->res.headers, name, length, 0,
	    NULL, value.base, value.len);
}

void
cors_headers(const struct conf_cors *cors, h2o_req_t *req)
{
	h2o_headers_t *headers = &req->res.headers;
	bool any = cors_is_any(cors);
	h2o_iovec_t origin = {H2O_STRLIT("*")};

	if (cors->origins.count == 0 ||
	    h2o_find_header(
		headers, H2O_TOKEN_ACCESS_CONTROL_ALLOW_ORIGIN, -1) != -1)
		return;
	/* Also without one: a cache must not give that answer to a page. */
	if (!any)
		h2o_set_header_token(
		    &req->pool, headers, H2O_TOKEN_VARY, H2O_STRLIT("origin"));
	if (!any && (!cors_origin(req, &origin) ||
			!cors_allows(cors, origin.base, origin.len)))
		return;
	h2o_add_header(&req->pool, headers,
	    H2O_TOKEN_ACCESS_CONTROL_ALLOW_ORIGIN, NULL, origin.base,
	    origin.len);
	if (cors->credentials)
		cors_add(req, H2O_STRLIT("access-control-allow-credentials"),
		    h2o_iovec_init(H2O_STRLIT("true")));
	cors_add(req, H2O_STRLIT("access-control-expose-headers"),
	    h2o_iovec_init(H2O_STRLIT(CORS_EXPOSED)));
}

/* --- preflight --- */

static bool
cors_is_preflight(const struct conf_cors *cors, const h2o_req_t *req)
{
	h2o_iovec_t origin;

	return cors->origins.count > 0 &&
	       h2o_memis(
		   req->method.base, req->method.len, H2O_STRLIT("OPTIONS")) &&
	       h2o_find_header_by_str(&req->headers,
		   H2O_STRLIT("access-control-request-method"), -1) != -1 &&
	       cors_origin(req, &origin) &&
	       cors_allows(cors, origin.base, origin.len);
}

/* What may be asked for, whatever was: nothing of the request is echoed. */
static void
cors_permit(const struct conf_cors *cors, h2o_req_t *req, unsigned methods)
{
	char allow[ROUTER_ALLOW_BYTES];
	struct strbuf text = STRBUF_EMPTY;

	answer_header(
	    req, "access-control-allow-methods", router_allow(methods, allow));
	for (int i = 0; i < cors->headers.count; i++)
		strbuf_printf(
		    &text, "%s%s", i > 0 ? ", " : "", cors->headers.items[i]);
	if (text.length > 0)
		answer_header(
		    req, "access-control-allow-headers", strbuf_str(&text));
	strbuf_done(&text);
	strbuf_printf(&text, "%" PRId64, cors->max_age_ms / 1000);
	answer_header(req, "access-control-max-age", strbuf_str(&text));
	strbuf_done(&text);
}

enum request_end
cors_preflight(struct request *r)
{
	const struct conf_cors *cors = &r->http->conf->cors;
	char *buf;

	if (!cors_is_preflight(cors, r->req))
		return REQUEST_GOES_ON;
	buf = h2o_mem_alloc_pool(&r->req->pool, r->url.path_length + 1);
	if (router_find(r->http->endpoints->router, r->req->method.base,
		r->req->method.len, r->url.path, r->url.path_length, buf,
		&r->match) != ROUTER_OPTIONS)
		return REQUEST_GOES_ON;
	cors_permit(cors, r->req, r->match.methods);
	answer_send(r->req, 204, NULL, "", 0);
	return REQUEST_ANSWERED;
}
