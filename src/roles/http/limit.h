/*
 * What a call has to pass before it runs, and once only: the rate of its
 * route, and the key under which its answer is kept.
 *
 *	request_limits.c  what a request brings  limit.c  rates
 *	idempotent.c      answers that are kept  limits_keep.c  state and sweep
 */
#ifndef CHIMP_HTTP_LIMIT_H
#define CHIMP_HTTP_LIMIT_H

#include "roles/http/digest.h"
#include "roles/http/http.h"

struct request;

/* All zero: nothing. */
struct limit_pass {
	char rate_key[DIGEST_TEXT_BYTES]; /* "": no rate, or counted already */
	char key[DIGEST_TEXT_BYTES];      /* "": no Idempotency-Key */
	char fingerprint[DIGEST_TEXT_BYTES]; /* of what came with the key */
	struct list node; /* of http->guarded, while there is a key */
	struct list turn; /* of http->counting, see limit_may_count() */
};

/* --- limit.c --- */

/* The rate's unit; the link is the call's own and ready. */
void limit_send(struct call *call, pg_done_fn *done);

/*
 * What it came to. True: the call may run, and its answer has RateLimit-*.
 * False: *retry_ms is when it may be tried again.
 */
bool limit_allowed(
    struct call *call, const struct pg_reply *reply, int64_t *retry_ms);

/*
 * Calls of one rate's key are counted one after the other, and would wait for
 * that in the database, each with a connection. So a process lets only one of
 * a key have one until it has been counted: line.c holds the others back.
 */
bool limit_may_count(const struct call *call);
void limit_counting(struct call *call); /* it is on its way to a link */
void limit_counted(struct call *call);  /* or it is not counted any more */

/* For how long it is certain that a key would be refused; 0: the database has
 * to be asked. */
int64_t limit_refused_ms(const struct http *http, const char *rate_key);

/* 429 with RateLimit-* and Retry-After. */
void limit_refuse(
    h2o_req_t *req, const struct endpoint *endpoint, int64_t retry_ms);

/* --- idempotent.c --- */

/* Read the request's key; -1 with r->problem if it cannot be used, or too many
 * requests wait for the outcome of one of this key. */
int idempotent_read(struct request *r);

/* The call's own statement under its key. */
void idempotent_send(struct call *call, pg_done_fn *done);

/* The answer says if it is one that was kept: before it is sent, once. */
void idempotent_mark(struct call *call);

/* The status of a result, be it new or kept. */
int idempotent_status(const struct call *call);

/* --- limits_keep.c --- */

/* -1 with an error that names the key of the configuration. */
int limits_check(const struct conf_http *conf, struct err *err);
void limits_start(struct http *http);
void limits_stop(struct http *http);

#endif
