/*
 * The http role: HTTP/1.1 on h2o and libpq in one loop. What its files share.
 *
 *	server.c   listeners and connections     request.c  routing and input
 *	sweep.c    time-outs, clients that left  call.c     the database's part
 *	answer.c   answers                       line.c     who gets a link
 *	access.c   ends of requests              metrics.c  GET /metrics
 *	http.c     the role's life               share.c    who shares one
 *	limit.h    limits                        tls.c      certificates
 */
#ifndef CHIMP_HTTP_HTTP_H
#define CHIMP_HTTP_HTTP_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/loop.h"
#include "common/conf/conf.h"
#include "common/pg/pool.h"
#include "roles/http/access.h"
#include "roles/http/clients.h"
#include "roles/http/digest.h"
#include "roles/http/endpoint.h"
#include "roles/http/loop_h2o.h"
#include "roles/http/peer.h"
#include "roles/http/trace.h"
#include "roles/role.h"

struct call;
struct metrics;
struct tls;

#define HTTP_REQUEST_ID_BYTES 65 /* 64 characters and the terminator */

/* A client's connection, from accept to close. */
struct conn {
	struct list node; /* of http->conns */
	struct http *http;
	h2o_socket_t *sock;
	struct call *call;         /* at work for it now, or NULL */
	struct endpoint *endpoint; /* of the request at hand */
	struct peer peer;          /* of the socket */
	struct peer client; /* of the request at hand: whom a proxy spoke for */
	bool counted;       /* in http->clients */
	uint64_t n_requests;
	bool known; /* to h2o's HTTP/1, at this sweep */
	bool ended; /* its own direction, at the last look */
	char request_id[HTTP_REQUEST_ID_BYTES];
	struct trace trace;
	struct access access;
	/* sweep.c's own */
	int phase;
	uint64_t progress; /* what grew when bytes went through */
	int64_t since_ms;  /* of the phase, or of the last progress */
};

/* How fast a line moves; see line.c. */
struct line_pace {
	int64_t moved_us; /* CLOCK_MONOTONIC; 0 = nobody waited then */
	double gap_us;    /* between two that left it: a moving average */
};

#define LIMIT_REFUSALS 256 /* that a process remembers */

/* A rate's key that would be refused again until then (CLOCK_MONOTONIC). */
struct limit_refusal {
	char key[DIGEST_TEXT_BYTES];
	int64_t until_ms;
};

struct http {
	struct child *child;
	const struct conf_http *conf;
	struct loop *loop;
	struct pg_pool *pool;
	int64_t statement_timeout_ms; /* of the pool's sessions */
	struct endpoints *endpoints;

	/* server.c */
	h2o_globalconf_t config;
	h2o_context_t context;
	h2o_accept_ctx_t accept;
	h2o_accept_ctx_t accept_tls;
	struct tls *tls; /* NULL: no certificates */
	h2o_socket_t **listeners;
	int n_listeners;
	bool listening;
	bool accepting; /* not while there are conf->max_connections */
	int ahead;      /* connections beyond its share, times the processes */
	h2o_socket_t *yielded; /* where the others go first now, or NULL */
	struct loop_timer listen_timer;
	struct list conns;
	int n_conns;

	/* call.c */
	struct list calls; /* not answered yet, the oldest first */
	int n_calls;       /* with a request or a query left */
	struct loop_timer deadline_timer;

	struct list shares; /* share.c */
	int n_shares;
	int n_lone; /* of those running: readonly, with a link alone */

	/* line.c */
	struct list waiting; /* calls without a link, the oldest first */
	struct list running; /* calls with one */
	int n_held;          /* of those waiting: kept back by line.c */
	int n_slow;          /* of those waiting: slow, in the pool's line */
	int n_sharers;       /* of those waiting: they would share */
	int n_room;          /* of those: they wait for nothing else */
	struct line_pace pace[2]; /* of those that share, and do not */
	struct loop_timer wait_timer;

	/* limits_keep.c */
	struct peer_nets *proxies;
	struct clients *clients;
	struct limit_refusal *refusals; /* LIMIT_REFUSALS */
	struct list counting;           /* calls before their rate's answer */
	struct list guarded;            /* calls with an Idempotency-Key */
	char *swept; /* where the sweep of rates goes on; NULL: at the start */
	struct loop_timer keep_timer;

	struct access_log access;
	struct metrics *metrics;

	int64_t looked_ms;  /* CLOCK_MONOTONIC, at what the database sent */
	uint64_t n_answers; /* since birth */
	struct loop_timer sweep_timer;
	struct loop_timer gone_timer;
	struct loop_timer end_timer;
	bool draining;
};

/* server.c */
void server_start(struct http *http);
void server_open(struct http *http);   /* the listeners */
void server_listen(struct http *http); /* resume accepting */
void server_stop_listening(struct http *http);
void server_done(struct http *http); /* no connection is left */
struct conn *conn_of(h2o_req_t *req);
/* Make h2o close it: it sees the end of its input and output. */
void conn_shut(struct conn *conn);

/* request.c */
void request_start(struct http *http, h2o_req_t *req);

/* sweep.c: from now on. */
void sweep_start(struct http *http);

/* http.c: end the role when it is draining and nothing is left. */
void http_advance(struct http *http);

#endif
