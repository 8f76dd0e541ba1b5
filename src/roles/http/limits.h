/*
 * What the configuration says of a route's rate and of Idempotency-Key.
 */
#ifndef CHIMP_HTTP_LIMITS_H
#define CHIMP_HTTP_LIMITS_H

#include "common/conf/conf.h"

struct args;
struct err;
struct pg_stmt;

enum limits_by { LIMITS_BY_ADDRESS, LIMITS_BY_HEADER, LIMITS_BY_ARG };
enum limits_key { LIMITS_KEY_OFF, LIMITS_KEY_OPTIONAL, LIMITS_KEY_REQUIRED };

/* Of an endpoint. */
struct limits {
	struct conf_rate rate; /* count 0: none */
	enum limits_by by;
	char *by_name;        /* of the header (lower case) or the argument */
	enum limits_key key;  /* OFF too where there is nothing to guard */
	struct pg_stmt *stmt; /* the call under a key; NULL if OFF */
};

/* `args` are the route's, NULL if it has none. -1 with an error that says what
 * is wrong with which key. */
int limits_init(struct limits *limits, const struct conf_route *route,
    const struct args *args, struct err *err);
void limits_done(struct limits *limits);

#endif
