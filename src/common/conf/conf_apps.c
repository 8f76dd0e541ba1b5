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

static void
add_route(json_t *array, const struct conf_route *route)
{
	json_array_append_new(
	    array, json_pack("{s:s, s:s}", "pattern", route->pattern, "sql",
		       route->handler.sql));
}

/* Its own, and those of its collections. */
static json_t *
routes(const struct conf_app *app, struct arena *arena)
{
	json_t *array = json_array();
	struct conf_route made[CONF_COLLECTION_ROUTES];

	for (size_t i = 0; i < app->n_routes; i++)
		add_route(array, &app->routes[i]);
	for (size_t i = 0; i < app->n_collections; i++) {
		size_t n =
		    conf_collection_routes(&app->collections[i], arena, made);

		for (size_t j = 0; j < n; j++)
			add_route(array, &made[j]);
	}
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

/* What is not set is left out. */
static void
add_step_texts(json_t *object, const struct conf_step *s)
{
	const struct {
		const char *name, *value;
	} texts[] = {
	    {"action", s->action},
	    {"signal", s->signal},
	    {"goto", s->go_to},
	    {"workflow", s->workflow},
	    {"when", s->when},
	    {"input", s->input},
	    {"result", s->result},
	    {"state", s->state},
	    {"on_timeout", s->on_timeout},
	    {"backoff", s->retry.backoff},
	    {"compensate", s->compensate},
	    {"compensate_input", s->compensate_input},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (*texts[i].value != '\0')
			json_object_set_new(
			    object, texts[i].name, json_string(texts[i].value));
}

static void
add_step_numbers(json_t *object, const struct conf_step *s)
{
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {
	    {"sleep_ms", s->sleep_ms},
	    {"timeout_ms", s->timeout_ms},
	    {"max_attempts", s->retry.max_attempts},
	    {"retry_delay_ms", s->retry.retry_delay_ms},
	    {"retry_delay_max_ms", s->retry.retry_delay_max_ms},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].value != CONF_UNSET)
			json_object_set_new(object, numbers[i].name,
			    json_integer(numbers[i].value));
}

static json_t *
steps(const struct conf_workflow *w)
{
	json_t *array = json_array();

	for (size_t i = 0; i < w->n_steps; i++) {
		const struct conf_step *s = &w->steps[i];
		json_t *object =
		    json_pack("{s:s, s:s}", "name", s->name, "kind", s->kind);

		add_step_texts(object, s);
		add_step_numbers(object, s);
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *
workflow(const struct conf_workflow *w)
{
	json_t *object = json_pack(
	    "{s:s, s:I}", "name", w->name, "version", (json_int_t)w->version);
	json_t *rest = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "timeout_ms",
	    (json_int_t)w->timeout_ms, "concurrency",
	    (json_int_t)w->concurrency, "group", (json_int_t)w->group,
	    "retention_ms", (json_int_t)w->retention_ms, "max_transitions",
	    (json_int_t)w->max_transitions, "steps", steps(w));

	if (*w->sql != '\0')
		json_object_set_new(object, "sql", json_string(w->sql));
	if (*w->initial != '\0')
		json_object_set_new(object, "initial", json_string(w->initial));
	add_retry(object, &w->retry);
	json_object_update(object, rest);
	json_decref(rest);
	return object;
}

static json_t *
workflows(const struct conf_app *app)
{
	json_t *array = json_array();

	for (size_t i = 0; i < app->n_workflows; i++)
		json_array_append_new(array, workflow(&app->workflows[i]));
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
		    json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
			app->name, "actions", actions(app), "routes",
			routes(app, conf->arena), "queues", queues(app),
			"subscriptions", subscriptions(app), "schedules",
			schedules(app), "workflows", workflows(app)));
	}
	root = json_pack("{s:o, s:I, s:I, s:I}", "apps", apps,
	    "event_retention_ms",
	    (json_int_t)conf->subscriber.event_retention_ms, "cache_max_bytes",
	    (json_int_t)conf->database.cache_max_bytes,
	    "telemetry_retention_ms",
	    (json_int_t)conf->database.telemetry_retention_ms);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text == NULL)
		abort(); /* every string was checked to be UTF-8 */
	return text;
}
