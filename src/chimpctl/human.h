/*
 * Times as people read them.
 */
#ifndef CHIMP_CHIMPCTL_HUMAN_H
#define CHIMP_CHIMPCTL_HUMAN_H

#include <stdint.h>

struct human {
	char text[64];
};

/* A length of time: "250 ms", "12 s", "3 m 12 s", "2 h 5 m", "4 d 3 h". */
struct human human_duration(int64_t ms);

/* "3 m 12 s ago" for ms > 0 in the past, "in 5 s" for the future. */
struct human human_ago(int64_t ms);

/* An instant as PostgreSQL writes it, with or without the T of JSON, without
 * its fraction of a second: "2026-11-23 10:00:00+00". "-" for NULL. */
struct human human_instant(const char *text);

#endif
