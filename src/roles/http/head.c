/*
 * The head of a request, byte by byte. See head.h.
 */
#include "roles/http/head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct head_text {
	const char *text;
	size_t length;
};

struct head_walk {
	const char *at;
	const char *end;
	struct head_text authority; /* of an absolute target; else empty */
	struct head_text host;
	bool v1_0; /* HTTP/1.0 */
	int hosts; /* how many of these there were */
	int lengths;
	int encodings;
};

/* RFC 9110, 5.6.2. */
static bool
head_is_token(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) &&
		    (text[i] == '\0' ||
			strchr("!#$%&'*+-.^_`|~", text[i]) == NULL))
			return false;
	return length > 0;
}

static bool
head_is_visible(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
			return false;
	return length > 0;
}

/* The next line without its end, which is CR LF and nothing else. */
static const char *
head_line(struct head_walk *w, const char **line, size_t *length)
{
	const char *lf = memchr(w->at, '\n', (size_t)(w->end - w->at));

	if (lf == NULL)
		return "the head of the request does not end";
	if (lf == w->at || lf[-1] != '\r')
		return "a line of the head ends without CR";
	*line = w->at;
	*length = (size_t)(lf - 1 - w->at);
	w->at = lf + 1;
	for (size_t i = 0; i < *length; i++)
		if (((unsigned char)(*line)[i] < ' ' && (*line)[i] != '\t') ||
		    (*line)[i] == 0x7f)
			return "there is a control character in the head";
	return NULL;
}

/* Never looks behind the end, where no NUL stands. */
static bool
head_begins(const char *text, const char *end, const char *with)
{
	size_t length = strlen(with);

	return (size_t)(end - text) >= length &&
	       memcmp(text, with, length) == 0;
}

/* http://HOST/... or https://HOST/... */
static bool
head_absolute(struct head_walk *w, const char *target, const char *end)
{
	const char *from = target;
	const char *to;

	if (head_begins(target, end, "http://"))
		from += strlen("http://");
	else if (head_begins(target, end, "https://"))
		from += strlen("https://");
	else
		return false;
	to = from;
	while (to < end && *to != '/' && *to != '?')
		to++;
	w->authority.text = from;
	w->authority.length = (size_t)(to - from);
	return to > from;
}

/* METHOD SP TARGET SP HTTP/1.x */
static const char *
head_request_line(struct head_walk *w, const char *line, size_t length)
{
	const char *end = line + length;
	const char *target = memchr(line, ' ', length);
	const char *version;

	if (target++ == NULL ||
	    !head_is_token(line, (size_t)(target - 1 - line)))
		return "the request line has no good method";
	version = memchr(target, ' ', (size_t)(end - target));
	if (version++ == NULL ||
	    !head_is_visible(target, (size_t)(version - 1 - target)))
		return "the request line has no good target";
	if (*target != '/' && (*target != '*' || version - target != 2) &&
	    !head_absolute(w, target, version - 1))
		return "the request target is not a path";
	if (end - version != 8 || strncmp(version, "HTTP/1.", 7) != 0 ||
	    (version[7] != '0' && version[7] != '1'))
		return "the version is neither HTTP/1.0 nor HTTP/1.1";
	w->v1_0 = version[7] == '0';
	return NULL;
}

static bool
head_is(const char *name, size_t length, const char *wanted)
{
	return length == strlen(wanted) &&
	       strncasecmp(name, wanted, length) == 0;
}

static bool
head_is_number(const char *value, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isdigit((unsigned char)value[i]))
			return false;
	return length > 0;
}

static const char *
head_field(struct head_walk *w, const char *line, size_t length)
{
	const char *colon = memchr(line, ':', length);
	const char *value, *end = line + length;
	size_t name;

	/* A blank begins the continuation of the line before (obs-fold); one
	 * before the colon hides a header from those who do not know it. */
	if (colon == NULL || !head_is_token(line, (size_t)(colon - line)))
		return "a line of the head is not \"name: value\"";
	name = (size_t)(colon - line);
	value = colon + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (value < end && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (head_is(line, name, "host")) {
		w->hosts++;
		w->host.text = value;
		w->host.length = (size_t)(end - value);
	} else if (head_is(line, name, "content-length")) {
		w->lengths++;
		if (!head_is_number(value, (size_t)(end - value)))
			return "Content-Length is not a number";
	} else if (head_is(line, name, "transfer-encoding")) {
		w->encodings++;
		if (!head_is(value, (size_t)(end - value), "chunked"))
			return "Transfer-Encoding is not \"chunked\"";
	}
	return NULL;
}

/* RFC 9112, 3.2 and 6.3. */
static const char *
head_frame(const struct head_walk *w)
{
	if (w->lengths > 1)
		return "there is more than one Content-Length";
	if (w->encodings > 1)
		return "there is more than one Transfer-Encoding";
	if (w->lengths > 0 && w->encodings > 0)
		return "there are both Content-Length and Transfer-Encoding";
	if (w->encodings > 0 && w->v1_0)
		return "HTTP/1.0 has no Transfer-Encoding";
	if (w->hosts > 1 || (w->hosts == 0 && !w->v1_0))
		return "there is not exactly one Host";
	if (w->authority.length > 0 && w->hosts > 0 &&
	    (w->host.length != w->authority.length ||
		strncasecmp(w->host.text, w->authority.text, w->host.length) !=
		    0))
		return "the request target names another host than Host";
	return NULL;
}

const char *
head_check(const char *bytes, size_t size, struct head *head)
{
	struct head_walk w = {.at = bytes, .end = bytes + size};
	const char *line, *fault;
	size_t length;

	head->chunked = false;
	/* RFC 9112, 2.2: some send one behind a body. */
	if (size >= 2 && memcmp(bytes, "\r\n", 2) == 0)
		w.at += 2;
	fault = head_line(&w, &line, &length);
	if (fault == NULL)
		fault = head_request_line(&w, line, length);
	while (fault == NULL) {
		fault = head_line(&w, &line, &length);
		if (fault == NULL && length == 0)
			break;
		if (fault == NULL)
			fault = head_field(&w, line, length);
	}
	if (fault == NULL)
		fault = head_frame(&w);
	head->chunked = fault == NULL && w.encodings > 0;
	return fault;
}
