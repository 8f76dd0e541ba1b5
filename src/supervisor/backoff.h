/*
 * How long a process that died waits for its successor. Pure: the caller
 * passes the times in.
 */
#ifndef CHIMP_SUPERVISOR_BACKOFF_H
#define CHIMP_SUPERVISOR_BACKOFF_H

#include <stdint.h>

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_HEALTHY_MS = 60 * 1000 /* a life this long forgives it all */
};

struct backoff {
	int deaths; /* in a row, with no healthy life among them */
};

/*
 * A process has died after `healthy_ms` of good service (0 if it never was
 * ready): returns how many milliseconds to wait. At once first, then 100 ms
 * doubling up to `max_ms` (G35).
 */
int64_t backoff_next_ms(struct backoff *b, int64_t healthy_ms, int64_t max_ms);

#endif
