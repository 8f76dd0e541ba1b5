/*
 * Times as people read them. See human.h.
 */
#include "chimpctl/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct human
human_pair(
    int64_t big, const char *big_unit, int64_t small, const char *small_unit)
{
	struct human h;

	if (small == 0)
		snprintf(
		    h.text, sizeof(h.text), "%" PRId64 " %s", big, big_unit);
	else
		snprintf(h.text, sizeof(h.text),
		    "%" PRId64 " %s %" PRId64 " %s", big, big_unit, small,
		    small_unit);
	return h;
}

struct human
human_duration(int64_t ms)
{
	int64_t s = ms / 1000;

	if (ms < 1000)
		return human_pair(ms, "ms", 0, "");
	if (s < 60)
		return human_pair(s, "s", 0, "");
	if (s < 3600)
		return human_pair(s / 60, "m", s % 60, "s");
	if (s < 86400)
		return human_pair(s / 3600, "h", s / 60 % 60, "m");
	return human_pair(s / 86400, "d", s / 3600 % 24, "h");
}

struct human
human_ago(int64_t ms)
{
	struct human span = human_duration(ms < 0 ? -ms : ms);
	struct human h;

	if (ms < 0)
		snprintf(h.text, sizeof(h.text), "in %.50s", span.text);
	else
		snprintf(h.text, sizeof(h.text), "%.50s ago", span.text);
	return h;
}

struct human
human_instant(const char *text)
{
	struct human h = {"-"};
	size_t n = 0;

	if (text == NULL)
		return h;
	while (*text != '\0' && n + 1 < sizeof(h.text)) {
		if (*text == '.') {
			text++;
			text += strspn(text, "0123456789");
			continue;
		}
		/* The date is 10 characters; what follows is the T. */
		h.text[n] = n == 10 && *text == 'T' ? ' ' : *text;
		n++;
		text++;
	}
	h.text[n] = '\0';
	/* JSON says "+00:00" where a timestamptz says "+00". */
	if (n > 6 && strchr("+-", h.text[n - 6]) != NULL &&
	    strcmp(h.text + n - 3, ":00") == 0)
		h.text[n - 3] = '\0';
	return h;
}
