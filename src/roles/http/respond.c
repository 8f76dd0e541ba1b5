/*
 * Answers of handlers. See respond.h.
 */
#include "roles/http/respond.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/uuid.h"
#include "roles/http/answer.h"
#include "roles/http/span.h"

#define RESPOND_JSON "application/json"

/* --- failures --- */

/* For whom a 500 is a riddle, the log has the answer. */
static void
respond_incident(struct call *call, const struct pg_error *error,
    struct problem *problem, char id[UUID_TEXT_BYTES])
{
	uuid_random(id);
	problem->incident = id;
	problem->detail = "the handler failed; the log says why";
	log_error("incident %s: %s: SQLSTATE %s: %s%s%s%s%s (request %s)", id,
	    call->endpoint->pattern, error->sqlstate, error->message,
	    error->detail != NULL ? "; " : "",
	    error->detail != NULL ? error->detail : "",
	    error->context != NULL ? "; " : "",
	    error->context != NULL ? error->context : "",
	    conn_of(call->req)->request_id);
}

/* Whether statement_timeout did it, and not an operator. */
static bool
respond_is_timeout(const struct call *call, const struct pg_error *error)
{
	return strcmp(error->sqlstate, "57014") == 0 &&
	       clock_mono_ms() - call->sent_ms >=
		   call->http->statement_timeout_ms - 1;
}

void
respond_failure(struct call *call, const struct pg_error *error)
{
	struct problem problem;
	char id[UUID_TEXT_BYTES];

	problem_of_error(error, &problem);
	if (respond_is_timeout(call, error)) {
		problem.status = 504;
		problem.retry_later = false;
		problem.detail = "the request took longer than "
				 "request_timeout";
	} else if (problem.status == 500 && problem.detail == NULL) {
		respond_incident(call, error, &problem, id);
	} else if (problem.status == 503 && problem.detail == NULL) {
		log_warn("%s: SQLSTATE %s: %s (request %s)",
		    call->endpoint->pattern, error->sqlstate, error->message,
		    conn_of(call->req)->request_id);
	}
	answer_problem(call->req, &problem);
}

/* --- chimp.respond() --- */

/* What chimp.respond stored; the spans are absent (length 0) or values. */
struct respond {
	int status;
	struct span body;
	struct span headers;
	const char *content_type; /* what the handler set, or NULL */
	bool bad;                 /* a header that cannot be sent */
};

static void
respond_parse(const char *text, size_t length, struct respond *r)
{
	struct span_walk walk;
	struct span key, value;

	memset(r, 0, sizeof(*r));
	span_walk_start(&walk, span_of(text, length));
	while (span_walk_next(&walk, &key, &value)) {
		if (strncmp(key.text, "\"status\"", key.length) == 0)
			r->status = atoi(value.text);
		else if (value.text[0] == 'n')
			continue; /* null */
		else if (strncmp(key.text, "\"body\"", key.length) == 0)
			r->body = value;
		else if (strncmp(key.text, "\"headers\"", key.length) == 0)
			r->headers = value;
	}
}

/* RFC 9110, 5.6.2: a token. */
static bool
respond_name_valid(const char *name)
{
	for (const char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) &&
		    strchr("!#$%&'*+-.^_`|~", *c) == NULL)
			return false;
	return name[0] != '\0';
}

/* A line break would begin another header, or the body. */
static bool
respond_value_valid(const char *value)
{
	for (const char *c = value; *c != '\0'; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return false;
	return true;
}

/* Headers that frame the message are the server's. */
static bool
respond_is_framing(const char *name)
{
	static const char *const framing[] = {"content-length",
	    "transfer-encoding", "connection", "keep-alive", "upgrade", "date",
	    "server", "trailer", "x-request-id", "traceparent"};

	for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++)
		if (strcasecmp(name, framing[i]) == 0)
			return true;
	return false;
}

static void
respond_header(
    h2o_req_t *req, struct respond *r, const char *name, struct span value)
{
	size_t n;
	char *text = span_string(value, &n);

	if (text == NULL) /* a number or boolean */
		text = mem_strndup(value.text, value.length);
	if (!respond_name_valid(name) || !respond_value_valid(text)) {
		r->bad = true;
	} else if (strcasecmp(name, "content-type") == 0) {
		r->content_type = h2o_strdup(&req->pool, text, SIZE_MAX).base;
	} else if (!respond_is_framing(name)) {
		answer_header(req, name, text);
	}
	free(text);
}

/* {"name": "value"}, or a list of values: Set-Cookie. */
static void
respond_headers(h2o_req_t *req, struct respond *r)
{
	struct span_walk walk, list;
	struct span key, value, none, element;
	size_t n;

	if (r->headers.length == 0)
		return;
	span_walk_start(&walk, r->headers);
	while (span_walk_next(&walk, &key, &value)) {
		char *name = span_string(key, &n);

		if (value.text[0] == '[') {
			span_walk_start(&list, value);
			while (span_walk_next(&list, &none, &element))
				respond_header(req, r, name, element);
		} else if (value.text[0] != 'n') {
			respond_header(req, r, name, value);
		}
		free(name);
	}
}

static bool
respond_is_json(const char *content_type)
{
	size_t n = strcspn(content_type, "; ");

	return (n == strlen(RESPOND_JSON) &&
		   strncasecmp(content_type, RESPOND_JSON, n) == 0) ||
	       (n > 5 && strncasecmp(content_type + n - 5, "+json", 5) == 0);
}

/* A string under another type than JSON is sent as the text that it is:
 * HTML, CSV. */
static void
respond_body(h2o_req_t *req, const struct respond *r)
{
	size_t n;
	char *text = NULL;

	if (r->content_type != NULL && !respond_is_json(r->content_type))
		text = span_string(r->body, &n);
	if (text != NULL)
		answer_text(req, r->status, r->content_type, text, n);
	else
		answer_send(req, r->status,
		    r->content_type != NULL ? r->content_type : RESPOND_JSON,
		    r->body.text, r->body.length);
	free(text);
}

static void
respond_bad(struct call *call)
{
	struct problem problem = {.status = 500,
	    .detail = "the handler set a header that cannot be sent"};

	log_error("%s: chimp.respond: a header has a name or a value that "
		  "HTTP does not allow (request %s)",
	    call->endpoint->pattern, conn_of(call->req)->request_id);
	call->req->res.headers.size = 0;
	answer_problem(call->req, &problem);
}

/* The result that holds the text is kept by the call: spans point into it. */
static void
respond_stored(struct call *call)
{
	h2o_req_t *req = call->req;
	struct respond r;

	respond_parse(pg_value(call->body, 0, CALL_RESPONSE),
	    pg_length(call->body, 0, CALL_RESPONSE), &r);
	respond_headers(req, &r);
	if (r.bad)
		respond_bad(call);
	else if (r.body.length == 0)
		answer_send(req, r.status, r.content_type, "", 0);
	else
		respond_body(req, &r);
}

/* --- results --- */

void
respond_result(struct call *call, struct pg_reply *reply)
{
	struct pg_result *row = pg_reply_take(reply, 0);

	call->body = row;
	idempotent_mark(call);
	/* A setting that was made once in a session is '' afterwards. */
	if (pg_rows(row) > 0 && !pg_is_null(row, 0, CALL_RESPONSE) &&
	    pg_length(row, 0, CALL_RESPONSE) > 0)
		respond_stored(call);
	else if (pg_rows(row) == 0 || pg_is_null(row, 0, CALL_RESULT))
		answer_send(call->req, 204, NULL, "", 0);
	else
		answer_send(call->req, idempotent_status(call), RESPOND_JSON,
		    pg_value(row, 0, CALL_RESULT),
		    pg_length(row, 0, CALL_RESULT));
}
