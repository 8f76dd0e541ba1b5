/*
 * What to say about a key that its section does not know. See
 * conf_unknown.h.
 */
#include "common/conf/conf_unknown.h"
#include "common/conf/conf_nearest.h"
#include "common/base/err.h"
#include "common/base/strbuf.h"

#include <assert.h>
#include <string.h>

/* The section that knows the key or section which was written in the wrong
 * one. */
static const struct conf_section *
owner_of(const struct conf_section *in, const char *name)
{
	const struct conf_key *key = conf_key_find(in, name);

	if (key != NULL && conf_key_in_file(key))
		return in;
	assert(in->n_subs == 0 || in->subs != NULL);
	for (size_t i = 0; i < in->n_subs; i++)
		if (strcmp(in->subs[i].name, name) == 0)
			return in;
	for (size_t i = 0; i < in->n_subs; i++) {
		const struct conf_section *s = owner_of(&in->subs[i], name);

		if (s != NULL)
			return s;
	}
	return NULL;
}

static const char *
nearest(const struct conf_section *s, const char *name)
{
	struct conf_nearest n = {.wrong = name};

	for (size_t i = 0; i < s->n_keys; i++)
		if (conf_key_in_file(&s->keys[i]) &&
		    s->keys[i].type != CONF_LATER)
			conf_nearest_try(&n, s->keys[i].name);
	for (size_t i = 0; i < s->n_subs; i++)
		conf_nearest_try(&n, s->subs[i].name);
	if (s == &conf_root)
		conf_nearest_try(&n, "include");
	return n.best;
}

static void
hint_names(const struct conf_section *s, struct err *err)
{
	struct strbuf names = STRBUF_EMPTY;

	for (size_t i = 0; i < s->n_keys; i++)
		if (conf_key_in_file(&s->keys[i]) &&
		    s->keys[i].type != CONF_LATER)
			strbuf_printf(&names, "%s%s", names.length ? ", " : "",
			    s->keys[i].name);
	for (size_t i = 0; i < s->n_subs; i++)
		strbuf_printf(
		    &names, "%s%s", names.length ? ", " : "", s->subs[i].name);
	err_hint(err, "known here: %s", strbuf_str(&names));
	strbuf_done(&names);
}

void
conf_unknown_key(const struct conf_section *s, const char *name,
    const char *where, struct err *err)
{
	const struct conf_section *owner = owner_of(s, name);
	const char *near = nearest(s, name);
	const bool include = strcmp(name, "include") == 0;
	const char *colon = *s->name != '\0' ? ": " : "";

	if (owner == NULL)
		owner = owner_of(&conf_root, name);
	if (owner == &conf_root || include)
		err_set(err, "%s: \"%s\" belongs outside of all sections",
		    where, name);
	else if (owner != NULL)
		err_set(err, "%s: \"%s\" belongs into section \"%s\"", where,
		    name, owner->name);
	else if (near != NULL)
		err_set(err, "%s: %s%sunknown key \"%s\"; did you mean \"%s\"?",
		    where, s->name, colon, name, near);
	else
		err_set(err, "%s: %s%sunknown key \"%s\"", where, s->name,
		    colon, name);
	hint_names(s, err);
}
