/*
 * Replacing a process that serves: its successor starts and proves ready, and
 * only then does the old one drain (G34). A reload and recycling both do it.
 */
#ifndef CHIMP_SUPERVISOR_REPLACE_H
#define CHIMP_SUPERVISOR_REPLACE_H

#include <stdbool.h>

struct master;
struct slot;

/*
 * Start the successors that are due and may start: of each worker class one
 * process at a time is replaced, and one of all other roles together. So many
 * more connections there may be (conf_budget).
 */
void replace_step(struct master *m);

/* A process is ready: the one that it succeeds drains. */
void replace_ready(struct slot *slot);

/* A process of the slot has ended, or could not be forked, its state is set:
 * untie it from its successor or predecessor. */
void replace_ended(struct slot *slot);

/* A process that was to succeed another one, or to be new with a reload, did
 * not become ready; does nothing for any other. */
void replace_failed(struct slot *slot);

/* The slot's place is gone, or taken: its process drains, the slot leaves. */
void replace_retire(struct slot *slot, const char *why);

/* Give up the successors that were born with another configuration. */
void replace_cancel(struct master *m);

/* True if the process has an older configuration or is outworn. */
bool replace_due(const struct slot *slot);

#endif
