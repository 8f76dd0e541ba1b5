/*
 * A worker process as the master would bear it, for tests: role_main in a fork
 * of the test, which holds the master's end of the pipe; and questions to its
 * database. One database connection, one configuration for all.
 */
#ifndef CHIMP_TESTS_ROLE_PROCESS_H
#define CHIMP_TESTS_ROLE_PROCESS_H

#include "common/base/msg.h"
#include "pg_server.h"
#include "roles/role.h"

#include <sys/types.h>

struct process {
	struct birth birth;
	pid_t pid;
	int fd; /* the master's end */
};

extern struct pg_server server;
extern struct conf_worker class; /* of the processes to come */

/* The server, chimp's schema and the script; ends the program on failure. */
void role_process_init(const char *script);
void role_process_done(void);

void db_connect(void);
void db_close(void);
void run(const char *sql);
bool says(const char *sql, const char *expected);
/* Ask until the answer is the expected one; milliseconds that it took. */
int64_t await(const char *sql, const char *expected);

/* process_born waits until it is ready. */
void process_start(struct process *p);
void process_born(struct process *p);
/* The next message of a type; every message must be in order. */
struct msg process_hear(struct process *p, enum msg_type type);
void process_tell(struct process *p, enum msg_type type, int64_t deadline_ms,
    const char *birth);
/* Wait for its end: the exit status, or -1 if a signal ended it. */
int process_end(struct process *p);
void process_kill(struct process *p);
/* Drain it, the last one: it must end well and leave nothing behind. */
void process_stop(struct process *p);

#endif
