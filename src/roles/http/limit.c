/*
 * Rates of routes: chimp.http_limit in a unit of its own before the call's, so
 * that a start counts whatever becomes of the call. See limit.h.
 *
 * A refusal stays true until its time is over, for nothing that happens can
 * make a start older: a process remembers it, and who goes on asking costs no
 * connection.
 */
#include "roles/http/limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "roles/http/answer.h"
#include "roles/http/call.h"

enum { LIMIT_TEXT_BYTES = 24 /* of a 64-bit number */ };

/* clang-format off */
static const struct pg_stmt limit_stmt = { "http_limit",
	"select allowed, remaining, reset_ms from chimp.http_limit($1, $2, $3)",
	3 };
/* clang-format on */

/* --- refusals that are remembered --- */

/* By the last byte of a key: a newer one takes an older one's place. */
static struct limit_refusal *
limit_refusal(const struct http *http, const char *rate_key)
{
	unsigned long i = strtoul(rate_key + DIGEST_TEXT_BYTES - 3, NULL, 16);

	return &http->refusals[i % LIMIT_REFUSALS];
}

int64_t
limit_refused_ms(const struct http *http, const char *rate_key)
{
	const struct limit_refusal *refusal = limit_refusal(http, rate_key);
	int64_t left = refusal->until_ms - clock_mono_ms();

	return left > 0 && strcmp(refusal->key, rate_key) == 0 ? left : 0;
}

/* --- one of a key at a time --- */

bool
limit_may_count(const struct call *call)
{
	struct list *n;

	if (call->pass.rate_key[0] == '\0')
		return true;
	LIST_FOREACH (n, &call->http->counting)
		if (strcmp(LIST_ENTRY(n, struct limit_pass, turn)->rate_key,
			call->pass.rate_key) == 0)
			return false;
	return true;
}

void
limit_counting(struct call *call)
{
	if (call->pass.rate_key[0] != '\0')
		list_append(&call->http->counting, &call->pass.turn);
}

void
limit_counted(struct call *call)
{
	list_remove(&call->pass.turn);
}

/* --- the unit --- */

void
limit_send(struct call *call, pg_done_fn *done)
{
	const struct conf_rate *rate = &call->endpoint->limits.rate;
	char count[LIMIT_TEXT_BYTES], window[LIMIT_TEXT_BYTES];
	const char *values[] = {call->pass.rate_key, count, window};

	snprintf(count, sizeof(count), "%" PRId64, rate->count);
	snprintf(window, sizeof(window), "%" PRId64, rate->window_ms);
	pg_query(call->link, &limit_stmt, values, done, call);
}

static void
limit_header(h2o_req_t *req, const char *name, int64_t value)
{
	char text[LIMIT_TEXT_BYTES];

	snprintf(text, sizeof(text), "%" PRId64, value);
	answer_header(req, name, text);
}

static int64_t
limit_seconds(int64_t ms)
{
	return ms / 1000 + (ms % 1000 > 0);
}

/* draft-ietf-httpapi-ratelimit-headers, the three fields of -03 to -06. */
static void
limit_headers(h2o_req_t *req, const struct endpoint *endpoint,
    int64_t remaining, int64_t reset_ms)
{
	limit_header(req, "ratelimit-limit", endpoint->limits.rate.count);
	limit_header(req, "ratelimit-remaining", remaining);
	limit_header(req, "ratelimit-reset", limit_seconds(reset_ms));
}

bool
limit_allowed(
    struct call *call, const struct pg_reply *reply, int64_t *retry_ms)
{
	const struct pg_result *result = reply->results[0];
	struct limit_refusal *refusal =
	    limit_refusal(call->http, call->pass.rate_key);

	*retry_ms = pg_int(result, 0, 2);
	if (pg_bool(result, 0, 0)) {
		limit_headers(
		    call->req, call->endpoint, pg_int(result, 0, 1), *retry_ms);
		/* Another unit of it is no other start. */
		call->pass.rate_key[0] = '\0';
		return true;
	}
	memcpy(refusal->key, call->pass.rate_key, sizeof(refusal->key));
	refusal->until_ms = clock_mono_ms() + *retry_ms;
	return false;
}

void
limit_refuse(h2o_req_t *req, const struct endpoint *endpoint, int64_t retry_ms)
{
	limit_headers(req, endpoint, 0, retry_ms);
	limit_header(req, "retry-after", limit_seconds(retry_ms));
	answer_error(req, 429, "this is more often than the route allows");
}
