/*
 * The nearest right name for a mistyped one. See conf_nearest.h.
 */
#include "common/conf/conf_nearest.h"

#include <string.h>

enum { CUT = 64 };

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t
conf_distance(const char *a, const char *b)
{
	size_t la = strnlen(a, CUT), lb = strnlen(b, CUT);
	size_t d[CUT + 1][CUT + 1];

	for (size_t i = 0; i <= la; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= la; i++)
		for (size_t j = 1; j <= lb; j++) {
			size_t same = a[i - 1] == b[j - 1] ? 0 : 1;

			d[i][j] = least(d[i - 1][j - 1] + same,
			    least(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[la][lb];
}

void
conf_nearest_try(struct conf_nearest *n, const char *name)
{
	size_t distance = conf_distance(n->wrong, name);
	size_t limit = (strlen(n->wrong) + 2) / 3;

	/* More than every third letter wrong is another word. */
	if (distance > limit || (n->best != NULL && distance >= n->distance))
		return;
	n->best = name;
	n->distance = distance;
}
