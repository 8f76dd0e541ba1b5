/*
 * Telling systemd and --ready-fd. See notify.h.
 */
#include "supervisor/notify.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NOTIFY_RETRY_MS = 100 };

/* NOTIFY_SOCKET is a path, or "@name" in the abstract namespace. */
static void
notify_open(struct notify *n, const char *path)
{
	size_t length = strlen(path);

	if ((path[0] != '/' && path[0] != '@') ||
	    length >= sizeof(n->address.sun_path)) {
		log_warn("NOTIFY_SOCKET=%s is not a socket address", path);
		return;
	}
	n->address.sun_family = AF_UNIX;
	memcpy(n->address.sun_path, path, length + 1);
	if (path[0] == '@')
		n->address.sun_path[0] = '\0';
	n->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				       length + (path[0] == '/'));
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int64_t
notify_watchdog_us(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (usec == NULL || (pid != NULL && atol(pid) != (long)getpid()))
		return 0;
	return strtoll(usec, NULL, 10);
}

void
notify_init(struct notify *n, int ready_fd)
{
	const char *path = getenv("NOTIFY_SOCKET");

	memset(n, 0, sizeof(*n));
	n->fd = -1;
	n->ready_fd = ready_fd;
	if (path != NULL && path[0] != '\0') {
		notify_open(n, path);
		n->watchdog_us = notify_watchdog_us();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

/* False if it is worth another try. */
static bool
notify_send(struct notify *n, const char *text)
{
	if (n->fd < 0 ||
	    sendto(n->fd, text, strlen(text), MSG_NOSIGNAL,
		(const struct sockaddr *)&n->address, n->address_bytes) >= 0)
		return true;
	log_debug("cannot notify systemd: %s", strerror(errno));
	return errno != EAGAIN && errno != ENOBUFS;
}

/*
 * systemd's queue may be full while the whole machine starts, and it waits
 * for a READY=1 that it has not got until TimeoutStartSec is over.
 */
static void
notify_flush(struct notify *n)
{
	static const struct timeval again = {0, NOTIFY_RETRY_MS * 1000L};
	char message[sizeof(n->status) + 8];

	if (n->unsent_state[0] != '\0' && notify_send(n, n->unsent_state))
		n->unsent_state[0] = '\0';
	snprintf(message, sizeof(message), "STATUS=%s", n->status);
	if (n->unsent_status && notify_send(n, message))
		n->unsent_status = false;
	if (event_initialized(&n->retry) &&
	    (n->unsent_status || n->unsent_state[0] != '\0'))
		event_add(&n->retry, &again);
}

static void
notify_on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	notify_flush(arg);
}

/* READY=1, RELOADING=1 or STOPPING=1: each replaces the one before. */
static void
notify_state(struct notify *n, const char *text)
{
	snprintf(n->unsent_state, sizeof(n->unsent_state), "%s", text);
	notify_flush(n);
}

static void
notify_on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	notify_send(arg, "WATCHDOG=1");
}

void
notify_start(struct notify *n, struct event_base *base)
{
	int64_t us = n->watchdog_us / 2;
	struct timeval tv = {us / 1000000, us % 1000000};

	evtimer_assign(&n->retry, base, notify_on_retry, n);
	event_assign(&n->watchdog, base, -1, EV_PERSIST, notify_on_watchdog, n);
	if (n->watchdog_us > 0)
		event_add(&n->watchdog, &tv);
}

void
notify_status(struct notify *n, const char *text)
{
	if (strncmp(text, n->status, sizeof(n->status) - 1) == 0)
		return;
	snprintf(n->status, sizeof(n->status), "%s", text);
	n->unsent_status = true;
	notify_flush(n);
}

void
notify_ready(struct notify *n)
{
	notify_state(n, "READY=1");
	if (n->ready_fd < 0)
		return;
	if (fd_write_all(n->ready_fd, "READY\n", 6) != 0)
		log_warn("cannot write to the descriptor of --ready-fd: %s",
		    strerror(errno));
	fd_close(&n->ready_fd);
}

void
notify_reloading(struct notify *n)
{
	struct timespec now;
	char text[64];

	/* MONOTONIC_USEC: systemd 253 wants it, older ones ignore it. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
	    (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	notify_state(n, text);
}

void
notify_stopping(struct notify *n)
{
	notify_state(n, "STOPPING=1");
}

void
notify_extend(struct notify *n, int64_t ms)
{
	char text[64];

	snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%" PRId64, ms * 1000);
	notify_send(n, text);
}

void
notify_done(struct notify *n)
{
	if (event_initialized(&n->watchdog))
		event_del(&n->watchdog);
	if (event_initialized(&n->retry))
		event_del(&n->retry);
	notify_forget(n);
}

void
notify_forget(struct notify *n)
{
	fd_close(&n->fd);
	fd_close(&n->ready_fd);
}
