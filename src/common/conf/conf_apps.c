/*
 * The registrations of all apps as chimp.register_apps takes them.
 */
#include "common/conf/conf.h"

#include <assert.h>
#include <stdlib.h>

#include <jansson.h>

static json_t *
actions(const struct conf_app *app)
{
	json_t *array = json_array();

	for (size_t i = 0; i < app->n_actions; i++) {
		const struct conf_action *a = &app->actions[i];

		json_array_append_new(
		    array, json_pack("{s:s, s:s, s:s, s:b}", "name", a->name,
			       "sql", a->handler.sql, "args", a->args,
			       "readonly", a->readonly ? 1 : 0));
	}
	return array;
}

static json_t *
routes(const struct conf_app *app)
{
	json_t *array = json_array();

	for (size_t i = 0; i < app->n_routes; i++)
		json_array_append_new(array,
		    json_pack("{s:s, s:s}", "pattern", app->routes[i].pattern,
			"sql", app->routes[i].handler.sql));
	return array;
}

static void
add_retry(json_t *object, const struct conf_retry *retry)
{
	json_t *policy = json_pack("{s:I, s:I, s:I, s:s}", "max_attempts",
	    (json_int_t)retry->max_attempts, "retry_delay_ms",
	    (json_int_t)retry->retry_delay_ms, "retry_delay_max_ms",
	    (json_int_t)retry->retry_delay_max_ms, "backoff", retry->backoff);

	json_object_update(object, policy);
	json_decref(policy);
}

/* What holds its jobs back, and how long they are kept. */
static void
add_limits(json_t *object, const struct conf_queue *q)
{
	const struct {
		const char *name;
		int64_t value;
	} limits[] = {
	    {"concurrency", q->concurrency},
	    {"key_concurrency", q->key_concurrency},
	    {"rate_count", q->rate.count},
	    {"rate_ms", q->rate.window_ms},
	    {"group", q->group},
	    {"unique_for_ms", q->unique_for_ms},
	    {"retention_ms", q->retention_ms},
	    {"retention_dead_ms", q->retention_dead_ms},
	    {"max_ready", q->max_ready},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		json_object_set_new(
		    object, limits[i].name, json_integer(limits[i].value));
}

static json_t *
queues(const struct conf_app *app)
{
	json_t *array = json_array();

	for (size_t i = 0; i < app->n_queues; i++) {
		const struct conf_queue *q = &app->queues[i];
		json_t *object = json_pack("{s:s, s:s, s:I, s:s, s:I}", "name",
		    q->name, "sql", q->handler.sql, "timeout_ms",
		    (json_int_t)q->timeout_ms, "dead_letter", q->dead_letter,
		    "priority", (json_int_t)q->priority);

		add_retry(object, &q->retry);
		add_limits(object, q);
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *
subscriptions(const struct conf_app *app)
{
	json_t *array = json_array();

	for (size_t i = 0; i < app->n_subscriptions; i++) {
		const struct conf_subscription *s = &app->subscriptions[i];
		json_t *object =
		    json_pack("{s:s, s:s, s:s, s:I, s:s, s:I, s:s, s:s}",
			"name", s->name, "event", s->event, "sql",
			s->handler.sql, "lanes", (json_int_t)s->lanes, "mode",
			s->mode, "batch", (json_int_t)s->batch, "from", s->from,
			"on_failure", s->on_failure);

		/* What is not there is any. */
		if (*s->key != '\0')
			json_object_set_new(object, "key", json_string(s->key));
		if (*s->where != '\0')
			json_object_set_new(
			    object, "where", json_string(s->where));
		add_retry(object, &s->retry);
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *
schedules(const struct conf_app *app)
{
	json_t *array = json_array();

	for (size_t i = 0; i < app->n_schedules; i++) {
		const struct conf_schedule *s = &app->schedules[i];

		json_array_append_new(
		    array, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}",
			       "name", s->name, "schedule", s->schedule,
			       "timezone", s->timezone, "sql", s->handler.sql,
			       "misfire", s->misfire, "overlap", s->overlap,
			       "jitter_ms", (json_int_t)s->jitter_ms));
	}
	return array;
}

char *
conf_apps_json(const struct conf *conf)
{
	json_t *apps = json_array(), *root;
	char *text;

	for (size_t i = 0; i < conf->n_apps; i++) {
		const struct conf_app *app = &conf->apps[i];

		json_array_append_new(apps,
		    json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "name",
			app->name, "actions", actions(app), "routes",
			routes(app), "queues", queues(app), "subscriptions",
			subscriptions(app), "schedules", schedules(app)));
	}
	root = json_pack("{s:o, s:I}", "apps", apps, "event_retention_ms",
	    (json_int_t)conf->subscriber.event_retention_ms);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text == NULL)
		abort(); /* every string was checked to be UTF-8 */
	return text;
}
