/*
 * A growing, always terminated buffer of bytes.
 */
#ifndef CHIMP_BASE_STRBUF_H
#define CHIMP_BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>

struct strbuf {
	char *data;    /* NULL while empty; use strbuf_str */
	size_t length; /* without the terminator */
	size_t room;
};

#define STRBUF_EMPTY       \
	{                  \
		NULL, 0, 0 \
	}

void strbuf_append(struct strbuf *b, const void *data, size_t size_bytes);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_putc(struct strbuf *b, char c);
void strbuf_printf(struct strbuf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Append `s` as a JSON string with its quotes; `s` must be UTF-8. */
void strbuf_json(struct strbuf *b, const char *s, size_t length);

/* The text so far, "" if empty; valid until the next call. */
const char *strbuf_str(const struct strbuf *b);

/* Hand the text to the caller, who frees it; the buffer is empty again. */
char *strbuf_take(struct strbuf *b);

void strbuf_done(struct strbuf *b);

#endif
