/*
 * A line of the access log, as text and as JSON. Pure.
 *
 * text: 127.0.0.1 "GET /orders/1" 200 52 total=1.204 queue=0.011 database=1.020
 *	 route="GET /orders/{id}" request=... trace=... agent="..."
 *referer="..." json:
 *{"remote":"127.0.0.1","method":"GET","path":"/orders/1","status":200,
 *	 "bytes":52,"totalMs":1.204,"queueMs":0.011,"databaseMs":1.020,...}
 *
 * What is not known is left out, of the text "-" where it has no name. Bytes of
 * clients are escaped, in text all but ASCII, in JSON those that are not UTF-8
 * taken as Latin 1; they are cut so that a line stays below 4096 bytes, which
 * a pipe takes as one.
 */
#ifndef CHIMP_HTTP_ACCESS_LINE_H
#define CHIMP_HTTP_ACCESS_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"

struct access_text {
	const char *text; /* not terminated; NULL = there is none */
	size_t length;
};

struct access_line {
	const char *remote; /* address, or "unix" */
	struct access_text method;
	struct access_text path; /* without the query; never NULL */
	int status;
	uint64_t bytes;      /* of the body that was sent */
	int64_t total_us;    /* these three: -1 = not known */
	int64_t queue_us;    /* waiting for a connection to the database */
	int64_t database_us; /* with one */
	const char *route;   /* the rest may be NULL */
	const char *request_id;
	const char *trace_id; /* 32 digits, not terminated */
	struct access_text agent;
	struct access_text referer;
};

/* Append the line, without its end. */
void access_line_text(const struct access_line *line, struct strbuf *out);

/* Append its members, without braces and with a comma before the first. */
void access_line_json(const struct access_line *line, struct strbuf *out);

#endif
