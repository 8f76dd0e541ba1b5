/*
 * One call of a handler for a request: a link from the pool, one unit on it,
 * one answer.
 *
 * A call has two owners. The request may die while its query runs, and the
 * query may end long after the request was answered: no callback touches
 * `req` without asking, and the last owner frees the call.
 */
#ifndef CHIMP_HTTP_CALL_H
#define CHIMP_HTTP_CALL_H

#include "roles/http/http.h"
#include "roles/http/limit.h"
#include "roles/http/line.h"

/* Columns of its row; the last one of a call under a key only. */
enum call_columns { CALL_RESULT, CALL_RESPONSE, CALL_KEPT };

enum call_state {
	CALL_WAITING, /* for a link */
	CALL_RUNNING, /* its unit is in flight, or its rate's */
	CALL_ENDED    /* no query any more */
};

struct call {
	struct list node; /* of http->calls until it is answered */
	struct http *http;
	enum call_state state;
	h2o_req_t *req; /* NULL: the request is gone */
	struct endpoint *endpoint;
	bool answered;
	char *request; /* chimp.request, JSON */
	char *input;   /* JSON */
	struct limit_pass pass;
	/* chimp.trace: request id, traceparent */
	char trace[HTTP_REQUEST_ID_BYTES + TRACE_PARENT_BYTES];
	struct line_ticket ticket;
	struct pg_link *link;   /* ours; NULL if we have none */
	struct share *share;    /* that the link belongs to, or NULL */
	double share_ms;        /* its part of share->work_ms */
	bool cancelling;        /* a cancel of our query is on its way: the link
				 * stays ours, or it would hit the next one's */
	int64_t deadline_ms;    /* CLOCK_MONOTONIC */
	int64_t begun_us;       /* CLOCK_MONOTONIC: asked for a link */
	int64_t granted_us;     /* got the first one; 0 = not yet */
	int64_t sent_ms;        /* when the unit was sent */
	int attempts;           /* units sent */
	bool resent;            /* after a lost link */
	struct pg_result *body; /* what is being written */
};

/* Takes both texts, copies `pass`. Answers the request sooner or later. */
void call_start(struct http *http, h2o_req_t *req, struct endpoint *endpoint,
    char *request, char *input, const struct limit_pass *pass);

/* For line.c: a link is ours from here on, or there will be none (503). */
void call_granted(struct call *call, struct pg_link *link);
void call_refused(struct call *call, const char *detail);

/* The client went away: nobody waits for the answer. */
void call_drop(struct call *call);

/* The role stops: answer 503 and cancel all that is running. */
void call_abandon_all(struct http *http);

void call_init(struct http *http);
void call_done(struct http *http);

#endif
