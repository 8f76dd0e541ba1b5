/*
 * Process titles: what ps(1) shows.
 */
#ifndef CHIMP_SUPERVISOR_TITLE_H
#define CHIMP_SUPERVISOR_TITLE_H

/* Call first thing in main: takes over the memory of the arguments and of
 * the environment. `argv` must not be read any more afterwards. */
void title_init(int argc, char **argv);

/* "chimpd: NAME". Without title_init only the thread's name changes. */
void title_set(const char *name);

#endif
