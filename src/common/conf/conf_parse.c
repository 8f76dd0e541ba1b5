/*
 * From a file to a checked configuration, here or in a child. See conf.h.
 */
#include "common/conf/conf.h"
#include "common/conf/conf_draft.h"
#include "common/conf/conf_secret.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <string.h>
#include <unistd.h>

static void
name_node(struct conf *conf)
{
	char host[256] = "";

	if (*conf->node != '\0')
		return;
	if (gethostname(host, sizeof(host) - 1) != 0 || *host == '\0')
		strcpy(host, "localhost");
	conf->node = arena_strdup(conf->arena, host);
}

/* Where a registration stands, for roles that find fault with it later. */
static char *
place(const struct conf_draft *draft, const void *base, const char *key)
{
	const struct conf_node *node = conf_draft_node(draft, base);
	const char *where = conf_node_given(node, key)->where;

	return arena_strdup(
	    draft->conf->arena, where != NULL ? where : node->where);
}

static void
complete_app(const struct conf_draft *draft, struct conf_app *app)
{
	app->dir =
	    arena_strdup(draft->conf->arena, conf_draft_node(draft, app)->dir);
	for (size_t i = 0; i < app->n_actions; i++)
		app->actions[i].at = place(draft, &app->actions[i], "args");
	for (size_t i = 0; i < app->n_routes; i++)
		app->routes[i].at = place(draft, &app->routes[i], "args");
	for (size_t i = 0; i < app->n_collections; i++)
		app->collections[i].at =
		    place(draft, &app->collections[i], "path");
	for (size_t i = 0; i < app->n_schedules; i++)
		app->schedules[i].at =
		    place(draft, &app->schedules[i], "schedule");
}

/* What a file does not say. */
static void
complete(const struct conf_draft *draft, const char *path)
{
	struct conf *conf = draft->conf;

	conf->path = arena_strdup(conf->arena, path);
	name_node(conf);
	for (size_t i = 0; i < conf->n_apps; i++)
		complete_app(draft, &conf->apps[i]);
}

static int
parse(struct conf_draft *draft, struct arena *arena, const char *path,
    struct err *err)
{
	struct conf_node *root = conf_scan(arena, path, err);
	struct conf_strings warnings = {NULL, 0};

	if (root == NULL)
		return -1;
	conf_secret_warn(arena, root, &warnings);
	if (conf_env_apply(arena, root, err) < 0 ||
	    conf_secret_resolve(arena, root, &warnings, err) < 0 ||
	    conf_build(draft, arena, root, err) < 0)
		return -1;
	if (warnings.count > 0)
		draft->conf->warnings = warnings;
	complete(draft, path);
	return conf_check(draft, err);
}

struct conf *
conf_parse(const char *path, struct err *err)
{
	struct arena *arena = arena_new();
	struct conf_draft draft;

	err->hint[0] = '\0';
	if (parse(&draft, arena, path, err) == 0)
		return draft.conf;
	arena_free(&arena);
	return NULL;
}

void
conf_free(struct conf **conf)
{
	struct arena *arena;

	if (*conf == NULL)
		return;
	/* The struct lies in its own arena. */
	arena = (*conf)->arena;
	*conf = NULL;
	arena_free(&arena);
}

void
conf_warn(const struct conf *conf)
{
	for (int i = 0; i < conf->warnings.count; i++)
		log_warn("%s", conf->warnings.items[i]);
}
