/*
 * W3C Trace Context, the pure part. See trace.h.
 */
#include "roles/http/trace.h"

#include <string.h>

enum {
	TRACE_SPAN_AT = TRACE_ID_AT + TRACE_ID_DIGITS + 1,
	TRACE_FLAGS_AT = TRACE_SPAN_AT + TRACE_SPAN_DIGITS + 1,
	TRACE_LENGTH = TRACE_PARENT_BYTES - 1,
	/* Section 3.3.1 of the standard. */
	TRACE_STATE_MEMBERS = 32,
	TRACE_STATE_KEY = 256,
	TRACE_STATE_VALUE = 256
};

static const char trace_digits[] = "0123456789abcdef";

/* --- traceparent --- */

static bool
trace_is_hex(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] == '\0' || strchr(trace_digits, text[i]) == NULL)
			return false;
	return true;
}

/* An id: digits, not all of them 0. */
static bool
trace_is_id(const char *text, size_t length)
{
	size_t zeros = 0;

	while (zeros < length && text[zeros] == '0')
		zeros++;
	return zeros < length && trace_is_hex(text, length);
}

bool
trace_parent_valid(const char *text, size_t length)
{
	if (length < TRACE_LENGTH || !trace_is_hex(text, 2) ||
	    memcmp(text, "ff", 2) == 0)
		return false;
	if (length > TRACE_LENGTH &&
	    (memcmp(text, "00", 2) == 0 || text[TRACE_LENGTH] != '-'))
		return false;
	return text[TRACE_ID_AT - 1] == '-' &&
	       trace_is_id(text + TRACE_ID_AT, TRACE_ID_DIGITS) &&
	       text[TRACE_SPAN_AT - 1] == '-' &&
	       trace_is_id(text + TRACE_SPAN_AT, TRACE_SPAN_DIGITS) &&
	       text[TRACE_FLAGS_AT - 1] == '-' &&
	       trace_is_hex(text + TRACE_FLAGS_AT, 2);
}

/* Random bytes as an id, which is not 0. */
static void
trace_id(char *out, const uint8_t *random, size_t digits)
{
	for (size_t i = 0; i < digits / 2; i++) {
		out[2 * i] = trace_digits[random[i] >> 4];
		out[2 * i + 1] = trace_digits[random[i] & 0xf];
	}
	if (!trace_is_id(out, digits))
		out[digits - 1] = '1';
}

void
trace_parent_make(char parent[TRACE_PARENT_BYTES], const char *caller,
    const uint8_t trace_random[TRACE_ID_DIGITS / 2],
    const uint8_t span_random[TRACE_SPAN_DIGITS / 2])
{
	bool sampled = false;

	memcpy(parent, "00-", TRACE_ID_AT);
	if (caller == NULL) {
		trace_id(parent + TRACE_ID_AT, trace_random, TRACE_ID_DIGITS);
	} else {
		const char *flags = caller + TRACE_FLAGS_AT;

		memcpy(parent + TRACE_ID_AT, caller + TRACE_ID_AT,
		    TRACE_ID_DIGITS);
		sampled = (strchr(trace_digits, flags[1]) - trace_digits) & 1;
	}
	parent[TRACE_SPAN_AT - 1] = '-';
	trace_id(parent + TRACE_SPAN_AT, span_random, TRACE_SPAN_DIGITS);
	memcpy(parent + TRACE_FLAGS_AT - 1, sampled ? "-01" : "-00", 4);
}

/* --- tracestate --- */

static bool
trace_is_key_begin(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
trace_is_key(const char *key, size_t length)
{
	if (length == 0 || length > TRACE_STATE_KEY ||
	    !trace_is_key_begin(key[0]))
		return false;
	for (size_t i = 1; i < length; i++)
		if (!trace_is_key_begin(key[i]) &&
		    (key[i] == '\0' || strchr("_-*/@", key[i]) == NULL))
			return false;
	return true;
}

static bool
trace_is_value(const char *value, size_t length)
{
	if (length == 0 || length > TRACE_STATE_VALUE ||
	    value[length - 1] == ' ')
		return false;
	for (size_t i = 0; i < length; i++)
		if (value[i] < ' ' || value[i] > '~' || value[i] == '=')
			return false;
	return true;
}

struct trace_member {
	const char *key;
	size_t length; /* of the key */
};

static bool
trace_member_parse(const char *text, size_t length, struct trace_member *member)
{
	const char *equals = memchr(text, '=', length);

	if (equals == NULL)
		return false;
	member->key = text;
	member->length = (size_t)(equals - text);
	return trace_is_key(text, member->length) &&
	       trace_is_value(equals + 1, length - member->length - 1);
}

static bool
trace_seen(const struct trace_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (members[i].length == members[n].length &&
		    memcmp(members[i].key, members[n].key, members[n].length) ==
			0)
			return true;
	return false;
}

/* Take the white space around a member off. */
static void
trace_trim(const char **text, size_t *length)
{
	while (*length > 0 && (**text == ' ' || **text == '\t')) {
		(*text)++;
		(*length)--;
	}
	while (*length > 0 &&
	       ((*text)[*length - 1] == ' ' || (*text)[*length - 1] == '\t'))
		(*length)--;
}

bool
trace_state_valid(const char *text, size_t length)
{
	struct trace_member members[TRACE_STATE_MEMBERS];
	const char *end = text + length;
	size_t n = 0;

	for (;;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *member = text;
		size_t size = (size_t)((comma != NULL ? comma : end) - text);

		trace_trim(&member, &size);
		/* Empty ones are allowed. */
		if (size > 0 &&
		    (n == TRACE_STATE_MEMBERS ||
			!trace_member_parse(member, size, &members[n]) ||
			trace_seen(members, n)))
			return false;
		n += size > 0;
		if (comma == NULL)
			return n > 0;
		text = comma + 1;
	}
}
