/*
 * A route's limits. See limits.h.
 */
#include "roles/http/limits.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "handlers/sql.h"

/* RFC 9110, 5.6.2: a token, in lower case as h2o keeps names. */
static bool
limits_header(char *name)
{
	for (char *c = name; *c != '\0'; c++) {
		if (!isalnum((unsigned char)*c) &&
		    strchr("!#$%&'*+-.^_`|~", *c) == NULL)
			return false;
		*c = (char)tolower((unsigned char)*c);
	}
	return name[0] != '\0';
}

static int
limits_init_rate(
    struct limits *limits, const struct conf_route *route, struct err *err)
{
	const char *by = route->rate_by;

	limits->rate = route->rate;
	if (strcmp(by, "address") == 0)
		return 0;
	if (route->rate.count == 0)
		return err_set(err, "rate_by: there is no rate");
	if (strncmp(by, "header:", 7) == 0) {
		limits->by = LIMITS_BY_HEADER;
		limits->by_name = mem_strdup(by + 7);
		if (limits_header(limits->by_name))
			return 0;
	} else if (strncmp(by, "arg:", 4) == 0 && by[4] != '\0') {
		limits->by = LIMITS_BY_ARG;
		limits->by_name = mem_strdup(by + 4);
		return 0;
	}
	return err_set(err,
	    "rate_by: \"%s\" is neither \"address\" nor \"header:NAME\" nor "
	    "\"arg:NAME\"",
	    by);
}

int
limits_init(
    struct limits *limits, const struct conf_route *route, struct err *err)
{
	bool safe = route->readonly || strncmp(route->pattern, "GET ", 4) == 0;

	if (limits_init_rate(limits, route, err) != 0)
		return -1;
	if (strcmp(route->idempotency, "required") == 0) {
		if (safe)
			return err_set(err, "idempotency: a route that is "
					    "readonly, or GET, has nothing "
					    "that a key could guard");
		limits->key = LIMITS_KEY_REQUIRED;
	} else if (strcmp(route->idempotency, "optional") == 0 && !safe) {
		limits->key = LIMITS_KEY_OPTIONAL;
	}
	if (limits->key != LIMITS_KEY_OFF)
		limits->stmt = sql_handler_guarded(route->handler.sql);
	return 0;
}

void
limits_done(struct limits *limits)
{
	mem_free(&limits->by_name);
	sql_handler_free(&limits->stmt);
}
