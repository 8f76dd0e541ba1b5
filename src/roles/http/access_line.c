/*
 * A line of the access log. See access_line.h.
 */
#include "roles/http/access_line.h"

#include <stdbool.h>
#include <string.h>

#include "roles/http/trace.h"
#include "roles/http/url.h"

enum {
	ACCESS_PATH_MAX = 1500, /* as it is written */
	ACCESS_WORD_MAX = 64,   /* a method; more is no method */
	ACCESS_NAME_MAX = 500   /* route, agent, referer */
};

static const char access_digits[] = "0123456789abcdef";

/* --- numbers: printf would be most of what a line costs --- */

static void
access_number(struct strbuf *out, uint64_t value)
{
	char digits[24];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	strbuf_append(out, digits + n, sizeof(digits) - n);
}

/* Milliseconds with three decimals. */
static void
access_ms(struct strbuf *out, int64_t us)
{
	char decimals[4] = {'.', (char)('0' + us / 100 % 10),
	    (char)('0' + us / 10 % 10), (char)('0' + us % 10)};

	access_number(out, (uint64_t)us / 1000);
	strbuf_append(out, decimals, sizeof(decimals));
}

/* --- bytes of clients --- */

static struct access_text
access_string(const char *s)
{
	return (struct access_text){s, s != NULL ? strlen(s) : 0};
}

/* One byte that does not stand for itself; the length of `escape`. */
static size_t
access_escape(unsigned char c, bool json, char escape[6])
{
	if (c == '"' || c == '\\') {
		escape[0] = '\\';
		escape[1] = (char)c;
		return 2;
	}
	memcpy(escape, json ? "\\u00" : "\\x", json ? 4 : 2);
	escape += json ? 4 : 2;
	escape[0] = access_digits[c >> 4];
	escape[1] = access_digits[c & 0xf];
	return json ? 6 : 4;
}

static bool
access_is_plain(unsigned char c, bool ascii)
{
	return c >= ' ' && c != '"' && c != '\\' && c != 0x7f &&
	       (c < 0x80 || !ascii);
}

/* Cut off the beginning of a character that has no end. */
static size_t
access_whole(const char *text, size_t length)
{
	while (length > 0 && (text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

/* As it stands between quotes, up to `max` bytes. */
static void
access_escaped(struct strbuf *out, struct access_text t, bool json, size_t max)
{
	bool ascii = !json || !url_utf8_valid(t.text, t.length);
	const char *p = t.text, *end = t.text + t.length;

	while (p < end && max > 0) {
		const char *from = p;
		char escape[6];
		size_t n;

		while (p < end && (size_t)(p - from) < max &&
		       access_is_plain((unsigned char)*p, ascii))
			p++;
		n = (size_t)(p - from);
		if (p < end && !ascii)
			n = access_whole(from, n);
		strbuf_append(out, from, n);
		max -= (size_t)(p - from);
		if (p == end || max == 0)
			break;
		n = access_escape((unsigned char)*p++, json, escape);
		if (n > max)
			break;
		strbuf_append(out, escape, n);
		max -= n;
	}
}

static void
access_quote(struct strbuf *out, struct access_text t, bool json, size_t max)
{
	strbuf_putc(out, '"');
	access_escaped(out, t, json, max);
	strbuf_putc(out, '"');
}

/* --- text --- */

static void
access_text_ms(struct strbuf *out, const char *name, int64_t us)
{
	if (us < 0)
		return;
	strbuf_puts(out, name);
	access_ms(out, us);
}

static void
access_text_quoted(struct strbuf *out, const char *name, struct access_text t)
{
	if (t.text == NULL)
		return;
	strbuf_puts(out, name);
	access_quote(out, t, false, ACCESS_NAME_MAX);
}

void
access_line_text(const struct access_line *line, struct strbuf *out)
{
	strbuf_puts(out, line->remote);
	strbuf_puts(out, " \"");
	access_escaped(out, line->method, false, ACCESS_WORD_MAX);
	strbuf_putc(out, ' ');
	access_escaped(out, line->path, false, ACCESS_PATH_MAX);
	strbuf_puts(out, "\" ");
	access_number(out, (uint64_t)line->status);
	strbuf_putc(out, ' ');
	access_number(out, line->bytes);
	access_text_ms(out, " total=", line->total_us);
	access_text_ms(out, " queue=", line->queue_us);
	access_text_ms(out, " database=", line->database_us);
	access_text_quoted(out, " route=", access_string(line->route));
	if (line->request_id != NULL) {
		strbuf_puts(out, " request=");
		strbuf_puts(out, line->request_id);
	}
	if (line->trace_id != NULL) {
		strbuf_puts(out, " trace=");
		strbuf_append(out, line->trace_id, TRACE_ID_DIGITS);
	}
	access_text_quoted(out, " agent=", line->agent);
	access_text_quoted(out, " referer=", line->referer);
}

/* --- JSON --- */

static void
access_json_ms(struct strbuf *out, const char *name, int64_t us)
{
	if (us < 0)
		return;
	strbuf_puts(out, name);
	access_ms(out, us);
}

static void
access_json_quoted(
    struct strbuf *out, const char *name, struct access_text t, size_t max)
{
	if (t.text == NULL)
		return;
	strbuf_puts(out, name);
	access_quote(out, t, true, max);
}

void
access_line_json(const struct access_line *line, struct strbuf *out)
{
	access_json_quoted(
	    out, ",\"remote\":", access_string(line->remote), ACCESS_NAME_MAX);
	access_json_quoted(out, ",\"method\":", line->method, ACCESS_WORD_MAX);
	access_json_quoted(out, ",\"path\":", line->path, ACCESS_PATH_MAX);
	strbuf_puts(out, ",\"status\":");
	access_number(out, (uint64_t)line->status);
	strbuf_puts(out, ",\"bytes\":");
	access_number(out, line->bytes);
	access_json_ms(out, ",\"totalMs\":", line->total_us);
	access_json_ms(out, ",\"queueMs\":", line->queue_us);
	access_json_ms(out, ",\"databaseMs\":", line->database_us);
	access_json_quoted(
	    out, ",\"route\":", access_string(line->route), ACCESS_NAME_MAX);
	access_json_quoted(out,
	    ",\"requestId\":", access_string(line->request_id),
	    ACCESS_NAME_MAX);
	if (line->trace_id != NULL)
		access_json_quoted(out, ",\"traceId\":",
		    (struct access_text){line->trace_id, TRACE_ID_DIGITS},
		    ACCESS_NAME_MAX);
	access_json_quoted(
	    out, ",\"userAgent\":", line->agent, ACCESS_NAME_MAX);
	access_json_quoted(
	    out, ",\"referer\":", line->referer, ACCESS_NAME_MAX);
}
