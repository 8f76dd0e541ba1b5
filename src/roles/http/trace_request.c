/*
 * A request's trace: what its headers bring, or a new one. See trace.h.
 */
#include "roles/http/trace.h"

#include <h2o.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TRACE_RANDOM_BYTES = 240 }; /* at once: one call for ten requests */

/* Unique is what they must be; nobody relies on not guessing them. */
static const uint8_t *
trace_random(size_t n)
{
	static uint8_t bytes[TRACE_RANDOM_BYTES];
	static size_t used = TRACE_RANDOM_BYTES;

	if (used + n > TRACE_RANDOM_BYTES) {
		if (getrandom(bytes, sizeof(bytes), 0) !=
		    (ssize_t)sizeof(bytes))
			abort();
		used = 0;
	}
	used += n;
	return bytes + used - n;
}

/* The one header of that name; NULL if there is none, or several. */
static const h2o_iovec_t *
trace_header(h2o_req_t *req, const char *name, size_t length)
{
	const h2o_headers_t *headers = &req->headers;
	ssize_t at = h2o_find_header_by_str(headers, name, length, -1);

	if (at < 0 || h2o_find_header_by_str(headers, name, length, at) >= 0)
		return NULL;
	return &headers->entries[at].value;
}

/* Several tracestate headers are one list (section 3.3.1.1). */
static h2o_iovec_t
trace_state_of(h2o_req_t *req)
{
	h2o_iovec_t all = {NULL, 0};
	ssize_t at = -1;

	while ((at = h2o_find_header_by_str(
		    &req->headers, H2O_STRLIT("tracestate"), at)) >= 0) {
		h2o_iovec_t one = req->headers.entries[at].value;

		all = all.base == NULL
			  ? one
			  : h2o_concat(&req->pool, all,
				h2o_iovec_init(H2O_STRLIT(",")), one);
	}
	return all;
}

static void
trace_take_state(struct trace *trace, h2o_req_t *req)
{
	h2o_iovec_t state = trace_state_of(req);

	if (state.len == 0 || !trace_state_valid(state.base, state.len))
		return;
	trace->state = state.base;
	trace->state_length = state.len;
}

void
trace_request(struct trace *trace, struct st_h2o_req_t *req)
{
	const h2o_iovec_t *caller =
	    trace_header(req, H2O_STRLIT("traceparent"));
	const uint8_t *random =
	    trace_random((TRACE_ID_DIGITS + TRACE_SPAN_DIGITS) / 2);

	if (caller != NULL && !trace_parent_valid(caller->base, caller->len))
		caller = NULL;
	trace->state = NULL;
	trace->state_length = 0;
	if (caller != NULL)
		trace_take_state(trace, req);
	trace_parent_make(trace->parent, caller != NULL ? caller->base : NULL,
	    random, random + TRACE_ID_DIGITS / 2);
}

void
trace_answer(const struct trace *trace, struct st_h2o_req_t *req)
{
	h2o_iovec_t parent =
	    h2o_strdup(&req->pool, trace->parent, TRACE_PARENT_BYTES - 1);

	h2o_add_header_by_str(&req->pool, &req->res.headers,
	    H2O_STRLIT("traceparent"), 0, NULL, parent.base, parent.len);
}
