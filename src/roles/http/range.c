/*
 * A Range header. See range.h.
 */
#include "roles/http/range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static const char range_unit[] = "bytes=";

struct range_text {
	const char *at;
	const char *end;
};

/* A number; UINT64_MAX stands for all that are too large. False: no digit. */
static bool
range_number(struct range_text *t, uint64_t *n)
{
	const char *from = t->at;

	*n = 0;
	for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
		uint64_t digit = (uint64_t)(*t->at - '0');

		*n = *n > (UINT64_MAX - digit) / 10 ? UINT64_MAX
						    : *n * 10 + digit;
	}
	return t->at > from;
}

/* "-500": the last ones. */
static enum range_answer
range_suffix(uint64_t n, uint64_t size, uint64_t *first, uint64_t *count)
{
	if (n == 0 || size == 0)
		return RANGE_BEYOND;
	*count = n < size ? n : size;
	*first = size - *count;
	return RANGE_PART;
}

enum range_answer
range_parse(const char *value, size_t length, uint64_t size, uint64_t *first,
    uint64_t *count)
{
	struct range_text t = {value, value + length};
	size_t unit = sizeof(range_unit) - 1;
	uint64_t from, to;
	bool has_from, has_to;

	if (length < unit || strncasecmp(value, range_unit, unit) != 0)
		return RANGE_WHOLE;
	t.at += unit;
	has_from = range_number(&t, &from);
	if (t.at == t.end || *t.at++ != '-')
		return RANGE_WHOLE;
	has_to = range_number(&t, &to);
	if (t.at != t.end || (!has_from && !has_to) ||
	    (has_from && has_to && to < from))
		return RANGE_WHOLE;
	if (!has_from)
		return range_suffix(to, size, first, count);
	if (from >= size)
		return RANGE_BEYOND;
	if (!has_to || to >= size)
		to = size - 1;
	*first = from;
	*count = to - from + 1;
	return RANGE_PART;
}
