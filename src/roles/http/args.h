/*
 * Signatures of actions: what members a handler's input has, and of which
 * types. Pure.
 *
 *	name: type, ...
 *	type = string | integer | number | boolean | object | array | any |
 *	       date-time | uuid | enum(a|b)
 *	then, each optional and in this order:
 *	(min..max)  length of a string in characters, number of items of an
 *	            array, range of an integer or a number; either end may be
 *	            left out
 *	[]          an array of such values
 *	?           may be missing or null
 *	= default   JSON, or a bare word for a string
 *	/pattern/   POSIX extended regular expression, of strings
 *
 * Texts (query, path, forms) are converted to the type; JSON values stay the
 * client's own bytes.
 */
#ifndef CHIMP_HTTP_ARGS_H
#define CHIMP_HTTP_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/strbuf.h"

struct args;
struct arena;
struct err;
struct input;

#define ARGS_VIOLATIONS_MAX 20 /* more are not told */

struct args_violations {
	struct arena *arena; /* for the texts; the caller's */
	size_t n;
	struct {
		char *path;    /* "args.tags[2]" */
		char *message; /* "must be an integer" */
	} items[ARGS_VIOLATIONS_MAX];
};

/* NULL with an error that quotes the signature and says where. */
struct args *args_parse(const char *signature, struct err *err);
void args_free(struct args **args);

/* 0 if a signature is well-formed ("" is), else -1 with the error. */
int args_check(const char *signature, struct err *err);

/*
 * Append the handler's input, a JSON object, to `out`. With `args` NULL
 * everything passes, texts as strings. False when there are violations; `out`
 * is of no use then.
 */
bool args_apply(const struct args *args, const struct input *input,
    struct strbuf *out, struct args_violations *violations);

#endif
