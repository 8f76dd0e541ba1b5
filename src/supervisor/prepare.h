/*
 * The short-lived child that runs SQL before the roles start: migrations,
 * registrations, checks. The master itself never speaks to the database.
 */
#ifndef CHIMP_SUPERVISOR_PREPARE_H
#define CHIMP_SUPERVISOR_PREPARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct master;

struct prepare {
	pid_t pid;        /* 0 = not running */
	int64_t since_ms; /* CLOCK_MONOTONIC: when it began */
	bool done;        /* it has exited with 0 */
};

/* Fork it; a failure at the start ends the master. */
void prepare_start(struct master *m);

/* It has ended with this status of wait(2). */
void prepare_ended(struct master *m, int status);

/* A signal to it and to what it started, if it runs. */
void prepare_kill(struct master *m, int sig);

#endif
