/*
 * One member of a signature, and the check of one value against it. Pure; for
 * signature.c, which makes them, and args.c.
 */
#ifndef CHIMP_HTTP_ARG_H
#define CHIMP_HTTP_ARG_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"
#include "roles/http/span.h"

enum arg_type {
	ARG_STRING,
	ARG_INTEGER,
	ARG_NUMBER,
	ARG_BOOLEAN,
	ARG_OBJECT,
	ARG_ARRAY,
	ARG_ANY,
	ARG_DATE_TIME,
	ARG_UUID,
	ARG_ENUM
};

/* A string with a pattern and no (min..max) may have so many bytes: a regular
 * expression over megabytes would hold up the loop. */
#define ARG_PATTERN_BYTES_MAX 8192

struct arg {
	char *name;
	size_t name_length;
	enum arg_type type;
	bool list;     /* [] */
	bool optional; /* ? */
	bool has_min;
	bool has_max;
	int64_t min; /* strings, arrays, integers */
	int64_t max;
	double low; /* numbers */
	double high;
	char **choices; /* of an enum */
	size_t n_choices;
	char *fallback; /* the default as JSON; NULL if none */
	char *pattern;  /* NULL if none */
	regex_t *regex; /* the pattern compiled; NULL if none */
};

struct args {
	struct arg *items;
	size_t n;
};

/* Check one value (an element, when the argument is a list). False with what
 * is wrong, as "must be an integer", in `why`. A text that is well becomes
 * JSON at the end of `out`. */
bool arg_check_json(
    const struct arg *arg, struct span value, struct strbuf *why);
bool arg_check_text(const struct arg *arg, const char *text, size_t length,
    struct strbuf *out, struct strbuf *why);

/* "an integer", for messages. */
const char *arg_type_noun(enum arg_type type);

#endif
