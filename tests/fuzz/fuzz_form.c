/*
 * Fuzzes forms and queries: what is decoded is UTF-8 without NUL, and encoded
 * again it decodes to the same.
 */
#include "common/base/err.h"
#include "common/base/strbuf.h"
#include "roles/http/args.h"
#include "roles/http/input.h"
#include "roles/http/url.h"

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fuzz_encode(struct strbuf *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		strbuf_printf(out, "%%%02x", (unsigned char)text[i]);
}

static void
fuzz_encode_all(const struct input *input, struct strbuf *out)
{
	for (size_t i = 0; i < input->n_texts; i++) {
		const struct input_text *text = &input->texts[i];

		assert(strlen(text->value) == text->length);
		assert(url_utf8_valid(text->value, text->length));
		assert(url_utf8_valid(text->name, text->name_length));
		if (i > 0)
			strbuf_putc(out, '&');
		fuzz_encode(out, text->name, text->name_length);
		strbuf_putc(out, '=');
		fuzz_encode(out, text->value, text->length);
	}
}

static void
fuzz_same(const struct input *a, const struct input *b)
{
	assert(a->n_texts == b->n_texts);
	for (size_t i = 0; i < a->n_texts; i++) {
		const struct input_text *x = &a->texts[i], *y = &b->texts[i];

		assert(x->name_length == y->name_length &&
		       memcmp(x->name, y->name, x->name_length) == 0);
		assert(x->length == y->length &&
		       memcmp(x->value, y->value, x->length) == 0);
	}
}

static void
fuzz_apply(const struct input *input)
{
	struct args_violations violations = {.arena = input->arena};
	struct strbuf out = STRBUF_EMPTY;
	json_t *json;

	if (args_apply(NULL, input, &out, &violations)) {
		json = json_loadb(out.data, out.length,
		    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
		assert(json != NULL && json_is_object(json));
		json_decref(json);
	}
	strbuf_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf encoded = STRBUF_EMPTY;
	struct input once, again;
	struct err err;

	input_init(&once);
	input_init(&again);
	if (input_form(&once, INPUT_FORM, (const char *)data, size, &err) ==
	    0) {
		fuzz_encode_all(&once, &encoded);
		assert(input_form(&again, INPUT_FORM, strbuf_str(&encoded),
			   encoded.length, &err) == 0);
		fuzz_same(&once, &again);
		fuzz_apply(&once);
	}
	strbuf_done(&encoded);
	input_done(&again);
	input_done(&once);
	return 0;
}
