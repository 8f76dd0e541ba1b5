/*
 * Listeners and connections: h2o's configuration, accept, close.
 *
 * HTTP/2 stays off: h2o 2.2 has no defence against Rapid Reset
 * (CVE-2023-44487).
 */
#include "roles/http/http.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <h2o/http1.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "roles/http/edge.h"
#include "roles/http/refusal.h"
#include "roles/http/static.h"
#include "roles/http/tls.h"

enum {
	SERVER_ACCEPTS = 8, /* of one listener, per turn of the loop */
	SERVER_ACCEPT_PAUSE_MS = 100, /* when descriptors are out */
	/* How many connections a process may be ahead of its share, and how
	 * long it lets the others go first then. */
	SERVER_AHEAD_MAX = 16,
	SERVER_YIELD_MS = 1,
	/* Unacknowledged data of a peer that vanished: the kernel would try
	 * for a quarter of an hour. */
	SERVER_TCP_TIMEOUT_MS = 60000
};

/* --- connections --- */

struct conn *
conn_of(h2o_req_t *req)
{
	h2o_socket_t *sock = req->conn->callbacks->get_socket(req->conn);

	return sock->on_close.data;
}

void
conn_shut(struct conn *conn)
{
	/* ENOTCONN: the peer was first. */
	shutdown(h2o_socket_get_fd(conn->sock), SHUT_RDWR);
}

static void
conn_on_close(void *arg)
{
	struct conn *conn = arg;
	struct http *http = conn->http;

	list_remove(&conn->node);
	http->n_conns--;
	if (conn->counted)
		clients_leave(http->clients, &conn->peer, CLIENTS_CONNECTIONS);
	free(conn);
	server_listen(http);
	http_advance(http);
}

static void
conn_options(int fd)
{
	const int on = 1, timeout_ms = SERVER_TCP_TIMEOUT_MS;

	/* Both fail on Unix sockets, which do not need them. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(
	    fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static void
conn_new(struct http *http, h2o_accept_ctx_t *accept, h2o_socket_t *sock,
    const struct peer *peer, bool counted)
{
	struct conn *conn = mem_zalloc(sizeof(*conn));

	conn->http = http;
	conn->sock = sock;
	conn->peer = conn->client = *peer;
	conn->counted = counted;
	conn->endpoint = &http->endpoints->unmatched;
	conn->since_ms = clock_mono_ms();
	list_append(&http->conns, &conn->node);
	http->n_conns++;
	sock->on_close.cb = conn_on_close;
	sock->on_close.data = conn;
	conn_options(h2o_socket_get_fd(sock));
	h2o_accept(accept, sock);
}

/* A connection that its client has too many of is closed unheard. What comes
 * over a trusted proxy or a Unix socket is of many clients. */
static void
conn_accept(struct http *http, h2o_accept_ctx_t *accept, h2o_socket_t *sock)
{
	int64_t max = http->conf->max_connections_per_client;
	struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
	struct peer peer;
	bool counted;

	/* One that is gone has no address any more, though what it sent may
	 * still be read: nobody knows whom to believe. */
	if (h2o_socket_getpeername(sock, (struct sockaddr *)&ss) == 0) {
		h2o_socket_close(sock);
		return;
	}
	peer_of_sockaddr((const struct sockaddr *)&ss, &peer);
	counted = max > 0 && !peer.local && !peer_trusted(http->proxies, &peer);
	if (counted &&
	    !clients_enter(http->clients, &peer, CLIENTS_CONNECTIONS, max))
		h2o_socket_close(sock);
	else
		conn_new(http, accept, sock, &peer, counted);
}

/* --- listeners --- */

/* For so long, or until a connection goes. */
static void
server_pause(struct http *http, int64_t ms)
{
	http->accepting = false;
	if (ms > 0)
		loop_timer_start(&http->listen_timer, ms);
	for (int i = 0; i < http->n_listeners; i++)
		h2o_socket_read_stop(http->listeners[i]);
}

/*
 * A connection wakes all processes and one gets it: as a rule the one whose
 * processor is warm, again and again. So each keeps the balance of what it won
 * and what it was woken for in vain, and one that is far ahead lets a moment
 * pass before it looks, in which an idle one comes first.
 */
static int
server_ahead_max(const struct http *http)
{
	return SERVER_AHEAD_MAX * (int)http->conf->processes;
}

static void
server_balance(struct http *http, int won)
{
	int others = (int)http->conf->processes - 1;
	int max = server_ahead_max(http);

	http->ahead += won > 0 ? won * others : -1;
	/* What is long past does not count. */
	if (http->ahead > max)
		http->ahead = max;
	if (http->ahead < -max)
		http->ahead = -max;
}

/* How it speaks is said by its place in the list. */
static h2o_accept_ctx_t *
server_accept_ctx(struct http *http, const h2o_socket_t *listener)
{
	int i = 0;

	while (http->listeners[i] != listener)
		i++;
	return http->child->birth->listen_tls[i] ? &http->accept_tls
						 : &http->accept;
}

static void
server_accept(struct http *http, h2o_socket_t *listener)
{
	h2o_accept_ctx_t *accept = server_accept_ctx(http, listener);
	h2o_socket_t *sock;
	int won = 0;

	while (won < SERVER_ACCEPTS &&
	       http->n_conns < http->conf->max_connections) {
		errno = 0;
		sock = h2o_evloop_socket_accept(listener);
		if (sock == NULL) {
			if (errno == EMFILE || errno == ENFILE)
				server_pause(http, SERVER_ACCEPT_PAUSE_MS);
			break;
		}
		conn_accept(http, accept, sock);
		won++;
	}
	server_balance(http, won);
	if (http->n_conns >= http->conf->max_connections)
		server_pause(http, 0);
}

static void
server_on_accept(h2o_socket_t *listener, const char *err)
{
	struct http *http = listener->data;

	if (err != NULL || !http->accepting)
		return;
	if (http->ahead >= server_ahead_max(http)) {
		http->yielded = listener;
		server_pause(http, SERVER_YIELD_MS);
	} else {
		server_accept(http, listener);
	}
}

void
server_listen(struct http *http)
{
	if (!http->listening || http->accepting || http->listen_timer.armed ||
	    http->n_conns >= http->conf->max_connections)
		return;
	http->accepting = true;
	for (int i = 0; i < http->n_listeners; i++)
		h2o_socket_read_start(http->listeners[i], server_on_accept);
}

static void
server_close_listeners(struct http *http)
{
	for (int i = 0; i < http->n_listeners; i++)
		h2o_socket_close(http->listeners[i]);
	mem_free(&http->listeners);
	http->n_listeners = 0;
}

/* After a pause: what is still there nobody else wanted. */
static void
server_resume(struct http *http)
{
	h2o_socket_t *yielded = http->yielded;

	http->yielded = NULL;
	server_listen(http);
	if (yielded != NULL && http->accepting)
		server_accept(http, yielded);
}

static void
server_on_listen_timer(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;

	(void)timer;
	if (!http->listening)
		server_close_listeners(http);
	else
		server_resume(http);
	http_advance(http);
}

/*
 * Other processes share the listeners, so closing ours does not take them out
 * of the epoll set: h2o must do that first, in its next turn.
 */
void
server_stop_listening(struct http *http)
{
	http->listening = http->accepting = false;
	for (int i = 0; i < http->n_listeners; i++)
		h2o_socket_read_stop(http->listeners[i]);
	loop_timer_start(&http->listen_timer, 1);
}

void
server_open(struct http *http)
{
	const struct birth *birth = http->child->birth;

	http->n_listeners = birth->n_listen;
	http->listeners =
	    mem_zalloc((size_t)(birth->n_listen + 1) * sizeof(h2o_socket_t *));
	for (int i = 0; i < birth->n_listen; i++) {
		h2o_socket_t *sock =
		    h2o_evloop_socket_create(loop_h2o_base(http->loop),
			birth->listen_fds[i], H2O_SOCKET_FLAG_DONT_READ);

		sock->data = http;
		http->listeners[i] = sock;
	}
	http->listening = true;
	server_listen(http);
}

/* --- h2o --- */

struct server_handler {
	h2o_handler_t super;
	struct http *http;
};

/*
 * Among thousands of clients that have something to say, the loop comes round
 * to the database's few sockets seldom: the requests would wait for answers
 * that have long arrived.
 */
static void
server_look(struct http *http)
{
	int64_t now = clock_mono_ms();

	if (now == http->looked_ms)
		return;
	http->looked_ms = now;
	pg_pool_look(http->pool);
}

static int
server_on_request(h2o_handler_t *handler, h2o_req_t *req)
{
	struct http *http = ((struct server_handler *)handler)->http;

	server_look(http);
	request_start(http, req);
	return 0;
}

static void
server_configure(struct http *http)
{
	const struct conf_http *conf = http->conf;
	h2o_globalconf_t *config = &http->config;
	struct server_handler *handler;
	h2o_hostconf_t *host;
	h2o_pathconf_t *path;

	h2o_config_init(config);
	config->server_name = h2o_iovec_init(H2O_STRLIT("chimpd"));
	config->max_request_entity_size = (size_t)conf->body_max_bytes;
	config->http1.upgrade_to_http2 = 0;
	config->handshake_timeout = (uint64_t)conf->read_header_timeout_ms;
	/* sweep.c knows idle from slow; this one is the net below. */
	config->http1.req_timeout =
	    (uint64_t)(conf->read_header_timeout_ms + conf->read_timeout_ms +
		       conf->idle_timeout_ms) +
	    3600000;
	static_types(config->mimemap);
	host = h2o_config_register_host(
	    config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
	path = h2o_config_register_path(host, "/", 0);
	handler =
	    (struct server_handler *)h2o_create_handler(path, sizeof(*handler));
	handler->super.on_req = server_on_request;
	handler->http = http;
	edge_register(http, path);
	edge_register(http, &host->fallback_path);
	refusal_register(&host->fallback_path);
	access_register(http, path);
	access_register(http, &host->fallback_path);
}

void
server_start(struct http *http)
{
	list_init(&http->conns);
	loop_timer_init(
	    &http->listen_timer, http->loop, server_on_listen_timer, http);
	server_configure(http);
	h2o_context_init(
	    &http->context, loop_h2o_base(http->loop), &http->config);
	http->accept.ctx = &http->context;
	http->accept.hosts = http->config.hosts;
	http->accept_tls = http->accept;
	if (http->tls != NULL)
		http->accept_tls.ssl_ctx = tls_context(http->tls);
}

void
server_done(struct http *http)
{
	/* h2o 2.2 empties the queue and forgets to free it. It stays
	 * reachable, so that a check for leaks finds only ours. */
	static h2o_multithread_queue_t *volatile forgotten
	    __attribute__((unused));

	assert(http->n_conns == 0 && http->n_listeners == 0);
	forgotten = http->context.queue;
	h2o_context_dispose(&http->context);
	h2o_config_dispose(&http->config);
	loop_timer_done(&http->listen_timer);
}
