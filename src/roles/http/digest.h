/*
 * SHA-256 of several texts as a bytea that PostgreSQL reads: the keys of rates
 * and of kept answers. What they are made of (API keys, Authorization) stays
 * out of tables and of the server's log of statements.
 */
#ifndef CHIMP_HTTP_DIGEST_H
#define CHIMP_HTTP_DIGEST_H

#include <stddef.h>

#define DIGEST_TEXT_BYTES 67 /* "\x", 64 digits and the terminator */

struct digest_part {
	const char *text; /* NULL: absent, which is not the same as empty */
	size_t length;
};

/* Parts count with their lengths: ("a", "b") is not ("ab", ""). */
void digest_text(
    const struct digest_part *parts, size_t n, char out[DIGEST_TEXT_BYTES]);

#endif
