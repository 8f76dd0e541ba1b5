/*
 * Errors as clients see them: RFC 9457 problem details, and what an SQLSTATE
 * means in HTTP. Pure.
 */
#ifndef CHIMP_HTTP_PROBLEM_H
#define CHIMP_HTTP_PROBLEM_H

#include <stdbool.h>

#include "common/base/strbuf.h"
#include "common/pg/link.h"

struct args_violations;

#define PROBLEM_CONTENT_TYPE "application/problem+json"

struct problem {
	int status;
	const char *detail;   /* for the client; NULL = none */
	const char *hint;     /* of the handler's own error; NULL = none */
	const char *incident; /* id of the log line that knows more, or NULL */
	const struct args_violations *violations; /* NULL = none */
	bool retry_later;                         /* with Retry-After */
};

/* Append the JSON. Texts that are not UTF-8 are made so. */
void problem_body(const struct problem *problem, struct strbuf *out);

/* The reason phrase of a status; "Unknown" for one that has none. */
const char *problem_reason(int status);

/* The status of an SQLSTATE; 500 for those without a meaning in HTTP. */
int problem_status(const char *sqlstate);

/*
 * What a failed statement is for the client: the texts point into `error`.
 * Those of the server's own troubles (5xx without PTnnn) stay in the log.
 */
void problem_of_error(const struct pg_error *error, struct problem *problem);

/* 40001, 40P01: another attempt may succeed. */
bool problem_is_conflict(const char *sqlstate);

#endif
