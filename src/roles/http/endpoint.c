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

/* Actions may name actions; more than this is a ring. */
enum { ENDPOINT_ACTIONS_MAX = 16 };

static const struct conf_action *
endpoint_action(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_apps; i++)
		for (size_t j = 0; j < conf->apps[i].n_actions; j++)
			if (strcmp(conf->apps[i].actions[j].name, name) == 0)
				return &conf->apps[i].actions[j];
	return NULL;
}

static bool
endpoint_is_set(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* What a route calls in the end: function, args and readonly of the route
 * itself or of the first action that it names. */
struct endpoint_call {
	const char *function;
	const char *args;
	bool readonly;
};

static int
endpoint_resolve(const struct conf *conf, const struct conf_route *route,
    struct endpoint_call *call, struct err *err)
{
	const struct conf_handler *handler = &route->handler;
	const struct conf_action *action;

	call->args = route->args;
	call->readonly = route->readonly;
	for (int i = 0; !endpoint_is_set(handler->sql); i++) {
		if (!endpoint_is_set(handler->action))
			return err_set(err, "it names neither sql nor action");
		action = endpoint_action(conf, handler->action);
		if (action == NULL)
			return err_set(
			    err, "there is no action \"%s\"", handler->action);
		if (i == ENDPOINT_ACTIONS_MAX)
			return err_set(err, "action \"%s\" leads to itself",
			    handler->action);
		if (i == 0 && !endpoint_is_set(call->args))
			call->args = action->args;
		call->readonly = call->readonly || action->readonly;
		handler = &action->handler;
	}
	call->function = handler->sql;
	return 0;
}

static int
endpoint_init(struct endpoint *e, const struct conf *conf,
    const struct conf_route *route, struct err *err)
{
	struct endpoint_call call = {NULL, NULL, false};

	e->pattern = route->pattern;
	e->kind = ENDPOINT_CALL;
	e->status = (int)route->status;
	if (endpoint_resolve(conf, route, &call, err) != 0)
		return -1;
	e->readonly = call.readonly;
	if (!sql_handler_valid(call.function))
		return err_set(
		    err, "\"%s\" is not schema.function", call.function);
	if (endpoint_is_set(call.args)) {
		e->args = args_parse(call.args, err);
		if (e->args == NULL)
			return -1;
	}
	e->stmt = sql_handler_action(call.function);
	return 0;
}

static int
endpoints_add(struct endpoints *all, const struct conf *conf,
    const struct conf_route *route, struct err *err)
{
	struct endpoint *e = &all->items[all->n++];

	if (endpoint_init(e, conf, route, err) != 0)
		return err_prefix(err, "route \"%s\"", route->pattern);
	return router_add(all->router, e->pattern, e, err);
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
		n += conf->apps[i].n_routes;
	all->items = mem_zalloc(n * sizeof(*all->items));
	all->router = router_new();
	all->unmatched.pattern = "";
	endpoints_add_built_in(all);
	for (size_t i = 0; i < conf->n_apps && all != NULL; i++) {
		const struct conf_app *app = &conf->apps[i];

		for (size_t j = 0; j < app->n_routes && all != NULL; j++) {
			if (endpoints_add(all, conf, &app->routes[j], err) == 0)
				continue;
			err_prefix(err, "app \"%s\"", app->name);
			endpoints_free(&all);
		}
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
		sql_handler_free(&all->items[i].stmt);
	}
	router_free(&all->router);
	free(all->items);
	mem_free(endpoints);
}
