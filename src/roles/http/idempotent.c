/*
 * Idempotency-Key: the answer of a request is kept in the transaction of its
 * action, and another request with the key gets it again
 * (draft-ietf-httpapi-idempotency-key-header). See limit.h; what it does in the
 * database stands in sql/functions/55_http_limits.sql.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "roles/http/answer.h"
#include "roles/http/call.h"
#include "roles/http/request.h"

enum {
	IDEMPOTENT_KEY_MAX = 255, /* bytes */
	/* Requests of one key at once: one runs, the others wait for its
	 * outcome, each with a connection. */
	IDEMPOTENT_AT_ONCE = 4
};

/* --- the key --- */

static bool
idempotent_valid(h2o_iovec_t key)
{
	if (key.len == 0 || key.len > IDEMPOTENT_KEY_MAX)
		return false;
	for (size_t i = 0; i < key.len; i++)
		if (key.base[i] < ' ' || key.base[i] > '~')
			return false;
	return true;
}

/* 1 if there is one, 0 if there is none, -1 if it cannot be used. */
static int
idempotent_find(struct request *r, h2o_iovec_t *key)
{
	const h2o_headers_t *headers = &r->req->headers;
	ssize_t at =
	    h2o_find_header_by_str(headers, H2O_STRLIT("idempotency-key"), -1);

	if (at < 0)
		return 0;
	*key = headers->entries[at].value;
	if (!idempotent_valid(*key))
		return request_fail(r, 400,
		    "Idempotency-Key must have 1 to 255 printable ASCII "
		    "characters");
	if (h2o_find_header_by_str(
		headers, H2O_STRLIT("idempotency-key"), at) >= 0)
		return request_fail(
		    r, 400, "there is more than one Idempotency-Key");
	return 1;
}

/* --- whose it is, and what for --- */

/* Nobody gets the answer that was made for somebody else. */
static void
idempotent_scope(struct request *r, h2o_iovec_t key)
{
	const h2o_headers_t *headers = &r->req->headers;
	const char *pattern = r->conn->endpoint->pattern;
	struct digest_part parts[] = {
	    {pattern, strlen(pattern)}, {NULL, 0}, {key.base, key.len}};
	ssize_t at = h2o_find_header(headers, H2O_TOKEN_AUTHORIZATION, -1);

	if (at >= 0) {
		parts[1].text = headers->entries[at].value.base;
		parts[1].length = headers->entries[at].value.len;
	}
	digest_text(parts, 3, r->pass.key);
}

static void
idempotent_fingerprint(struct request *r)
{
	h2o_iovec_t body = r->req->entity;
	const struct digest_part parts[] = {{r->url.path, r->url.path_length},
	    {r->url.query, r->url.query_length},
	    {body.base != NULL ? body.base : "", body.len}};

	digest_text(parts, 3, r->pass.fingerprint);
}

static int
idempotent_count(const struct http *http, const char *key)
{
	struct list *n;
	int count = 0;

	LIST_FOREACH (n, &http->guarded)
		count += strcmp(LIST_ENTRY(n, struct limit_pass, node)->key,
			     key) == 0;
	return count;
}

int
idempotent_read(struct request *r)
{
	enum limits_key wanted = r->conn->endpoint->limits.key;
	h2o_iovec_t key;
	int found;

	if (wanted == LIMITS_KEY_OFF)
		return 0;
	found = idempotent_find(r, &key);
	if (found == 0 && wanted == LIMITS_KEY_REQUIRED)
		return request_fail(
		    r, 400, "this route wants an Idempotency-Key");
	if (found <= 0)
		return found;
	idempotent_scope(r, key);
	idempotent_fingerprint(r);
	if (idempotent_count(r->http, r->pass.key) < IDEMPOTENT_AT_ONCE)
		return 0;
	r->problem.retry_later = true;
	return request_fail(r, 503,
	    "too many requests with this Idempotency-Key wait for the first "
	    "one's outcome");
}

/* --- the call --- */

void
idempotent_send(struct call *call, pg_done_fn *done)
{
	const struct endpoint *e = call->endpoint;
	char retention[24], status[16];
	const char *values[] = {call->input, call->request, call->pass.key,
	    call->pass.fingerprint, retention, status, call->trace};

	snprintf(retention, sizeof(retention), "%" PRId64,
	    call->http->conf->idempotency_retention_ms);
	snprintf(status, sizeof(status), "%d", e->status);
	pg_query(call->link, e->limits.stmt, values, done, call);
}

static bool
idempotent_is_kept(const struct call *call)
{
	return call->pass.key[0] != '\0' && pg_rows(call->body) > 0 &&
	       !pg_is_null(call->body, 0, CALL_KEPT);
}

void
idempotent_mark(struct call *call)
{
	if (idempotent_is_kept(call))
		answer_header(call->req, "idempotency-replayed", "true");
}

int
idempotent_status(const struct call *call)
{
	return idempotent_is_kept(call) ? (int)pg_int(call->body, 0, CALL_KEPT)
					: call->endpoint->status;
}
