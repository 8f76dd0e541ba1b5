/*
 * A handler's input, made of what a request brought. See args.h.
 */
#include "roles/http/args.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "roles/http/arg.h"
#include "roles/http/input.h"
#include "roles/http/span.h"

/* --- violations --- */

/* args.NAME, or args.NAME[INDEX] when index >= 0. */
static void
args_violate(struct args_violations *v, const char *name, size_t length,
    long index, const char *message)
{
	struct strbuf path = STRBUF_EMPTY;

	if (v->n == ARGS_VIOLATIONS_MAX)
		return;
	strbuf_puts(&path, "args.");
	strbuf_append(&path, name, length);
	if (index >= 0)
		strbuf_printf(&path, "[%ld]", index);
	v->items[v->n].path = arena_strdup(v->arena, strbuf_str(&path));
	v->items[v->n++].message = arena_strdup(v->arena, message);
	strbuf_done(&path);
}

static void
args_violate_why(struct args_violations *v, const struct arg *arg, long index,
    struct strbuf *why)
{
	args_violate(v, arg->name, arg->name_length, index, strbuf_str(why));
	strbuf_done(why);
}

static void
args_separate(struct strbuf *out)
{
	if (out->data[out->length - 1] != '{')
		strbuf_putc(out, ',');
}

static void
args_name(struct strbuf *out, const char *name, size_t length)
{
	args_separate(out);
	strbuf_json(out, name, length);
	strbuf_putc(out, ':');
}

/* --- with a signature --- */

static void
args_json_list(
    const struct arg *arg, struct span value, struct args_violations *v)
{
	struct strbuf why = STRBUF_EMPTY;
	struct span_walk walk;
	struct span key, element;
	long i = 0;

	if (value.text[0] != '[') {
		args_violate(
		    v, arg->name, arg->name_length, -1, "must be an array");
		return;
	}
	span_walk_start(&walk, value);
	for (; span_walk_next(&walk, &key, &element); i++) {
		if (!arg_check_json(arg, element, &why))
			args_violate_why(v, arg, i, &why);
		if (v->n == ARGS_VIOLATIONS_MAX)
			return;
	}
}

static void
args_take_json(const struct arg *arg, struct span value, struct strbuf *out,
    struct args_violations *v)
{
	struct strbuf why = STRBUF_EMPTY;

	if (value.text[0] == 'n' && arg->optional)
		; /* null */
	else if (arg->list)
		args_json_list(arg, value, v);
	else if (!arg_check_json(arg, value, &why))
		args_violate_why(v, arg, -1, &why);
	strbuf_append(out, value.text, value.length);
}

static void
args_text_list(const struct arg *arg, const struct input *input,
    const struct input_text *text, struct strbuf *out,
    struct args_violations *v)
{
	struct strbuf why = STRBUF_EMPTY;

	strbuf_putc(out, '[');
	for (long i = 0; text != NULL; i++) {
		if (i > 0)
			strbuf_putc(out, ',');
		if (!arg_check_text(arg, text->value, text->length, out, &why))
			args_violate_why(v, arg, i, &why);
		text = input_next(input, text);
	}
	strbuf_putc(out, ']');
}

static void
args_take_text(const struct arg *arg, const struct input *input,
    const struct input_text *text, size_t count, struct strbuf *out,
    struct args_violations *v)
{
	struct strbuf why = STRBUF_EMPTY;

	if (arg->list)
		args_text_list(arg, input, text, out, v);
	else if (count > 1)
		args_violate(v, arg->name, arg->name_length, -1,
		    "is given more than once");
	else if (!arg_check_text(arg, text->value, text->length, out, &why))
		args_violate_why(v, arg, -1, &why);
}

/* The argument of that name; NULL if there is none. */
static const struct arg *
args_find(const struct args *args, struct span key)
{
	const struct arg *found = NULL;
	char *owned;
	size_t n;
	const char *name = span_text(key, &n, &owned);

	for (size_t i = 0; i < args->n && found == NULL; i++)
		if (args->items[i].name_length == n &&
		    memcmp(args->items[i].name, name, n) == 0)
			found = &args->items[i];
	free(owned);
	return found;
}

/* Where the body has each argument; an empty span where it does not. */
static struct span *
args_in_body(const struct args *args, const struct input *input)
{
	struct span *found = mem_zalloc((args->n + 1) * sizeof(*found));
	struct span_walk walk;
	struct span key, value;
	const struct arg *arg;

	if (input->body.length == 0)
		return found;
	span_walk_start(&walk, input->body);
	while (span_walk_next(&walk, &key, &value)) {
		arg = args_find(args, key);
		if (arg != NULL)
			found[arg - args->items] = value;
	}
	return found;
}

static void
args_take(const struct arg *arg, const struct input *input, struct span body,
    struct strbuf *out, struct args_violations *v)
{
	const struct input_text *text;
	size_t count;

	text = input_find(input, arg->name, arg->name_length, &count);
	if (text == NULL && body.length == 0 && arg->fallback == NULL) {
		if (!arg->optional)
			args_violate(
			    v, arg->name, arg->name_length, -1, "is required");
		return;
	}
	args_name(out, arg->name, arg->name_length);
	if (text != NULL)
		args_take_text(arg, input, text, count, out, v);
	else if (body.length > 0)
		args_take_json(arg, body, out, v);
	else
		strbuf_puts(out, arg->fallback);
}

static void
args_apply_signature(const struct args *args, const struct input *input,
    struct strbuf *out, struct args_violations *v)
{
	struct span *body = args_in_body(args, input);

	for (size_t i = 0; i < args->n; i++)
		args_take(&args->items[i], input, body[i], out, v);
	free(body);
}

/* --- without one --- */

static bool
args_overridden(const struct input *input, struct span key)
{
	char *owned;
	size_t n, count;
	const char *name = span_text(key, &n, &owned);
	bool found = input_find(input, name, n, &count) != NULL;

	free(owned);
	return found;
}

static void
args_pass_body(const struct input *input, struct strbuf *out)
{
	struct span_walk walk;
	struct span key, value;

	span_walk_start(&walk, input->body);
	while (span_walk_next(&walk, &key, &value)) {
		if (args_overridden(input, key))
			continue;
		args_separate(out);
		strbuf_append(out, key.text, key.length);
		strbuf_putc(out, ':');
		strbuf_append(out, value.text, value.length);
	}
}

static void
args_pass_texts(
    const struct input *input, struct strbuf *out, struct args_violations *v)
{
	const struct input_text *text, *found;
	size_t count;

	for (size_t i = 0; i < input->n_texts; i++) {
		text = &input->texts[i];
		found =
		    input_find(input, text->name, text->name_length, &count);
		if (found != text)
			continue; /* a later layer has it, or it is told */
		if (count > 1)
			args_violate(v, text->name, text->name_length, -1,
			    "is given more than once");
		args_name(out, text->name, text->name_length);
		strbuf_json(out, text->value, text->length);
	}
}

bool
args_apply(const struct args *args, const struct input *input,
    struct strbuf *out, struct args_violations *violations)
{
	violations->n = 0;
	if (args == NULL && input->n_texts == 0 && input->body.length > 0) {
		strbuf_append(out, input->body.text, input->body.length);
		return true;
	}
	strbuf_putc(out, '{');
	if (args != NULL)
		args_apply_signature(args, input, out, violations);
	else if (input->body.length > 0)
		args_pass_body(input, out);
	if (args == NULL)
		args_pass_texts(input, out, violations);
	strbuf_putc(out, '}');
	return violations->n == 0;
}
