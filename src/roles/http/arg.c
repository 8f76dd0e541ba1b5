/*
 * The check of one value against its type. See arg.h.
 */
#include "roles/http/arg.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *
arg_type_noun(enum arg_type type)
{
	switch (type) {
	case ARG_STRING:
		return "a string";
	case ARG_INTEGER:
		return "an integer";
	case ARG_NUMBER:
		return "a number";
	case ARG_BOOLEAN:
		return "a boolean";
	case ARG_OBJECT:
		return "an object";
	case ARG_ARRAY:
		return "an array";
	case ARG_ANY:
		return "a value";
	case ARG_DATE_TIME:
		return "a date and time as in 2026-01-31T09:30:00Z";
	case ARG_UUID:
		return "a UUID";
	case ARG_ENUM:
		return "one of its values";
	}
	abort();
}

static bool
arg_wrong_type(const struct arg *arg, struct strbuf *why)
{
	if (arg->type != ARG_ENUM) {
		strbuf_printf(why, "must be %s", arg_type_noun(arg->type));
		return false;
	}
	strbuf_puts(why, "must be one of ");
	for (size_t i = 0; i < arg->n_choices; i++)
		strbuf_printf(why, "%s%s", i > 0 ? ", " : "", arg->choices[i]);
	return false;
}

/* --- ranges --- */

/* "must have from 1 to 20 characters", "must be at least 1". */
static bool
arg_out_of_range(const struct arg *arg, const char *verb, const char *unit,
    struct strbuf *why)
{
	bool real = arg->type == ARG_NUMBER;
	struct strbuf min = STRBUF_EMPTY, max = STRBUF_EMPTY;

	if (real) {
		strbuf_printf(&min, "%.15g", arg->low);
		strbuf_printf(&max, "%.15g", arg->high);
	} else {
		strbuf_printf(&min, "%lld", (long long)arg->min);
		strbuf_printf(&max, "%lld", (long long)arg->max);
	}
	if (arg->has_min && arg->has_max)
		strbuf_printf(why, "must %s from %s to %s%s", verb,
		    strbuf_str(&min), strbuf_str(&max), unit);
	else if (arg->has_min)
		strbuf_printf(
		    why, "must %s at least %s%s", verb, strbuf_str(&min), unit);
	else
		strbuf_printf(
		    why, "must %s at most %s%s", verb, strbuf_str(&max), unit);
	strbuf_done(&min);
	strbuf_done(&max);
	return false;
}

static bool
arg_in_range(const struct arg *arg, int64_t n)
{
	return (!arg->has_min || n >= arg->min) &&
	       (!arg->has_max || n <= arg->max);
}

/* Within 64 bits; -1 and 1: below and above. */
static int
arg_to_int64(const char *text, size_t length, int64_t *n)
{
	char digits[24];

	errno = ERANGE;
	if (length < sizeof(digits)) {
		memcpy(digits, text, length);
		digits[length] = '\0';
		errno = 0;
		*n = strtoll(digits, NULL, 10);
	}
	if (errno == 0)
		return 0;
	return text[0] == '-' ? -1 : 1;
}

/* A range says that it is a number of 64 bits; without one any number of
 * digits is an integer. */
static bool
arg_check_integer(
    const struct arg *arg, const char *text, size_t length, struct strbuf *why)
{
	int64_t n = 0;
	int beyond;

	if (!span_is_integer(text, length))
		return arg_wrong_type(arg, why);
	if (!arg->has_min && !arg->has_max)
		return true;
	beyond = arg_to_int64(text, length, &n);
	if (beyond == 0 && arg_in_range(arg, n))
		return true;
	if (beyond > 0 && !arg->has_max)
		strbuf_printf(
		    why, "must be at most %lld", (long long)INT64_MAX);
	else if (beyond < 0 && !arg->has_min)
		strbuf_printf(
		    why, "must be at least %lld", (long long)INT64_MIN);
	else
		arg_out_of_range(arg, "be", "", why);
	return false;
}

static bool
arg_check_number(
    const struct arg *arg, const char *text, size_t length, struct strbuf *why)
{
	char *copy;
	double n;

	if (!span_is_number(text, length))
		return arg_wrong_type(arg, why);
	copy = strndup(text, length);
	if (copy == NULL)
		abort();
	n = strtod(copy, NULL);
	free(copy);
	if ((!arg->has_min || n >= arg->low) &&
	    (!arg->has_max || n <= arg->high))
		return true;
	return arg_out_of_range(arg, "be", "", why);
}

/* --- strings --- */

static int64_t
arg_characters(const char *text, size_t length)
{
	int64_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

static bool
arg_check_plain(
    const struct arg *arg, const char *text, size_t length, struct strbuf *why)
{
	if (!arg_in_range(arg, arg_characters(text, length)))
		return arg_out_of_range(arg, "have", " characters", why);
	if (arg->pattern == NULL)
		return true;
	if (!arg->has_max && length > ARG_PATTERN_BYTES_MAX) {
		strbuf_printf(
		    why, "must have at most %d bytes", ARG_PATTERN_BYTES_MAX);
		return false;
	}
	if (regexec(arg->regex, text, 0, NULL, 0) == 0)
		return true;
	strbuf_printf(why, "must match /%s/", arg->pattern);
	return false;
}

/* `shape` with 0 for a digit and x for a hex digit; other characters stand
 * for themselves, letters in either case. */
static bool
arg_shape(const char *text, size_t length, const char *shape)
{
	if (length < strlen(shape))
		return false;
	for (size_t i = 0; shape[i] != '\0'; i++) {
		unsigned char c = (unsigned char)text[i];

		if (shape[i] == '0'   ? !isdigit(c)
		    : shape[i] == 'x' ? !isxdigit(c)
				      : toupper(c) != shape[i])
			return false;
	}
	return true;
}

static bool
arg_is_uuid(const char *text, size_t length)
{
	const char *shape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	return length == strlen(shape) && arg_shape(text, length, shape);
}

static int
arg_two(const char *text)
{
	return (text[0] - '0') * 10 + text[1] - '0';
}

static bool
arg_is_date(const char *text)
{
	static const int days[] = {
	    31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = arg_two(text) * 100 + arg_two(text + 2);
	int month = arg_two(text + 5), day = arg_two(text + 8);
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	if (month < 1 || month > 12 || day < 1 || day > days[month - 1])
		return false;
	return month != 2 || day < 29 || leap;
}

/* RFC 3339, section 5.6; the second 60 is a leap second. */
static bool
arg_is_date_time(const char *text, size_t length)
{
	size_t i = 19;

	if (!arg_shape(text, length, "0000-00-00T00:00:00") ||
	    !arg_is_date(text) || arg_two(text + 11) > 23 ||
	    arg_two(text + 14) > 59 || arg_two(text + 17) > 60)
		return false;
	if (i < length && text[i] == '.') {
		size_t from = ++i;

		while (i < length && isdigit((unsigned char)text[i]))
			i++;
		if (i == from)
			return false;
	}
	if (length - i == 1)
		return text[i] == 'Z' || text[i] == 'z';
	return length - i == 6 && (text[i] == '+' || text[i] == '-') &&
	       arg_shape(text + i + 1, 5, "00:00") &&
	       arg_two(text + i + 1) < 24 && arg_two(text + i + 4) < 60;
}

static bool
arg_is_choice(const struct arg *arg, const char *text, size_t length)
{
	for (size_t i = 0; i < arg->n_choices; i++)
		if (strlen(arg->choices[i]) == length &&
		    memcmp(arg->choices[i], text, length) == 0)
			return true;
	return false;
}

/* A decoded and terminated string. */
static bool
arg_check_string(
    const struct arg *arg, const char *text, size_t length, struct strbuf *why)
{
	bool well = false;

	if (arg->type == ARG_STRING)
		return arg_check_plain(arg, text, length, why);
	if (arg->type == ARG_DATE_TIME)
		well = arg_is_date_time(text, length);
	else if (arg->type == ARG_UUID)
		well = arg_is_uuid(text, length);
	else if (arg->type == ARG_ENUM)
		well = arg_is_choice(arg, text, length);
	return well || arg_wrong_type(arg, why);
}

/* --- JSON --- */

static bool
arg_check_array(const struct arg *arg, struct span value, struct strbuf *why)
{
	struct span_walk walk;
	struct span key, element;
	int64_t n = 0;

	span_walk_start(&walk, value);
	while (span_walk_next(&walk, &key, &element))
		n++;
	return arg_in_range(arg, n) ||
	       arg_out_of_range(arg, "have", " items", why);
}

static bool
arg_check_json_string(
    const struct arg *arg, struct span value, struct strbuf *why)
{
	size_t length;
	char *text = span_string(value, &length);
	bool well;

	if (text == NULL)
		return arg_wrong_type(arg, why);
	well = arg_check_string(arg, text, length, why);
	free(text);
	return well;
}

bool
arg_check_json(const struct arg *arg, struct span value, struct strbuf *why)
{
	char first = value.text[0];

	switch (arg->type) {
	case ARG_ANY:
		return true;
	case ARG_OBJECT:
		return first == '{' || arg_wrong_type(arg, why);
	case ARG_ARRAY:
		return first == '[' ? arg_check_array(arg, value, why)
				    : arg_wrong_type(arg, why);
	case ARG_BOOLEAN:
		return first == 't' || first == 'f' || arg_wrong_type(arg, why);
	case ARG_INTEGER:
		return arg_check_integer(arg, value.text, value.length, why);
	case ARG_NUMBER:
		return arg_check_number(arg, value.text, value.length, why);
	case ARG_STRING:
	case ARG_DATE_TIME:
	case ARG_UUID:
	case ARG_ENUM:
		return arg_check_json_string(arg, value, why);
	}
	abort();
}

/* --- texts --- */

bool
arg_check_text(const struct arg *arg, const char *text, size_t length,
    struct strbuf *out, struct strbuf *why)
{
	bool bare = false, well = true;

	switch (arg->type) {
	case ARG_OBJECT:
	case ARG_ARRAY:
		strbuf_printf(why,
		    "must be %s, which only a JSON body can "
		    "hold",
		    arg_type_noun(arg->type));
		return false;
	case ARG_BOOLEAN:
		bare = true;
		well = strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
		if (!well)
			arg_wrong_type(arg, why);
		break;
	case ARG_INTEGER:
		bare = true;
		well = arg_check_integer(arg, text, length, why);
		break;
	case ARG_NUMBER:
		bare = true;
		well = arg_check_number(arg, text, length, why);
		break;
	case ARG_ANY:
		break;
	case ARG_STRING:
	case ARG_DATE_TIME:
	case ARG_UUID:
	case ARG_ENUM:
		well = arg_check_string(arg, text, length, why);
		break;
	}
	if (well && bare)
		strbuf_append(out, text, length);
	else if (well)
		strbuf_json(out, text, length);
	return well;
}
