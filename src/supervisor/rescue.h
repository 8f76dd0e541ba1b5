/*
 * When a process dies, a living one of the node releases what it held: the
 * master knows of the death first, but never speaks to the database (G5).
 */
#ifndef CHIMP_SUPERVISOR_RESCUE_H
#define CHIMP_SUPERVISOR_RESCUE_H

struct master;

/* Tell one living child that the process with this birth id is dead. */
void rescue_send(struct master *m, const char *birth);

#endif
