/*
 * A lane that this process owns, and its states. See subscriber.h.
 *
 *	IDLE -> QUEUED -> WORKING -> IDLE, QUEUED or DELAYED -> QUEUED
 *
 * A lane is on exactly one list of the subscriber, that of its state;
 * lane_set_state moves it.
 */
#ifndef CHIMP_ROLES_SUBSCRIBER_LANE_H
#define CHIMP_ROLES_SUBSCRIBER_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/loop.h"
#include "common/pg/link.h"

struct subscriber;

/* Lanes in one transaction. */
#define LANES_TOGETHER_MAX 16

enum lane_state {
	LANE_IDLE,    /* handled everything up to seen_tick */
	LANE_QUEUED,  /* waits for a runner */
	LANE_WORKING, /* a runner has it */
	LANE_DELAYED, /* its next event failed, or it is paused: it waits */
	LANE_STATES
};

struct lane {
	struct list all_node;
	struct list state_node;
	struct subscriber *sub;
	enum lane_state state;
	int64_t id;
	int64_t epoch; /* of our ownership */
	int number;    /* among those of its subscription */
	int owned;     /* of its subscription, by us */
	int64_t tick;  /* its position; -1 = unknown */
	int64_t event_id;
	char *name;                    /* "subscription/number", for the log */
	const struct pg_stmt *deliver; /* several events */
	const struct pg_stmt *handler; /* one event */
	int batch;                     /* events in a transaction at most */
	int singly;        /* next events that are to be run one by one */
	bool apart;        /* runs by itself: it is slow, or has failed */
	bool gone;         /* no longer ours; freed when its runner is done */
	bool listed;       /* in the answer of the claim in hand */
	bool complained;   /* the log knows that it cannot be read */
	int64_t seen_tick; /* nothing is left up to this tick; -1 = unknown */
	bool skips;        /* seen_tick is ahead of the database's position */
	unsigned int conflicts; /* in a row: serialization, deadlock */
	struct loop_timer delay;
};

/* What a runner's turn at a lane came to. */
enum lane_turn {
	LANE_TURN_DONE,  /* everything up to `tick` is handled */
	LANE_TURN_MORE,  /* there is more: back into the line */
	LANE_TURN_DELAY, /* read again after delay_ms */
	LANE_TURN_GONE   /* it is another's now, or paused */
};

/* A lane as lanes_claim describes it. */
struct lane_claim {
	int64_t id;
	int64_t epoch;
	const char *subscription;
	int number;
	int owned; /* lanes of this subscription that are ours */
	int batch;
	int64_t tick; /* where it stands */
	int64_t event_id;
	/* Until its next event, which failed, is tried again. */
	int64_t retry_ms;
	const struct pg_stmt *deliver;
	const struct pg_stmt *handler;
};

/* Take a lane up, to be read at once. */
void lane_new(struct subscriber *sub, const struct lane_claim *claim);

/* What a new claim says about a lane that we have. */
void lane_update(struct lane *lane, const struct lane_claim *claim);

/* NULL if there is none of ours with this id. */
struct lane *lane_find(struct subscriber *sub, int64_t id);

/* The lane is not ours any more: drop it, or have its runner drop it. */
void lane_forget(struct lane *lane);

/* Put a lane into the line unless it is there, in work or delayed. */
void lane_queue(struct lane *lane);

/* Nothing is left for an idle lane up to this tick. */
void lane_skip(struct lane *lane, int64_t tick);

/* Take the first of the line for a runner, and others of its subscription that
 * stand where it does, up to half of those that are ours: so that two runners
 * share the work. Returns how many; 0 if the line is empty. */
int lanes_take(struct subscriber *sub, struct lane *taken[LANES_TOGETHER_MAX]);

/* The runner's turn is over. `tick` and `delay_ms` as in enum lane_turn. The
 * lane may be gone when it returns. */
void lane_turn_end(
    struct lane *lane, enum lane_turn turn, int64_t tick, int64_t delay_ms);

/* Give a lane back to the database and drop it. Not while it is in work. */
void lane_release(struct lane *lane);

#endif
