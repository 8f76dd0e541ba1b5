/*
 * Resource limits that the master sets for itself and its children.
 */
#ifndef CHIMP_SUPERVISOR_LIMITS_H
#define CHIMP_SUPERVISOR_LIMITS_H

/*
 * Raise the soft limit of open files: systemd and shells hand out 1024 for
 * the sake of select(2), which nothing here uses.
 */
void limits_raise_files(void);

#endif
