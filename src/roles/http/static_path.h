/*
 * From the path of a request to the name of a file in a folder. Pure; static.c
 * opens it and sees to it that links do not lead out.
 */
#ifndef CHIMP_HTTP_STATIC_PATH_H
#define CHIMP_HTTP_STATIC_PATH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Decode into `out`, which has room for length + 1 bytes: "a/b.css" of
 * "/a/b.css", "a/" of "/a/", "" of "/". False for what names no file: an empty
 * segment, an encoded slash, a segment that begins with a dot ("..", ".git";
 * but /.well-known at the beginning is for everybody, RFC 8615), a fault of
 * the encoding.
 */
bool static_path(const char *path, size_t length, char *out);

/*
 * What is behind the prefix ("/" or "/a/b"), relative and without a slash in
 * front; NULL if the path, as static_path made it, is not below it.
 */
const char *static_behind(const char *prefix, const char *path);

/* Whether a value of Accept names text/html: a browser goes to a page. What a
 * page loads itself does not name it. */
bool static_wants_page(const char *accept, size_t length);

#endif
