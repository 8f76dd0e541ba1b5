/*
 * Entity tags (RFC 9110, 8.8.3) and what a client's If-None-Match says about
 * them. Pure.
 */
#ifndef CHIMP_HTTP_ETAG_H
#define CHIMP_HTTP_ETAG_H

#include <stdbool.h>
#include <stddef.h>

enum { ETAG_BYTES = 37 }; /* of an etag_of, with its terminator */

/*
 * The tag of a body: 128 bits of its SHA-256. Weak, because the bytes may
 * travel compressed: W/"0123456789abcdef0123456789abcdef".
 */
void etag_of(const void *body, size_t length, char out[ETAG_BYTES]);

/*
 * Whether a value of If-None-Match is "*" or names `etag`, by the weak
 * comparison (RFC 9110, 8.8.3.2). What is malformed ends the list.
 */
bool etag_listed(
    const char *list, size_t length, const char *etag, size_t etag_length);

#endif
