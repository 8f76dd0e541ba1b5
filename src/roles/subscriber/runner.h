/*
 * A runner: one connection that works through lanes.
 *
 * A turn has the database run the next events of a lane, or of several that
 * stand at one position, in one transaction. Where that fails it reads a window
 * of them and sends each as a unit of its own: handler and position in one
 * transaction, one after the other in the pipeline. The database refuses an
 * event whose predecessor was not handled (CH001), so the first failure stops
 * the rest, whatever was sent already.
 */
#ifndef CHIMP_ROLES_SUBSCRIBER_RUNNER_H
#define CHIMP_ROLES_SUBSCRIBER_RUNNER_H

#include <stdbool.h>

struct runner;
struct subscriber;

/* Begins to connect. `number` is for the connection's name. */
struct runner *runner_new(struct subscriber *sub, int number);

/* Connected, and without lanes. */
bool runner_free(const struct runner *runner);

/* Neither connected nor with lanes: it will be free. */
bool runner_coming(const struct runner *runner);

/* Begin a turn with the first lanes of the line; they come back by
 * lane_turn_end. */
void runner_start(struct runner *runner);

/* Close the connection for good: the server cancels what it runs (it checks
 * for its client), and the turn ends before this returns. */
void runner_stop(struct runner *runner);

#endif
