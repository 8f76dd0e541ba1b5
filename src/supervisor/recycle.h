/*
 * Recycling: processes that have done much, are old or have grown are replaced
 * by fresh ones (max_jobs, max_requests, max_age, memory_max).
 */
#ifndef CHIMP_SUPERVISOR_RECYCLE_H
#define CHIMP_SUPERVISOR_RECYCLE_H

struct slot;

/* Set the limits of a process that is about to be born: those of its class,
 * each up to a tenth lower, so that siblings do not reach them at once. */
void recycle_birth(struct slot *slot);

/* After a heartbeat: see whether the process has reached a limit. */
void recycle_look(struct slot *slot);

#endif
