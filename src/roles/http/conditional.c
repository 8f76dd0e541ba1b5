/*
 * Conditional requests. See conditional.h.
 */
#include "roles/http/conditional.h"

#include "roles/http/etag.h"

bool
conditional_has_tag(const h2o_req_t *req, h2o_iovec_t etag)
{
	ssize_t at = -1;

	while ((at = h2o_find_header(
		    &req->headers, H2O_TOKEN_IF_NONE_MATCH, at)) != -1) {
		h2o_iovec_t list = req->headers.entries[at].value;

		if (etag_listed(list.base, list.len, etag.base, etag.len))
			return true;
	}
	return false;
}

static bool
conditional_applies(const h2o_req_t *req, const struct endpoint *endpoint)
{
	return endpoint->kind == ENDPOINT_CALL && endpoint->readonly &&
	       endpoint->etag &&
	       (h2o_memis(
		    req->method.base, req->method.len, H2O_STRLIT("GET")) ||
		   h2o_memis(
		       req->method.base, req->method.len, H2O_STRLIT("HEAD")));
}

/* The handler's own, or a new one. */
static h2o_iovec_t
conditional_tag(h2o_req_t *req, const char *body, size_t length)
{
	ssize_t at = h2o_find_header(&req->res.headers, H2O_TOKEN_ETAG, -1);
	char *etag;

	if (at != -1)
		return req->res.headers.entries[at].value;
	etag = h2o_mem_alloc_pool(&req->pool, ETAG_BYTES);
	etag_of(body, length, etag);
	h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_ETAG, NULL,
	    etag, ETAG_BYTES - 1);
	return h2o_iovec_init(etag, ETAG_BYTES - 1);
}

bool
conditional_answer(h2o_req_t *req, int status, const char *body, size_t length)
{
	struct conn *conn = conn_of(req);

	if (status != 200 || length == 0 ||
	    !conditional_applies(req, conn->endpoint) ||
	    !conditional_has_tag(req, conditional_tag(req, body, length)))
		return false;
	/* RFC 9110, 15.4.5: the Vary that 200 would have had. */
	if (conn->http->conf->gzip)
		h2o_set_header_token(&req->pool, &req->res.headers,
		    H2O_TOKEN_VARY, H2O_STRLIT("accept-encoding"));
	return true;
}
