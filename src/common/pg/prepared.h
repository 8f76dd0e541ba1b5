/*
 * Which statements are prepared on one connection. Used by pipeline.c alone.
 *
 * A statement that was sent to be prepared is known to be so only when the
 * server has said it: an error earlier in the same unit skips the Parse.
 */
#ifndef CHIMP_PG_PREPARED_H
#define CHIMP_PG_PREPARED_H

#include <stddef.h>
#include <stdint.h>

struct pg_stmt;

enum prepared_state {
	PREPARED_NOT,
	PREPARED_SENT, /* in the unit numbered `unit`, not answered yet */
	PREPARED_KNOWN
};

struct prepared {
	const struct pg_stmt *stmt;
	enum prepared_state state;
	uint64_t unit;
	char name[64]; /* on the wire; unique on the connection */
};

struct prepared_set {
	struct prepared **slots; /* open addressing by the stmt's address */
	size_t size;             /* of slots, a power of two, or 0 */
	size_t count;
	unsigned int last_name;
};

/* The entry of a statement, made if need be. Lives until prepared_clear. */
struct prepared *prepared_find(
    struct prepared_set *set, const struct pg_stmt *stmt);

/* Give it a name that was never used on this connection. */
void prepared_rename(struct prepared_set *set, struct prepared *prepared);

/* The server says that a statement is gone or stale: prepare all anew. */
void prepared_forget(struct prepared_set *set);

/* A new connection, or the end: nothing is prepared, nothing allocated. */
void prepared_clear(struct prepared_set *set);

#endif
