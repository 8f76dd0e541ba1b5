/*
 * W3C Trace Context (REC 2021): traceparent and tracestate. Pure but for
 * trace_request.c, which knows h2o.
 */
#ifndef CHIMP_HTTP_TRACE_H
#define CHIMP_HTTP_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TRACE_ID_DIGITS = 32,
	TRACE_SPAN_DIGITS = 16,
	TRACE_PARENT_BYTES = 56, /* with the terminator */
	TRACE_ID_AT = 3          /* of the trace id in a traceparent */
};

/* "00-TRACEID-SPANID-FLAGS" and the state that goes with it. */
struct trace {
	char parent[TRACE_PARENT_BYTES]; /* "" = none yet */
	const char *state; /* of length bytes, or NULL; in the request's pool */
	size_t state_length;
};

/*
 * Whether `text` is a traceparent: lower-case digits, no id of zeros, not
 * version ff; a version above 00 may have more behind another "-".
 */
bool trace_parent_valid(const char *text, size_t length);

/* Whether `text` is a tracestate: up to 32 members key=value, no key twice. */
bool trace_state_valid(const char *text, size_t length);

/*
 * Make a traceparent of version 00: the trace of `caller`, which is valid, or
 * NULL: a new one of trace_random, not sampled. The span is new. Of the flags
 * only "sampled" is passed on, as the standard wants it of unknown ones.
 */
void trace_parent_make(char parent[TRACE_PARENT_BYTES], const char *caller,
    const uint8_t trace_random[TRACE_ID_DIGITS / 2],
    const uint8_t span_random[TRACE_SPAN_DIGITS / 2]);

/* trace_request.c: fill in what the request brought, or something new. A
 * tracestate without a valid traceparent, or that is wrong, is dropped. */
struct st_h2o_req_t;
void trace_request(struct trace *trace, struct st_h2o_req_t *req);
/* The header of its answer. */
void trace_answer(const struct trace *trace, struct st_h2o_req_t *req);

#endif
