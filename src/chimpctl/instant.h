/*
 * Instants as seconds since 1970, read and written as ISO 8601. Pure.
 */
#ifndef CHIMP_CHIMPCTL_INSTANT_H
#define CHIMP_CHIMPCTL_INSTANT_H

#include <stdint.h>

struct instant_text {
	char text[64];
};

/*
 * "2026-03-28T00:00:00Z", seconds and their fraction optional (the fraction is
 * dropped), a space for the T, an offset such as +01:00 or +01 for the Z. -1 if
 * it is none of these, or no date of the years 1 to 2499.
 */
int instant_parse(const char *text, int64_t *at_s);

/* "2026-03-28T00:00:00Z" */
struct instant_text instant_utc(int64_t at_s);

/* "Sat 2026-03-28 01:00:00 +01:00", the wall clock of this offset from UTC. */
struct instant_text instant_wall(int64_t at_s, int64_t offset_s);

#endif
