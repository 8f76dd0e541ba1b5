/*
 * A client of HTTP/1.1 for measuring: so many keep-alive connections, a request
 * each at a time, every body compared with what it must be.
 *
 * Closed loop: each connection asks again as soon as it is answered. Open loop:
 * requests fall due at a fixed rate whatever the server does, and their time
 * counts from when they were due, also while no connection was free.
 */
#ifndef BENCH_LOAD_LOAD_H
#define BENCH_LOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#define LOAD_TEXT_MAX  4096
#define LOAD_PHASE_MAX 8

/* Times of one kind of answer, in µs, in the order of their coming. */
struct load_times {
	uint32_t *us;
	size_t n;
	size_t room;
};

struct load_phase {
	double rate;      /* requests per second; 0: closed loop */
	double seconds;   /* > 0 */
	int64_t began_us; /* CLOCK_MONOTONIC */
	uint64_t due;     /* requests that fell due and were sent */
	uint64_t unsent; /* fell due while no connection was free, to the end */
	uint64_t good;   /* 2xx with the right body */
	uint64_t refused;   /* 503 */
	uint64_t wrong;     /* any other answer */
	uint64_t broken;    /* the connection ended in place of an answer */
	uint64_t lost;      /* no answer until the end */
	int64_t settled_us; /* since began_us: the last request that was not
			     * answered well within late_us was due then */
	struct load_times good_times;
	struct load_times refused_times;
	struct load_times refused_sent_times; /* since they were sent */
};

struct load {
	struct sockaddr_in to;
	const char *method;
	const char *path;   /* "{}" is the request's number, here and below */
	const char *body;   /* or NULL */
	const char *expect; /* the body of a good answer; NULL: any */
	uint64_t ids;       /* numbers are random in 1 … ids; 0: they count */
	uint64_t first;     /* from here */
	size_t connections;
	int64_t late_us;
	struct load_phase phases[LOAD_PHASE_MAX];
	size_t n_phases;
	char first_wrong[256]; /* of the first wrong answer, for people */
};

/* What has come of an answer so far. */
enum answer_state { ANSWER_PART, ANSWER_WHOLE, ANSWER_BAD };

struct answer {
	int status;
	bool closes; /* the server ends the connection after it */
	const char *body;
	size_t body_len;
};

/* buf[len] must be '\0'. BAD: not HTTP/1.1 with a Content-Length. */
enum answer_state answer_parse(const char *buf, size_t len, struct answer *a);

/* Writes text with each "{}" as the number; returns the length, at most
 * LOAD_TEXT_MAX - 1: the rest is cut off. */
size_t text_fill(char out[LOAD_TEXT_MAX], const char *text, uint64_t number);

/* Runs all phases; exits with a message where it cannot. */
void load_run(struct load *load);

#endif
