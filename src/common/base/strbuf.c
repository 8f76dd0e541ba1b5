/*
 * A growing, always terminated buffer of bytes. See strbuf.h.
 */
#include "common/base/strbuf.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
strbuf_reserve(struct strbuf *b, size_t more)
{
	size_t need = b->length + more + 1;
	size_t room = b->room ? b->room : 64;

	if (need <= b->room)
		return;
	while (room < need)
		room *= 2;
	b->data = mem_realloc(b->data, room);
	b->room = room;
}

void
strbuf_append(struct strbuf *b, const void *data, size_t size_bytes)
{
	strbuf_reserve(b, size_bytes);
	if (size_bytes > 0)
		memcpy(b->data + b->length, data, size_bytes);
	b->length += size_bytes;
	b->data[b->length] = '\0';
}

void
strbuf_puts(struct strbuf *b, const char *s)
{
	strbuf_append(b, s, strlen(s));
}

void
strbuf_putc(struct strbuf *b, char c)
{
	strbuf_append(b, &c, 1);
}

void
strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	strbuf_reserve(b, (size_t)n);
	vsnprintf(b->data + b->length, (size_t)n + 1, fmt, again);
	va_end(again);
	b->length += (size_t)n;
}

void
strbuf_json(struct strbuf *b, const char *s, size_t length)
{
	strbuf_putc(b, '"');
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\') {
			strbuf_putc(b, '\\');
			strbuf_putc(b, (char)c);
		} else if (c < 0x20) {
			strbuf_printf(b, "\\u%04x", c);
		} else {
			strbuf_putc(b, (char)c);
		}
	}
	strbuf_putc(b, '"');
}

const char *
strbuf_str(const struct strbuf *b)
{
	return b->data != NULL ? b->data : "";
}

char *
strbuf_take(struct strbuf *b)
{
	char *s = b->data != NULL ? b->data : mem_strdup("");

	b->data = NULL;
	b->length = b->room = 0;
	return s;
}

void
strbuf_done(struct strbuf *b)
{
	mem_free(&b->data);
	b->length = b->room = 0;
}
