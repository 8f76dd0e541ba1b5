/*
 * Fuzzes Trace Context: the first line is a traceparent, the rest a tracestate.
 *
 * What is taken for valid makes a traceparent that is, and of the same trace.
 */
#include "roles/http/trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of exactly that size, so that a read beyond it is seen. */
static char *
fuzz_copy(const void *data, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);

	memcpy(copy, data, size);
	return copy;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t random[16] = {1, 2, 3};
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t length = line != NULL ? (size_t)(line - data) : size;
	size_t rest = line != NULL ? size - length - 1 : 0;
	char *parent = fuzz_copy(data, length);
	char *state = fuzz_copy(data + size - rest, rest);
	char made[TRACE_PARENT_BYTES];

	if (trace_parent_valid(parent, length)) {
		trace_parent_make(made, parent, random, random);
		assert(memcmp(made + TRACE_ID_AT, parent + TRACE_ID_AT,
			   TRACE_ID_DIGITS) == 0);
	} else {
		trace_parent_make(made, NULL, random, random);
	}
	assert(strlen(made) == TRACE_PARENT_BYTES - 1);
	assert(trace_parent_valid(made, strlen(made)));
	if (trace_state_valid(state, rest))
		for (size_t i = 0; i < rest; i++)
			assert(state[i] == '\t' ||
			       (state[i] >= ' ' && state[i] <= '~'));
	free(parent);
	free(state);
	return 0;
}
