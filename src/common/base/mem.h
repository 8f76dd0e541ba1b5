/*
 * Memory: allocation that cannot fail, and arenas.
 *
 * A process that cannot allocate aborts; the master replaces it. Nothing in
 * chimpd grows with load without a bound, so this is never a client's doing.
 */
#ifndef CHIMP_BASE_MEM_H
#define CHIMP_BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

/* Like malloc, calloc, realloc and strdup; abort when memory is out. */
void *mem_alloc(size_t size_bytes);
void *mem_zalloc(size_t size_bytes);
void *mem_realloc(void *p, size_t size_bytes);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t length);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Free *p and leave NULL there; accepts NULL. */
#define mem_free(pp)          \
	do {                  \
		free(*(pp));  \
		*(pp) = NULL; \
	} while (0)

/*
 * An arena: what dies together is allocated together. Memory from it is
 * zeroed and lives until arena_free.
 */
struct arena;

struct arena *arena_new(void);
void *arena_alloc(struct arena *a, size_t size_bytes);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t length);
void arena_free(struct arena **a);

#endif
