/*
 * Slots: the master's process table. A slot is a place for one process of a
 * role or class; processes in it may die and be restarted, the slot stays.
 * While a process is replaced (replace.h) its place has two slots of one name:
 * the successor's, and the one that leaves.
 */
#ifndef CHIMP_SUPERVISOR_SLOT_H
#define CHIMP_SUPERVISOR_SLOT_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/msg.h"
#include "common/base/uuid.h"
#include "common/conf/conf.h"
#include "supervisor/backoff.h"
#include "supervisor/crash.h"
#include "supervisor/states.h"

struct conf_class;
struct master;
struct role;

struct slot {
	struct list node;  /* on master->slots_in[state] */
	struct list table; /* on master->slots: all, as configured */
	struct master *master;
	enum slot_state state; /* slot_set_state changes it */
	uint32_t number;       /* never given twice */
	uint32_t generation;   /* how many processes it has had */
	uint32_t restarts;     /* of its place: those before it died; goes on
				* in a successor */
	const struct role *role;
	char class[40];  /* of a worker; "" = other roles */
	int index;       /* in its role or class */
	char name[64];   /* "worker/default/0" */
	uint32_t serial; /* of the configuration that it has, or will have */

	/* Its part in a replacement; see replace.h. */
	struct slot *successor;   /* is to take its place; NULL = none */
	struct slot *predecessor; /* whose place it is to take */
	bool on_trial;            /* new with a reload, and was never ready */
	bool leaving;             /* ends with its process */

	/* The process in it; pid is 0 and fd -1 when there is none. */
	pid_t pid;                   /* also the number of its process group */
	int fd;                      /* the master's end of the socketpair */
	struct event io;             /* fd is readable */
	int64_t born_ms;             /* CLOCK_MONOTONIC, as all *_ms here */
	int64_t ready_ms;            /* 0 = not yet */
	int64_t drain_until_ms;      /* SLOT_DRAINING: then KILL; 0 = none */
	char id[UUID_TEXT_BYTES];    /* its birth id */
	struct msg heartbeat;        /* the last one; zeroed at birth */
	uint32_t wrong_messages;     /* counted and ignored */
	struct conf_recycle recycle; /* its limits, with jitter */
	int64_t connections;         /* that it may open */
	char cause[160];             /* why the master kills it, "" = no */
	bool hangs;                  /* so the watchdog says */
	struct crash_page page;      /* what it has started */
	char outworn[160];           /* why it is recycled, "" = it is not */

	/* What the next one gets. */
	struct crash crash; /* of the one before, if it was one */
	struct backoff backoff;
	int64_t restart_delay_ms;       /* for SLOT_WAITING */
	struct backoff replace_backoff; /* of replacements that failed */
	int64_t replace_after_ms;       /* none before */

	struct event timer; /* what it means depends on the state */
	int64_t due_ms;     /* when it should fire */
};

/* From the end of its time to KILL: a child then needs up to 800 ms to cancel
 * what runs and to deregister (roles/role.c). */
enum { SLOT_KILL_AFTER_MS = 850 };

/* Before it is on any list: make its timer. */
void slot_timer_init(struct slot *slot);

/*
 * The one function that changes a slot's state: moves lists and the timer, and
 * logs what happened: the slot's name, its pid and the words given.
 */
void slot_set_state(struct slot *slot, enum slot_state state,
    enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* True if a process lives in it. */
bool slot_alive(const struct slot *slot);

/* Fork a process into an empty or waiting slot. */
void slot_start(struct slot *slot);

/* Its process is to finish and to exit; killed after limit_ms, 0 = never. */
void slot_drain(struct slot *slot, int64_t limit_ms, const char *why);

/* Its process was heard: the watchdog's time starts again. */
void slot_heard(struct slot *slot);

/* Send the process a message; false if it cannot take it. */
bool slot_send(struct slot *slot, enum msg_type type, int64_t deadline_ms);
bool slot_send_rescue(
    struct slot *slot, const char *birth, const struct msg_crash *crash);

/* A signal to its process and all that the process started. */
void slot_kill_group(struct slot *slot, int sig);

/* Its process is gone: close what belonged to it. */
void slot_clear(struct slot *slot);

#endif
