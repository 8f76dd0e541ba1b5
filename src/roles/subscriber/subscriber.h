/*
 * What the files of the subscriber role share.
 *
 * A subscriber owns lanes: ordered shares of subscriptions. A lane's cursor
 * lies in the database and moves in the transaction of each event's handler.
 *
 *	subscriber.c	the role: birth, stop, what the status line says
 *	wake.c		when there is something new: ticks, NOTIFY, re-looks
 *	claim.c		which lanes are ours
 *	keep.c		what is done now and then: positions of idle lanes,
 *			rotation of the events
 *	lane.c		a lane's states, and the line of lanes with work
 *	runner.c	a connection that works through a lane's events
 */
#ifndef CHIMP_ROLES_SUBSCRIBER_SUBSCRIBER_H
#define CHIMP_ROLES_SUBSCRIBER_SUBSCRIBER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/loop.h"
#include "common/conf/conf.h"
#include "handlers/sql.h"
#include "roles/role.h"
#include "roles/subscriber/lane.h"

/* The control connection, and one left over for the operator's eye. */
#define SUB_RUNNERS (CONF_SUBSCRIBER_CONNECTIONS - 2)

struct runner;

/* When to look for new events; see wake.c. */
struct wake {
	struct loop_timer timer;
	int step;          /* of the re-looks since something happened */
	bool ticking;      /* a tick is on its way */
	bool again;        /* look once more after it */
	bool cut;          /* the next look cuts a tick, too */
	int64_t looked_ms; /* CLOCK_MONOTONIC, when the last one was sent */
	int64_t before_ms; /* and the one before */
	int64_t newest;    /* tick known */
	bool quiet;        /* publishers were told not to NOTIFY */
	bool complained;   /* the log knows that ticks fail */
};

/* Which lanes are ours; see claim.c. */
struct claim {
	struct loop_timer timer;
	bool asking;     /* lanes_claim is on its way */
	bool again;      /* ask once more after it */
	bool complained; /* the log knows that it fails */
	int beats;
};

struct subscriber {
	struct child *child;
	struct wake wake;
	struct claim claim;
	struct list lanes;                 /* all, by lane.all_node */
	struct list by_state[LANE_STATES]; /* each lane on one of them */
	int n_lanes[LANE_STATES];
	uint64_t n_handled;                  /* events, since birth */
	struct sql_handlers deliveries;      /* by subscription */
	struct sql_handlers handlers;        /* by function */
	struct runner *runners[SUB_RUNNERS]; /* NULL = never opened */
};

/* subscriber.c */

/* The control connection can be used, and new work may begin. */
bool subscriber_open(const struct subscriber *sub);

/* Log a failed call on the control connection; *said makes it once, until the
 * caller clears it after a success. */
void subscriber_complain(bool *said, const char *what, const char *why);

/* Give lanes in the line to free runners; while draining, finish when no
 * lane is in work. Called after every change. */
void subscriber_advance(struct subscriber *sub);

/* wake.c */
void wake_init(struct subscriber *sub);
void wake_start(struct subscriber *sub); /* registered: look at once */
void wake_stop(struct subscriber *sub);
void wake_notified(struct subscriber *sub, const char *payload);
/* Who wants NOTIFYs may have died: say it again. */
void wake_assert(struct subscriber *sub);

/* claim.c */
void claim_init(struct subscriber *sub);
void claim_now(struct subscriber *sub);
void claim_stop(struct subscriber *sub);

/* keep.c: with each beat of the claim. */
void keep_beat(struct subscriber *sub);

/* A number as the text of a parameter. */
struct number {
	char text[24];
};
const char *number_text(struct number *n, int64_t value);

#endif
