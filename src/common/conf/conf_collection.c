/*
 * Collections that are served: what is checked, and the routes that each of
 * them stands for.
 */
#include "common/conf/conf_draft.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum {
	PATH_BYTES_MAX = 1024, /* of a filter, as chimp.document_path has it */
	SEGMENTS_MAX = 31      /* the router's, less the id */
};

/* ------------------------------------------------------------ its routes */

/* What the handlers in sql/functions/59_collections_rest.sql go by. */
static char *
settings(const struct conf_collection *c, struct arena *arena)
{
	json_t *filters = json_array(), *writable = json_array(), *all;
	char *text, *copy;

	for (int i = 0; i < c->filters.count; i++)
		json_array_append_new(
		    filters, json_string(c->filters.items[i]));
	for (int i = 0; i < c->writable.count; i++)
		json_array_append_new(
		    writable, json_string(c->writable.items[i]));
	all = json_pack("{s:s, s:s, s:o, s:o}", "name", c->name, "path",
	    c->path, "filters", filters, "writable", writable);
	text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	if (text == NULL)
		abort(); /* every string was checked to be UTF-8 */
	copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

static char *
pattern(const struct conf_collection *c, const char *method, const char *item,
    struct arena *arena)
{
	char *text = mem_printf("%s %s%s", method, c->path, item);
	char *copy = arena_strdup(arena, text);

	mem_free(&text);
	return copy;
}

size_t
conf_collection_routes(const struct conf_collection *c, struct arena *arena,
    struct conf_route routes[CONF_COLLECTION_ROUTES])
{
	static const struct {
		const char *method, *item, *sql;
	} table[CONF_COLLECTION_ROUTES] = {
	    {"GET", "", "chimp.rest_list"},
	    {"GET", "/{id}", "chimp.rest_get"},
	    {"POST", "", "chimp.rest_post"},
	    {"PATCH", "/{id}", "chimp.rest_patch"},
	    {"DELETE", "/{id}", "chimp.rest_delete"},
	};
	const size_t readers = 2;
	size_t n = c->writable.count > 0 ? CONF_COLLECTION_ROUTES : readers;
	char *collection = settings(c, arena);

	for (size_t i = 0; i < n; i++)
		routes[i] = (struct conf_route){
		    .pattern =
			pattern(c, table[i].method, table[i].item, arena),
		    .handler.sql = arena_strdup(arena, table[i].sql),
		    .handler.action = arena_strdup(arena, ""),
		    .args = arena_strdup(arena, ""),
		    .readonly = i < readers,
		    .body = arena_strdup(arena, "auto"),
		    .at = c->at,
		    .status = 200,
		    .etag = true,
		    .rate_by = arena_strdup(arena, "address"),
		    .idempotency = arena_strdup(arena, "optional"),
		    .collection = collection,
		};
	return n;
}

/* ------------------------------------------------------- what is checked */

/* "/a/b": as a route's, without parameters. */
static bool
is_path(const struct conf_collection *c, struct arena *arena)
{
	char *route = pattern(c, "GET", "", arena);
	char *shape = arena_strdup(arena, route);
	size_t segments = 0;
	struct err reason;

	for (const char *p = c->path; *p != '\0'; p++)
		segments += *p == '/';
	return strcmp(c->path, "/") != 0 && strchr(c->path, '{') == NULL &&
	       segments <= SEGMENTS_MAX &&
	       conf_route_shape(route, shape, &reason) == 0;
}

static int
check_path(const struct conf_draft *d, const struct conf_collection *c,
    struct err *err)
{
	if (*c->path == '\0')
		return conf_draft_err(d, c, "path", err,
		    "must be given: where it is served, like \"/api/reports\"");
	if (!is_path(c, d->conf->arena))
		return conf_draft_err(d, c, "path", err,
		    "must be a path like \"/api/reports\", without parameters "
		    "and without a slash at its end, not \"%s\"",
		    c->path);
	return 0;
}

static bool
is_document_path(const char *path)
{
	size_t length = strlen(path);

	return length > 0 && length <= PATH_BYTES_MAX && path[0] != '.' &&
	       path[length - 1] != '.' && strstr(path, "..") == NULL;
}

static int
check_filter(const struct conf_draft *d, const struct conf_collection *c,
    const char *filter, struct err *err)
{
	static const char *const own[] = {"limit", "after", "sort"};

	if (!is_document_path(filter))
		return conf_draft_err(d, c, "filters", err,
		    "\"%s\" is no path in a document: names with dots between, "
		    "at most %d bytes",
		    filter, (int)PATH_BYTES_MAX);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(filter, own[i]) == 0)
			return conf_draft_err(d, c, "filters", err,
			    "\"%s\" is a parameter of every list", filter);
	return 0;
}

static int
check_member(const struct conf_draft *d, const struct conf_collection *c,
    const char *member, struct err *err)
{
	if (strcmp(member, "*") == 0 && c->writable.count > 1)
		return conf_draft_err(d, c, "writable", err,
		    "\"*\" is any member: it stands alone");
	if (*member == '\0' || strchr(member, '.') != NULL) {
		conf_draft_err(d, c, "writable", err,
		    "\"%s\" is no member of a document", member);
		return err_hint(err, "what is in a member is written with it");
	}
	return 0;
}

/* No two items are the same, and none is a list in the eyes of its author. */
static int
check_list(const struct conf_draft *d, const struct conf_collection *c,
    const char *key, const struct conf_strings *list, struct err *err)
{
	for (int i = 0; i < list->count; i++) {
		if (strchr(list->items[i], ',') != NULL) {
			conf_draft_err(d, c, key, err, "\"%s\" has a comma",
			    list->items[i]);
			return err_hint(
			    err, "a list is %s = { \"one\", \"two\" }", key);
		}
		for (int j = 0; j < i; j++)
			if (strcmp(list->items[i], list->items[j]) == 0)
				return conf_draft_err(d, c, key, err,
				    "\"%s\" stands twice", list->items[i]);
	}
	return 0;
}

static int
check_collection(const struct conf_draft *d, const struct conf_collection *c,
    struct err *err)
{
	if (check_path(d, c, err) < 0 ||
	    check_list(d, c, "filters", &c->filters, err) < 0 ||
	    check_list(d, c, "writable", &c->writable, err) < 0)
		return -1;
	for (int i = 0; i < c->filters.count; i++)
		if (check_filter(d, c, c->filters.items[i], err) < 0)
			return -1;
	for (int i = 0; i < c->writable.count; i++)
		if (check_member(d, c, c->writable.items[i], err) < 0)
			return -1;
	return 0;
}

int
conf_check_collections(const struct conf_draft *d, struct err *err)
{
	const struct conf *conf = d->conf;

	for (size_t a = 0; a < conf->n_apps; a++)
		for (size_t i = 0; i < conf->apps[a].n_collections; i++)
			if (check_collection(
				d, &conf->apps[a].collections[i], err) < 0)
				return -1;
	return 0;
}
