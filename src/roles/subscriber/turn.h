/*
 * What the files of a runner share. See runner.h.
 *
 *	runner.c	the connection; how a turn begins and ends
 *	deliver.c	several events in a transaction
 *	singly.c	one by one
 */
#ifndef CHIMP_ROLES_SUBSCRIBER_TURN_H
#define CHIMP_ROLES_SUBSCRIBER_TURN_H

#include "common/pg/link.h"
#include "roles/subscriber/lane.h"
#include "roles/subscriber/runner.h"
#include "roles/subscriber/subscriber.h"

/* After an error that is not an event's own: the server is in trouble. */
#define TURN_TROUBLE_MS 1000

/* What stopped a turn. */
enum turn_failure {
	FAILURE_NONE,
	FAILURE_LOST,     /* the connection died: the cursor knows how far */
	FAILURE_STALE,    /* CH001: the lane is another's, or paused */
	FAILURE_CONFLICT, /* the event is innocent: serialization, deadlock */
	FAILURE_TROUBLE,  /* the server cannot now: out of something */
	FAILURE_OWN       /* the event's handler failed: charged */
};

struct turn_position {
	int64_t tick;
	int64_t id;
};

struct runner {
	struct subscriber *sub;
	struct pg_link *link;
	/* In work; none between turns. One by one goes only one. */
	struct lane *lanes[LANES_TOGETHER_MAX];
	int n_lanes;
	int64_t tick;     /* newest tick known when the lanes were read */
	int64_t begun_ms; /* CLOCK_MONOTONIC */
	/* singly.c */
	struct turn_position *window; /* the events sent, in order */
	int room;                     /* of window */
	int sent;
	int answered; /* the first of them; answers come in order */
	enum turn_failure failure; /* of the first event that failed */
	struct turn_position failed;
	char *error[5]; /* FAILURE_OWN: sqlstate, message, detail, hint,
			 * context; NULL where there is none */
};

/* runner.c */

/* The turn of all lanes is over, and nothing more can be said of them. */
void turn_end(struct runner *r, enum lane_turn turn, int64_t delay_ms);

/* The same, stopped by `failure`, any but FAILURE_OWN, as far as the lanes
 * stand for it. */
void turn_end_failed(struct runner *r, enum turn_failure failure);

enum turn_failure turn_classify(const struct pg_reply *reply);

/* Log what keeps a lane from its events; once until it works again. */
void turn_say_trouble(struct runner *r, const char *what, const char *why);

/* deliver.c, singly.c */
void turn_deliver(struct runner *r);
void turn_singly(struct runner *r);
void turn_forget_error(struct runner *r);

#endif
