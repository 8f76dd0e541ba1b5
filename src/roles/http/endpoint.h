/*
 * What a route leads to: the configuration's routes and the built-in ones, in
 * one router.
 */
#ifndef CHIMP_HTTP_ENDPOINT_H
#define CHIMP_HTTP_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/metrics_text.h"
#include "roles/http/limits.h"

struct args;
struct conf;
struct conf_static;
struct err;
struct pg_stmt;
struct router;

enum endpoint_kind {
	ENDPOINT_CALL,   /* an sql handler */
	ENDPOINT_STATIC, /* files; in no router, for routes go first */
	ENDPOINT_HEALTH,
	ENDPOINT_READY,
	ENDPOINT_METRICS
};

struct endpoint {
	const char *pattern; /* "GET /orders/{id}"; lives with the conf */
	enum endpoint_kind kind;
	struct pg_stmt *stmt; /* of a call */
	struct args *args;    /* NULL: the input passes unchecked */
	bool readonly;
	struct limits limits;
	bool raw;                        /* body = "raw" */
	const char *collection;          /* that it serves, JSON; else NULL. Its
					  * handler gets the input in parts */
	bool etag;                       /* its answers have one, if readonly */
	const struct conf_static *files; /* the pattern is the prefix */
	int status;                      /* of a success with a result */
	uint64_t answers[6];             /* by status / 100 */
	struct metrics_histogram durations[6]; /* likewise */
	uint64_t n_runs;                       /* of its statement */
	double run_ms; /* how long they take: a moving average */
};

struct endpoints {
	struct router *router;
	struct endpoint *items;
	size_t n;
	size_t n_statics;
	struct endpoint unmatched; /* requests without a route */
};

/* NULL with an error that names the route and what is wrong with it. */
struct endpoints *endpoints_new(const struct conf *conf, struct err *err);
void endpoints_free(struct endpoints **endpoints);

#endif
