/*
 * Children whose heartbeat stops get ABRT, for the core, then KILL, and are
 * replaced (G37).
 */
#ifndef CHIMP_SUPERVISOR_WATCHDOG_H
#define CHIMP_SUPERVISOR_WATCHDOG_H

struct slot;

enum { WATCHDOG_KILL_MS = 1000 }; /* from ABRT to KILL */

/* Nothing was heard of a living child for watchdog_ms. */
void watchdog_silent(struct slot *slot);

/* ABRT did not end it. */
void watchdog_kill(struct slot *slot);

#endif
