/*
 * The table of routes: which of them a method and a path mean. Pure.
 *
 * A pattern is "METHOD /path/{param}". A literal segment goes before a
 * parameter; a parameter matches one non-empty segment. Segments are compared
 * once they are percent-decoded. HEAD follows GET.
 */
#ifndef CHIMP_HTTP_ROUTER_H
#define CHIMP_HTTP_ROUTER_H

#include <stddef.h>

#include "roles/http/url.h"

struct err;
struct router;

enum {
	ROUTER_SEGMENTS_MAX = 32, /* of a pattern */
	ROUTER_ALLOW_BYTES = 64   /* room for the text of router_allow */
};

enum router_answer {
	ROUTER_FOUND,
	ROUTER_NO_PATH,   /* 404 */
	ROUTER_NO_METHOD, /* 405; match->methods says which there are */
	ROUTER_OPTIONS,   /* OPTIONS of a path without a route for it */
	ROUTER_BAD_PATH   /* match->fault says why */
};

struct router_match {
	void *target; /* as given to router_add */
	unsigned int methods;
	enum url_fault fault;
	size_t n_params;
	/* In the order of the pattern. Values lie in the caller's buffer. */
	struct router_param {
		const char *name;
		const char *value; /* terminated */
		size_t length;
	} params[ROUTER_SEGMENTS_MAX];
};

struct router *router_new(void);
void router_free(struct router **router);

/* -1 if the pattern is malformed, or one of the same shape is there already;
 * the error names both. `pattern` and `target` must outlive the router. */
int router_add(
    struct router *router, const char *pattern, void *target, struct err *err);

/* `buf` has room for path_length + 1 bytes. */
enum router_answer router_find(const struct router *router, const char *method,
    size_t method_length, const char *path, size_t path_length, char *buf,
    struct router_match *match);

/* The value of an Allow header: "GET, HEAD, OPTIONS". */
const char *router_allow(unsigned int methods, char buf[ROUTER_ALLOW_BYTES]);

#endif
