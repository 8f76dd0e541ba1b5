/*
 * What is known of a request when it is over: the access log, and how long
 * requests take by route. h2o calls back when a request is disposed, that is
 * when its last byte was handed to the kernel or its connection went.
 */
#ifndef CHIMP_HTTP_ACCESS_H
#define CHIMP_HTTP_ACCESS_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "roles/http/access_out.h"
#include "roles/http/peer.h"

struct conn;
struct err;
struct http;

/* Of the request at hand; part of struct conn. */
struct access {
	int64_t begun_us; /* CLOCK_MONOTONIC; 0 = there is none */
	int64_t queue_us; /* waiting for a connection; -1 = did not */
	int64_t database_us;
	char peer[PEER_TEXT_BYTES]; /* the client of the last line */
};

/* What the role has of it. */
struct access_log {
	bool on;
	bool json;
	struct access_out out;
	uint64_t sent_bytes; /* bodies, since birth */
};

/* -1 when the configured file cannot be opened. */
int access_open(struct http *http, struct err *err);
void access_close(struct http *http);

/* Have h2o tell of requests to this path, and of those it refuses itself. */
void access_register(struct http *http, h2o_pathconf_t *path);

/* A request has come in whole. */
void access_begin(struct conn *conn);

/* The answer of a call is there: it asked for a connection to the database at
 * begun_us and got one at granted_us (0 = never); CLOCK_MONOTONIC. */
void access_called(struct conn *conn, int64_t begun_us, int64_t granted_us);

#endif
