/*
 * Whether a client came over TLS. See scheme.h.
 */
#include "roles/http/scheme.h"

#include <string.h>
#include <strings.h>

enum { SCHEME_BITS = 2, SCHEME_MAX = 64 / SCHEME_BITS };

enum scheme
scheme_parse(const char *text, size_t length)
{
	if (length == 4 && strncasecmp(text, "http", 4) == 0)
		return SCHEME_HTTP;
	if (length == 5 && strncasecmp(text, "https", 5) == 0)
		return SCHEME_HTTPS;
	return SCHEME_UNKNOWN;
}

static size_t
scheme_trimmed(const char **text, size_t length)
{
	while (length > 0 && strchr(" \t", (*text)[0]) != NULL) {
		(*text)++;
		length--;
	}
	while (length > 0 && strchr(" \t", (*text)[length - 1]) != NULL)
		length--;
	return length;
}

void
scheme_list_add(struct scheme_list *list, const char *value, size_t length)
{
	const char *end = value + length;

	while (value < end) {
		const char *comma = memchr(value, ',', (size_t)(end - value));
		const char *stop = comma != NULL ? comma : end;
		size_t n = scheme_trimmed(&value, (size_t)(stop - value));

		/* RFC 9110, 5.6.1: a list may have empty elements. */
		if (n > 0) {
			list->last = list->last << SCHEME_BITS |
				     (uint64_t)scheme_parse(value, n);
			list->n += list->n < SCHEME_MAX;
		}
		value = comma != NULL ? comma + 1 : end;
	}
}

enum scheme
scheme_list_at(const struct scheme_list *list, int behind)
{
	int at = behind < list->n ? behind : list->n - 1;

	if (at < 0)
		return SCHEME_UNKNOWN;
	return (enum scheme)(list->last >> (at * SCHEME_BITS) & 3);
}
