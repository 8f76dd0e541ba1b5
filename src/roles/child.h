/*
 * What the files of the common birth share: role.c (birth, signals, stop),
 * child_master.c (the pipe to the master), child_orphan.c (the end without
 * one), child_lease.c (the control connection, the registration and its lease),
 * child_metrics.c (its figures).
 * Roles never include this.
 */
#ifndef CHIMP_ROLES_CHILD_H
#define CHIMP_ROLES_CHILD_H

#include "roles/role.h"

/* G40. A node has fewer slots than this, or their leases do the work. */
enum { CHILD_RESCUES_MAX = 64 };

enum child_stage {
	CHILD_RUNNING,
	CHILD_DRAINING,  /* the role finishes what it has */
	CHILD_ABANDONED, /* the deadline passed: cancelling, releasing */
	CHILD_FINISHING  /* deregistering; the role is not called any more */
};

struct child_priv {
	/* role.c */
	enum child_stage stage;
	int signal_fd;
	struct loop_io signal_io;
	struct loop_timer stage_timer; /* the end of the stage */
	int64_t deadline_at_ms;        /* CLOCK_MONOTONIC; 0 = none */

	/* child_master.c */
	struct loop_io master_io;
	struct loop_timer heartbeat;
	bool said_ready;
	uint64_t ignored; /* messages that were wrong or not ours */

	/* child_metrics.c */
	struct loop_timer metrics;
	bool metrics_sent; /* and not answered */
	double born_s;     /* since 1970 */

	/* child_lease.c */
	struct loop_timer lease;
	bool started;      /* role->start has succeeded */
	bool tried;        /* registered, or a first failure to */
	bool known;        /* registered once: asks before it does again */
	bool renewing;     /* asked and not answered */
	bool said_refused; /* the log knows */
	int n_rescues;
	bool rescuing; /* the first of them is being asked for */
	struct child_rescue {
		char birth[UUID_TEXT_BYTES];
		struct msg_crash crash;
	} rescues[CHILD_RESCUES_MAX];
};

/* role.c: begin to stop, or stop sooner than begun; 0 = no deadline. */
void child_drain(struct child *child, int64_t deadline_ms);

/* role.c: nothing is left to be done; loop_run returns. */
void child_exit(struct child *child);

/* child_master.c */
void child_master_start(struct child *child);
void child_master_done(struct child *child);
void child_status(struct child *child, struct msg *heartbeat);
/* What the dead process held is released, or is left to its lease. */
void child_master_rescued(struct child *child, const char *birth);

/* child_orphan.c: do not outlive the master, even if the process hangs. */
void child_orphan_start(const struct child *child);

/* child_metrics.c: say this process's figures every few seconds. */
void child_metrics_start(struct child *child);
void child_metrics_done(struct child *child);

/* child_lease.c */
void child_lease_start(struct child *child);
void child_lease_done(struct child *child);
void child_lease_end(struct child *child); /* deregister, then child_exit */
/* Release what the process `birth` held; crash: if that was how it ended. */
void child_rescue(
    struct child *child, const char *birth, const struct msg_crash *crash);

#endif
