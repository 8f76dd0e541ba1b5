/*
 * The connection budget. See conf_budget.h.
 */
#include "common/conf/conf_budget.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

static int64_t
larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static bool
budget_find(const struct conf *conf, const struct conf_class *like,
    struct conf_class *found)
{
	for (size_t i = 0; conf_class_at(conf, i, found); i++)
		if (strcmp(found->role, like->role) == 0 &&
		    strcmp(found->name, like->name) == 0)
			return true;
	return false;
}

/* Only what has processes opens connections. */
static void
budget_merge(struct conf_class *class, const struct conf_class *other)
{
	if (class->processes == 0)
		class->connections = 0;
	if (other->processes > 0)
		class->connections =
		    larger(class->connections, other->connections);
	class->processes = larger(class->processes, other->processes);
}

static void
budget_add(struct conf_budget *b, const struct conf_class *class)
{
	if (class->processes == 0)
		return;
	b->classes =
	    mem_realloc(b->classes, (b->n_classes + 1) * sizeof(*b->classes));
	b->classes[b->n_classes++] = *class;
}

static void
budget_sum(struct conf_budget *b)
{
	int64_t others = 0;

	b->short_lived = CONF_EXTRA_CONNECTIONS;
	b->total = b->short_lived;
	for (size_t i = 0; i < b->n_classes; i++) {
		const struct conf_class *c = &b->classes[i];

		b->total += c->processes * c->connections;
		if (c->worker != NULL)
			b->replacing += c->connections;
		else
			others = larger(others, c->connections);
	}
	b->replacing += others;
	b->total += b->replacing;
}

void
conf_budget_of_reload(
    const struct conf *now, const struct conf *next, struct conf_budget *b)
{
	struct conf_class class, other;

	memset(b, 0, sizeof(*b));
	for (size_t i = 0; conf_class_at(next, i, &class); i++) {
		if (budget_find(now, &class, &other))
			budget_merge(&class, &other);
		budget_add(b, &class);
	}
	for (size_t i = 0; conf_class_at(now, i, &class); i++)
		if (!budget_find(next, &class, &other))
			budget_add(b, &class);
	budget_sum(b);
}

void
conf_budget(const struct conf *conf, struct conf_budget *b)
{
	conf_budget_of_reload(conf, conf, b);
}

void
conf_budget_leaving(struct conf_budget *b, int64_t connections)
{
	b->leaving += connections;
	b->total += connections;
}

int64_t
conf_budget_reload(const struct conf *now, const struct conf *next)
{
	struct conf_budget b;

	conf_budget_of_reload(now, next, &b);
	conf_budget_done(&b);
	return b.total;
}

void
conf_budget_done(struct conf_budget *b)
{
	mem_free(&b->classes);
	b->n_classes = 0;
}

char *
conf_class_label(const struct conf_class *class)
{
	return mem_printf(
	    "%s%s%s", class->role, *class->name ? "/" : "", class->name);
}

char *
conf_budget_text(const struct conf_budget *b)
{
	struct strbuf text = STRBUF_EMPTY;

	for (size_t i = 0; i < b->n_classes; i++) {
		char *label = conf_class_label(&b->classes[i]);

		strbuf_printf(&text, "%s %" PRId64 " x %" PRId64 " + ", label,
		    b->classes[i].processes, b->classes[i].connections);
		free(label);
	}
	if (b->leaving > 0)
		strbuf_printf(&text, "draining %" PRId64 " + ", b->leaving);
	strbuf_printf(&text,
	    "replacing %" PRId64 " + short-lived %" PRId64 " = %" PRId64,
	    b->replacing, b->short_lived, b->total);
	return strbuf_take(&text);
}
