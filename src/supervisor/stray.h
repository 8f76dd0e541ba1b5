/*
 * Strays: what a process of this node had started and left behind when it was
 * killed, whatever group or session that has moved to. The master adopts and
 * kills them.
 */
#ifndef CHIMP_SUPERVISOR_STRAY_H
#define CHIMP_SUPERVISOR_STRAY_H

#include <stdbool.h>

struct master;

/* Stands in the environment of all that the node runs; its value is the id of
 * the node's birth. */
#define STRAY_MARK "CHIMPD_NODE_ID"

struct stray {
	/* The master may have children that it never started, which must
	 * live: only those that bear its mark are strays. */
	bool marked_only;
};

/* Mark what will be started, adopt what will be left behind. Before the first
 * fork. */
void stray_init(struct master *m);

/*
 * KILL to every stray. What these had started in turn becomes the master's
 * when they die, and SIGCHLD comes: call it whenever a process has ended.
 */
void stray_kill(struct master *m);

/* At the master's end: kill until none is left, for a bounded time. */
void stray_end(struct master *m);

#endif
