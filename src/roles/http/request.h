/*
 * A request's way to its answer: a chain of small steps (request.c), each of
 * which answers it or lets it go on.
 */
#ifndef CHIMP_HTTP_REQUEST_H
#define CHIMP_HTTP_REQUEST_H

#include "common/base/err.h"
#include "common/base/strbuf.h"
#include "roles/http/args.h"
#include "roles/http/http.h"
#include "roles/http/input.h"
#include "roles/http/limit.h"
#include "roles/http/problem.h"
#include "roles/http/router.h"
#include "roles/http/url.h"

/* Lies in the request's pool; what it points to lives as long as the chain
 * runs. The route that was found is conn->endpoint. */
struct request {
	struct http *http;
	struct conn *conn;
	h2o_req_t *req;
	struct url url;
	struct router_match match;
	struct input input;
	struct strbuf args;     /* the handler's input, checked */
	struct problem problem; /* what to answer when a step fails */
	struct err err;         /* its text */
	struct args_violations violations;
	struct limit_pass pass; /* what the call has to pass */
};

enum request_end {
	REQUEST_GOES_ON,
	REQUEST_ANSWERED /* or somebody has taken that over */
};

typedef enum request_end request_step(struct request *r);

/* request_limits.c, in the order of the chain: who it is from, whether that
 * client has room for it, what its call has to pass. */
enum request_end request_client(struct request *r);
enum request_end request_place(struct request *r);
enum request_end request_limits(struct request *r);

/* Say in r->problem what is wrong; always -1. */
int request_fail(struct request *r, int status, const char *detail);

/* request_input.c: make r->args of body, query and path; -1 with r->problem.
 * r->input is initialized, and r->violations has its arena. */
int request_gather(struct request *r);

#endif
