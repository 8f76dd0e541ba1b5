/*
 * Memory: allocation that cannot fail, and arenas. See mem.h.
 */
#include "common/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 4096

struct arena_block {
	struct arena_block *next;
	size_t used;
	size_t size;
	max_align_t data[];
};

struct arena {
	struct arena_block *head;
};

static void *
mem_check(void *p)
{
	if (p == NULL) {
		fputs("chimpd: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *
mem_alloc(size_t size_bytes)
{
	return mem_check(malloc(size_bytes ? size_bytes : 1));
}

void *
mem_zalloc(size_t size_bytes)
{
	return mem_check(calloc(1, size_bytes ? size_bytes : 1));
}

void *
mem_realloc(void *p, size_t size_bytes)
{
	return mem_check(realloc(p, size_bytes ? size_bytes : 1));
}

char *
mem_strdup(const char *s)
{
	return mem_check(strdup(s));
}

char *
mem_strndup(const char *s, size_t length)
{
	return mem_check(strndup(s, length));
}

char *
mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return mem_check(s);
}

struct arena *
arena_new(void)
{
	return mem_zalloc(sizeof(struct arena));
}

void *
arena_alloc(struct arena *a, size_t size_bytes)
{
	const size_t align = sizeof(max_align_t);
	struct arena_block *b = a->head;
	size_t need = (size_bytes + align - 1) / align * align;
	void *p;

	if (b == NULL || b->size - b->used < need) {
		size_t size =
		    need > ARENA_BLOCK_BYTES ? need : ARENA_BLOCK_BYTES;

		b = mem_zalloc(sizeof(*b) + size);
		b->size = size;
		b->next = a->head;
		a->head = b;
	}
	p = (char *)b->data + b->used;
	b->used += need;
	return p;
}

char *
arena_strndup(struct arena *a, const char *s, size_t length)
{
	char *p = arena_alloc(a, length + 1);

	memcpy(p, s, length);
	return p;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

void
arena_free(struct arena **a)
{
	struct arena_block *b, *next;

	if (*a == NULL)
		return;
	for (b = (*a)->head; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	mem_free(a);
}
