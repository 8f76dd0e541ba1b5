/*
 * The line for database connections: who gets one next, who waits too long.
 *
 * Slow calls may hold at most pool_max - 2 of a process's connections, so that
 * fast ones always find one. What is slow is learnt: an endpoint whose calls
 * take long on average, one that has not been seen yet, and whatever has been
 * running for long just now. Slow calls over their share are held back here;
 * so are those of a rate's key while one of them is being counted (limit.h).
 * All others wait in the pool's own line, or until there is room on a link that
 * is shared (share.h). Whoever would have to wait too long is refused at once:
 * a refusal that comes early costs neither side anything.
 */
#ifndef CHIMP_HTTP_LINE_H
#define CHIMP_HTTP_LINE_H

#include "roles/http/http.h"

enum line_place {
	LINE_NONE,
	LINE_HELD,   /* kept back */
	LINE_POOL,   /* in the pool's line */
	LINE_ROOM,   /* waits for room on a shared link */
	LINE_RUNNING /* has a link */
};

/* A call's part of the line; zeroed at first. */
struct line_ticket {
	struct list node; /* of http->waiting or http->running */
	enum line_place place;
	struct pg_waiter waiter;
	bool slow;        /* judged so when it came to the pool's line */
	bool sharer;      /* waits, and would share a link */
	bool lone;        /* readonly, and has a link alone */
	int64_t since_ms; /* in its place; CLOCK_MONOTONIC */
};

/*
 * Ask for a link: call_granted() gives it, at once or later; call_refused()
 * says that there will be none.
 */
void line_join(struct call *call);

/* Not interested any more; it must be waiting. */
void line_leave(struct call *call);

/* Something has changed for those that are held back. */
void line_go_on(struct http *http);

/* Give the call's link back. */
void line_release(struct call *call);

void line_init(struct http *http);
void line_done(struct http *http);

#endif
