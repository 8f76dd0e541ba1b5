/*
 * Errors with words: what failed, on what, why, and what to do.
 *
 * A function that can fail takes `struct err *err` as its last parameter and
 * returns -1 or NULL after err_set; the caller that can act logs it, once.
 */
#ifndef CHIMP_BASE_ERR_H
#define CHIMP_BASE_ERR_H

struct err {
	char message[1024]; /* one line: what failed, on what, why */
	char hint[512];     /* what to do; empty if there is nothing to say */
};

/* Set the message, clear the hint; always returns -1. */
int err_set(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Add what to do; always returns -1. */
int err_hint(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Put "PREFIX: " before the message; always returns -1. */
int err_prefix(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
