/*
 * Roles: what a child of the master can be, and what all children share.
 *
 * The master (supervisor/) knows only this header: it forks, and the child
 * calls role_main, which never returns. role.c is the common birth of a child:
 * signals, title, loop, the pipe to the master, heartbeats, the control
 * connection with the registration in chimp.processes and its lease. A role
 * fills in struct role.
 */
#ifndef CHIMP_ROLES_ROLE_H
#define CHIMP_ROLES_ROLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/loop.h"
#include "common/base/msg.h"
#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "common/conf/conf.h"
#include "common/pg/link.h"

struct child;

/* What the master tells a child at birth; lives in the child for ever. */
struct birth {
	const struct conf *conf;
	const struct role *role;
	const struct conf_worker *worker; /* its class; NULL for other roles */
	int index;                /* of the slot in its role or class, from 0 */
	uint32_t slot;            /* the master's number of the slot */
	uint32_t generation;      /* how many processes the slot has had */
	uint32_t restarts;        /* how many died in this place before */
	char id[UUID_TEXT_BYTES]; /* of this process */
	char node_id[UUID_TEXT_BYTES]; /* of the master's birth */
	int master_fd;                 /* SOCK_SEQPACKET, see msg.h */
	const int *listen_fds;         /* bound and listening; http only */
	const bool *listen_tls;        /* of each: it speaks TLS */
	int n_listen;
	int64_t master_pid; /* to notice that the master died before */
	/* G7. Shared with the master: tokens of the claims that run, 0 = none,
	 * one in each place. */
	int64_t *started;
	int n_started;                 /* places */
	char crashed[UUID_TEXT_BYTES]; /* whose place this one takes, if that
					* died by its own fault; "" = none */
	struct msg_crash crash;        /* how, and what it had started */
};

struct role {
	const char *name;
	struct loop *(*loop_new)(void);
	/* What of the configuration only this role understands (signatures,
	 * expressions): asked before the roles start. May be NULL. */
	int (*check)(const struct conf *conf, struct err *err);
	/* Make the role's state (child->state) and start working; -1 with
	 * an error ends the process with status 78. */
	int (*start)(struct child *child, struct err *err);
	/* Stop taking new work; call child_finished when none is left. After
	 * deadline_ms (0 = none) role.c calls abandon, then exits. */
	void (*drain)(struct child *child, int64_t deadline_ms);
	/* Any below may be NULL. */
	/* Cancel and release what is still running. */
	void (*abandon)(struct child *child);
	/* The process is registered (anew) in chimp.processes. */
	void (*registered)(struct child *child);
	/* The lease was lost: others may own its work; drop it all. */
	void (*evicted)(struct child *child);
	void (*db_lost)(struct child *child);
	void (*notified)(
	    struct child *child, const char *channel, const char *payload);
	/* At the very end: free the state. The control connection is closed,
	 * the loop still there. */
	void (*done)(struct child *child);
	/* Fill busy, capacity and text of a heartbeat. */
	void (*status)(struct child *child, struct msg *heartbeat);
	/* Append its figures as lines (metrics_text.h), every few seconds;
	 * `labels` is that of the process. */
	void (*metrics)(
	    struct child *child, const char *labels, struct strbuf *out);
	/* Open its log files anew (USR1). */
	void (*reopen)(struct child *child);
	const char *const *listen; /* channels of the control connection */
};

struct child {
	const struct birth *birth;
	struct loop *loop;
	struct pg_link *control; /* one connection: registration, lease,
				  * notifications, the role's own short calls */
	bool draining;
	bool stopping;   /* so does the whole node */
	bool warming;    /* set by start: the role will call child_ready */
	bool registered; /* chimp.processes has its row, as far as known */
	char name[64];   /* "worker/default/0" */
	void *state;     /* the role's own */
	struct child_priv *priv; /* role.c's own */
};

/* The table of roles, by name: http, worker, cron, subscriber. */
extern const struct role role_http, role_worker, role_cron, role_subscriber;
extern const struct role *const role_table[]; /* ends with NULL */
const struct role *role_find(const char *name);

/* Runs in the forked child after the master's resources are closed. */
void role_main(const struct birth *birth) __attribute__((noreturn));

/*
 * The short-lived child that runs SQL before the roles start: waits for the
 * database, migrates chimp's schema and the apps', registers the apps, checks
 * handlers and the connection budget. `now` is the configuration that is in
 * effect, at a reload; NULL at the start. `leaving`: the connections of what
 * drains since an earlier reload, and counts besides. Returns an exit status:
 * 0, 1, or 78; the error has been logged.
 */
int role_prepare(const struct conf *conf, const struct conf *now,
    int64_t leaving, const char *node_id);

/*
 * For roles. role.c itself calls child_ready, when start has succeeded and the
 * process has registered or, in an outage, failed to connect once; a role that
 * needs more than that before it serves sets child->warming, and later calls it
 * itself.
 */
void child_ready(struct child *child);    /* if all of that holds: tell the
					   * master, once */
void child_renew(struct child *child);    /* something says that the row in
					   * chimp.process is gone: ask now */
void child_finished(struct child *child); /* drained: deregister, exit 0 */

/* Append this process's figures as they are now, those of its role included,
 * as lines (metrics_text.h). */
void child_metrics(struct child *child, struct strbuf *out);
/* Those of the master, as the kernel knows them. */
void child_metrics_master(struct child *child, struct strbuf *out);

#endif
