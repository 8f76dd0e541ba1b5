/*
 * chimpd -T: the effective configuration as a configuration file, made from
 * the tables of conf_keys*.c.
 */
#include "common/conf/conf.h"
#include "common/conf/conf_budget.h"
#include "common/conf/conf_keys.h"
#include "common/conf/conf_value.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void
indent(struct strbuf *out, int depth)
{
	for (int i = 0; i < depth; i++)
		strbuf_putc(out, '\t');
}

/* Not what the master alone knows, nor what follows from another key, nor
 * what says nothing. */
static bool
is_printed(const struct conf_key *key, void *base)
{
	if (key->type == CONF_LATER || (key->flags & CONF_INTERNAL))
		return false;
	if (key->unless != 0 && **conf_field_string(base, key->unless))
		return false;
	return (key->flags & CONF_OPTIONAL) == 0 ||
	       conf_value_is_set(key, base);
}

static void
print_keys(
    void *base, const struct conf_section *s, int depth, struct strbuf *out)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		if (!is_printed(&s->keys[i], base))
			continue;
		indent(out, depth);
		strbuf_printf(out, "%s = ", s->keys[i].name);
		conf_value_print(&s->keys[i], base, out);
		strbuf_putc(out, '\n');
	}
}

static void
print_subs(
    void *base, const struct conf_section *s, int depth, struct strbuf *out)
{
	for (size_t i = 0; i < s->n_subs; i++) {
		const struct conf_section *sub = &s->subs[i];
		size_t n = conf_section_count(base, sub);

		for (size_t j = 0; j < n; j++) {
			void *one = conf_section_at(base, sub, j);

			strbuf_putc(out, '\n');
			indent(out, depth);
			strbuf_puts(out, sub->name);
			if (sub->shape == CONF_MANY) {
				strbuf_putc(out, ' ');
				conf_quote(*conf_field_string(one, 0), out);
			}
			strbuf_puts(out, " {\n");
			print_keys(one, sub, depth + 1, out);
			print_subs(one, sub, depth + 1, out);
			indent(out, depth);
			strbuf_puts(out, "}\n");
		}
	}
}

static void
print_class(const struct conf_class *class, struct strbuf *out)
{
	char *label = conf_class_label(class);

	strbuf_printf(out,
	    "#   %-24s %4" PRId64 " * %3" PRId64 " = %5" PRId64 "\n", label,
	    class->processes, class->connections,
	    class->processes * class->connections);
	mem_free(&label);
}

static void
print_sum(const char *label, int64_t sum, struct strbuf *out)
{
	strbuf_printf(out, "#   %-24s %13s %5" PRId64 "\n", label, "", sum);
}

static void
print_budget(const struct conf *conf, struct strbuf *out)
{
	struct conf_budget b;

	conf_budget(conf, &b);
	strbuf_puts(out, "\n# Connections that this node may open at once, "
			 "processes * connections of each:\n");
	for (size_t i = 0; i < b.n_classes; i++)
		print_class(&b.classes[i], out);
	print_sum("replacing processes", b.replacing, out);
	print_sum("short-lived", b.short_lived, out);
	print_sum("total", b.total, out);
	conf_budget_done(&b);
	if (strcmp(conf->database.mode, "embedded") == 0)
		strbuf_printf(out,
		    "# of database.max_connections = %" PRId64 "\n",
		    conf->database.max_connections);
	else
		strbuf_puts(out, "# to be had within the server's "
				 "max_connections\n");
}

char *
conf_print(const struct conf *conf)
{
	/* The tables' accessors serve writers too; nothing is written. */
	void *base = (void *)(uintptr_t)conf;
	struct strbuf out = STRBUF_EMPTY;

	strbuf_printf(&out,
	    "# The effective configuration of %s,\n"
	    "# with defaults and environment; passwords are masked.\n",
	    conf->path);
	if (!conf->background_workers)
		strbuf_puts(&out, "# DISABLE_BACKGROUND_WORKERS is set: only "
				  "http runs.\n");
	print_keys(base, &conf_root, 0, &out);
	print_subs(base, &conf_root, 0, &out);
	print_budget(conf, &out);
	return strbuf_take(&out);
}
