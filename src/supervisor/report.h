/*
 * What the master says of the whole node: the line when all is ready, the
 * STATUS= of systemd, the reason of a start that failed.
 */
#ifndef CHIMP_SUPERVISOR_REPORT_H
#define CHIMP_SUPERVISOR_REPORT_H

struct master;

/* One log line: where it listens, the processes and their pids. */
void report_ready(const struct master *m);

/* One log line per slot that is not ready, with what it last said. */
void report_not_ready(const struct master *m);

/* STATUS= in words, when they have changed. */
void report_status(struct master *m);

/* The last line. */
void report_ended(const struct master *m);

#endif
