/*
 * Handlers: exactly one for each registration, and actions resolved to what
 * they run in the end. handler.sql is set for all of them afterwards.
 */
#include "common/conf/conf_draft.h"
#include "common/conf/conf_nearest.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <string.h>

enum { IDENTIFIER_MAX = 63 }; /* PostgreSQL's NAMEDATALEN - 1 */

static bool
is_identifier(const char *s, size_t length)
{
	if (length == 0 || length > IDENTIFIER_MAX ||
	    isdigit((unsigned char)*s) || *s == '$')
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_' && s[i] != '$')
			return false;
	return true;
}

bool
conf_function_valid(const char *sql)
{
	size_t schema = strcspn(sql, ".");

	return sql[schema] == '.' && is_identifier(sql, schema) &&
	       is_identifier(sql + schema + 1, strlen(sql + schema + 1));
}

/* The shape of what is given; `base` is the registration. */
static int
check_handler(const struct conf_draft *d, const void *base,
    const struct conf_handler *h, struct err *err)
{
	bool sql = *h->sql != '\0', action = *h->action != '\0';

	if (!sql && !action) {
		conf_draft_err(d, base, NULL, err, "has no handler");
		return err_hint(err, "give sql = \"schema.function\" or "
				     "action = \"name\"");
	}
	if (sql && action)
		return conf_draft_err(d, base, "action", err,
		    "a handler is either sql or action, not both");
	if (sql && !conf_function_valid(h->sql))
		return conf_draft_err(d, base, "sql", err,
		    "must be \"schema.function\" of letters, digits, _ and $, "
		    "not \"%s\"",
		    h->sql);
	return 0;
}

/* Of an action they are the action's own; two would contradict. */
static int
check_input(const struct conf_draft *d, const void *base,
    const struct conf_handler *h, struct err *err)
{
	static const char *const keys[] = {"args", "readonly", "body"};
	const struct conf_node *node = conf_draft_node(d, base);

	for (size_t i = 0; i < 3 && *h->action != '\0'; i++)
		if (conf_node_given(node, keys[i])->where != NULL)
			return conf_draft_err(d, base, keys[i], err,
			    "belongs to the action \"%s\"", h->action);
	return 0;
}

static struct conf_action *
find_action(
    const struct conf *conf, const char *name, struct conf_nearest *nearest)
{
	for (size_t a = 0; a < conf->n_apps; a++)
		for (size_t i = 0; i < conf->apps[a].n_actions; i++) {
			struct conf_action *action = &conf->apps[a].actions[i];

			if (strcmp(action->name, name) == 0)
				return action;
			conf_nearest_try(nearest, action->name);
		}
	return NULL;
}

static size_t
count_actions(const struct conf *conf)
{
	size_t n = 0;

	for (size_t a = 0; a < conf->n_apps; a++)
		n += conf->apps[a].n_actions;
	return n;
}

/*
 * Follow h->action to an action that names sql, and copy that. `end` gets the
 * action, NULL if the handler is sql itself.
 */
static int
resolve(const struct conf_draft *d, const void *base, struct conf_handler *h,
    struct conf_action **end, struct err *err)
{
	const char *name = h->action;
	size_t steps = 0;

	*end = NULL;
	while (*name != '\0') {
		struct conf_nearest near = {.wrong = name};

		*end = find_action(d->conf, name, &near);
		if (*end == NULL) {
			conf_draft_err(d, base, "action", err,
			    "there is no action \"%s\"", name);
			if (near.best != NULL)
				err_hint(
				    err, "did you mean \"%s\"?", near.best);
			return -1;
		}
		/* More steps than actions: it has come round. */
		if (steps++ > count_actions(d->conf))
			return conf_draft_err(d, base, "action", err,
			    "\"%s\" leads back to itself", h->action);
		name = (*end)->handler.action;
	}
	if (*end != NULL)
		h->sql = (*end)->handler.sql;
	return 0;
}

/* A registration that has nothing but a handler. */
static int
handle(const struct conf_draft *d, const void *base, struct conf_handler *h,
    struct err *err)
{
	struct conf_action *end;

	if (check_handler(d, base, h, err) < 0)
		return -1;
	return resolve(d, base, h, &end, err);
}

static int
handle_actions(
    const struct conf_draft *d, struct conf_app *app, struct err *err)
{
	for (size_t i = 0; i < app->n_actions; i++) {
		struct conf_action *action = &app->actions[i], *end;

		if (resolve(d, action, &action->handler, &end, err) < 0)
			return -1;
		if (end != NULL) {
			action->args = end->args;
			action->readonly = end->readonly;
			action->body = end->body;
		}
	}
	return 0;
}

static int
handle_routes(const struct conf_draft *d, struct conf_app *app, struct err *err)
{
	for (size_t i = 0; i < app->n_routes; i++) {
		struct conf_route *route = &app->routes[i];
		struct conf_action *end;

		if (check_handler(d, route, &route->handler, err) < 0 ||
		    check_input(d, route, &route->handler, err) < 0 ||
		    resolve(d, route, &route->handler, &end, err) < 0)
			return -1;
		if (end != NULL) {
			route->args = end->args;
			route->readonly = end->readonly;
			route->body = end->body;
		}
	}
	return 0;
}

static int
handle_app(const struct conf_draft *d, struct conf_app *app, struct err *err)
{
	if (handle_actions(d, app, err) < 0 || handle_routes(d, app, err) < 0)
		return -1;
	for (size_t i = 0; i < app->n_queues; i++)
		if (handle(d, &app->queues[i], &app->queues[i].handler, err) <
		    0)
			return -1;
	for (size_t i = 0; i < app->n_subscriptions; i++)
		if (handle(d, &app->subscriptions[i],
			&app->subscriptions[i].handler, err) < 0)
			return -1;
	for (size_t i = 0; i < app->n_schedules; i++)
		if (handle(d, &app->schedules[i], &app->schedules[i].handler,
			err) < 0)
			return -1;
	return 0;
}

int
conf_check_handlers(struct conf_draft *d, struct err *err)
{
	const struct conf *conf = d->conf;

	/* First what each action is, as any of them may be referred to. */
	for (size_t a = 0; a < conf->n_apps; a++)
		for (size_t i = 0; i < conf->apps[a].n_actions; i++) {
			struct conf_action *action = &conf->apps[a].actions[i];

			if (check_handler(d, action, &action->handler, err) <
				0 ||
			    check_input(d, action, &action->handler, err) < 0)
				return -1;
		}
	for (size_t a = 0; a < conf->n_apps; a++)
		if (handle_app(d, &conf->apps[a], err) < 0)
			return -1;
	return 0;
}
