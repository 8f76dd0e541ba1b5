/*
 * Static files. See static.h.
 *
 * h2o has a handler for files. It is not used: it wants paths of its own
 * normalization, knows no If-Range, compares If-None-Match byte by byte, and
 * cannot tell a link that leads out.
 */
#include "roles/http/static.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "roles/http/answer.h"
#include "roles/http/conditional.h"
#include "roles/http/edge.h"
#include "roles/http/range.h"
#include "roles/http/static_file.h"
#include "roles/http/static_path.h"

#define STATIC_INDEX    "index.html"
#define STATIC_NO_CACHE "no-cache"

/* A request for a file. */
struct static_request {
	struct http *http;
	h2o_req_t *req;
	const struct url *url;
	const struct conf_static *conf;
	const char *name; /* below conf->dir */
	bool page;        /* the fallback stands for what was asked for */
	bool zipped;      /* the file is NAME.gz */
	struct static_file file;
	h2o_iovec_t etag;
	char *modified; /* Last-Modified */
};

static bool
static_method_is(const h2o_req_t *req, const char *method)
{
	return h2o_memis(
	    req->method.base, req->method.len, method, strlen(method));
}

static bool
static_is_read(const h2o_req_t *req)
{
	return static_method_is(req, "GET") || static_method_is(req, "HEAD");
}

/* --- headers --- */

void
static_types(h2o_mimemap_t *types)
{
	static const struct {
		const char *extension;
		const char *type;
	} more[] = {
	    {"avif", "image/avif"},
	    {"map", "application/json"},
	    {"mjs", "application/javascript"},
	    {"wasm", "application/wasm"},
	    {"webmanifest", "application/manifest+json"},
	};

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		h2o_mimemap_define_mimetype(
		    types, more[i].extension, more[i].type, NULL);
}

static const char *
static_extension(const char *name)
{
	const char *base = strrchr(name, '/');
	const char *dot = strrchr(base != NULL ? base : name, '.');

	return dot != NULL ? dot + 1 : "";
}

static const char *
static_type(struct static_request *s)
{
	const char *extension = static_extension(s->name);
	h2o_mimemap_type_t *type =
	    h2o_mimemap_get_type_by_extension(s->http->config.mimemap,
		h2o_iovec_init(extension, strlen(extension)));
	h2o_iovec_t mime = type->data.mimetype, text;

	if (mime.len < 5 || memcmp(mime.base, "text/", 5) != 0)
		return mime.base;
	text = h2o_concat(
	    &s->req->pool, mime, h2o_iovec_init(H2O_STRLIT("; charset=utf-8")));
	return text.base;
}

static void
static_cache(struct static_request *s)
{
	char text[64];

	/* The page's name says nothing of what it is a page of. */
	if (s->page || s->conf->max_age_ms == 0) {
		answer_header(s->req, "cache-control", STATIC_NO_CACHE);
		return;
	}
	snprintf(text, sizeof(text), "public, max-age=%" PRId64,
	    s->conf->max_age_ms / 1000);
	answer_header(s->req, "cache-control", text);
}

/* The ETag is strong: of time and size, as of the descriptor that is sent. */
static void
static_validators(struct static_request *s)
{
	h2o_mem_pool_t *pool = &s->req->pool;
	const struct timespec *t = &s->file.modified;
	struct tm gmt;

	s->etag.base = h2o_mem_alloc_pool(pool, 64);
	s->etag.len = (size_t)snprintf(s->etag.base, 64,
	    "\"%" PRIx64 ".%lx-%" PRIx64 "\"", (int64_t)t->tv_sec, t->tv_nsec,
	    s->file.size);
	s->modified = h2o_mem_alloc_pool(pool, H2O_TIMESTR_RFC1123_LEN + 1);
	gmtime_r(&t->tv_sec, &gmt);
	h2o_time2str_rfc1123(s->modified, &gmt);
}

static void
static_headers(struct static_request *s)
{
	h2o_mem_pool_t *pool = &s->req->pool;
	h2o_headers_t *headers = &s->req->res.headers;

	static_cache(s);
	h2o_add_header(
	    pool, headers, H2O_TOKEN_ETAG, NULL, s->etag.base, s->etag.len);
	h2o_add_header(pool, headers, H2O_TOKEN_LAST_MODIFIED, NULL,
	    s->modified, H2O_TIMESTR_RFC1123_LEN);
	if (s->zipped)
		h2o_set_header_token(pool, headers, H2O_TOKEN_VARY,
		    H2O_STRLIT("accept-encoding"));
	if (s->page)
		h2o_set_header_token(
		    pool, headers, H2O_TOKEN_VARY, H2O_STRLIT("accept"));
}

/* --- what the client has --- */

static const h2o_iovec_t *
static_asked(const struct static_request *s, const h2o_token_t *header)
{
	ssize_t at = h2o_find_header(&s->req->headers, header, -1);

	return at != -1 ? &s->req->headers.entries[at].value : NULL;
}

/* RFC 9110, 13.1.3: not when there is an If-None-Match. */
static bool
static_is_unmodified(const struct static_request *s)
{
	const h2o_iovec_t *since = static_asked(s, H2O_TOKEN_IF_MODIFIED_SINCE);
	struct tm tm = {0};

	if (static_asked(s, H2O_TOKEN_IF_NONE_MATCH) != NULL)
		return conditional_has_tag(s->req, s->etag);
	return since != NULL &&
	       h2o_time_parse_rfc1123(since->base, since->len, &tm) == 0 &&
	       timegm(&tm) >= s->file.modified.tv_sec;
}

/* RFC 9110, 13.1.5: a part is of use only with the rest of the same file. */
static bool
static_range_holds(const struct static_request *s)
{
	const h2o_iovec_t *same = static_asked(s, H2O_TOKEN_IF_RANGE);

	return same == NULL ||
	       h2o_memis(same->base, same->len, s->etag.base, s->etag.len) ||
	       h2o_memis(
		   same->base, same->len, s->modified, H2O_TIMESTR_RFC1123_LEN);
}

static enum range_answer
static_range(const struct static_request *s, uint64_t *first, uint64_t *count)
{
	const h2o_iovec_t *range = static_asked(s, H2O_TOKEN_RANGE);

	*first = 0;
	*count = s->file.size;
	if (range == NULL || !static_method_is(s->req, "GET") ||
	    !static_range_holds(s))
		return RANGE_WHOLE;
	return range_parse(range->base, range->len, s->file.size, first, count);
}

/* --- answers --- */

static void
static_send(struct static_request *s)
{
	char text[96];
	uint64_t first, count;
	enum range_answer range = static_range(s, &first, &count);

	if (range == RANGE_BEYOND) {
		snprintf(text, sizeof(text), "bytes */%" PRIu64, s->file.size);
		answer_header(s->req, "content-range", text);
		answer_error(s->req, 416, "the file is shorter");
		return;
	}
	static_headers(s);
	answer_header(s->req, "accept-ranges", "bytes");
	if (s->zipped)
		answer_header(s->req, "content-encoding", "gzip");
	if (range == RANGE_PART) {
		snprintf(text, sizeof(text),
		    "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
		    first + count - 1, s->file.size);
		answer_header(s->req, "content-range", text);
	}
	if (count == 0 || static_method_is(s->req, "HEAD")) {
		answer_head(s->req, range == RANGE_PART ? 206 : 200,
		    static_type(s), s->file.size);
		return;
	}
	answer_begin(
	    s->req, range == RANGE_PART ? 206 : 200, static_type(s), count);
	static_file_send(s->req, &s->file, first, count);
}

/* NAME.gz in place of NAME, unless it is older: it was made of another one. A
 * range is one of the plain bytes. */
static void
static_prefer_zipped(struct static_request *s)
{
	const char *type = static_type(s);
	struct static_file zipped;
	h2o_iovec_t name;

	if (!s->http->conf->gzip ||
	    !edge_is_text(h2o_iovec_init(type, strlen(type))) ||
	    static_asked(s, H2O_TOKEN_RANGE) != NULL ||
	    (h2o_get_compressible_types(&s->req->headers) &
		H2O_COMPRESSIBLE_GZIP) == 0)
		return;
	name =
	    h2o_concat(&s->req->pool, h2o_iovec_init(s->name, strlen(s->name)),
		h2o_iovec_init(H2O_STRLIT(".gz")));
	if (static_file_open(s->conf->dir, name.base, &zipped) != STATIC_OPEN)
		return;
	if (zipped.modified.tv_sec < s->file.modified.tv_sec) {
		static_file_close(&zipped);
		return;
	}
	static_file_close(&s->file);
	s->file = zipped;
	s->zipped = true;
}

static void
static_serve(struct static_request *s)
{
	static_prefer_zipped(s);
	static_validators(s);
	if (static_is_unmodified(s)) {
		static_headers(s);
		if (s->http->conf->gzip)
			h2o_set_header_token(&s->req->pool,
			    &s->req->res.headers, H2O_TOKEN_VARY,
			    H2O_STRLIT("accept-encoding"));
		answer_send(s->req, 304, NULL, "", 0);
	} else {
		static_send(s);
	}
	static_file_close(&s->file);
}

/* A folder's index.html has relative links: they count from the slash. */
static void
static_redirect(struct static_request *s)
{
	const struct url *url = s->url;
	h2o_iovec_t to = h2o_concat(&s->req->pool,
	    h2o_iovec_init(url->path, url->path_length),
	    h2o_iovec_init(H2O_STRLIT("/")),
	    h2o_iovec_init("?", url->query_length > 0),
	    h2o_iovec_init(url->query, url->query_length));

	static_file_close(&s->file);
	answer_header(s->req, "location", to.base);
	answer_send(s->req, 301, NULL, "", 0);
}

static void
static_refuse_method(struct static_request *s)
{
	static_file_close(&s->file);
	answer_header(s->req, "allow", "GET, HEAD, OPTIONS");
	if (static_method_is(s->req, "OPTIONS"))
		answer_send(s->req, 204, NULL, "", 0);
	else
		answer_error(s->req, 405, "a file has no such method");
}

/* --- finding --- */

static enum static_open
static_open_index(struct static_request *s)
{
	size_t n = strlen(s->name);
	bool slash = n == 0 || s->name[n - 1] == '/';
	h2o_iovec_t name = h2o_concat(&s->req->pool, h2o_iovec_init(s->name, n),
	    h2o_iovec_init("/", !slash),
	    h2o_iovec_init(H2O_STRLIT(STATIC_INDEX)));

	s->name = name.base;
	return static_file_open(s->conf->dir, s->name, &s->file);
}

/* A browser that goes to a page of the site's own script. */
static enum static_open
static_open_fallback(struct static_request *s)
{
	const h2o_iovec_t *accept = static_asked(s, H2O_TOKEN_ACCEPT);

	if (*s->conf->fallback == '\0' || !static_is_read(s->req) ||
	    accept == NULL || !static_wants_page(accept->base, accept->len))
		return STATIC_NONE;
	s->page = true;
	s->name = s->conf->fallback;
	return static_file_open(s->conf->dir, s->name, &s->file);
}

static bool
static_found(struct static_request *s, bool folder)
{
	bool slash = s->url->path[s->url->path_length - 1] == '/';

	if (!static_is_read(s->req))
		static_refuse_method(s);
	else if (folder && !slash)
		static_redirect(s);
	else
		static_serve(s);
	return true;
}

static bool
static_look_for(struct static_request *s)
{
	enum static_open open =
	    static_file_open(s->conf->dir, s->name, &s->file);
	bool folder = open == STATIC_FOLDER;

	if (folder)
		open = static_open_index(s);
	if (open == STATIC_NONE || open == STATIC_FOLDER) {
		folder = false;
		open = static_open_fallback(s);
	}
	switch (open) {
	case STATIC_OPEN:
		return static_found(s, folder);
	case STATIC_DENIED:
		answer_error(s->req, 403, "the server may not read this file");
		return true;
	case STATIC_TROUBLE:
		answer_error(s->req, 503, "the file cannot be opened now");
		return true;
	case STATIC_FOLDER:
	case STATIC_NONE:
		break;
	}
	return false;
}

/* The longest prefix; its folder alone is looked at. */
static struct endpoint *
static_endpoint(struct endpoints *all, const char *path, const char **behind)
{
	struct endpoint *found = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < all->n; i++) {
		struct endpoint *e = &all->items[i];
		const char *rest = e->kind != ENDPOINT_STATIC
				       ? NULL
				       : static_behind(e->pattern, path);

		if (rest == NULL || strlen(e->pattern) < longest)
			continue;
		found = e;
		longest = strlen(e->pattern);
		*behind = rest;
	}
	return found;
}

bool
static_answer(struct request *r)
{
	struct static_request s = {
	    .http = r->http, .req = r->req, .url = &r->url};
	char *path = h2o_mem_alloc_pool(&r->req->pool, r->url.path_length + 1);
	struct endpoint *endpoint;

	if (r->http->endpoints->n_statics == 0 ||
	    !static_path(r->url.path, r->url.path_length, path))
		return false;
	endpoint = static_endpoint(r->http->endpoints, path, &s.name);
	if (endpoint == NULL)
		return false;
	r->conn->endpoint = endpoint;
	s.conf = endpoint->files;
	return static_look_for(&s);
}
