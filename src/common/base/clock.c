/*
 * Clocks for local waits. See clock.h.
 */
#include "common/base/clock.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static int64_t
clock_read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

int64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

uint32_t
clock_jitter(uint32_t bound)
{
	uint32_t r;

	if (bound == 0)
		return 0;
	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r = (uint32_t)clock_mono_us();
	return r % bound;
}
