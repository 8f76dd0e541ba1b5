/*
 * When a process dies, a living one of the node releases what it held: the
 * master knows of the death first, but never speaks to the database (G5). It
 * asks until one has said that it is done, whoever else dies meanwhile.
 */
#ifndef CHIMP_SUPERVISOR_RESCUE_H
#define CHIMP_SUPERVISOR_RESCUE_H

#include <stdint.h>

#include "common/base/msg.h"
#include "common/base/uuid.h"

struct master;
struct slot;

enum {
	RESCUE_MAX = 256,      /* more are left to their leases */
	RESCUE_AGAIN_MS = 2000 /* the one that was asked has not answered */
};

struct rescue_dead {
	char birth[UUID_TEXT_BYTES];
	uint32_t asked;         /* number of the slot that was asked */
	int64_t asked_ms;       /* CLOCK_MONOTONIC; 0 = nobody was */
	struct msg_crash crash; /* if it was one */
};

struct rescue {
	int count;
	struct rescue_dead dead[RESCUE_MAX];
};

/* The slot's process has died, and may have left claims and lanes behind. */
void rescue_add(struct slot *slot);

/* It has ended, however: what it was asked for somebody else has to do. */
void rescue_ended(const struct slot *slot);

/* It has become ready: it repeats what is not known to be done. */
void rescue_repeat(struct slot *slot);

/* Ask for all that nobody was asked for, or who did not answer. */
void rescue_step(struct master *m);

/* Somebody has released what this one held. */
void rescue_done(struct master *m, const char *birth);

#endif
