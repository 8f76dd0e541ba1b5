/*
 * The inside of a link, for link.c (its life) and link_connect.c (how a
 * connection comes about) alone.
 */
#ifndef CHIMP_PG_LINK_CONNECT_H
#define CHIMP_PG_LINK_CONNECT_H

#include <libpq-fe.h>

#include "common/pg/link.h"
#include "common/pg/pipeline.h"

struct pg_link {
	struct pg_link_opts opts; /* its texts are our own copies */
	char *conninfo;
	char *application_name;
	char *options;
	enum pg_link_state state;
	PGconn *conn;
	struct loop_io io;
	struct pg_resolve *resolve; /* CONNECTING: names come first */
	struct loop_timer timer;    /* CONNECTING: time-out; WAITING: the next
				     * attempt; READY: a fault was noticed while
				     * sending */
	struct pg_pipeline pipeline;
	unsigned int failures; /* since it was last ready */
	bool said_lost;        /* the log knows */
	bool said_away;        /* that it cannot connect, too */
	int depth;             /* callbacks of ours on the stack */
	bool freed;            /* gone when depth is 0 again */
	char last_error[512];
};

/* link_connect.c. Resolve, then connect: CONNECTING until pg_link_settled, or
 * until pg_link_lose says why not. */
void pg_link_connect(struct pg_link *link);
/* The socket of an attempt is ready. */
void pg_link_connect_poll(struct pg_link *link);
/* An attempt had its time: the names that have addresses get theirs. */
void pg_link_connect_time_out(struct pg_link *link);

/* link.c. Callbacks run between enter and leave; after leave the link may be
 * gone. */
void pg_link_enter(struct pg_link *link);
void pg_link_leave(struct pg_link *link);
void pg_link_on_io(struct loop_io *io, int events, void *arg);
void pg_link_flush(struct pg_link *link);
void pg_link_say_up(struct pg_link *link);
/* The only way back to WAITING. */
void pg_link_lose(struct pg_link *link, const char *why);

#endif
