/*
 * Once a second: clients that are too slow or idle for too long. Four times,
 * while handlers are at work: clients that are gone.
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
	SWEEP_GONE_MS = 250, /* clients that left, while handlers work */
	/* A busy client is idle for microseconds between two requests: to
	 * shut it then would lose its next one. */
	SWEEP_DRAIN_IDLE_MS = 1000
};

enum sweep_phase {
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

/* Bytes that the client has taken, as far as the kernel tells. */
static uint64_t
sweep_written(int fd)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);
	int queued = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0)
		return info.tcpi_bytes_acked;
	/* A Unix socket: its queue changes when the client reads. */
	if (ioctl(fd, SIOCOUTQ, &queued) != 0)
		return 0;
	return (uint64_t)queued;
}

/* What must change, or the phase's time runs out. A header gets its time once:
 * a byte now and then (slowloris) is no progress. */
static uint64_t
sweep_progress(const struct conn *conn, enum sweep_phase phase)
{
	switch (phase) {
	case SWEEP_BODY:
		return conn->sock->bytes_read;
	case SWEEP_WRITE:
		return sweep_written(h2o_socket_get_fd(conn->sock));
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

static int
sweep_on_request(h2o_req_t *req, void *arg)
{
	int64_t now = *(int64_t *)arg;
	struct conn *conn = conn_of(req);
	enum sweep_phase phase = sweep_phase(conn, req);
	uint64_t progress = sweep_progress(conn, phase);

	if ((int)phase != conn->phase || progress != conn->progress) {
		conn->phase = (int)phase;
		conn->progress = progress;
		conn->since_ms = now;
	} else if (now - conn->since_ms >= sweep_limit_ms(conn->http, phase)) {
		sweep_expire(conn, phase);
	}
	return 0;
}

/*
 * --- clients that left while a handler works for them ---
 *
 * One that only ends its side (`nc -N`) looks the same to TCP as one that is
 * gone: it gets its answer if that takes less than until the next look.
 */

struct sweep_polls {
	struct pollfd *fds;
	struct conn **conns;
	nfds_t n;
};

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
	poll(p.fds, p.n, 0);
	for (nfds_t i = 0; i < p.n; i++) {
		struct conn *conn = p.conns[i];
		bool ended = p.fds[i].revents != 0;

		if (ended && conn->ended == conn->n_requests)
			call_drop(conn->call);
		conn->ended = ended ? conn->n_requests : 0;
	}
	free(p.fds);
	free(p.conns);
}

static void
sweep_on_timer(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;
	int64_t now = clock_mono_ms();

	if (now - http->swept_ms >= SWEEP_MS) {
		http->swept_ms = now;
		http->config.http1.callbacks.foreach_request(
		    &http->context, sweep_on_request, &now);
	}
	sweep_gone(http);
	loop_timer_start(timer, http->n_calls > 0 ? SWEEP_GONE_MS : SWEEP_MS);
}

void
sweep_start(struct http *http)
{
	loop_timer_init(&http->sweep_timer, http->loop, sweep_on_timer, http);
	loop_timer_start(&http->sweep_timer, SWEEP_MS);
}
