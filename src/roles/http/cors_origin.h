/*
 * Which origins are listed. Pure.
 */
#ifndef CHIMP_HTTP_CORS_ORIGIN_H
#define CHIMP_HTTP_CORS_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

struct conf_cors;

/* Whether the list has the origin, byte for byte, or is "*". */
bool cors_allows(
    const struct conf_cors *cors, const char *origin, size_t length);

#endif
