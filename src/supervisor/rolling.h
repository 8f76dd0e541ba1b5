/*
 * Bringing a new configuration to all processes, one by one, and back to the
 * old one if it turns out that they cannot start with it (G34).
 */
#ifndef CHIMP_SUPERVISOR_ROLLING_H
#define CHIMP_SUPERVISOR_ROLLING_H

struct conf;
struct master;
struct slot;

/* Begin, with a configuration that was found good; takes it. */
void rolling_start(struct master *m, struct conf *conf);

/* Go on as far as the processes are; ends in MASTER_RUNNING. */
void rolling_step(struct master *m);

/* `slot` could not start with the new configuration; `old` is the process
 * that it was to replace, and NULL if its place is new. */
void rolling_failed(const struct slot *slot, struct slot *old);

#endif
