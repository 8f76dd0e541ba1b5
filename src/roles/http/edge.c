/*
 * What every answer gets on its way out. See edge.h.
 */
#include "roles/http/edge.h"

#include <inttypes.h>
#include <stdio.h>

#include "roles/http/cors.h"

enum {
	/* Below it a compressed text saves no packet. */
	EDGE_GZIP_MIN_BYTES = 1024,
	/* zlib's fastest: 4 times the speed of 6 for a tenth of the size. */
	EDGE_GZIP_QUALITY = 1,
	EDGE_HSTS_BYTES = 64
};

struct edge_filter {
	h2o_filter_t super;
	struct http *http;
};

static h2o_iovec_t
edge_type(const h2o_req_t *req)
{
	ssize_t at =
	    h2o_find_header(&req->res.headers, H2O_TOKEN_CONTENT_TYPE, -1);

	return at != -1 ? req->res.headers.entries[at].value
			: h2o_iovec_init("", 0);
}

void
edge_header(h2o_req_t *req, h2o_iovec_t *name, h2o_iovec_t value)
{
	h2o_headers_t *headers = &req->res.headers;

	if (h2o_find_header_by_str(headers, name->base, name->len, -1) != -1)
		return;
	h2o_vector_reserve(&req->pool, headers, headers->size + 1);
	headers->entries[headers->size++] =
	    (h2o_header_t){.name = name, .value = value};
}

/* --- security headers --- */

static void
edge_hsts(const struct http *http, h2o_req_t *req)
{
	char *value;
	int n;

	if (http->conf->hsts_ms == 0 || req->scheme != &H2O_URL_SCHEME_HTTPS)
		return;
	value = h2o_mem_alloc_pool(&req->pool, EDGE_HSTS_BYTES);
	n = snprintf(value, EDGE_HSTS_BYTES, "max-age=%" PRId64,
	    http->conf->hsts_ms / 1000);
	h2o_set_header(&req->pool, &req->res.headers,
	    H2O_TOKEN_STRICT_TRANSPORT_SECURITY, value, (size_t)n, 0);
}

static void
edge_security(h2o_req_t *req, h2o_iovec_t type)
{
	static h2o_iovec_t nosniff = {H2O_STRLIT("x-content-type-options")};
	static h2o_iovec_t referrer = {H2O_STRLIT("referrer-policy")};
	static h2o_iovec_t frame = {H2O_STRLIT("x-frame-options")};

	edge_header(req, &nosniff, h2o_iovec_init(H2O_STRLIT("nosniff")));
	/* With no-referrer a page's own forms would come with "Origin: null",
	 * and a check of the origin would refuse them. */
	edge_header(req, &referrer, h2o_iovec_init(H2O_STRLIT("same-origin")));
	if (type.len >= 9 && h2o_lcstris(type.base, 9, H2O_STRLIT("text/html")))
		edge_header(req, &frame, h2o_iovec_init(H2O_STRLIT("DENY")));
}

/* --- compression --- */

static bool
edge_ends(const char *text, size_t length, const char *end, size_t n)
{
	return length > n && h2o_lcstris(text + length - n, n, end, n);
}

bool
edge_is_text(h2o_iovec_t type)
{
	size_t n = 0;

	while (n < type.len && type.base[n] != ';' && type.base[n] != ' ')
		n++;
	if (h2o_lcstris(type.base, n, H2O_STRLIT("text/event-stream")))
		return false;
	return (n > 5 && h2o_lcstris(type.base, 5, H2O_STRLIT("text/"))) ||
	       h2o_lcstris(type.base, n, H2O_STRLIT("application/json")) ||
	       h2o_lcstris(
		   type.base, n, H2O_STRLIT("application/javascript")) ||
	       h2o_lcstris(type.base, n, H2O_STRLIT("application/xml")) ||
	       edge_ends(type.base, n, H2O_STRLIT("+json")) ||
	       edge_ends(type.base, n, H2O_STRLIT("+xml"));
}

/* h2o's filter decides whether the client takes it; caches must know that it
 * looked, also when it did not compress. */
static void
edge_compress(h2o_req_t *req, h2o_iovec_t type)
{
	req->compress_hint = H2O_COMPRESS_HINT_DISABLE;
	if (req->res.status != 200 || !edge_is_text(type) ||
	    req->res.content_length < EDGE_GZIP_MIN_BYTES)
		return;
	req->compress_hint = H2O_COMPRESS_HINT_ENABLE;
	h2o_set_header_token(&req->pool, &req->res.headers, H2O_TOKEN_VARY,
	    H2O_STRLIT("accept-encoding"));
}

/* Behind h2o's filter: other bytes than those that a strong ETag is about. */
static void
edge_weaken(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
	h2o_headers_t *headers = &req->res.headers;
	ssize_t at = h2o_find_header(headers, H2O_TOKEN_ETAG, -1);

	(void)filter;
	/* Only that filter takes the length away; a handler's own encoding,
	 * or a file that is compressed on disk, has its own tag. */
	if (at != -1 && req->res.status == 200 &&
	    req->res.content_length == SIZE_MAX &&
	    headers->entries[at].value.len > 0 &&
	    headers->entries[at].value.base[0] == '"' &&
	    h2o_find_header(headers, H2O_TOKEN_CONTENT_ENCODING, -1) != -1)
		headers->entries[at].value =
		    h2o_concat(&req->pool, h2o_iovec_init(H2O_STRLIT("W/")),
			headers->entries[at].value);
	h2o_setup_next_ostream(req, slot);
}

/* --- all of it --- */

static void
edge_on_setup(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
	struct http *http = ((struct edge_filter *)filter)->http;
	h2o_iovec_t type = edge_type(req);

	if (http->conf->security_headers)
		edge_security(req, type);
	edge_hsts(http, req);
	cors_headers(&http->conf->cors, req);
	if (http->conf->gzip)
		edge_compress(req, type);
	h2o_setup_next_ostream(req, slot);
}

/* The filter that is registered last comes first. */
void
edge_register(struct http *http, h2o_pathconf_t *path)
{
	h2o_compress_args_t gzip;
	struct edge_filter *edge;

	gzip.min_size = EDGE_GZIP_MIN_BYTES;
	gzip.gzip.quality = EDGE_GZIP_QUALITY;
	gzip.brotli.quality = -1;
	if (http->conf->gzip) {
		h2o_create_filter(path, sizeof(h2o_filter_t))
		    ->on_setup_ostream = edge_weaken;
		h2o_compress_register(path, &gzip);
	}
	edge = (struct edge_filter *)h2o_create_filter(path, sizeof(*edge));
	edge->super.on_setup_ostream = edge_on_setup;
	edge->http = http;
}
