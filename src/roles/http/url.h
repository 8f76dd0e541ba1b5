/*
 * Pieces of request targets: paths, queries, percent-encoding (RFC 3986), and
 * the form encoding of queries (WHATWG URL, application/x-www-form-urlencoded).
 * Pure.
 */
#ifndef CHIMP_HTTP_URL_H
#define CHIMP_HTTP_URL_H

#include <stdbool.h>
#include <stddef.h>

/* Points into the target. */
struct url {
	const char *path; /* begins with '/' */
	size_t path_length;
	const char *query; /* behind the '?'; "" if there is none */
	size_t query_length;
};

/*
 * Split a request target: origin form ("/a?b") or absolute form
 * ("http://host/a?b", which RFC 9112 wants accepted). False for anything else.
 */
bool url_split(const char *target, size_t length, struct url *url);

enum url_fault {
	URL_OK,
	URL_BAD_PERCENT, /* "%" without two hex digits */
	URL_BAD_UTF8,    /* not UTF-8 once decoded */
	URL_NUL,         /* %00: PostgreSQL's text cannot hold it */
	URL_TOO_MANY     /* fields of a query */
};

/* What a fault is, in words. */
const char *url_fault_text(enum url_fault fault);

/*
 * Decode into `out`, which has room for length + 1 bytes; terminated. With
 * `form` a plus is a space.
 */
enum url_fault url_decode(
    const char *text, size_t length, bool form, char *out, size_t *out_length);

/* Called for each field of a form, decoded and terminated, valid only during
 * the call. */
typedef void url_field_fn(void *arg, const char *name, size_t name_length,
    const char *value, size_t value_length);

#define URL_FIELDS_MAX 256

/* "a=1&b&c=%20": each field in order. Stops at the first fault. */
enum url_fault url_form(
    const char *text, size_t length, url_field_fn *field, void *arg);

/* True for well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool url_utf8_valid(const char *text, size_t length);

#endif
