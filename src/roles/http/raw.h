/*
 * Raw bodies (body = "raw"): any bytes, of any media type, such as a webhook
 * whose signature is over them.
 */
#ifndef CHIMP_HTTP_RAW_H
#define CHIMP_HTTP_RAW_H

#include <stddef.h>

struct input;

/*
 * Add the members body, bodyEncoding and, if there is a type, contentType. They
 * win over all others. A body in UTF-8 without NUL is "text", itself; any
 * other is "base64" (RFC 4648, 4). Either gives the bytes back exactly. `type`
 * is NULL if the request has none.
 */
void raw_body(struct input *input, const char *body, size_t length,
    const char *type, size_t type_length);

#endif
