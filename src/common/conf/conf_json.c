/*
 * The hand-over of a checked configuration from the child that parsed it to
 * the master, made from the tables of conf_keys*.c.
 */
#include "common/conf/conf.h"
#include "common/conf/conf_keys.h"
#include "common/conf/conf_node.h"
#include "common/conf/conf_value.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define TITLE "title"

/* ------------------------------------------------------------ to JSON */

static json_t *
strings_to_json(const struct conf_strings *list)
{
	json_t *array = json_array();

	for (int i = 0; i < list->count; i++)
		json_array_append_new(array, json_string(list->items[i]));
	return array;
}

static json_t *
rate_to_json(const struct conf_rate *rate)
{
	return json_pack("{s:I, s:I}", "count", (json_int_t)rate->count,
	    "window_ms", (json_int_t)rate->window_ms);
}

static json_t *
value_to_json(const struct conf_key *key, void *base)
{
	switch (key->type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_CHOICE:
		return json_string(*conf_field_string(base, key->offset));
	case CONF_STRINGS:
		return strings_to_json(conf_field_strings(base, key->offset));
	case CONF_BOOL:
		return json_boolean(*conf_field_bool(base, key->offset));
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
		return json_integer(*conf_field_int(base, key->offset));
	case CONF_RATE:
		return rate_to_json(conf_field_rate(base, key->offset));
	case CONF_LATER:
		break;
	}
	return NULL;
}

static json_t *section_to_json(void *base, const struct conf_section *s);

static json_t *
subs_to_json(void *base, const struct conf_section *s)
{
	size_t n = conf_section_count(base, s);
	json_t *array;

	if (s->shape != CONF_MANY)
		return n == 0 ? NULL
			      : section_to_json(conf_section_at(base, s, 0), s);
	array = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(
		    array, section_to_json(conf_section_at(base, s, i), s));
	return array;
}

static json_t *
section_to_json(void *base, const struct conf_section *s)
{
	json_t *object = json_object();

	if (s->shape == CONF_MANY)
		json_object_set_new(
		    object, TITLE, json_string(*conf_field_string(base, 0)));
	for (size_t i = 0; i < s->n_keys; i++) {
		json_t *value = value_to_json(&s->keys[i], base);

		if (value != NULL)
			json_object_set_new(object, s->keys[i].name, value);
	}
	for (size_t i = 0; i < s->n_subs; i++) {
		json_t *value = subs_to_json(base, &s->subs[i]);

		if (value != NULL)
			json_object_set_new(object, s->subs[i].name, value);
	}
	return object;
}

char *
conf_to_json(const struct conf *conf)
{
	/* The tables' accessors serve writers too; nothing is written. */
	json_t *object = section_to_json((void *)(uintptr_t)conf, &conf_root);
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	if (text == NULL)
		abort(); /* every string was checked to be UTF-8 */
	return text;
}

/* ---------------------------------------------------------- from JSON */

static int
bad(const struct conf_section *s, const char *name, struct err *err)
{
	return err_set(err,
	    "configuration handed over: %s.%s is missing or of another type",
	    s->name, name);
}

static int
strings_from_json(
    const json_t *array, struct conf_strings *list, struct arena *arena)
{
	size_t i;
	json_t *item;

	if (!json_is_array(array))
		return -1;
	list->items = arena_alloc(arena, sizeof(char *));
	json_array_foreach (array, i, item) {
		if (!json_is_string(item))
			return -1;
		conf_strings_add(list, arena, json_string_value(item));
	}
	return 0;
}

static int
string_from_json(const json_t *value, char **string, struct arena *arena)
{
	if (!json_is_string(value))
		return -1;
	*string = arena_strdup(arena, json_string_value(value));
	return 0;
}

static int
rate_from_json(const json_t *value, struct conf_rate *rate)
{
	const json_t *count = json_object_get(value, "count");
	const json_t *window_ms = json_object_get(value, "window_ms");

	rate->count = json_integer_value(count);
	rate->window_ms = json_integer_value(window_ms);
	return json_is_integer(count) && json_is_integer(window_ms) ? 0 : -1;
}

static int
value_from_json(const struct conf_key *key, void *base, const json_t *value,
    struct arena *arena)
{
	switch (key->type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_CHOICE:
		return string_from_json(
		    value, conf_field_string(base, key->offset), arena);
	case CONF_STRINGS:
		return strings_from_json(
		    value, conf_field_strings(base, key->offset), arena);
	case CONF_BOOL:
		*conf_field_bool(base, key->offset) = json_is_true(value);
		return json_is_boolean(value) ? 0 : -1;
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
		*conf_field_int(base, key->offset) = json_integer_value(value);
		return json_is_integer(value) ? 0 : -1;
	case CONF_RATE:
		return rate_from_json(
		    value, conf_field_rate(base, key->offset));
	case CONF_LATER:
		break;
	}
	return 0;
}

static int section_from_json(void *base, const struct conf_section *s,
    const json_t *object, struct arena *arena, struct err *err);

static void
defaults(void *base, const struct conf_section *s, struct arena *arena)
{
	for (size_t i = 0; i < s->n_keys; i++)
		conf_value_default(&s->keys[i], base, arena);
	for (size_t i = 0; i < s->n_subs; i++)
		if (s->subs[i].shape == CONF_ONE)
			defaults(conf_section_at(base, &s->subs[i], 0),
			    &s->subs[i], arena);
}

/* A role that is not there: defaults, and no process. */
static void
absent_role(void *base, const struct conf_section *s, struct arena *arena)
{
	defaults(base, s, arena);
	*conf_field_int(base, conf_key_find(s, "processes")->offset) = 0;
}

static int
many_from_json(void *parent, const struct conf_section *s, const json_t *array,
    struct arena *arena, struct err *err)
{
	size_t n = json_array_size(array);

	if (!json_is_array(array))
		return bad(s, TITLE, err);
	*(void **)conf_field_string(parent, s->offset) =
	    arena_alloc(arena, n * s->size);
	*conf_field_count(parent, s) = n;
	for (size_t i = 0; i < n; i++)
		if (section_from_json(conf_section_at(parent, s, i), s,
			json_array_get(array, i), arena, err) < 0)
			return -1;
	return 0;
}

static int
subs_from_json(void *parent, const struct conf_section *s, const json_t *value,
    struct arena *arena, struct err *err)
{
	void *base;

	if (s->shape == CONF_MANY)
		return many_from_json(parent, s, value, arena, err);
	base = conf_section_at(parent, s, 0);
	if (value == NULL && s->shape == CONF_ROLE) {
		absent_role(base, s, arena);
		return 0;
	}
	if (s->shape == CONF_ROLE)
		*conf_field_bool(base, 0) = true;
	return section_from_json(base, s, value, arena, err);
}

static int
section_from_json(void *base, const struct conf_section *s,
    const json_t *object, struct arena *arena, struct err *err)
{
	if (s->shape == CONF_MANY &&
	    string_from_json(json_object_get(object, TITLE),
		conf_field_string(base, 0), arena) < 0)
		return bad(s, TITLE, err);
	for (size_t i = 0; i < s->n_keys; i++)
		if (value_from_json(&s->keys[i], base,
			json_object_get(object, s->keys[i].name), arena) < 0)
			return bad(s, s->keys[i].name, err);
	for (size_t i = 0; i < s->n_subs; i++)
		if (subs_from_json(base, &s->subs[i],
			json_object_get(object, s->subs[i].name), arena,
			err) < 0)
			return -1;
	return 0;
}

struct conf *
conf_from_json(const char *text, struct err *err)
{
	struct arena *arena = arena_new();
	struct conf *conf = arena_alloc(arena, sizeof(*conf));
	json_error_t why;
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	int rc;

	conf->arena = arena;
	if (object == NULL)
		rc = err_set(err, "configuration handed over: %s", why.text);
	else
		rc = section_from_json(conf, &conf_root, object, arena, err);
	json_decref(object);
	if (rc == 0)
		return conf;
	arena_free(&arena);
	return NULL;
}
