/*
 * CORS: origins as browsers write them, and nothing that would let any site in
 * with a user's cookies.
 */
#include "common/conf/conf_draft.h"
#include "common/base/err.h"

#include <ctype.h>
#include <string.h>

/* RFC 6454, 6.2, as browsers serialize it: scheme://host[:port] in lower
 * case. What differs in a byte would never match. */
static bool
is_origin(const char *text)
{
	size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
	const char *host = text + scheme + 3;

	if (strcmp(text, "null") == 0)
		return true;
	if (scheme == 0 || strncmp(text + scheme, "://", 3) != 0 ||
	    *host == '\0')
		return false;
	for (const char *c = host; *c != '\0'; c++)
		if (!islower((unsigned char)*c) &&
		    !isdigit((unsigned char)*c) && strchr(".-:[]_", *c) == NULL)
			return false;
	return true;
}

static int
check_origin(const struct conf_draft *d, const struct conf_cors *cors,
    const char *origin, struct err *err)
{
	if (strcmp(origin, "*") != 0) {
		if (is_origin(origin))
			return 0;
		return conf_draft_err(d, cors, "origins", err,
		    "\"%s\" is no origin: scheme://host or "
		    "scheme://host:port in lower case, without a slash at "
		    "its end",
		    origin);
	}
	if (cors->origins.count > 1)
		return conf_draft_err(d, cors, "origins", err,
		    "\"*\" is any origin: it stands alone");
	if (cors->credentials) {
		conf_draft_err(d, cors, "credentials", err,
		    "any site could act with a user's cookies: not with "
		    "origins = {\"*\"}");
		return err_hint(err, "name the origins");
	}
	return 0;
}

/* RFC 9110, 5.6.2: a token. */
static bool
is_header(const char *name)
{
	for (const char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) &&
		    strchr("!#$%&'*+-.^_`|~", *c) == NULL)
			return false;
	return name[0] != '\0';
}

int
conf_check_cors(const struct conf_draft *d, struct err *err)
{
	const struct conf_cors *cors = &d->conf->http.cors;

	for (int i = 0; i < cors->origins.count; i++)
		if (check_origin(d, cors, cors->origins.items[i], err) < 0)
			return -1;
	for (int i = 0; i < cors->headers.count; i++)
		if (!is_header(cors->headers.items[i]))
			return conf_draft_err(d, cors, "headers", err,
			    "\"%s\" is no name of a header",
			    cors->headers.items[i]);
	return 0;
}
