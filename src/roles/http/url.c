/*
 * Pieces of request targets. See url.h.
 */
#include "roles/http/url.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"

bool
url_split(const char *target, size_t length, struct url *url)
{
	const char *end = target + length;
	const char *mark;

	if (length > 0 && *target != '/') {
		size_t skip = 0;

		if (length > 7 && strncasecmp(target, "http://", 7) == 0)
			skip = 7;
		else if (length > 8 && strncasecmp(target, "https://", 8) == 0)
			skip = 8;
		if (skip == 0)
			return false;
		target = memchr(target + skip, '/', length - skip);
	}
	if (target == NULL || target == end)
		return false;
	mark = memchr(target, '?', (size_t)(end - target));
	url->path = target;
	url->path_length = (size_t)((mark != NULL ? mark : end) - target);
	url->query = mark != NULL ? mark + 1 : "";
	url->query_length = mark != NULL ? (size_t)(end - mark - 1) : 0;
	return true;
}

const char *
url_fault_text(enum url_fault fault)
{
	switch (fault) {
	case URL_OK:
		return "valid";
	case URL_BAD_PERCENT:
		return "has a \"%\" without two hexadecimal digits";
	case URL_BAD_UTF8:
		return "is not valid UTF-8";
	case URL_NUL:
		return "has a NUL byte (%00)";
	case URL_TOO_MANY:
		return "has too many fields";
	}
	abort();
}

static int
url_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

enum url_fault
url_decode(
    const char *text, size_t length, bool form, char *out, size_t *out_length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c == '+' && form) {
			c = ' ';
		} else if (c == '%') {
			int hi = length - i > 2 ? url_hex(text[i + 1]) : -1;
			int lo = hi >= 0 ? url_hex(text[i + 2]) : -1;

			if (lo < 0)
				return URL_BAD_PERCENT;
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		if (c == '\0')
			return URL_NUL;
		out[n++] = c;
	}
	out[n] = '\0';
	*out_length = n;
	return url_utf8_valid(out, n) ? URL_OK : URL_BAD_UTF8;
}

static enum url_fault
url_field(
    const char *text, size_t length, char *buf, url_field_fn *field, void *arg)
{
	const char *eq = memchr(text, '=', length);
	size_t name_bytes = eq != NULL ? (size_t)(eq - text) : length;
	char *value = buf + name_bytes + 1;
	size_t name_length, value_length = 0;
	enum url_fault fault;

	fault = url_decode(text, name_bytes, true, buf, &name_length);
	*value = '\0';
	if (fault == URL_OK && eq != NULL)
		fault = url_decode(eq + 1, length - name_bytes - 1, true, value,
		    &value_length);
	if (fault == URL_OK)
		field(arg, buf, name_length, value, value_length);
	return fault;
}

enum url_fault
url_form(const char *text, size_t length, url_field_fn *field, void *arg)
{
	const char *end = text + length;
	char *buf = mem_alloc(length + 2);
	enum url_fault fault = URL_OK;
	int n = 0;

	while (text < end && fault == URL_OK) {
		const char *amp = memchr(text, '&', (size_t)(end - text));
		const char *stop = amp != NULL ? amp : end;

		if (stop > text && ++n > URL_FIELDS_MAX)
			fault = URL_TOO_MANY;
		else if (stop > text)
			fault = url_field(
			    text, (size_t)(stop - text), buf, field, arg);
		text = amp != NULL ? amp + 1 : end;
	}
	free(buf);
	return fault;
}

/* Bytes of the sequence that begins at `p`; 0 if it is malformed. The ranges
 * are table 3-7 of the Unicode Standard. */
static size_t
url_utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (left < n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

bool
url_utf8_valid(const char *text, size_t length)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t i = 0;

	while (i < length) {
		size_t n = url_utf8_sequence(p + i, length - i);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}
