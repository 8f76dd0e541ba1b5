/*
 * What the master and a child say to each other over their private socketpair
 * (SOCK_SEQPACKET: a message arrives whole or not at all). One fixed struct;
 * the receiver checks size, version, slot and generation, and counts and
 * ignores what does not fit: neither trusts the other.
 */
#ifndef CHIMP_BASE_MSG_H
#define CHIMP_BASE_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/uuid.h"

enum msg_type {
	/* child to master */
	MSG_READY = 1, /* the child serves; sent once */
	MSG_RESCUED,   /* what the process `birth` held is released */
	MSG_HEARTBEAT, /* once a second: state, busy, capacity, done, text */
	/* master to child */
	MSG_DRAIN,     /* stop accepting and claiming, finish, exit 0;
			* deadline_ms = time left, 0 = no limit */
	MSG_REOPEN,    /* reopen log files */
	MSG_LOG_LEVEL, /* level */
	MSG_RESCUE     /* the process `birth` is dead: release what it held */
};

/* What a child is doing, as its heartbeats say. */
enum msg_state {
	MSG_STATE_STARTING = 1,
	MSG_STATE_SERVING,
	MSG_STATE_WAITING_DB, /* alive, the database is not reachable */
	MSG_STATE_DRAINING
};

enum { MSG_STARTED_MAX = 64 };

/* The end of a process by its own fault, and what it had started (G7). */
struct msg_crash {
	char how[448];      /* in words; "" = it was not its own fault */
	uint32_t n_started; /* claims; more than fit stands for all it held */
	int64_t started[MSG_STARTED_MAX]; /* their tokens */
};

#define MSG_VERSION 3

struct msg {
	uint32_t version;    /* MSG_VERSION */
	uint32_t type;       /* enum msg_type */
	uint32_t slot;       /* the master's number of the slot */
	uint32_t generation; /* of the process in the slot */
	uint32_t state;      /* enum msg_state */
	uint32_t busy;       /* requests, jobs or lanes in work */
	uint32_t capacity;   /* how many there can be */
	uint32_t level;      /* enum log_level */
	uint32_t stopping;   /* from the master: the whole node stops */
	uint64_t done;       /* requests, jobs, events since its birth */
	int64_t deadline_ms;
	char birth[UUID_TEXT_BYTES];
	char text[128];         /* what it does, in words, for status lines */
	struct msg_crash crash; /* of MSG_RESCUE */
};

/* Send without blocking; false when the peer is gone or its buffer is full. */
bool msg_send(int fd, const struct msg *msg);

/* 1 = a message, 0 = none now, -1 = the peer is gone, -2 = a wrong one. */
int msg_receive(int fd, struct msg *msg);

#endif
