/*
 * Deaths of processes by their own fault, and what they had started (G7).
 *
 * A process cannot say what it was doing when it dies, so it writes it down
 * while it lives: each has a page of its own, shared with the master alone,
 * with the tokens of the claims that it runs. The master reads it after the
 * death, and whoever releases the claims of the dead is told.
 */
#ifndef CHIMP_SUPERVISOR_CRASH_H
#define CHIMP_SUPERVISOR_CRASH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "common/base/msg.h"
#include "common/base/uuid.h"

struct slot;

struct crash {
	char id[UUID_TEXT_BYTES]; /* of the process; "" = none */
	struct msg_crash what;
};

/* The page: tokens of started claims, 0 = a free place. */
struct crash_page {
	int64_t *tokens; /* NULL = none */
	int64_t count;
};

/*
 * Around the fork of the slot's process: a page for it, -1 with errno set;
 * then, in the master, keep the later ones from inheriting it.
 */
int crash_page_open(struct slot *slot);
void crash_page_hide(const struct slot *slot);
void crash_page_close(struct slot *slot);

/* Before the slot is cleared: put into slot->crash how the process died and
 * what it had started; empty when it died by no fault of its own. */
void crash_note(struct slot *slot, int status, const struct rusage *usage);

#endif
