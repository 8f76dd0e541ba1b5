/*
 * The end of all that a process has started, however often it was forked, and
 * whatever group or session it has moved to.
 */
#ifndef CHIMP_BASE_DESCEND_H
#define CHIMP_BASE_DESCEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * From now on an orphan among this process's descendants becomes its child,
 * and not that of init. Children do not inherit this.
 */
void descend_adopt(void);

/* True for a child that shall live. */
typedef bool descend_spare(pid_t child, void *arg);

/*
 * KILL to every direct child but those that `spare` (NULL: none) wants to
 * live; returns to how many, the dead that nobody has waited for included.
 * What these had started becomes ours when they die, so that calling this at
 * each SIGCHLD until it returns 0 ends all. It waits for nothing.
 */
int descend_kill(descend_spare *spare, void *arg);

/*
 * The same, for a process at its own end: kills, waits and kills again until
 * nothing is left. False if something was after `limit_ms`. Waits for every
 * child, so that nobody else will learn its status.
 */
bool descend_end(descend_spare *spare, void *arg, int64_t limit_ms);

#endif
