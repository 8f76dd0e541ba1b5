/*
 * Restart delays. See backoff.h.
 */
#include "supervisor/backoff.h"

#include <assert.h>

/* Doubling so often passes any configurable maximum, and never overflows. */
#define BACKOFF_DOUBLINGS_MAX 40

int64_t
backoff_next_ms(struct backoff *b, int64_t healthy_ms, int64_t max_ms)
{
	int64_t delay_ms = BACKOFF_FIRST_MS;
	int doublings;

	assert(max_ms >= 0);
	if (healthy_ms >= BACKOFF_HEALTHY_MS)
		b->deaths = 0;
	doublings = b->deaths - 1;
	if (b->deaths <= BACKOFF_DOUBLINGS_MAX)
		b->deaths++;
	if (doublings < 0)
		return 0;
	delay_ms <<= doublings;
	return delay_ms < max_ms ? delay_ms : max_ms;
}
