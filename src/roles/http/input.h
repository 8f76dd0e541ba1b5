/*
 * What a request brings for its handler: the members of the body, then of the
 * query, then of the path, the later winning. Pure; args.h makes the handler's
 * input of it.
 */
#ifndef CHIMP_HTTP_INPUT_H
#define CHIMP_HTTP_INPUT_H

#include <stddef.h>

#include "roles/http/span.h"

struct err;
struct arena;

/* Where a text came from; a later one wins. */
enum input_layer { INPUT_FORM, INPUT_QUERY, INPUT_PATH, INPUT_RAW };

/* A member that is text and is converted to its type. */
struct input_text {
	const char *name;
	size_t name_length;
	const char *value; /* decoded, UTF-8, without NUL; terminated */
	size_t length;
	enum input_layer layer;
};

struct input {
	struct arena *arena;      /* owns the copied texts; not the body */
	struct span body;         /* a JSON object that is valid, or empty */
	struct input_text *texts; /* in order of arrival */
	size_t n_texts;
	size_t room;
};

void input_init(struct input *input);
void input_done(struct input *input);

/*
 * The body must be a JSON object (empty or white space counts as none), in
 * UTF-8, without \u0000, without duplicate members at any depth, not nested
 * deeper than jansson's 2048. The bytes must outlive the input. -1 with what
 * is wrong and where, for the client.
 */
int input_body(
    struct input *input, const char *body, size_t length, struct err *err);

/* application/x-www-form-urlencoded: a query or a body. -1 as above. */
int input_form(struct input *input, enum input_layer layer, const char *text,
    size_t length, struct err *err);

/* A parameter of the path, decoded; the value is copied. */
void input_param(
    struct input *input, const char *name, const char *value, size_t length);

/* Any other text of that name; both are copied. */
void input_member(struct input *input, enum input_layer layer, const char *name,
    const char *value, size_t length);

/* The last layer's text of that name; *count is how many that layer has, and
 * it is the first of them. NULL if there is none. */
const struct input_text *input_find(const struct input *input, const char *name,
    size_t name_length, size_t *count);

/* The next text of the same name in the same layer; NULL at the end. */
const struct input_text *input_next(
    const struct input *input, const struct input_text *text);

#endif
