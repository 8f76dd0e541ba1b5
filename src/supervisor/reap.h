/*
 * The ends of processes: who it was, what to say, what comes next.
 */
#ifndef CHIMP_SUPERVISOR_REAP_H
#define CHIMP_SUPERVISOR_REAP_H

struct master;

/* Take the status of every child that has ended: SIGCHLD's handler. */
void reap_all(struct master *m);

#endif
