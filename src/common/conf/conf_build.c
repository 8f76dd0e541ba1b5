/*
 * From sections and texts to a struct conf. See conf_draft.h.
 */
#include "common/conf/conf_draft.h"
#include "common/conf/conf_value.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct conf_node *
conf_draft_node(const struct conf_draft *draft, const void *base)
{
	for (size_t i = 0; i < draft->n_marks; i++)
		if (draft->marks[i].base == base)
			return draft->marks[i].node;
	abort(); /* every struct was made of a node */
}

int
conf_draft_err(const struct conf_draft *draft, const void *base,
    const char *key, struct err *err, const char *fmt, ...)
{
	char reason[sizeof(err->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	return conf_node_err(
	    conf_draft_node(draft, base), key, err, "%s", reason);
}

static size_t
count_nodes(const struct conf_node *node)
{
	size_t n = 1;

	for (size_t i = 0; i < node->n_kids; i++)
		n += count_nodes(&node->kids[i]);
	return n;
}

static size_t
count_kids(const struct conf_node *node, const struct conf_section *section)
{
	size_t n = 0;

	for (size_t i = 0; i < node->n_kids; i++)
		if (node->kids[i].section == section)
			n++;
	return n;
}

static int
build_key(const struct conf_node *node, size_t i, void *base,
    struct arena *arena, struct err *err)
{
	const struct conf_key *key = &node->section->keys[i];
	const struct conf_given *given = &node->given[i];
	struct err reason;

	if (given->where == NULL) {
		conf_value_default(key, base, arena);
		return 0;
	}
	if (conf_value_set(
		key, base, &given->texts, node->dir, arena, &reason) == 0)
		return 0;
	conf_node_err(node, key->name, err, "%s", reason.message);
	if (key->help != NULL)
		err_hint(err, "%s: %s", key->name, key->help);
	return -1;
}

/* A role without a section does not run; its other keys have defaults, so
 * that nobody meets a NULL. */
static void
build_role(const struct conf_node *node, void *base)
{
	const struct conf_key *processes =
	    conf_key_find(node->section, "processes");

	*conf_field_bool(base, 0) = node->written;
	if (!node->written)
		*conf_field_int(base, processes->offset) = 0;
}

static int
build_section(struct conf_draft *draft, const struct conf_node *node,
    void *base, struct err *err)
{
	struct arena *arena = draft->conf->arena;
	const struct conf_section *s = node->section;

	draft->marks[draft->n_marks++] = (struct conf_mark){base, node};
	if (s->shape == CONF_MANY)
		*conf_field_string(base, 0) = node->title;
	for (size_t i = 0; i < s->n_keys; i++)
		if (build_key(node, i, base, arena, err) < 0)
			return -1;
	if (s->shape == CONF_ROLE)
		build_role(node, base);
	for (size_t i = 0; i < s->n_subs; i++)
		if (s->subs[i].shape == CONF_MANY)
			*(void **)conf_field_string(base, s->subs[i].offset) =
			    arena_alloc(arena, count_kids(node, &s->subs[i]) *
						   s->subs[i].size);
	for (size_t i = 0; i < node->n_kids; i++) {
		const struct conf_section *sub = node->kids[i].section;
		size_t at = 0;

		if (sub->shape == CONF_MANY)
			at = (*conf_field_count(base, sub))++;
		if (build_section(draft, &node->kids[i],
			conf_section_at(base, sub, at), err) < 0)
			return -1;
	}
	return 0;
}

int
conf_build(struct conf_draft *draft, struct arena *arena,
    const struct conf_node *root, struct err *err)
{
	draft->conf = arena_alloc(arena, sizeof(*draft->conf));
	draft->conf->arena = arena;
	draft->marks =
	    arena_alloc(arena, count_nodes(root) * sizeof(*draft->marks));
	draft->n_marks = 0;
	return build_section(draft, root, draft->conf, err);
}
