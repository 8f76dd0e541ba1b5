/*
 * A configuration as it was written. See conf_node.h.
 */
#include "common/conf/conf_node.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct conf_given *
conf_node_given(const struct conf_node *node, const char *key)
{
	const struct conf_key *k = conf_key_find(node->section, key);

	assert(k != NULL);
	return &node->given[k - node->section->keys];
}

/* The sections between an app's and this one. */
static void
put_around(const struct conf_node *node, struct strbuf *out)
{
	const struct conf_node *around = node->parent;

	if (around == NULL || around->title == NULL ||
	    around->parent->parent == NULL)
		return;
	put_around(around, out);
	strbuf_printf(out, "%s \"%s\": ", around->section->name, around->title);
}

static int
titled_err(const struct conf_node *node, const char *where, const char *key,
    const char *reason, struct err *err)
{
	struct strbuf around = STRBUF_EMPTY;

	put_around(node, &around);
	err_set(err, "%s: %s%s \"%s\"%s%s: %s", where, strbuf_str(&around),
	    node->section->name, node->title, *key != '\0' ? ": " : "", key,
	    reason);
	strbuf_done(&around);
	return -1;
}

int
conf_node_err(const struct conf_node *node, const char *key, struct err *err,
    const char *fmt, ...)
{
	const char *where = node->where, *name = node->section->name;
	const char *sep = *name != '\0' && key != NULL ? "." : "";
	char reason[sizeof(err->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	if (key != NULL && conf_node_given(node, key)->where != NULL)
		where = conf_node_given(node, key)->where;
	if (key == NULL)
		key = "";
	if (node->title != NULL)
		return titled_err(node, where, key, reason, err);
	if (*name == '\0' && *key == '\0')
		return err_set(err, "%s: %s", where, reason);
	return err_set(err, "%s: %s%s%s: %s", where, name, sep, key, reason);
}

void
conf_strings_add(
    struct conf_strings *list, struct arena *arena, const char *text)
{
	size_t n = (size_t)list->count;
	char **items = arena_alloc(arena, (n + 2) * sizeof(*items));

	/* Quadratic in the arena; lists have a handful of items. */
	if (n > 0)
		memcpy(items, list->items, n * sizeof(*items));
	items[n] = arena_strdup(arena, text);
	list->items = items;
	list->count++;
}

char *
conf_path_join(struct arena *arena, const char *dir, const char *path)
{
	char *joined, *copy;

	if (path[0] == '/' || strcmp(dir, ".") == 0)
		return arena_strdup(arena, path);
	joined = mem_printf("%s/%s", dir, path);
	copy = arena_strdup(arena, joined);
	mem_free(&joined);
	return copy;
}
