/*
 * Fuzzes bodies: for what jansson accepts, the walk over the raw bytes must
 * see the same members, in the same order, with the same values.
 */
#include "common/base/err.h"
#include "roles/http/input.h"
#include "roles/http/span.h"

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	FUZZ_FLAGS =
	    JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The value is as jansson read it; containers are walked into. */
static void
fuzz_value(const json_t *json, struct span span)
{
	struct span_walk walk;
	struct span key, value;
	json_t *again = json_loadb(span.text, span.length, FUZZ_FLAGS, NULL);
	size_t n = 0, length;
	char *name;

	assert(again != NULL && json_equal(json, again));
	json_decref(again);
	if (!json_is_object(json) && !json_is_array(json))
		return;
	span_walk_start(&walk, span);
	for (; span_walk_next(&walk, &key, &value); n++) {
		if (json_is_array(json)) {
			fuzz_value(json_array_get(json, n), value);
			continue;
		}
		name = span_string(key, &length);
		assert(name != NULL && strlen(name) == length);
		fuzz_value(json_object_get(json, name), value);
		free(name);
	}
	assert(n == (json_is_array(json) ? json_array_size(json)
					 : json_object_size(json)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *body = (const char *)data;
	struct input input;
	struct err err;
	json_t *json;

	input_init(&input);
	if (input_body(&input, body, size, &err) == 0 &&
	    input.body.length > 0) {
		json = json_loadb(body, size, FUZZ_FLAGS, NULL);
		fuzz_value(json, input.body);
		json_decref(json);
	}
	input_done(&input);
	return 0;
}
