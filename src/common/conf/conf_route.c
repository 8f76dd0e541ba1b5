/*
 * Routes: "METHOD /path/{param}", and no two of the same shape, those of
 * collections included.
 */
#include "common/conf/conf_draft.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <string.h>

static const char *const methods[] = {
    "GET", "POST", "PUT", "PATCH", "DELETE", NULL};

/* Answered by chimpd itself. */
static const char *const built_in[] = {
    "GET /health", "GET /ready", "GET /metrics", NULL};

static bool
is_one_of(const char *const *list, const char *text, size_t length)
{
	for (; *list != NULL; list++)
		if (strlen(*list) == length && memcmp(*list, text, length) == 0)
			return true;
	return false;
}

static bool
is_param(const char *segment, size_t length)
{
	if (length < 3 || segment[0] != '{' || segment[length - 1] != '}' ||
	    isdigit((unsigned char)segment[1]))
		return false;
	for (size_t i = 1; i + 1 < length; i++)
		if (!isalnum((unsigned char)segment[i]) && segment[i] != '_')
			return false;
	return true;
}

/* Paths are compared decoded; what must be encoded in a request's path, or
 * means something there, cannot be a literal. */
static bool
is_literal(const char *segment, size_t length)
{
	static const char marks[] = "-._~!$&'()*+,;=:@";

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)segment[i]) &&
		    strchr(marks, segment[i]) == NULL)
			return false;
	return length > 0;
}

/* Whether the parameter `segment` stands in the path before it. */
static bool
is_repeated(const char *path, const char *segment, size_t length)
{
	for (const char *p = path; p < segment; p++)
		if (strncmp(p, segment, length) == 0)
			return true;
	return false;
}

static int
shape_segment(const char *path, const char *segment, size_t length,
    char **shape, struct err *err)
{
	if (is_param(segment, length)) {
		if (is_repeated(path, segment, length))
			return err_set(
			    err, "%.*s stands twice", (int)length, segment);
		*shape = stpcpy(*shape, "{}");
		return 0;
	}
	if (!is_literal(segment, length))
		return err_set(err,
		    "\"%.*s\" is neither a plain segment nor "
		    "a {parameter}",
		    (int)length, segment);
	memcpy(*shape, segment, length);
	*shape += length;
	**shape = '\0';
	return 0;
}

int
conf_route_shape(const char *pattern, char *shape, struct err *err)
{
	size_t method = strcspn(pattern, " ");
	const char *path = pattern + method + 1, *p = path;

	if (!is_one_of(methods, pattern, method)) {
		err_set(err, "must be \"METHOD /path/{param}\"");
		return err_hint(err,
		    "METHOD is GET, POST, PUT, PATCH or "
		    "DELETE; HEAD follows GET, OPTIONS is answered for you");
	}
	if (pattern[method] != ' ' || *path != '/')
		return err_set(err, "the path must begin with \"/\", one "
				    "space after the method");
	memcpy(shape, pattern, method + 1);
	shape += method + 1;
	if (strcmp(path, "/") == 0) {
		strcpy(shape, "/");
		return 0;
	}
	while (*p == '/') {
		size_t length = strcspn(p + 1, "/");

		*shape++ = '/';
		if (shape_segment(path, p + 1, length, &shape, err) < 0)
			return -1;
		p += 1 + length;
	}
	return 0;
}

struct shape {
	char *text;
	const char *pattern;
	const void *base; /* the route, or the collection that it serves */
	bool collection;
};

static int
refuse(const struct conf_draft *d, const struct shape *s, struct err *err,
    const char *reason)
{
	if (!s->collection)
		return conf_draft_err(d, s->base, NULL, err, "%s", reason);
	return conf_draft_err(
	    d, s->base, "path", err, "\"%s\": %s", s->pattern, reason);
}

static int
check_unique(const struct conf_draft *d, const struct shape *shapes, size_t n,
    struct err *err)
{
	const struct shape *s = &shapes[n];

	for (size_t i = 0; i < n; i++)
		if (strcmp(shapes[i].text, s->text) == 0) {
			char *reason = mem_printf(
			    "matches the same requests as \"%s\" at %s",
			    shapes[i].pattern,
			    conf_draft_node(d, shapes[i].base)->where);

			refuse(d, s, err, reason);
			mem_free(&reason);
			return -1;
		}
	return 0;
}

/* The one behind the n that are there. */
static int
check_route(
    const struct conf_draft *d, struct shape *shapes, size_t n, struct err *err)
{
	struct shape *s = &shapes[n];
	struct err reason = {"", ""};

	s->text = arena_alloc(d->conf->arena, strlen(s->pattern) + 3);
	if (conf_route_shape(s->pattern, s->text, &reason) < 0) {
		refuse(d, s, err, reason.message);
		return err_hint(err, "%s", reason.hint);
	}
	if (is_one_of(built_in, s->text, strlen(s->text)))
		return refuse(d, s, err, "chimpd answers this itself");
	return check_unique(d, shapes, n, err);
}

static int
check_collection(const struct conf_draft *d, const struct conf_collection *c,
    struct shape *shapes, size_t *n, struct err *err)
{
	struct conf_route routes[CONF_COLLECTION_ROUTES];
	size_t made = conf_collection_routes(c, d->conf->arena, routes);

	for (size_t i = 0; i < made; i++) {
		shapes[*n] = (struct shape){NULL, routes[i].pattern, c, true};
		if (check_route(d, shapes, (*n)++, err) < 0)
			return -1;
	}
	return 0;
}

static int
check_app(const struct conf_draft *d, const struct conf_app *app,
    struct shape *shapes, size_t *n, struct err *err)
{
	for (size_t i = 0; i < app->n_routes; i++) {
		const struct conf_route *route = &app->routes[i];

		shapes[*n] = (struct shape){NULL, route->pattern, route, false};
		if (check_route(d, shapes, (*n)++, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < app->n_collections; i++)
		if (check_collection(d, &app->collections[i], shapes, n, err) <
		    0)
			return -1;
	return 0;
}

int
conf_check_routes(struct conf_draft *d, struct err *err)
{
	const struct conf *conf = d->conf;
	struct shape *shapes;
	size_t n = 0;

	for (size_t a = 0; a < conf->n_apps; a++)
		n += conf->apps[a].n_routes +
		     conf->apps[a].n_collections * CONF_COLLECTION_ROUTES;
	shapes = arena_alloc(conf->arena, n * sizeof(*shapes));
	n = 0;
	for (size_t a = 0; a < conf->n_apps; a++)
		if (check_app(d, &conf->apps[a], shapes, &n, err) < 0)
			return -1;
	return 0;
}
