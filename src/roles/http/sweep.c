/*
 * Once a second: clients that are too slow, idle for too long; and more often
 * those that are gone.
 *
 * h2o 2.2 has one timer for idle, header and body together, none for writing,
 * and does not notice that a client left while a handler works. So each
 * connection is looked at: which phase it is in, since when, and whether bytes
 * went through. The exact deadline of requests is call.c's.
 */
#include "roles/http/http.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "roles/http/call.h"

enum {
	SWEEP_MS = 1000,
	SWEEP_GONE_MS = 250,
	/* Less of an answer than this in write_timeout is no progress: a
	 * client that takes a byte now and then would hold all of it. */
	SWEEP_WRITE_BYTES = 65536,
	/* A busy client is idle for microseconds between two requests: to
	 * shut it then would lose its next one. */
	SWEEP_DRAIN_IDLE_MS = 1000
};

enum sweep_phase {
	/* Of no request: a TLS handshake, or its end that the peer does not
	 * take. h2o has a timer for the handshake, and none for the end. */
	SWEEP_TLS,
	SWEEP_FRESH,  /* accepted, nothing read */
	SWEEP_IDLE,   /* between two requests */
	SWEEP_HEADER, /* a header has begun */
	SWEEP_BODY,
	SWEEP_WORK, /* a handler is at work */
	SWEEP_WRITE
};

static enum sweep_phase
sweep_phase(const struct conn *conn, const h2o_req_t *req)
{
	if (conn->call != NULL)
		return SWEEP_WORK;
	if (h2o_socket_is_writing(conn->sock))
		return SWEEP_WRITE;
	if (req->timestamps.request_body_begin_at.tv_sec != 0)
		return SWEEP_BODY;
	if (req->timestamps.request_begin_at.tv_sec != 0)
		return SWEEP_HEADER;
	return conn->n_requests == 0 ? SWEEP_FRESH : SWEEP_IDLE;
}

/* What the client has taken, as far as the kernel tells. */
static uint64_t
sweep_written(int fd)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);
	int queued = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0)
		return info.tcpi_bytes_acked / SWEEP_WRITE_BYTES;
	/* A Unix socket: its queue changes when the client reads. */
	if (ioctl(fd, SIOCOUTQ, &queued) != 0)
		return 0;
	return (uint64_t)queued;
}

/* What must change, or the phase's time runs out. A header gets its time once,
 * and so does a body: a byte now and then (slowloris) is no progress. */
static uint64_t
sweep_progress(const struct conn *conn, enum sweep_phase phase)
{
	switch (phase) {
	case SWEEP_WRITE:
		return sweep_written(h2o_socket_get_fd(conn->sock));
	case SWEEP_BODY:
	case SWEEP_TLS:
	case SWEEP_FRESH:
	case SWEEP_IDLE:
	case SWEEP_HEADER:
	case SWEEP_WORK:
		return conn->n_requests;
	}
	abort();
}

static int64_t
sweep_limit_ms(const struct http *http, enum sweep_phase phase)
{
	switch (phase) {
	case SWEEP_TLS:
	case SWEEP_FRESH:
	case SWEEP_IDLE:
		if (http->draining)
			return SWEEP_DRAIN_IDLE_MS;
		return phase == SWEEP_IDLE ? http->conf->idle_timeout_ms
					   : http->conf->read_header_timeout_ms;
	case SWEEP_HEADER:
		return http->conf->read_header_timeout_ms;
	case SWEEP_BODY:
		return http->conf->read_timeout_ms;
	case SWEEP_WRITE:
		return http->conf->write_timeout_ms;
	case SWEEP_WORK:
		return INT64_MAX;
	}
	abort();
}

static void
sweep_expire(struct conn *conn, enum sweep_phase phase)
{
	/* An idle one may just be sending: what is on its way is still read,
	 * and answered with Connection: close. */
	if (phase == SWEEP_IDLE || phase == SWEEP_FRESH)
		shutdown(h2o_socket_get_fd(conn->sock), SHUT_RD);
	else
		conn_shut(conn);
}

static void
sweep_look(struct conn *conn, enum sweep_phase phase, int64_t now)
{
	uint64_t progress = sweep_progress(conn, phase);

	if ((int)phase != conn->phase || progress != conn->progress) {
		conn->phase = (int)phase;
		conn->progress = progress;
		conn->since_ms = now;
	} else if (now - conn->since_ms >= sweep_limit_ms(conn->http, phase)) {
		sweep_expire(conn, phase);
	}
}

static int
sweep_on_request(h2o_req_t *req, void *arg)
{
	int64_t now = *(int64_t *)arg;
	struct conn *conn = conn_of(req);

	conn->known = true;
	sweep_look(conn, sweep_phase(conn, req), now);
	return 0;
}

/* Those that foreach_request did not show. */
static void
sweep_tls(struct http *http, int64_t now)
{
	struct list *n;

	LIST_FOREACH (n, &http->conns) {
		struct conn *conn = LIST_ENTRY(n, struct conn, node);

		if (!conn->known)
			sweep_look(conn, SWEEP_TLS, now);
		conn->known = false;
	}
}

/* --- clients that left while a handler works for them --- */

struct sweep_polls {
	struct pollfd *fds;
	struct conn **conns;
	nfds_t n;
};

/*
 * Both of its directions are over, or it has ended its own: TCP does not tell
 * whether such a client still reads, so it gets one more look's time for its
 * answer. A Unix socket does tell.
 */
static bool
sweep_is_gone(struct conn *conn, short revents)
{
	bool ended = conn->ended;
	int domain = AF_INET;
	socklen_t n = sizeof(domain);

	conn->ended = (revents & POLLRDHUP) != 0;
	if ((revents & (POLLHUP | POLLERR)) != 0)
		return true;
	if (!conn->ended || !ended)
		return false;
	getsockopt(
	    h2o_socket_get_fd(conn->sock), SOL_SOCKET, SO_DOMAIN, &domain, &n);
	return domain != AF_UNIX;
}

static void
sweep_gone(struct http *http)
{
	struct sweep_polls p = {NULL, NULL, 0};
	struct list *n;

	if (http->n_calls == 0)
		return;
	p.fds = mem_zalloc((size_t)http->n_conns * sizeof(*p.fds));
	p.conns = mem_zalloc((size_t)http->n_conns * sizeof(*p.conns));
	LIST_FOREACH (n, &http->conns) {
		struct conn *conn = LIST_ENTRY(n, struct conn, node);

		if (conn->call == NULL)
			continue;
		p.fds[p.n].fd = h2o_socket_get_fd(conn->sock);
		p.fds[p.n].events = POLLRDHUP;
		p.conns[p.n++] = conn;
	}
	/* Answers only queue writes here: no connection goes meanwhile. */
	if (poll(p.fds, p.n, 0) > 0)
		for (nfds_t i = 0; i < p.n; i++)
			if (sweep_is_gone(p.conns[i], p.fds[i].revents))
				call_drop(p.conns[i]->call);
	free(p.fds);
	free(p.conns);
}

static void
sweep_on_gone_timer(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;

	loop_timer_start(timer, http->n_calls > 0 ? SWEEP_GONE_MS : SWEEP_MS);
	sweep_gone(http);
}

static void
sweep_on_timer(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;
	int64_t now = clock_mono_ms();

	loop_timer_start(timer, SWEEP_MS);
	http->config.http1.callbacks.foreach_request(
	    &http->context, sweep_on_request, &now);
	if (http->tls != NULL)
		sweep_tls(http, now);
}

void
sweep_start(struct http *http)
{
	loop_timer_init(&http->sweep_timer, http->loop, sweep_on_timer, http);
	loop_timer_start(&http->sweep_timer, SWEEP_MS);
	loop_timer_init(
	    &http->gone_timer, http->loop, sweep_on_gone_timer, http);
	loop_timer_start(&http->gone_timer, SWEEP_GONE_MS);
}
