/*
 * The raw bytes of the values inside a JSON text, so that what a client wrote
 * reaches PostgreSQL as it was: 20-digit integers, decimals, escapes. Pure.
 *
 * Only for texts that jansson has accepted: nothing is checked here.
 */
#ifndef CHIMP_HTTP_SPAN_H
#define CHIMP_HTTP_SPAN_H

#include <stdbool.h>
#include <stddef.h>

/* A JSON value as it is written, without white space around it. */
struct span {
	const char *text;
	size_t length;
};

/* The first value in a text: white space around it goes. */
struct span span_of(const char *text, size_t length);

/* Goes over the members of an object or the elements of an array. */
struct span_walk {
	const char *at;
	const char *end;
	bool object;
};

void span_walk_start(struct span_walk *walk, struct span container);

/* False at the end. `key` is a string with its quotes; for an array empty. */
bool span_walk_next(
    struct span_walk *walk, struct span *key, struct span *value);

/* The text of a string value, decoded; the caller frees it. NULL if the value
 * is no string. */
char *span_string(struct span value, size_t *length);

/* The decoded text of a string value, not terminated: inside the span if it
 * has no escapes, else in *owned, which the caller frees. */
const char *span_text(struct span value, size_t *length, char **owned);

/* True for JSON's grammar of a number, and of one without fraction and
 * exponent. Any bytes may be asked about. */
bool span_is_number(const char *text, size_t length);
bool span_is_integer(const char *text, size_t length);

#endif
