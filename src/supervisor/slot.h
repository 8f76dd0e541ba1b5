/*
 * Slots: the master's process table. A slot is a place for one process of a
 * role or class; processes in it may die and be replaced, the slot stays.
 */
#ifndef CHIMP_SUPERVISOR_SLOT_H
#define CHIMP_SUPERVISOR_SLOT_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/list.h"
#include "common/base/msg.h"
#include "common/base/uuid.h"
#include "supervisor/backoff.h"

struct conf_worker;
struct master;
struct role;

enum slot_state {
	SLOT_EMPTY,    /* no process, and none is due */
	SLOT_WAITING,  /* its process died; the next comes with the timer */
	SLOT_STARTING, /* forked, not ready yet */
	SLOT_SERVING,
	SLOT_DRAINING, /* told to finish and exit */
	SLOT_HUNG,     /* its heartbeat stopped; ABRT was sent, KILL follows */
	SLOT_FAILED    /* refused its configuration: not restarted */
};
enum { SLOT_STATES = SLOT_FAILED + 1 };

struct slot {
	struct list node; /* on master->slots_in[state] */
	struct master *master;
	enum slot_state state; /* slot_set_state changes it */
	uint32_t number;       /* its index in master->slots */
	uint32_t generation;   /* how many processes it has had */
	const struct role *role;
	const struct conf_worker *worker; /* its class; NULL: other roles */
	int index;                        /* in its role or class */
	char name[64];                    /* "worker/default/0" */

	/* The process in it; pid is 0 and fd -1 when there is none. */
	pid_t pid;                /* also the number of its process group */
	int fd;                   /* the master's end of the socketpair */
	struct event io;          /* fd is readable */
	int64_t born_ms;          /* CLOCK_MONOTONIC, as all *_ms here */
	int64_t ready_ms;         /* 0 = not yet */
	char id[UUID_TEXT_BYTES]; /* its birth id */
	struct msg heartbeat;     /* the last one; zeroed at birth */
	uint32_t wrong_messages;  /* counted and ignored */

	/* What the next one gets. */
	char previous[UUID_TEXT_BYTES]; /* birth id to rescue, "" if none */
	struct backoff backoff;
	int64_t restart_delay_ms; /* for SLOT_WAITING */

	struct event timer; /* what it means depends on the state */
	int64_t due_ms;     /* when it should fire */
};

/* Make the table from the configuration; 0, or -1 if it is empty. */
int slot_table_init(struct master *m);
void slot_table_done(struct master *m);

/* The one function that changes a slot's state: moves lists and the timer. */
void slot_set_state(struct slot *slot, enum slot_state state);
const char *slot_state_name(enum slot_state state);

/* True if a process lives in it. */
bool slot_alive(const struct slot *slot);

/* How many slots have a process. */
int slot_count_alive(const struct master *m);

/* The slot of a process; NULL if it is not one of ours. */
struct slot *slot_by_pid(struct master *m, pid_t pid);

/* Fork a process into an empty or waiting slot. */
void slot_start(struct slot *slot);

/* Send the process a message; false if it cannot take it. */
bool slot_send(struct slot *slot, enum msg_type type, int64_t deadline_ms,
    const char *birth);

/* A signal to its process and all that the process started. */
void slot_kill_group(struct slot *slot, int sig);

/* Its process is gone: close what belonged to it. */
void slot_clear(struct slot *slot);

/* Its heartbeat was seen: the watchdog's time starts again. */
void slot_alive_again(struct slot *slot);

#endif
