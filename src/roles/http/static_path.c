/*
 * From the path of a request to the name of a file. See static_path.h.
 */
#include "roles/http/static_path.h"

#include <string.h>
#include <strings.h>

#include "roles/http/url.h"

#define STATIC_WELL_KNOWN ".well-known"
#define STATIC_PAGE       "text/html"

static size_t
static_slashes(const char *text, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += text[i] == '/';
	return n;
}

/* The last segment may be empty: that is the slash at the end. */
static bool
static_segment_valid(const char *segment, bool first)
{
	size_t n = strcspn(segment, "/");

	if (n == 0)
		return segment[0] == '\0';
	if (segment[0] != '.')
		return true;
	return first && n == strlen(STATIC_WELL_KNOWN) &&
	       strncmp(segment, STATIC_WELL_KNOWN, n) == 0;
}

bool
static_path(const char *path, size_t length, char *out)
{
	const char *segment = out;
	size_t n;

	if (length == 0 || path[0] != '/' ||
	    url_decode(path + 1, length - 1, false, out, &n) != URL_OK ||
	    static_slashes(out, n) + 1 != static_slashes(path, length))
		return false;
	for (; segment != NULL; segment = strchr(segment, '/')) {
		segment += segment != out;
		if (!static_segment_valid(segment, segment == out))
			return false;
	}
	return true;
}

const char *
static_behind(const char *prefix, const char *path)
{
	size_t n = strlen(prefix) - 1; /* without the slash in front */

	if (strncmp(prefix + 1, path, n) != 0)
		return NULL;
	path += n;
	if (n > 0 && path[0] == '/')
		return path + 1;
	return n == 0 || path[0] == '\0' ? path : NULL;
}

bool
static_wants_page(const char *accept, size_t length)
{
	size_t n = strlen(STATIC_PAGE);

	for (size_t i = 0; i + n <= length; i++)
		if (strncasecmp(accept + i, STATIC_PAGE, n) == 0)
			return true;
	return false;
}
