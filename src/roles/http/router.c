/*
 * The table of routes. See router.h.
 *
 * A tree of segments. Finding goes down the literal first and comes back to
 * the parameter if that leads nowhere, so "/a/{x}/c" is found beside "/a/b/d".
 */
#include "roles/http/router.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

static const char *const router_methods[] = {
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
enum {
	ROUTER_GET,
	ROUTER_HEAD,
	ROUTER_POST,
	ROUTER_PUT,
	ROUTER_PATCH,
	ROUTER_DELETE,
	ROUTER_OPTIONS_METHOD,
	ROUTER_METHODS
};

struct router_route {
	const char *pattern;
	void *target; /* NULL: no route */
	char *params[ROUTER_SEGMENTS_MAX];
	size_t n_params;
};

struct router_node {
	char *literal;                /* NULL: a parameter, or the root */
	struct router_node *next;     /* literal sibling */
	struct router_node *literals; /* children */
	struct router_node *param;    /* child */
	struct router_route *routes[ROUTER_METHODS];
};

struct router {
	struct router_node root;
};

struct router *
router_new(void)
{
	return mem_zalloc(sizeof(struct router));
}

/* --- the tree goes --- */

static void
router_route_free(struct router_route *route)
{
	if (route == NULL)
		return;
	for (size_t i = 0; i < route->n_params; i++)
		free(route->params[i]);
	free(route);
}

/* As deep as the longest pattern: at most ROUTER_SEGMENTS_MAX. */
static void
router_node_done(struct router_node *node)
{
	struct router_node *child, *next;

	for (child = node->literals; child != NULL; child = next) {
		next = child->next;
		router_node_done(child);
		free(child);
	}
	if (node->param != NULL)
		router_node_done(node->param);
	free(node->param);
	for (int i = 0; i < ROUTER_METHODS; i++)
		router_route_free(node->routes[i]);
	free(node->literal);
}

void
router_free(struct router **router)
{
	if (*router == NULL)
		return;
	router_node_done(&(*router)->root);
	mem_free(router);
}

/* --- adding --- */

static int
router_method(const char *name, size_t length)
{
	for (int i = 0; i < ROUTER_METHODS; i++)
		if (strlen(router_methods[i]) == length &&
		    memcmp(router_methods[i], name, length) == 0)
			return i;
	return -1;
}

static bool
router_name_valid(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isalpha((unsigned char)name[i]) && name[i] != '_' &&
		    (i == 0 || !isdigit((unsigned char)name[i])))
			return false;
	return length > 0;
}

static struct router_node *
router_literal(
    struct router_node *node, const char *text, size_t length, bool make)
{
	struct router_node *child;

	for (child = node->literals; child != NULL; child = child->next)
		if (strlen(child->literal) == length &&
		    memcmp(child->literal, text, length) == 0)
			return child;
	if (!make)
		return NULL;
	child = mem_zalloc(sizeof(*child));
	child->literal = mem_strndup(text, length);
	child->next = node->literals;
	node->literals = child;
	return child;
}

/* "{name}": NULL with an error if it is malformed or not the first of it. */
static struct router_node *
router_param(struct router_node *node, struct router_route *route,
    const char *text, size_t length, struct err *err)
{
	const char *name = text + 1;
	size_t n = length - 2;

	if (length < 3 || text[length - 1] != '}' ||
	    !router_name_valid(name, n)) {
		err_set(err, "\"%.*s\" is not a parameter", (int)length, text);
		err_hint(err, "write {name}, of letters, digits and _");
		return NULL;
	}
	for (size_t i = 0; i < route->n_params; i++) {
		if (strlen(route->params[i]) == n &&
		    memcmp(route->params[i], name, n) == 0) {
			err_set(err, "the parameter {%.*s} stands twice",
			    (int)n, name);
			return NULL;
		}
	}
	route->params[route->n_params++] = mem_strndup(name, n);
	if (node->param == NULL)
		node->param = mem_zalloc(sizeof(*node->param));
	return node->param;
}

static struct router_node *
router_step(struct router_node *node, struct router_route *route,
    const char *text, size_t length, struct err *err)
{
	if (text[0] == '{' && length > 0)
		return router_param(node, route, text, length, err);
	for (size_t i = 0; i < length; i++) {
		if (strchr("{}?#%", text[i]) != NULL ||
		    (unsigned char)text[i] <= ' ') {
			err_set(err,
			    "\"%.*s\" has a character that a literal "
			    "segment cannot have",
			    (int)length, text);
			return NULL;
		}
	}
	if (length == 0) {
		err_set(err, "a segment is empty");
		return NULL;
	}
	return router_literal(node, text, length, true);
}

/* The node of a path, made if need be; the root for "/". */
static struct router_node *
router_walk(struct router *router, struct router_route *route, const char *path,
    struct err *err)
{
	struct router_node *node = &router->root;
	int n = 0;

	if (strcmp(path, "/") == 0)
		return node;
	while (*path == '/' && node != NULL) {
		size_t length = strcspn(++path, "/");

		if (++n > ROUTER_SEGMENTS_MAX) {
			err_set(
			    err, "more than %d segments", ROUTER_SEGMENTS_MAX);
			return NULL;
		}
		node = router_step(node, route, path, length, err);
		path += length;
	}
	return node;
}

static int
router_place(struct router *router, struct router_route *route,
    const char *pattern, struct err *err)
{
	size_t length = strcspn(pattern, " ");
	const char *path = pattern + length + strspn(pattern + length, " ");
	int method = router_method(pattern, length);
	struct router_node *node;

	if (method < 0 || *path != '/') {
		err_set(err, "it must be \"METHOD /path\"");
		return err_hint(err, "METHOD is GET, HEAD, POST, PUT, PATCH, "
				     "DELETE or OPTIONS");
	}
	node = router_walk(router, route, path, err);
	if (node == NULL)
		return -1;
	if (node->routes[method] != NULL)
		return err_set(err, "it means the same requests as \"%s\"",
		    node->routes[method]->pattern);
	node->routes[method] = route;
	return 0;
}

int
router_add(
    struct router *router, const char *pattern, void *target, struct err *err)
{
	struct router_route *route = mem_zalloc(sizeof(*route));

	assert(target != NULL);
	route->pattern = pattern;
	route->target = target;
	if (router_place(router, route, pattern, err) == 0)
		return 0;
	router_route_free(route);
	return err_prefix(err, "route \"%s\"", pattern);
}

/* --- finding --- */

struct router_search {
	int method; /* -1: none that a route can have */
	struct router_match *match;
	size_t n; /* segments of the path */
	struct {
		const char *text;
		size_t length;
	} segments[ROUTER_SEGMENTS_MAX];
	size_t captured[ROUTER_SEGMENTS_MAX]; /* segments that are values */
	size_t n_captured;
};

static bool
router_accept(struct router_search *s, const struct router_route *route)
{
	struct router_match *match = s->match;

	assert(route->n_params == s->n_captured);
	match->target = route->target;
	match->n_params = route->n_params;
	for (size_t i = 0; i < route->n_params; i++) {
		size_t at = s->captured[i];

		match->params[i].name = route->params[i];
		match->params[i].value = s->segments[at].text;
		match->params[i].length = s->segments[at].length;
	}
	return true;
}

static bool
router_leaf(struct router_search *s, const struct router_node *node)
{
	int method = s->method;

	for (int i = 0; i < ROUTER_METHODS; i++)
		if (node->routes[i] != NULL)
			s->match->methods |= 1U << i;
	if (method == ROUTER_HEAD && node->routes[ROUTER_HEAD] == NULL)
		method = ROUTER_GET;
	if (method < 0 || node->routes[method] == NULL)
		return false;
	return router_accept(s, node->routes[method]);
}

static bool
router_search(struct router_search *s, struct router_node *node, size_t at)
{
	struct router_node *child;
	bool found;

	if (at == s->n)
		return router_leaf(s, node);
	child = router_literal(
	    node, s->segments[at].text, s->segments[at].length, false);
	if (child != NULL && router_search(s, child, at + 1))
		return true;
	if (node->param == NULL || s->segments[at].length == 0)
		return false;
	s->captured[s->n_captured++] = at;
	found = router_search(s, node->param, at + 1);
	s->n_captured--;
	return found;
}

/* Decode the segments into buf. False: a fault, or more than any route has. */
static bool
router_split(
    struct router_search *s, const char *path, size_t length, char *buf)
{
	const char *end = path + length;

	while (path < end) {
		const char *from = path + 1;
		const char *stop = memchr(from, '/', (size_t)(end - from));
		size_t n;

		if (s->n == ROUTER_SEGMENTS_MAX)
			return false;
		if (stop == NULL)
			stop = end;
		s->match->fault =
		    url_decode(from, (size_t)(stop - from), false, buf, &n);
		if (s->match->fault != URL_OK)
			return false;
		s->segments[s->n].text = buf;
		s->segments[s->n++].length = n;
		buf += n + 1;
		path = stop;
	}
	/* "/" is the root, with no segment at all. */
	if (s->n == 1 && s->segments[0].length == 0)
		s->n = 0;
	return true;
}

enum router_answer
router_find(const struct router *router, const char *method,
    size_t method_length, const char *path, size_t path_length, char *buf,
    struct router_match *match)
{
	struct router_search s = {.match = match};

	assert(path_length > 0 && path[0] == '/');
	match->target = NULL;
	match->methods = 0;
	match->n_params = 0;
	match->fault = URL_OK;
	s.method = router_method(method, method_length);
	if (!router_split(&s, path, path_length, buf))
		return match->fault == URL_OK ? ROUTER_NO_PATH
					      : ROUTER_BAD_PATH;
	if (router_search(&s, (struct router_node *)&router->root, 0))
		return ROUTER_FOUND;
	if (match->methods == 0)
		return ROUTER_NO_PATH;
	return s.method == ROUTER_OPTIONS_METHOD ? ROUTER_OPTIONS
						 : ROUTER_NO_METHOD;
}

const char *
router_allow(unsigned int methods, char buf[ROUTER_ALLOW_BYTES])
{
	size_t n = 0;

	if (methods & 1U << ROUTER_GET)
		methods |= 1U << ROUTER_HEAD;
	methods |= 1U << ROUTER_OPTIONS_METHOD;
	for (int i = 0; i < ROUTER_METHODS; i++)
		if (methods & 1U << i)
			n += (size_t)snprintf(buf + n, ROUTER_ALLOW_BYTES - n,
			    "%s%s", n > 0 ? ", " : "", router_methods[i]);
	return buf;
}
