/*
 * A PostgreSQL of the test's own: a temporary cluster on a Unix socket in a
 * temporary folder, ended with the test. As root it runs as user "postgres",
 * since PostgreSQL refuses root.
 */
#ifndef CHIMP_TESTS_PG_SERVER_H
#define CHIMP_TESTS_PG_SERVER_H

#include <sys/types.h>

struct pg_server {
	char dir[64];       /* the folder of all; the socket lies there */
	char conninfo[128]; /* for libpq */
	pid_t pid;          /* 0 = not running */
};

/* Each ends the test program with a message when it fails. */
void pg_server_create(struct pg_server *server); /* initdb and start */
void pg_server_start(struct pg_server *server);
void pg_server_stop(struct pg_server *server); /* fast */
void pg_server_destroy(struct pg_server *server);

#endif
