/*
 * Errors on stderr. See say.h.
 */
#include "chimpctl/say.h"

#include "chimpctl/command.h"
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line per line of text, each with its label, so that grep finds all. */
static void
say_lines(const char *label, const char *text)
{
	if (text == NULL)
		return;
	/* libpq indents what continues a line: not here. */
	while (*(text += strspn(text, "\n\t ")) != '\0') {
		size_t n = strcspn(text, "\n");

		fprintf(stderr, "chimpctl: %s: %.*s\n", label, (int)n, text);
		text += n;
	}
}

void
say_error(const char *message, const char *detail, const char *hint)
{
	fflush(stdout);
	say_lines("error", message);
	say_lines("detail", detail);
	say_lines("hint", hint);
}

void
say_err(const struct err *err)
{
	say_error(err->message, NULL, err->hint);
}

int
say_usage(const char *hint, const char *fmt, ...)
{
	char message[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	say_error(message, NULL, hint);
	return CTL_USAGE;
}
