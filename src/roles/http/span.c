/*
 * The raw bytes of the values inside a JSON text. See span.h.
 */
#include "roles/http/span.h"

#include <assert.h>
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

static bool
span_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Behind the closing quote of the string that begins at p. */
static const char *
span_skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	assert(p < end);
	return p + 1;
}

/* Behind the value that begins at p. */
static const char *
span_skip_value(const char *p, const char *end)
{
	int depth = 0;

	do {
		if (*p == '"') {
			p = span_skip_string(p, end);
			continue;
		}
		if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			depth--;
		} else if (depth == 0) {
			while (p < end && strchr(",]} \t\r\n", *p) == NULL)
				p++;
			break;
		}
		p++;
	} while (depth > 0 && p < end);
	assert(p <= end);
	return p;
}

struct span
span_of(const char *text, size_t length)
{
	struct span span;

	while (length > 0 && span_is_space(text[length - 1]))
		length--;
	while (length > 0 && span_is_space(*text)) {
		text++;
		length--;
	}
	span.text = text;
	span.length = length;
	return span;
}

void
span_walk_start(struct span_walk *walk, struct span container)
{
	assert(container.length >= 2);
	walk->object = container.text[0] == '{';
	walk->at = container.text + 1;
	walk->end = container.text + container.length - 1;
}

static void
span_walk_skip(struct span_walk *walk, char separator)
{
	while (walk->at < walk->end &&
	       (span_is_space(*walk->at) || *walk->at == separator))
		walk->at++;
}

static struct span
span_walk_value(struct span_walk *walk)
{
	struct span span = {walk->at, 0};

	walk->at = span_skip_value(walk->at, walk->end);
	span.length = (size_t)(walk->at - span.text);
	return span;
}

bool
span_walk_next(struct span_walk *walk, struct span *key, struct span *value)
{
	span_walk_skip(walk, ',');
	if (walk->at >= walk->end)
		return false;
	key->text = walk->at;
	key->length = 0;
	if (walk->object) {
		*key = span_walk_value(walk);
		span_walk_skip(walk, ':');
	}
	*value = span_walk_value(walk);
	return true;
}

/* A string with escapes, decoded by jansson. */
static char *
span_unescape(struct span value, size_t *length)
{
	json_t *json =
	    json_loadb(value.text, value.length, JSON_DECODE_ANY, NULL);
	char *text;

	assert(json_is_string(json));
	*length = json_string_length(json);
	text = mem_strndup(json_string_value(json), *length);
	json_decref(json);
	return text;
}

const char *
span_text(struct span value, size_t *length, char **owned)
{
	assert(value.length >= 2 && value.text[0] == '"');
	*owned = NULL;
	if (memchr(value.text, '\\', value.length) != NULL)
		return *owned = span_unescape(value, length);
	*length = value.length - 2;
	return value.text + 1;
}

char *
span_string(struct span value, size_t *length)
{
	const char *text;
	char *owned;

	if (value.length < 2 || value.text[0] != '"')
		return NULL;
	text = span_text(value, length, &owned);
	return owned != NULL ? owned : mem_strndup(text, *length);
}

static size_t
span_digits(const char *text, size_t length)
{
	size_t n = 0;

	while (n < length && isdigit((unsigned char)text[n]))
		n++;
	return n;
}

/* Length of the integer at the start of a text; 0 if there is none. */
static size_t
span_integer(const char *text, size_t length)
{
	size_t sign = length > 0 && text[0] == '-';
	size_t n = span_digits(text + sign, length - sign);

	if (n == 0 || (n > 1 && text[sign] == '0'))
		return 0;
	return sign + n;
}

bool
span_is_integer(const char *text, size_t length)
{
	return length > 0 && span_integer(text, length) == length;
}

bool
span_is_number(const char *text, size_t length)
{
	size_t i = span_integer(text, length), n;

	if (i == 0)
		return false;
	if (i < length && text[i] == '.') {
		n = span_digits(text + i + 1, length - i - 1);
		if (n == 0)
			return false;
		i += 1 + n;
	}
	if (i < length && (text[i] == 'e' || text[i] == 'E')) {
		i++;
		if (i < length && (text[i] == '+' || text[i] == '-'))
			i++;
		n = span_digits(text + i, length - i);
		if (n == 0)
			return false;
		i += n;
	}
	return i == length;
}
