/*
 * Answers of handlers: the result, or what chimp.respond() stored.
 */
#ifndef CHIMP_HTTP_RESPOND_H
#define CHIMP_HTTP_RESPOND_H

#include "roles/http/call.h"

/*
 * Answer from the row of a call's unit: the handler's result and the setting
 * chimp.response. Takes what it needs to keep.
 */
void respond_result(struct call *call, struct pg_reply *reply);

/* Answer from a failed unit. Logs those that the client is not told about. */
void respond_failure(struct call *call, const struct pg_error *error);

#endif
