/*
 * Errors with words. See err.h.
 */
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
err_set(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	err->hint[0] = '\0';
	return -1;
}

int
err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return -1;
}

int
err_prefix(struct err *err, const char *fmt, ...)
{
	char prefix[sizeof(err->message)];
	char rest[sizeof(err->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	memcpy(rest, err->message, sizeof(rest));
	/* Cut off at the end on purpose: the start says what failed. */
	if (snprintf(err->message, sizeof(err->message), "%s: %s", prefix,
		rest) >= (int)sizeof(err->message))
		err->message[sizeof(err->message) - 1] = '\0';
	return -1;
}
