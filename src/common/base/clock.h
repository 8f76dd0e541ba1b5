/*
 * Clocks for local waits and log lines. What is due, leased or expired is
 * judged by the database's clock alone.
 */
#ifndef CHIMP_BASE_CLOCK_H
#define CHIMP_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, in milliseconds and microseconds. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

/*
 * A uniformly random number in [0, bound), for jitter; 0 when bound is 0.
 * Not for secrets.
 */
uint32_t clock_jitter(uint32_t bound);

#endif
