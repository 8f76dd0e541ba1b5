/*
 * What a route leads to. See endpoint.h.
 */
#include "roles/http/endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"
#include "handlers/sql.h"
#include "roles/http/args.h"
#include "roles/http/router.h"

static const struct {
	const char *pattern;
	enum endpoint_kind kind;
} endpoint_built_in[] = {
    {"GET /health", ENDPOINT_HEALTH},
    {"GET /ready", ENDPOINT_READY},
    {"GET /metrics", ENDPOINT_METRICS},
};
enum {
	ENDPOINT_BUILT_IN =
	    sizeof(endpoint_built_in) / sizeof(endpoint_built_in[0])
};

/* conf_parse has resolved an action to its function, args and readonly. */
static int
endpoint_init(
    struct endpoint *e, const struct conf_route *route, struct err *err)
{
	e->pattern = route->pattern;
	e->kind = ENDPOINT_CALL;
	e->status = (int)route->status;
	e->readonly = route->readonly;
	e->raw = strcmp(route->body, "raw") == 0;
	e->etag = route->etag;
	e->collection = route->collection;
	if (route->args[0] != '\0') {
		e->args = args_parse(route->args, err);
		if (e->args == NULL)
			return err_prefix(err, "route \"%s\"", route->pattern);
	}
	if (limits_init(&e->limits, route, e->args, err) != 0)
		return err_prefix(err, "route \"%s\"", route->pattern);
	e->stmt = sql_handler_action(route->handler.sql, route->readonly);
	return 0;
}

static int
endpoints_add(struct endpoints *all, const struct conf_app *app,
    const struct conf_route *route, struct err *err)
{
	struct endpoint *e = &all->items[all->n++];

	if (endpoint_init(e, route, err) == 0 &&
	    router_add(all->router, e->pattern, e, err) == 0)
		return 0;
	return err_prefix(err, "%s: app \"%s\"", route->at, app->name);
}

static int
endpoints_add_app(struct endpoints *all, const struct conf_app *app,
    struct arena *arena, struct err *err)
{
	struct conf_route made[CONF_COLLECTION_ROUTES];

	for (size_t i = 0; i < app->n_routes; i++)
		if (endpoints_add(all, app, &app->routes[i], err) != 0)
			return -1;
	for (size_t i = 0; i < app->n_collections; i++) {
		size_t n =
		    conf_collection_routes(&app->collections[i], arena, made);

		for (size_t j = 0; j < n; j++)
			if (endpoints_add(all, app, &made[j], err) != 0)
				return -1;
	}
	return 0;
}

static void
endpoints_add_statics(struct endpoints *all, const struct conf_app *app)
{
	for (size_t i = 0; i < app->n_statics; i++) {
		struct endpoint *e = &all->items[all->n++];

		e->kind = ENDPOINT_STATIC;
		e->files = &app->statics[i];
		e->pattern = e->files->prefix;
		all->n_statics++;
	}
}

static void
endpoints_add_built_in(struct endpoints *all)
{
	struct err err;

	for (int i = 0; i < ENDPOINT_BUILT_IN; i++) {
		struct endpoint *e = &all->items[all->n++];

		e->pattern = endpoint_built_in[i].pattern;
		e->kind = endpoint_built_in[i].kind;
		if (router_add(all->router, e->pattern, e, &err) != 0)
			abort();
	}
}

struct endpoints *
endpoints_new(const struct conf *conf, struct err *err)
{
	struct endpoints *all = mem_zalloc(sizeof(*all));
	size_t n = ENDPOINT_BUILT_IN;

	for (size_t i = 0; i < conf->n_apps; i++)
		n += conf->apps[i].n_routes + conf->apps[i].n_statics +
		     conf->apps[i].n_collections * CONF_COLLECTION_ROUTES;
	all->items = mem_zalloc(n * sizeof(*all->items));
	all->router = router_new();
	all->unmatched.pattern = "";
	endpoints_add_built_in(all);
	for (size_t i = 0; i < conf->n_apps && all != NULL; i++) {
		const struct conf_app *app = &conf->apps[i];

		endpoints_add_statics(all, app);
		if (endpoints_add_app(all, app, conf->arena, err) != 0)
			endpoints_free(&all);
	}
	return all;
}

void
endpoints_free(struct endpoints **endpoints)
{
	struct endpoints *all = *endpoints;

	if (all == NULL)
		return;
	for (size_t i = 0; i < all->n; i++) {
		args_free(&all->items[i].args);
		limits_done(&all->items[i].limits);
		sql_handler_free(&all->items[i].stmt);
	}
	router_free(&all->router);
	free(all->items);
	mem_free(endpoints);
}
