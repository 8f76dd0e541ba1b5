/*
 * Fuzzes what the edge reads of a request: paths of files, If-None-Match,
 * Range, raw bodies.
 */
#include "common/base/mem.h"
#include "roles/http/etag.h"
#include "roles/http/input.h"
#include "roles/http/range.h"
#include "roles/http/raw.h"
#include "roles/http/static_path.h"
#include "roles/http/url.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A name stays below its folder, and hides nothing but .well-known. */
static void
fuzz_path(const char *text, size_t length)
{
	char *name = mem_alloc(length + 1);
	const char *behind;

	if (static_path(text, length, name)) {
		assert(name[0] != '/' && strstr(name, "//") == NULL);
		assert(strstr(name, "/.") == NULL);
		assert(name[0] != '.' || strncmp(name, ".well-known", 11) == 0);
		behind = static_behind("/a/b", name);
		assert(
		    behind == NULL || (behind >= name + 3 && behind[0] != '/'));
	}
	static_wants_page(text, length);
	free(name);
}

/* What a list has in front is found, whatever follows. */
static void
fuzz_etag(const char *text, size_t length)
{
	static const char etag[] = "W/\"0123\"";
	char *list = mem_alloc(length + sizeof(etag) + 1);

	etag_listed(text, length, etag, sizeof(etag) - 1);
	etag_listed(etag, sizeof(etag) - 1, text, length);
	memcpy(list, etag, sizeof(etag) - 1);
	list[sizeof(etag) - 1] = ',';
	memcpy(list + sizeof(etag), text, length);
	assert(
	    etag_listed(list, length + sizeof(etag), etag, sizeof(etag) - 1));
	free(list);
}

static void
fuzz_range(const char *text, size_t length)
{
	static const uint64_t sizes[] = {0, 1, 10, 1 << 20, UINT64_MAX};
	uint64_t first, count;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (range_parse(text, length, sizes[i], &first, &count) !=
		    RANGE_PART)
			continue;
		assert(first < sizes[i] && count > 0);
		assert(count <= sizes[i] - first);
	}
}

/* The bytes come back. */
static void
fuzz_raw(const char *text, size_t length)
{
	struct input input;
	const struct input_text *body, *encoding;
	unsigned char *bytes;
	size_t n;

	input_init(&input);
	raw_body(&input, text, length, text, length);
	body = input_find(&input, "body", 4, &n);
	assert(body != NULL && n == 1);
	encoding = input_find(&input, "bodyEncoding", 12, &n);
	assert(url_utf8_valid(body->value, body->length));
	if (strcmp(encoding->value, "text") == 0) {
		assert(body->length == length &&
		       memcmp(body->value, text, length) == 0 &&
		       strlen(body->value) == length);
	} else {
		bytes = mem_alloc(body->length + 1);
		assert(
		    EVP_DecodeBlock(bytes, (const unsigned char *)body->value,
			(int)body->length) >= (int)length);
		assert(memcmp(bytes, text, length) == 0);
		free(bytes);
	}
	input_done(&input);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of its own size: a read beyond the end is seen. */
	char *text = mem_alloc(size + 1);

	text = mem_realloc(text, size > 0 ? size : 1);
	memcpy(text, data, size);
	fuzz_path(text, size);
	fuzz_etag(text, size);
	fuzz_range(text, size);
	fuzz_raw(text, size);
	free(text);
	return 0;
}
