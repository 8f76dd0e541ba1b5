/*
 * Fuzzes signatures and what they make of a request: the first line is the
 * signature, the second a query, the rest a body.
 *
 * What args_apply makes must be valid JSON, whatever came in.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/args.h"
#include "roles/http/input.h"

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fuzz_apply(const struct args *args, const char *query, const char *body)
{
	struct args_violations v = {.n = 0};
	struct strbuf out = STRBUF_EMPTY;
	struct input input;
	struct err err;
	json_t *json;

	input_init(&input);
	v.arena = input.arena;
	if (input_body(&input, body, strlen(body), &err) == 0 &&
	    input_form(&input, INPUT_QUERY, query, strlen(query), &err) == 0 &&
	    args_apply(args, &input, &out, &v)) {
		json = json_loadb(out.data, out.length,
		    JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
		/* A number from a query may be larger than any double. */
		assert(json != NULL || strpbrk(query, "0123456789") != NULL);
		json_decref(json);
	}
	strbuf_done(&out);
	input_done(&input);
}

/* Nested repetition costs regcomp exponential memory: an operator's mistake
 * that a fuzzer finds at once, in code that is not ours. */
static bool
fuzz_repeats(const char *text)
{
	int n = 0;

	for (; *text != '\0' && *text != '\n'; text++)
		n += strchr("*+{", *text) != NULL;
	return n > 4;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *signature = mem_strndup((const char *)data, size);
	char *query = strchr(signature, '\n');
	char *body = query != NULL ? strchr(query + 1, '\n') : NULL;
	struct args *args;
	struct err err;

	if (body != NULL && !fuzz_repeats(signature)) {
		*query++ = '\0';
		*body++ = '\0';
		args = args_parse(signature, &err);
		if (args != NULL)
			fuzz_apply(args, query, body);
		else
			assert(err.message[0] != '\0');
		args_free(&args);
		fuzz_apply(NULL, query, body);
	}
	free(signature);
	return 0;
}
