/*
 * How long to wait before the next attempt to connect: pure policy.
 */
#ifndef CHIMP_PG_BACKOFF_H
#define CHIMP_PG_BACKOFF_H

#include <stdint.h>

/*
 * The wait before attempt `failures` (1 after the first loss): the base
 * doubles from 50 ms to 1 s, and `jitter` (uniform in [0, 1000)) takes up to
 * half of it off, so that a hundred processes do not return as one. Never
 * more than 1 s: G38 wants everything back within 2 s of the server's return.
 */
int64_t pg_backoff_ms(unsigned int failures, uint32_t jitter);

#endif
