/*
 * The connections and the loop. A connection is closed, connecting, idle or
 * busy; of the idle ones a random one is asked next. Nothing blocks but the
 * first connects.
 */
#include "load.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GRACE_US (6 * INT64_C(1000000)) /* for answers after the last phase */
#define SETTLE_US \
	500000 /* for the server to accept all, before the first phase */
#define RETRY_US   10000 /* until a failed connect is repeated */
#define SOURCES    100   /* addresses from 127.0.0.2 on */
#define ANSWER_MAX 16384
#define LOOK_MAX   1024
/* How often an open loop sends and looks: a client that woke for each request
 * and answer would need several times the processor, which the server lacks. */
#define TICK_US 1000

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY };

struct conn {
	int fd;
	enum conn_state state;
	size_t number;
	size_t at;      /* in drive.idle, if it is idle */
	uint64_t id;    /* of its request */
	int64_t due_us; /* when that was due */
	int64_t sent_us;
	struct load_phase *phase; /* to which it counts */
	size_t len;
	char buf[ANSWER_MAX + 1];
};

struct drive {
	struct load *load;
	struct conn *conns;
	struct conn **idle;
	size_t n_idle;
	size_t n_busy;
	size_t n_closed;
	int epoll_fd;
	int64_t retry_us; /* when closed ones are opened again */
	uint64_t sent;
	uint64_t random;
};

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* xorshift64, Marsaglia 2003 */
static uint64_t
random_below(struct drive *d, uint64_t n)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random % n;
}

static uint64_t
next_id(struct drive *d)
{
	d->sent++;
	if (d->load->ids == 0)
		return d->load->first + d->sent - 1;
	return 1 + random_below(d, d->load->ids);
}

static void
times_add(struct load_times *times, int64_t us)
{
	if (times->n == times->room) {
		times->room = times->room > 0 ? 2 * times->room : 65536;
		times->us =
		    reallocarray(times->us, times->room, sizeof(*times->us));
		if (times->us == NULL)
			err(1, "memory for %zu times", times->room);
	}
	times->us[times->n++] = us < 0            ? 0
				: us > UINT32_MAX ? UINT32_MAX
						  : (uint32_t)us;
}

/* Connections ---------------------------------------------------------- */

static void
conn_set_state(struct drive *d, struct conn *c, enum conn_state state)
{
	if (c->state == CONN_BUSY)
		d->n_busy--;
	if (c->state == CONN_CLOSED)
		d->n_closed--;
	if (c->state == CONN_IDLE) {
		d->idle[c->at] = d->idle[--d->n_idle];
		d->idle[c->at]->at = c->at;
	}
	c->state = state;
	if (state == CONN_BUSY)
		d->n_busy++;
	if (state == CONN_CLOSED)
		d->n_closed++;
	if (state == CONN_IDLE) {
		c->at = d->n_idle++;
		d->idle[c->at] = c;
	}
}

static void
conn_close(struct drive *d, struct conn *c)
{
	close(c->fd);
	c->fd = -1;
	c->len = 0;
	conn_set_state(d, c, CONN_CLOSED);
}

/* Of many addresses, so that what a server grants one client is not the
 * limit, and ports suffice. */
static void
bind_source(struct conn *c)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	int on = 1;

	from.sin_addr.s_addr =
	    htonl(INADDR_LOOPBACK + 1 + (uint32_t)(c->number % SOURCES));
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		err(1, "bind to 127.0.0.%zu", 2 + c->number % SOURCES);
}

static void
conn_open(struct drive *d, struct conn *c, bool wait)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	const struct sockaddr *to = (struct sockaddr *)&d->load->to;
	int on = 1, done;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		err(1, "socket %zu", c->number);
	bind_source(c);
	if (!wait)
		fcntl(c->fd, F_SETFL, O_NONBLOCK);
	done = connect(c->fd, to, sizeof(d->load->to));
	if (done != 0 && wait)
		err(1, "connection %zu", c->number);
	if (done != 0 && errno != EINPROGRESS) {
		close(c->fd);
		c->fd = -1;
		return;
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (done != 0)
		event.events = EPOLLOUT;
	epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
	conn_set_state(d, c, done == 0 ? CONN_IDLE : CONN_CONNECTING);
}

static void
conn_connected(struct drive *d, struct conn *c)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0) {
		conn_close(d, c);
		return;
	}
	epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
	conn_set_state(d, c, CONN_IDLE);
}

static void
open_closed(struct drive *d, int64_t now)
{
	if (d->n_closed == 0 || now < d->retry_us)
		return;
	d->retry_us = now + RETRY_US;
	for (size_t i = 0; i < d->load->connections; i++) {
		if (d->conns[i].state == CONN_CLOSED)
			conn_open(d, &d->conns[i], false);
	}
}

/* Requests ------------------------------------------------------------- */

static size_t
write_request(const struct load *load, uint64_t id, char out[2 * LOAD_TEXT_MAX])
{
	char path[LOAD_TEXT_MAX], body[LOAD_TEXT_MAX] = "";
	size_t body_len = 0;
	int len;

	text_fill(path, load->path, id);
	if (load->body == NULL) {
		len = snprintf(out, 2 * LOAD_TEXT_MAX,
		    "%s %s HTTP/1.1\r\nHost: bench\r\n\r\n", load->method,
		    path);
		return (size_t)len;
	}
	body_len = text_fill(body, load->body, id);
	len = snprintf(out, 2 * LOAD_TEXT_MAX,
	    "%s %s HTTP/1.1\r\nHost: bench\r\n"
	    "Content-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    load->method, path, body_len, body);
	return (size_t)len < 2 * LOAD_TEXT_MAX ? (size_t)len
					       : 2 * LOAD_TEXT_MAX - 1;
}

static void
not_good(struct conn *c)
{
	int64_t since = c->due_us - c->phase->began_us;

	if (since > c->phase->settled_us)
		c->phase->settled_us = since;
}

static void
ask(struct drive *d, struct load_phase *phase, int64_t due_us)
{
	struct conn *c = d->idle[random_below(d, d->n_idle)];
	char text[2 * LOAD_TEXT_MAX];
	size_t len;

	c->id = next_id(d);
	c->due_us = due_us;
	c->sent_us = now_us();
	c->phase = phase;
	phase->due++;
	conn_set_state(d, c, CONN_BUSY);
	/* A request at a time fits any socket's buffer. */
	len = write_request(d->load, c->id, text);
	if (send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
		phase->broken++;
		not_good(c);
		conn_close(d, c);
	}
}

/* Answers -------------------------------------------------------------- */

static bool
is_right(const struct load *load, const struct conn *c, const struct answer *a)
{
	char body[LOAD_TEXT_MAX];
	size_t len;

	if (a->status < 200 || a->status > 299)
		return false;
	if (load->expect == NULL)
		return true;
	len = text_fill(body, load->expect, c->id);
	return a->body_len == len && memcmp(a->body, body, len) == 0;
}

static void
count(struct drive *d, struct conn *c, const struct answer *a, int64_t now)
{
	struct load_phase *phase = c->phase;
	char *first = d->load->first_wrong;
	int64_t took = now - c->due_us;
	bool good = is_right(d->load, c, a);

	if (!good || took > d->load->late_us)
		not_good(c);
	if (good) {
		phase->good++;
		times_add(&phase->good_times, took);
	} else if (a->status == 503) {
		phase->refused++;
		times_add(&phase->refused_times, took);
		times_add(&phase->refused_sent_times, now - c->sent_us);
	} else {
		phase->wrong++;
		if (first[0] == '\0')
			snprintf(first, sizeof(d->load->first_wrong),
			    "%d to %" PRIu64 ": %.*s", a->status, c->id,
			    (int)a->body_len, a->body);
	}
}

static void
broke(struct drive *d, struct conn *c)
{
	if (c->state == CONN_BUSY) {
		c->phase->broken++;
		not_good(c);
	}
	conn_close(d, c);
}

static void
take(struct drive *d, struct conn *c)
{
	struct answer a = {0};
	enum answer_state state;
	ssize_t n;

	n = recv(c->fd, c->buf + c->len, ANSWER_MAX - c->len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* What comes without having been asked for is no answer, either. */
	if (n <= 0 || c->state != CONN_BUSY) {
		broke(d, c);
		return;
	}
	c->len += (size_t)n;
	c->buf[c->len] = '\0';
	state = answer_parse(c->buf, c->len, &a);
	if (state == ANSWER_BAD ||
	    (state == ANSWER_PART && c->len == ANSWER_MAX)) {
		broke(d, c);
	} else if (state == ANSWER_WHOLE) {
		count(d, c, &a, now_us());
		c->len = 0;
		if (a.closes)
			conn_close(d, c);
		else
			conn_set_state(d, c, CONN_IDLE);
	}
}

static void
look(struct drive *d, int64_t until_us)
{
	struct epoll_event events[LOOK_MAX];
	struct timespec wait = {0};
	int64_t left = until_us - now_us();
	int n;

	if (left > RETRY_US)
		left = RETRY_US;
	if (left > 0)
		wait.tv_nsec = left * 1000;
	n = epoll_pwait2(d->epoll_fd, events, LOOK_MAX, &wait, NULL);
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (c->state == CONN_CONNECTING)
			conn_connected(d, c);
		else
			take(d, c);
	}
	open_closed(d, now_us());
}

/* Phases --------------------------------------------------------------- */

static void
run_closed(struct drive *d, struct load_phase *phase, int64_t end)
{
	int64_t now;

	while ((now = now_us()) < end) {
		while (d->n_idle > 0)
			ask(d, phase, now_us());
		look(d, end);
	}
}

static void
run_open(struct drive *d, struct load_phase *phase, int64_t end)
{
	double gap = 1e6 / phase->rate;
	uint64_t n = 0;
	int64_t now, due = phase->began_us;

	while ((now = now_us()) < end) {
		due = phase->began_us + (int64_t)((double)n * gap);
		while (due <= now && d->n_idle > 0) {
			ask(d, phase, due);
			due = phase->began_us + (int64_t)((double)++n * gap);
		}
		usleep(TICK_US);
		look(d, 0);
	}
	if (now - due > d->load->late_us)
		phase->settled_us = now - phase->began_us;
	n = (uint64_t)(phase->seconds * phase->rate);
	if (n > phase->due)
		phase->unsent = n - phase->due;
}

static void
drive_init(struct drive *d, struct load *load)
{
	d->load = load;
	d->random = UINT64_C(0x9e3779b97f4a7c15);
	d->conns = calloc(load->connections, sizeof(*d->conns));
	d->idle = calloc(load->connections, sizeof(struct conn *));
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->conns == NULL || d->idle == NULL || d->epoll_fd < 0)
		err(1, "%zu connections", load->connections);
	d->n_closed = load->connections;
	for (size_t i = 0; i < load->connections; i++) {
		d->conns[i].number = i;
		conn_open(d, &d->conns[i], true);
	}
}

void
load_run(struct load *load)
{
	struct drive d = {0};
	int64_t end;

	drive_init(&d, load);
	end = now_us() + SETTLE_US;
	while (load->connections > 1000 && now_us() < end)
		look(&d, end);
	for (size_t i = 0; i < load->n_phases; i++) {
		struct load_phase *phase = &load->phases[i];

		phase->began_us = now_us();
		end = phase->began_us + (int64_t)(phase->seconds * 1e6);
		if (phase->rate > 0)
			run_open(&d, phase, end);
		else
			run_closed(&d, phase, end);
	}
	end = now_us() + GRACE_US;
	while (d.n_busy > 0 && now_us() < end)
		look(&d, end);
	for (size_t i = 0; i < load->connections; i++) {
		if (d.conns[i].state == CONN_BUSY)
			d.conns[i].phase->lost++;
		if (d.conns[i].fd >= 0)
			close(d.conns[i].fd);
	}
	close(d.epoll_fd);
	free(d.idle);
	free(d.conns);
}
