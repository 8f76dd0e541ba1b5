/*
 * Errors as clients see them. See problem.h.
 */
#include "roles/http/problem.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "roles/http/args.h"
#include "roles/http/url.h"

/* clang-format off */
static const struct {
	int status;
	const char *reason;
} problem_reasons[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 203, "Non-Authoritative Information" },
	{ 204, "No Content" },
	{ 205, "Reset Content" },
	{ 206, "Partial Content" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 402, "Payment Required" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 417, "Expectation Failed" },
	{ 418, "I'm a teapot" },
	{ 422, "Unprocessable Content" },
	{ 423, "Locked" },
	{ 424, "Failed Dependency" },
	{ 425, "Too Early" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 451, "Unavailable For Legal Reasons" },
	{ 499, "Client Closed Request" }, /* nginx's; nobody sees it */
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 507, "Insufficient Storage" },
};

/* The first row whose prefix fits counts. `own`: the text was written for
 * clients, or says only what they sent. */
static const struct {
	const char *prefix;
	int status;
	bool own;
} problem_sqlstates[] = {
	{ "22",    400, true },  /* data exception */
	{ "23502", 400, true },  /* not null */
	{ "23514", 400, true },  /* check */
	{ "23503", 409, true },  /* foreign key */
	{ "23505", 409, true },  /* unique */
	{ "23P01", 409, true },  /* exclusion */
	{ "P0001", 400, true },  /* raise exception */
	{ "P0002", 404, true },  /* no data found */
	{ "28",    401, true },  /* authorization */
	{ "42501", 403, true },  /* privilege */
	{ "40001", 503, false }, /* serialization failure */
	{ "40P01", 503, false }, /* deadlock */
	{ "55P03", 503, false }, /* lock not available */
	{ "53",    503, false }, /* out of resources */
	{ "08",    503, false }, /* connection */
	{ "57P",   503, false }, /* shutting down, starting up */
	{ "57014", 503, false }, /* cancelled; 504 if by the deadline */
};
/* clang-format on */

#define PROBLEM_COUNT(table) (sizeof(table) / sizeof((table)[0]))

const char *
problem_reason(int status)
{
	for (size_t i = 0; i < PROBLEM_COUNT(problem_reasons); i++)
		if (problem_reasons[i].status == status)
			return problem_reasons[i].reason;
	return "Unknown";
}

/* `raise sqlstate 'PT409'`: 409; 0 if it is not such a state. */
static int
problem_own_status(const char *sqlstate)
{
	int status;

	if (strncmp(sqlstate, "PT", 2) != 0 ||
	    strspn(sqlstate + 2, "0123456789") != 3)
		return 0;
	status = atoi(sqlstate + 2);
	return status >= 300 && status <= 599 ? status : 0;
}

/* A row of problem_sqlstates; -1 if there is none. */
static int
problem_find(const char *sqlstate)
{
	for (size_t i = 0; i < PROBLEM_COUNT(problem_sqlstates); i++)
		if (strncmp(sqlstate, problem_sqlstates[i].prefix,
			strlen(problem_sqlstates[i].prefix)) == 0)
			return (int)i;
	return -1;
}

int
problem_status(const char *sqlstate)
{
	int own = problem_own_status(sqlstate);
	int row = problem_find(sqlstate);

	if (own != 0)
		return own;
	return row < 0 ? 500 : problem_sqlstates[row].status;
}

void
problem_of_error(const struct pg_error *error, struct problem *problem)
{
	int row = problem_find(error->sqlstate);
	bool raised = problem_own_status(error->sqlstate) != 0 ||
		      strcmp(error->sqlstate, "P0001") == 0;

	memset(problem, 0, sizeof(*problem));
	problem->status = problem_status(error->sqlstate);
	if (raised || (row >= 0 && problem_sqlstates[row].own))
		problem->detail = error->message;
	if (raised)
		problem->hint = error->hint;
	problem->retry_later = problem->status == 503;
}

bool
problem_is_conflict(const char *sqlstate)
{
	return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0;
}

static void
problem_text(struct strbuf *out, const char *text)
{
	size_t length = strlen(text);
	char *copy;

	if (url_utf8_valid(text, length)) {
		strbuf_json(out, text, length);
		return;
	}
	copy = mem_strndup(text, length);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)copy[i] >= 0x80)
			copy[i] = '?';
	strbuf_json(out, copy, length);
	free(copy);
}

static void
problem_member(struct strbuf *out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	strbuf_printf(out, ",\"%s\":", name);
	problem_text(out, text);
}

static void
problem_violations(struct strbuf *out, const struct args_violations *v)
{
	strbuf_puts(out, ",\"errors\":[");
	for (size_t i = 0; i < v->n; i++) {
		strbuf_puts(out, i > 0 ? ",{\"path\":" : "{\"path\":");
		problem_text(out, v->items[i].path);
		problem_member(out, "message", v->items[i].message);
		strbuf_putc(out, '}');
	}
	strbuf_putc(out, ']');
}

void
problem_body(const struct problem *problem, struct strbuf *out)
{
	const struct args_violations *v = problem->violations;
	char *first = NULL;

	strbuf_puts(out, "{\"type\":\"about:blank\",\"title\":");
	problem_text(out, problem_reason(problem->status));
	strbuf_printf(out, ",\"status\":%d", problem->status);
	if (v != NULL && v->n > 0)
		first =
		    mem_printf("%s %s", v->items[0].path, v->items[0].message);
	problem_member(out, "detail", first ? first : problem->detail);
	problem_member(out, "hint", problem->hint);
	problem_member(out, "incident", problem->incident);
	if (first != NULL)
		problem_violations(out, v);
	strbuf_puts(out, "}\n");
	free(first);
}
