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
#include "roles/http/arg.h"

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

/* An input never has it: by a slip of the pen all would count by address. */
static int
limits_no_arg(const char *name, const struct args *args, struct err *err)
{
	struct strbuf known = STRBUF_EMPTY;

	for (size_t i = 0; i < args->n; i++)
		strbuf_printf(
		    &known, "%s%s", i > 0 ? ", " : "", args->items[i].name);
	err_set(err, "rate_by: args has no \"%s\"", name);
	err_hint(err, "it has %s", strbuf_str(&known));
	strbuf_done(&known);
	return -1;
}

/* `args` NULL: the input may have any member. */
static int
limits_init_arg(struct limits *limits, const char *name,
    const struct args *args, struct err *err)
{
	bool known = args == NULL;

	for (size_t i = 0; !known && i < args->n; i++)
		known = strcmp(args->items[i].name, name) == 0;
	if (!known)
		return limits_no_arg(name, args, err);
	limits->by = LIMITS_BY_ARG;
	limits->by_name = mem_strdup(name);
	return 0;
}

static int
limits_init_rate(struct limits *limits, const struct conf_route *route,
    const struct args *args, struct err *err)
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
		return limits_init_arg(limits, by + 4, args, err);
	}
	return err_set(err,
	    "rate_by: \"%s\" is neither \"address\" nor \"header:NAME\" nor "
	    "\"arg:NAME\"",
	    by);
}

int
limits_init(struct limits *limits, const struct conf_route *route,
    const struct args *args, struct err *err)
{
	bool safe = route->readonly || strncmp(route->pattern, "GET ", 4) == 0;

	if (limits_init_rate(limits, route, args, err) != 0)
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
