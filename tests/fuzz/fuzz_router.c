/*
 * Fuzzes the table of routes: lines of patterns, and in the last line a request
 * "METHOD /path". What is found fits, segment by segment, and where nothing is
 * found nothing fits.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/router.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FUZZ_PATTERNS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next segment of a path, which stands behind its '/'. */
static size_t
fuzz_segment(const char *path)
{
	return strcspn(path + 1, "/");
}

static bool
fuzz_segment_fits(
    const char *pattern, size_t length, const char *text, size_t n)
{
	char *decoded = mem_zalloc(n + 1);
	bool fits = url_decode(text, n, false, decoded, &n) == URL_OK &&
		    (pattern[0] == '{' && length > 0
			    ? n > 0
			    : n == length && memcmp(decoded, pattern, n) == 0);

	free(decoded);
	return fits;
}

/* By the words of router.h, without a tree. */
static bool
fuzz_fits(const char *pattern, const char *path)
{
	if (strcmp(pattern, "/") == 0 || strcmp(path, "/") == 0)
		return strcmp(pattern, path) == 0;
	while (*pattern == '/' && *path == '/') {
		size_t length = fuzz_segment(pattern), n = fuzz_segment(path);

		if (!fuzz_segment_fits(pattern + 1, length, path + 1, n))
			return false;
		pattern += 1 + length;
		path += 1 + n;
	}
	return *pattern == '\0' && *path == '\0';
}

static const char *
fuzz_path(const char *pattern)
{
	pattern += strcspn(pattern, " ");
	return pattern + strspn(pattern, " ");
}

static void
fuzz_find(const struct router *router, char *const *patterns, size_t n,
    const char *request)
{
	const char *path = strchr(request, ' ');
	struct router_match match;
	enum router_answer answer;
	bool any = false;
	char *buf;

	if (path == NULL || path[1] != '/')
		return;
	path++;
	buf = mem_zalloc(strlen(path) + 1);
	answer = router_find(router, request, (size_t)(path - request) - 1,
	    path, strlen(path), buf, &match);
	for (size_t i = 0; i < n; i++)
		any = any || fuzz_fits(fuzz_path(patterns[i]), path);
	if (answer == ROUTER_FOUND)
		assert(fuzz_fits(fuzz_path(match.target), path));
	else if (answer == ROUTER_NO_PATH)
		assert(!any);
	else
		assert(answer == ROUTER_BAD_PATH || any);
	for (size_t i = 0; answer == ROUTER_FOUND && i < match.n_params; i++)
		assert(strlen(match.params[i].value) == match.params[i].length);
	free(buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup((const char *)data, size);
	char *patterns[FUZZ_PATTERNS];
	struct router *router = router_new();
	char *line = text, *end;
	struct err err;
	size_t n = 0;

	while ((end = strchr(line, '\n')) != NULL && n < FUZZ_PATTERNS) {
		*end = '\0';
		if (router_add(router, line, line, &err) == 0)
			patterns[n++] = line;
		else
			assert(err.message[0] != '\0');
		line = end + 1;
	}
	fuzz_find(router, patterns, n, line);
	router_free(&router);
	free(text);
	return 0;
}
