/*
 * The nearest right name for a mistyped one.
 */
#ifndef CHIMP_CONF_CONF_NEAREST_H
#define CHIMP_CONF_CONF_NEAREST_H

#include <stddef.h>

/* Insertions, deletions, replacements and swaps of neighbours that turn one
 * into the other (optimal string alignment). Longer names are cut at 64. */
size_t conf_distance(const char *a, const char *b);

/* Looks at one name after another and keeps the nearest. */
struct conf_nearest {
	const char *wrong;
	const char *best; /* NULL: nothing is near enough to be meant */
	size_t distance;
};
void conf_nearest_try(struct conf_nearest *n, const char *name);

#endif
