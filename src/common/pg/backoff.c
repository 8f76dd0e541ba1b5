/*
 * How long to wait before the next attempt to connect. See backoff.h.
 */
#include "common/pg/backoff.h"

enum { PG_BACKOFF_FIRST_MS = 50, PG_BACKOFF_MAX_MS = 1000 };

int64_t
pg_backoff_ms(unsigned int failures, uint32_t jitter)
{
	int64_t base = PG_BACKOFF_FIRST_MS;

	while (failures > 1 && base < PG_BACKOFF_MAX_MS) {
		base *= 2;
		failures--;
	}
	if (base > PG_BACKOFF_MAX_MS)
		base = PG_BACKOFF_MAX_MS;
	return base - base / 2 * (jitter % 1000) / 1000;
}
