/*
 * Inputs in parts. See parts.h.
 */
#include "roles/http/parts.h"

#include "common/base/strbuf.h"
#include "roles/http/input.h"

/* All texts of a layer, `between` name and value of each. */
static void
parts_texts(const struct input *input, enum input_layer layer,
    const char *begin, const char *between, const char *end, struct strbuf *out)
{
	const char *separator = "";

	for (size_t i = 0; i < input->n_texts; i++) {
		const struct input_text *text = &input->texts[i];

		if (text->layer != layer)
			continue;
		strbuf_puts(out, separator);
		strbuf_puts(out, begin);
		strbuf_json(out, text->name, text->name_length);
		strbuf_puts(out, between);
		strbuf_json(out, text->value, text->length);
		strbuf_puts(out, end);
		separator = ",";
	}
}

void
parts_json(
    const char *collection, const struct input *input, struct strbuf *out)
{
	strbuf_printf(out, "{\"collection\":%s,\"body\":", collection);
	if (input->body.length > 0)
		strbuf_append(out, input->body.text, input->body.length);
	else
		strbuf_puts(out, "null");
	strbuf_puts(out, ",\"path\":{");
	parts_texts(input, INPUT_PATH, "", ":", "", out);
	strbuf_puts(out, "},\"query\":[");
	parts_texts(input, INPUT_QUERY, "[", ",", "]", out);
	strbuf_puts(out, "]}");
}
