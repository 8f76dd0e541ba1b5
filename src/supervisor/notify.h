/*
 * Telling the outside: systemd's notification socket (sd_notify(3), without
 * libsystemd) and the descriptor of --ready-fd. All of it does nothing where
 * nobody listens.
 */
#ifndef CHIMP_SUPERVISOR_NOTIFY_H
#define CHIMP_SUPERVISOR_NOTIFY_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd;       /* datagrams to systemd; -1 = not started by systemd */
	int ready_fd; /* -1 = none, or used up */
	struct sockaddr_un address;
	socklen_t address_bytes;
	int64_t watchdog_us;   /* 0 = systemd does not watch us */
	struct event watchdog; /* pings at half of it */
	char status[256];      /* the last STATUS= */
	/* What systemd's full queue did not take; the newest state counts. */
	char unsent_state[64]; /* "" = none */
	bool unsent_status;
	struct event retry;
};

/*
 * Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and take them out of the
 * environment: PostgreSQL would send a READY=1 of its own.
 */
void notify_init(struct notify *n, int ready_fd);

/* Begin to ping systemd's watchdog, and to repeat what it did not take. */
void notify_start(struct notify *n, struct event_base *base);

/* STATUS=, when it differs from the last one. */
void notify_status(struct notify *n, const char *text);

void notify_ready(struct notify *n);

/* A reload begins; notify_ready says that it is over. */
void notify_reloading(struct notify *n);
void notify_stopping(struct notify *n);

/* The start takes longer: it is not over for another `ms`. */
void notify_extend(struct notify *n, int64_t ms);

void notify_done(struct notify *n);

/* In a forked child. */
void notify_forget(struct notify *n);

#endif
