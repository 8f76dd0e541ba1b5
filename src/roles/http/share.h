/*
 * Links that read-only calls share: their units follow one another in the
 * pipeline, which saves the server a wake-up for each. Only calls of endpoints
 * that have been fast so far, since each waits for those before it; whoever may
 * write has a link alone, so that a cancel hits nobody else.
 */
#ifndef CHIMP_HTTP_SHARE_H
#define CHIMP_HTTP_SHARE_H

#include "roles/http/http.h"

struct call;

struct share {
	struct list node; /* of http->shares */
	struct pg_link *link;
	int n;            /* calls on it */
	double work_ms;   /* that they take, as their endpoints did lately */
	bool closed;      /* nobody joins any more */
	int64_t since_ms; /* shared since; CLOCK_MONOTONIC */
	int64_t moved_ms; /* when one ended last, or the first came */
};

/* Whether a call would share a link with others. */
bool share_wants(const struct call *call);

/* As many links as readonly calls may have are at work for them, shared or not,
 * and nothing is wrong but that the shared ones have their fill. */
bool share_is_full(struct http *http);

/* Join calls that are at work already. False: it needs a link of the pool. */
bool share_join(struct call *call);

/* A link of the pool was granted: share it from now on, if that is any good. */
void share_open(struct call *call, struct pg_link *link);

/* How long a call's own statement has taken, now that it has ended. */
int64_t share_took_ms(const struct call *call);

/* The call is through. True if it was the last: the link goes to the pool. */
bool share_leave(struct call *call);

/* Whether a cancel would hit this call's query and no other's: then nobody
 * joins any more. */
bool share_close(struct call *call);

#endif
