/* Requests as text, and answers taken apart. No I/O. */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t
text_fill(char out[LOAD_TEXT_MAX], const char *text, uint64_t number)
{
	char digits[24];
	size_t n_digits, len = 0;

	n_digits = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, number);
	while (*text != '\0' && len + n_digits < LOAD_TEXT_MAX - 1) {
		if (text[0] == '{' && text[1] == '}') {
			memcpy(out + len, digits, n_digits);
			len += n_digits;
			text += 2;
		} else {
			out[len++] = *text++;
		}
	}
	out[len] = '\0';
	return len;
}

/* The value of a header, its name in the form "\nname:", or NULL. */
static const char *
header(const char *head, const char *end, const char *name)
{
	const char *at = strcasestr(head, name);

	if (at == NULL || at >= end)
		return NULL;
	at += strlen(name);
	return at + strspn(at, " \t");
}

enum answer_state
answer_parse(const char *buf, size_t len, struct answer *a)
{
	const char *end, *value;
	unsigned long long body_len;

	end = memmem(buf, len, "\r\n\r\n", 4);
	if (end == NULL)
		return ANSWER_PART;
	if (strncmp(buf, "HTTP/1.1 ", 9) != 0)
		return ANSWER_BAD;
	a->status = atoi(buf + 9);
	value = header(buf, end, "\ncontent-length:");
	if (value == NULL)
		return ANSWER_BAD;
	body_len = strtoull(value, NULL, 10);
	a->body = end + 4;
	a->body_len = (size_t)body_len;
	value = header(buf, end, "\nconnection:");
	a->closes = value != NULL && strncasecmp(value, "close", 5) == 0;
	if ((size_t)(buf + len - a->body) < a->body_len)
		return ANSWER_PART;
	return ANSWER_WHOLE;
}
