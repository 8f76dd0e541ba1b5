/*
 * Whether a client came over TLS, by what proxies say of it
 * (X-Forwarded-Proto; proto= of Forwarded, RFC 7239). Pure.
 */
#ifndef CHIMP_HTTP_SCHEME_H
#define CHIMP_HTTP_SCHEME_H

#include <stddef.h>
#include <stdint.h>

enum scheme {
	SCHEME_UNKNOWN, /* nothing is said, or something else */
	SCHEME_HTTP,
	SCHEME_HTTPS
};

enum scheme scheme_parse(const char *text, size_t length);

/* The elements of X-Forwarded-Proto; begins as {0}. */
struct scheme_list {
	uint64_t last; /* two bits for each, the nearest lowest */
	int n;
};

/* A header's value; call it for each of them in their order. */
void scheme_list_add(
    struct scheme_list *list, const char *value, size_t length);

/*
 * What the proxy said that wrote the address of the client, which has `behind`
 * more of them behind it. Proxies that pass on what the first one said make a
 * shorter list: then it is the farthest.
 */
enum scheme scheme_list_at(const struct scheme_list *list, int behind);

#endif
