/*
 * Passwords out of connection strings, for logs and -T.
 *
 * When in doubt too much is masked: this runs on malformed strings too.
 */
#include "common/conf/conf.h"
#include "common/base/strbuf.h"

#include <string.h>
#include <strings.h>

/* user:PASSWORD@ behind the "://"; returns where to go on. */
static const char *
mask_userinfo(const char *p, struct strbuf *out)
{
	size_t authority = strcspn(p, "/?#");
	const char *at = memrchr(p, '@', authority);
	const char *colon = strchr(p, ':');

	/* A slash in a password must be encoded, but may not have been. */
	if (at == NULL && colon != NULL && colon < p + authority)
		at = memrchr(p, '@', strcspn(p, "?"));
	if (at == NULL || colon == NULL || colon > at)
		return p;
	strbuf_append(out, p, (size_t)(colon - p) + 1);
	strbuf_puts(out, "***");
	return at;
}

/* The length of a keyword's value: 'quoted \' text' or a word. */
static size_t
value_length(const char *p)
{
	size_t i;

	if (*p != '\'')
		return strcspn(p, " \t\n&");
	for (i = 1; p[i] != '\0' && p[i] != '\''; i++)
		if (p[i] == '\\' && p[i + 1] != '\0')
			i++;
	return p[i] == '\'' ? i + 1 : i;
}

/* password=, sslpassword= in keywords and in a URL's query. */
static const char *
mask_keyword(const char *p, struct strbuf *out)
{
	static const char word[] = "password";
	size_t length = sizeof(word) - 1;

	if (strncasecmp(p, word, length) != 0)
		return p;
	length += strspn(p + length, " \t\n");
	if (p[length] != '=')
		return p;
	length++;
	length += strspn(p + length, " \t\n");
	strbuf_append(out, p, length);
	strbuf_puts(out, "***");
	return p + length + value_length(p + length);
}

char *
conf_mask_url(const char *url)
{
	struct strbuf out = STRBUF_EMPTY;
	const char *scheme = strstr(url, "://");
	const char *p = url, *next;

	if (scheme != NULL) {
		p = scheme + 3;
		strbuf_append(&out, url, (size_t)(p - url));
		p = mask_userinfo(p, &out);
	}
	while (*p != '\0') {
		next = mask_keyword(p, &out);
		if (next == p)
			strbuf_putc(&out, *p++);
		else
			p = next;
	}
	return strbuf_take(&out);
}
