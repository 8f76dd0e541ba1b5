/*
 * The steps of a request that ask who it is from, and what it has to pass
 * before its call runs. See request.h and limit.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roles/http/answer.h"
#include "roles/http/limit.h"
#include "roles/http/request.h"
#include "roles/http/span.h"

/* --- who --- */

/* False if the request has no such header. */
static bool
request_chain(struct request *r, struct peer_chain *chain, const char *name,
    size_t length,
    void (*read)(struct peer_chain *chain, const char *value, size_t n))
{
	const h2o_headers_t *headers = &r->req->headers;
	ssize_t at = -1;
	bool found = false;

	while ((at = h2o_find_header_by_str(headers, name, length, at)) >= 0) {
		h2o_iovec_t value = headers->entries[at].value;

		read(chain, value.base, value.len);
		found = true;
	}
	return found;
}

/* What a trusted proxy says of how its client came is what everybody after
 * this step takes for the scheme. */
static void
request_scheme(struct request *r, const struct peer_chain *chain)
{
	const h2o_headers_t *headers = &r->req->headers;
	struct scheme_list list = {0};
	enum scheme scheme;
	ssize_t at = -1;

	while ((at = h2o_find_header_by_str(
		    headers, H2O_STRLIT("x-forwarded-proto"), at)) >= 0)
		scheme_list_add(&list, headers->entries[at].value.base,
		    headers->entries[at].value.len);
	scheme = peer_scheme(chain, &list);
	if (scheme != SCHEME_UNKNOWN)
		r->req->scheme = r->req->input.scheme =
		    scheme == SCHEME_HTTPS ? &H2O_URL_SCHEME_HTTPS
					   : &H2O_URL_SCHEME_HTTP;
}

enum request_end
request_client(struct request *r)
{
	struct conn *conn = r->conn;
	struct peer_chain chain;

	conn->client = conn->peer;
	if (!peer_trusted(r->http->proxies, &conn->peer))
		return REQUEST_GOES_ON;
	peer_chain_start(&chain, r->http->proxies);
	/* A proxy that knows one of the two passes the other on as it came
	 * from the client: the older one is what most of them write. */
	if (request_chain(r, &chain, H2O_STRLIT("x-forwarded-for"),
		peer_chain_forwarded_for) ||
	    request_chain(
		r, &chain, H2O_STRLIT("forwarded"), peer_chain_forwarded))
		peer_chain_end(&chain, &conn->peer, &conn->client);
	request_scheme(r, &chain);
	return REQUEST_GOES_ON;
}

/* --- how many at once --- */

/* Lies in the request's pool: its end is the request's. */
struct request_place {
	struct http *http;
	struct peer client;
};

static void
request_on_gone(void *arg)
{
	struct request_place *place = arg;

	clients_leave(place->http->clients, &place->client, CLIENTS_REQUESTS);
}

enum request_end
request_place(struct request *r)
{
	struct http *http = r->http;
	const struct peer *client = &r->conn->client;
	struct request_place *place;

	if (http->conf->max_requests_per_client == 0)
		return REQUEST_GOES_ON;
	if (!clients_enter(http->clients, client, CLIENTS_REQUESTS,
		http->conf->max_requests_per_client)) {
		answer_error(
		    r->req, 503, "this client has too many requests at work");
		return REQUEST_ANSWERED;
	}
	place = h2o_mem_alloc_shared(
	    &r->req->pool, sizeof(*place), request_on_gone);
	place->http = http;
	place->client = *client;
	return REQUEST_GOES_ON;
}

/* --- how often --- */

static bool
request_rate_header(struct request *r, const char *name, h2o_iovec_t *value)
{
	const h2o_headers_t *headers = &r->req->headers;
	ssize_t at = h2o_find_header_by_str(headers, name, strlen(name), -1);

	if (at < 0)
		return false;
	*value = headers->entries[at].value;
	return true;
}

/* The member of the handler's input. A string counts decoded, in *owned if
 * need be: two spellings of one are the same. */
static bool
request_rate_arg(
    struct request *r, const char *name, h2o_iovec_t *value, char **owned)
{
	struct span_walk walk;
	struct span key, member;
	bool same = false;

	span_walk_start(&walk, span_of(r->args.data, r->args.length));
	while (!same && span_walk_next(&walk, &key, &member)) {
		size_t n;
		char *text = span_string(key, &n);

		same = strlen(name) == n && memcmp(text, name, n) == 0;
		free(text);
	}
	if (!same || member.text[0] == 'n') /* null */
		return false;
	*value = h2o_iovec_init(member.text, member.length);
	if (member.text[0] == '"')
		value->base =
		    (char *)(uintptr_t)span_text(member, &value->len, owned);
	return true;
}

/* Whom the rate counts: by address where the header or argument is absent. */
static enum limits_by
request_rate_by(
    struct request *r, h2o_iovec_t *value, char **owned, struct peer *site)
{
	const struct limits *limits = &r->conn->endpoint->limits;

	if (limits->by == LIMITS_BY_HEADER &&
	    request_rate_header(r, limits->by_name, value))
		return LIMITS_BY_HEADER;
	if (limits->by == LIMITS_BY_ARG &&
	    request_rate_arg(r, limits->by_name, value, owned))
		return LIMITS_BY_ARG;
	peer_site(&r->conn->client, site);
	*value = h2o_iovec_init((char *)site->ip, sizeof(site->ip));
	return LIMITS_BY_ADDRESS;
}

/* Of a rate that has changed the starts are counted anew. */
static void
request_rate_key(struct request *r)
{
	const struct endpoint *e = r->conn->endpoint;
	h2o_iovec_t value = h2o_iovec_init("", 0);
	char *owned = NULL, rate[64];
	struct peer site;
	enum limits_by by = request_rate_by(r, &value, &owned, &site);

	snprintf(rate, sizeof(rate), "%" PRId64 "/%" PRId64 "/%d",
	    e->limits.rate.count, e->limits.rate.window_ms, (int)by);
	digest_text(
	    (const struct digest_part[]){{e->pattern, strlen(e->pattern)},
		{rate, strlen(rate)}, {value.base, value.len}},
	    3, r->pass.rate_key);
	free(owned);
}

enum request_end
request_limits(struct request *r)
{
	int64_t retry_ms;

	if (idempotent_read(r) != 0) {
		answer_problem(r->req, &r->problem);
		return REQUEST_ANSWERED;
	}
	if (r->conn->endpoint->limits.rate.count == 0)
		return REQUEST_GOES_ON;
	request_rate_key(r);
	retry_ms = limit_refused_ms(r->http, r->pass.rate_key);
	if (retry_ms == 0)
		return REQUEST_GOES_ON;
	limit_refuse(r->req, r->conn->endpoint, retry_ms);
	return REQUEST_ANSWERED;
}
