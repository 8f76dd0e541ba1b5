/*
 * Time zones from the system's tzdata, as a table of spans of constant offset.
 *
 * The C library knows one zone per process (TZ), so chimpd reads the TZif
 * files (RFC 8536) itself: the table of transitions and the POSIX rule at the
 * end for the years behind it. Nothing is cached: the files are small, and an
 * upgrade of tzdata counts from the next slot on.
 */
#ifndef CHIMP_COMMON_CRON_CRON_ZONE_H
#define CHIMP_COMMON_CRON_CRON_ZONE_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct cron_zone;

/* Instants that the calendar code works with: year 1 up to, not including,
 * year 2500, in seconds since 1970. */
#define CRON_TIME_MIN (INT64_C(-62135596800))
#define CRON_TIME_MAX (INT64_C(16725225600))

/*
 * Load a zone by its IANA name, such as Europe/Berlin; "UTC" and "" need no
 * file. NULL with an error that names the zone.
 */
struct cron_zone *cron_zone_load(const char *name, struct err *err);

/* The same from the bytes of a TZif file. */
struct cron_zone *cron_zone_parse(
    const void *data, size_t size_bytes, struct err *err);

void cron_zone_free(struct cron_zone **zone);

/* A stretch of time in which the wall clock keeps one offset from UTC. */
struct cron_span {
	int64_t start_s;   /* first instant */
	int64_t end_s;     /* first instant behind it */
	int64_t offset_s;  /* wall clock = instant + offset */
	int64_t reached_s; /* the wall clock had shown everything before this
			    * time when the span began: more than start +
			    * offset after clocks went back, less after they
			    * went forward */
};

/* The span that holds `at_s`, which lies within the limits above. */
void cron_zone_span(
    const struct cron_zone *zone, int64_t at_s, struct cron_span *span);

#endif
