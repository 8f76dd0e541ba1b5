/*
 * Which statements are prepared on one connection. See prepared.h.
 */
#include "common/pg/prepared.h"
#include "common/base/mem.h"
#include "common/pg/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREPARED_FIRST_SIZE 32

static struct prepared **
prepared_slot(const struct prepared_set *set, const struct pg_stmt *stmt)
{
	/* Multiplicative hashing (Knuth, TAOCP 3, 6.4): low bits of an
	 * address are always zero. */
	uint64_t hash = (uintptr_t)stmt * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(hash >> 32) & (set->size - 1);

	while (set->slots[i] != NULL && set->slots[i]->stmt != stmt)
		i = (i + 1) & (set->size - 1);
	return &set->slots[i];
}

static void
prepared_grow(struct prepared_set *set)
{
	struct prepared_set old = *set;

	set->size = old.size ? old.size * 2 : PREPARED_FIRST_SIZE;
	set->slots = mem_zalloc(set->size * sizeof(*set->slots));
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i] != NULL)
			*prepared_slot(set, old.slots[i]->stmt) = old.slots[i];
	free(old.slots);
}

struct prepared *
prepared_find(struct prepared_set *set, const struct pg_stmt *stmt)
{
	struct prepared **slot;

	if (set->count * 2 >= set->size)
		prepared_grow(set);
	slot = prepared_slot(set, stmt);
	if (*slot == NULL) {
		*slot = mem_zalloc(sizeof(**slot));
		(*slot)->stmt = stmt;
		set->count++;
	}
	return *slot;
}

void
prepared_rename(struct prepared_set *set, struct prepared *prepared)
{
	/* The server keeps 63 bytes of a name: the number goes first, so
	 * that long names of handlers do not collide. */
	snprintf(prepared->name, sizeof(prepared->name), "%u:%s",
	    ++set->last_name, prepared->stmt->name);
}

void
prepared_forget(struct prepared_set *set)
{
	for (size_t i = 0; i < set->size; i++)
		if (set->slots[i] != NULL)
			set->slots[i]->state = PREPARED_NOT;
}

void
prepared_clear(struct prepared_set *set)
{
	for (size_t i = 0; i < set->size; i++)
		free(set->slots[i]);
	free(set->slots);
	memset(set, 0, sizeof(*set));
}
