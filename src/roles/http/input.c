/*
 * What a request brings for its handler. See input.h.
 */
#include "roles/http/input.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/url.h"

void
input_init(struct input *input)
{
	memset(input, 0, sizeof(*input));
	input->body = span_of("", 0);
	input->arena = arena_new();
}

void
input_done(struct input *input)
{
	free(input->texts);
	arena_free(&input->arena);
	memset(input, 0, sizeof(*input));
}

static int
input_bad_json(const json_error_t *bad, struct err *err)
{
	if (json_error_code(bad) == json_error_null_character)
		return err_set(err,
		    "a string of the body has \\u0000, which "
		    "no text can hold (line %d, column %d)",
		    bad->line, bad->column);
	return err_set(err,
	    "the body is not valid JSON: %s (line %d, column "
	    "%d)",
	    bad->text, bad->line, bad->column);
}

int
input_body(
    struct input *input, const char *body, size_t length, struct err *err)
{
	struct span span = span_of(body, length);
	json_error_t bad;
	json_t *json;

	if (span.length == 0)
		return 0;
	/* jansson skips one behind a token, PostgreSQL would stop at it. */
	if (memchr(body, '\0', length) != NULL)
		return err_set(err, "the body is not valid JSON: it has a NUL "
				    "byte");
	/* Integers as reals: jansson refuses those over 64 bits otherwise.
	 * Its values are thrown away; the client's bytes travel on. */
	json = json_loadb(body, length,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY,
	    &bad);
	if (json == NULL)
		return input_bad_json(&bad, err);
	if (!json_is_object(json)) {
		json_decref(json);
		return err_set(err, "the body must be a JSON object");
	}
	json_decref(json);
	input->body = span;
	return 0;
}

static struct input_text *
input_add(struct input *input, enum input_layer layer, const char *value,
    size_t length)
{
	struct input_text *text;

	if (input->n_texts == input->room) {
		input->room = input->room ? input->room * 2 : 16;
		input->texts = mem_realloc(
		    input->texts, input->room * sizeof(*input->texts));
	}
	text = &input->texts[input->n_texts++];
	text->layer = layer;
	text->value = arena_strndup(input->arena, value, length);
	text->length = length;
	return text;
}

void
input_member(struct input *input, enum input_layer layer, const char *name,
    const char *value, size_t length)
{
	struct input_text *text = input_add(input, layer, value, length);

	text->name = arena_strdup(input->arena, name);
	text->name_length = strlen(name);
}

void
input_param(
    struct input *input, const char *name, const char *value, size_t length)
{
	input_member(input, INPUT_PATH, name, value, length);
}

struct input_form {
	struct input *input;
	enum input_layer layer;
};

static void
input_on_field(void *arg, const char *name, size_t name_length,
    const char *value, size_t value_length)
{
	struct input_form *form = arg;
	struct input_text *text;

	text = input_add(form->input, form->layer, value, value_length);
	text->name = arena_strndup(form->input->arena, name, name_length);
	text->name_length = name_length;
}

int
input_form(struct input *input, enum input_layer layer, const char *text,
    size_t length, struct err *err)
{
	struct input_form form = {input, layer};
	enum url_fault fault = url_form(text, length, input_on_field, &form);

	if (fault == URL_OK)
		return 0;
	return err_set(err, "the %s %s", layer == INPUT_FORM ? "body" : "query",
	    url_fault_text(fault));
}

static bool
input_named(const struct input_text *text, const char *name, size_t length)
{
	return text->name_length == length &&
	       memcmp(text->name, name, length) == 0;
}

const struct input_text *
input_find(const struct input *input, const char *name, size_t name_length,
    size_t *count)
{
	const struct input_text *found = NULL;

	*count = 0;
	for (size_t i = 0; i < input->n_texts; i++) {
		const struct input_text *text = &input->texts[i];

		if (!input_named(text, name, name_length))
			continue;
		if (found == NULL || found->layer != text->layer) {
			found = text;
			*count = 0;
		}
		++*count;
	}
	return found;
}

const struct input_text *
input_next(const struct input *input, const struct input_text *text)
{
	const struct input_text *end = input->texts + input->n_texts;
	const struct input_text *next;

	for (next = text + 1; next < end; next++)
		if (next->layer == text->layer &&
		    input_named(next, text->name, text->name_length))
			return next;
	return NULL;
}
