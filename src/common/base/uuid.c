/*
 * Random UUIDs. See uuid.h.
 */
#include "common/base/uuid.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/* 256 bytes: what getrandom gives whole, whatever signals come. */
enum { UUID_BYTES = 16, UUID_POOL = 16 };

/* Fetched in bulk. A forked child finds it zeroed, or it would make the same
 * ones as its parent. */
struct uuid_pool {
	size_t left;
	uint8_t bytes[UUID_POOL][UUID_BYTES];
};

static struct uuid_pool *
uuid_pool(void)
{
	struct uuid_pool *pool = mmap(NULL, sizeof(*pool),
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pool == MAP_FAILED ||
	    madvise(pool, sizeof(*pool), MADV_WIPEONFORK) != 0)
		abort();
	return pool;
}

static void
uuid_random_bytes(uint8_t b[UUID_BYTES])
{
	static struct uuid_pool *pool;
	uint8_t *from;

	if (pool == NULL)
		pool = uuid_pool();
	if (pool->left == 0) {
		if (getrandom(pool->bytes, sizeof(pool->bytes), 0) !=
		    (ssize_t)sizeof(pool->bytes))
			abort();
		pool->left = UUID_POOL;
	}
	from = pool->bytes[--pool->left];
	memcpy(b, from, UUID_BYTES);
	memset(from, 0, UUID_BYTES);
}

void
uuid_random(char text[UUID_TEXT_BYTES])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t b[UUID_BYTES];

	uuid_random_bytes(b);
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (int i = 0; i < UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = hex[b[i] >> 4];
		*text++ = hex[b[i] & 15];
	}
	*text = '\0';
}
