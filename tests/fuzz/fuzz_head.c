/*
 * Fuzzes heads of requests: what is accepted has none of the bytes that make
 * others see another head, and what stands behind it changes nothing.
 */
#include "roles/http/head.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every LF has its CR, every CR its LF, and no other control character but the
 * tab is there. */
static void
fuzz_bytes(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\r')
			assert(i + 1 < size && text[i + 1] == '\n');
		else if (text[i] == '\n')
			assert(i > 0 && text[i - 1] == '\r');
		else
			assert(
			    (unsigned char)text[i] >= ' ' || text[i] == '\t');
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct head head, alone;
	const char *end;

	if (head_check(text, size, &head) != NULL) {
		assert(!head.chunked);
		return 0;
	}
	end = memmem(text + 2, size - 2, "\r\n\r\n", 4);
	assert(end != NULL);
	fuzz_bytes(text, (size_t)(end + 4 - text));
	assert(head_check(text, (size_t)(end + 4 - text), &alone) == NULL);
	assert(alone.chunked == head.chunked);
	assert(head_check(text, (size_t)(end + 3 - text), &alone) != NULL);
	assert(memmem(text, (size_t)(end - text), "\n ", 2) == NULL);
	assert(memmem(text, (size_t)(end - text), "\n\t", 2) == NULL);
	return 0;
}
