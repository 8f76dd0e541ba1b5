/*
 * Children that hang get ABRT, for the core, then KILL, and are replaced
 * (G37); those that draining takes too long get KILL.
 */
#ifndef CHIMP_SUPERVISOR_WATCHDOG_H
#define CHIMP_SUPERVISOR_WATCHDOG_H

struct slot;

enum { WATCHDOG_KILL_MS = 1000 }; /* from ABRT to KILL */

/* The timer of a slot with a living process: nothing was heard of it for
 * watchdog_ms, or its time to drain in is over. */
void watchdog_timer(struct slot *slot);

/* It was heard: but has it become ready in time? */
void watchdog_heard(struct slot *slot);

/* ABRT did not end it. */
void watchdog_kill(struct slot *slot);

#endif
