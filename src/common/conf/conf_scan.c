/*
 * Reads chimpd.conf and its includes with libConfuse; the only file that sees
 * it. Every value is read as a list of strings, because libConfuse's own
 * conversions report no place, take 010 for 8 and keep the last of two equal
 * keys; conf_value.c makes values of them.
 *
 * Includes are read after the file that names them, each as a parse of its
 * own into the same tree: the order has no meaning, as nothing may be set
 * twice, and a file cannot leak an open brace into the next one.
 */
#include "common/conf/conf_node.h"
#include "common/conf/conf_perm.h"
#include "common/conf/conf_shape.h"
#include "common/conf/conf_unknown.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <assert.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <confuse.h>

enum { FILE_BYTES_MAX = 16 << 20, FILES_MAX = 1000 };

/*
 * A key that every section has without anybody writing it: its default value
 * is parsed at the opening brace, which is the only moment when libConfuse
 * lets us note where a section begins (it counts cfg->line on to the end).
 */
#define BEGIN_KEY "\001"

/*
 * libConfuse replaces a section by a later one of the same title. Where titles
 * may repeat they are made different: this mark and a number stand behind
 * them until take_title cuts them off.
 */
#define REPEAT_MARK '\001'

struct file {
	char *path;        /* as errors name it */
	char *real;        /* absolute, without symbolic links */
	const char *where; /* of the include; NULL: chimpd.conf itself */
};

struct scan {
	struct arena *arena;
	struct file *files;
	size_t n_files;
	size_t n_repeats; /* titles with REPEAT_MARK */
	struct err *err;
	bool failed;
};

/* libConfuse's callbacks have no argument of ours. It keeps its own state in
 * static variables, so that there is never more than one parse anyway. */
static struct scan *scan;

static char *
place(const cfg_t *cfg)
{
	char *text = mem_printf("%s:%d", cfg->filename, cfg->line);
	char *copy = arena_strdup(scan->arena, text);

	mem_free(&text);
	return copy;
}

/* The first error counts; what follows from it does not. */
static struct err *
fail(void)
{
	static struct err ignored;

	if (scan->failed)
		return &ignored;
	scan->failed = true;
	return scan->err;
}

/* -------------------------------------------- which section it is */

static const struct conf_section *
find_section(const struct conf_section *in, const char *name, bool titled)
{
	for (size_t i = 0; i < in->n_subs; i++) {
		const struct conf_section *s = &in->subs[i];

		if (strcmp(s->name, name) == 0 &&
		    (s->shape == CONF_MANY) == titled)
			return s;
		s = find_section(s, name, titled);
		if (s != NULL)
			return s;
	}
	return NULL;
}

static const struct conf_section *
section_of(const cfg_t *cfg)
{
	const struct conf_section *s;

	if (strcmp(cfg->name, "root") == 0)
		return &conf_root;
	s = find_section(&conf_root, cfg->name, cfg->title != NULL);
	assert(s != NULL);
	return s;
}

/* -------------------------------------------------- libConfuse's calls */

static const char *
begin_of(cfg_t *cfg)
{
	return cfg_opt_getcomment(cfg_getopt(cfg, BEGIN_KEY));
}

/* libConfuse does not say of which kind of section the title is; mostly only
 * one of them has it. */
static void
title_twice(cfg_t *cfg, const char *title)
{
	const struct conf_section *s = section_of(cfg);
	const char *kind = "", *first = NULL;
	unsigned int found = 0;

	for (size_t i = 0; i < s->n_subs; i++) {
		cfg_t *sub = NULL;

		if (s->subs[i].shape == CONF_MANY)
			sub = cfg_gettsec(cfg, s->subs[i].name, title);
		if (sub == NULL)
			continue;
		kind = s->subs[i].name;
		first = begin_of(sub);
		found++;
	}
	if (found == 1)
		err_set(fail(), "%s: %s \"%s\" stands twice, first at %s",
		    place(cfg), kind, title, first);
	else
		err_set(fail(), "%s: \"%s\" stands twice", place(cfg), title);
}

static void __attribute__((format(printf, 2, 0)))
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[512];

	if (strstr(fmt, "no such option") != NULL) {
		conf_unknown_key(section_of(cfg), va_arg(ap, const char *),
		    place(cfg), fail());
		return;
	}
	if (strstr(fmt, "duplicate title") != NULL) {
		title_twice(cfg, va_arg(ap, const char *));
		return;
	}
	vsnprintf(text, sizeof(text), fmt, ap);
	err_set(fail(), "%s: %s", place(cfg), text);
}

static void
mark_title(cfg_t *cfg)
{
	char *marked =
	    mem_printf("%s%c%zu", cfg->title, REPEAT_MARK, scan->n_repeats++);

	free(cfg->title);
	cfg->title = marked;
}

static char *
take_title(const struct conf_section *s, const cfg_t *cfg)
{
	char *title = arena_strdup(scan->arena, cfg->title);

	if (s->repeats)
		*strrchr(title, REPEAT_MARK) = '\0';
	return title;
}

/* Called for each item of a value; notes the place of the first one as the
 * option's comment, which libConfuse keeps and frees for us. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	const char *before = cfg_opt_getcomment(opt);

	if (before != NULL && cfg_opt_size(opt) == 1)
		return err_set(fail(), "%s: %s: stands twice, first at %s",
		    place(cfg), opt->name, before);
	if (before == NULL)
		cfg_opt_setcomment(opt, place(cfg));
	if (strcmp(opt->name, BEGIN_KEY) == 0 && section_of(cfg)->repeats)
		mark_title(cfg);
	*(const char **)result = value;
	return 0;
}

static char *
real_path(const char *path)
{
	char *real = realpath(path, NULL), *copy;

	copy = arena_strdup(scan->arena, real != NULL ? real : path);
	free(real);
	return copy;
}

static int
add_file(const char *path, const char *where)
{
	struct file *f = &scan->files[scan->n_files];
	char *real = real_path(path);
	struct stat st;

	for (size_t i = 0; i < scan->n_files; i++)
		if (strcmp(scan->files[i].real, real) == 0)
			return err_set(fail(),
			    "%s: include: \"%s\" has been read already", where,
			    path);
	if (scan->n_files == FILES_MAX)
		return err_set(fail(), "%s: include: more than %d files", where,
		    FILES_MAX);
	/* Reading a pipe or a device would block or never end. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(fail(), "%s%scannot read \"%s\": %s",
		    where ? where : "", where ? ": include: " : "", path,
		    S_ISDIR(st.st_mode) ? "it is a folder"
					: "it is not a regular file");
	f->path = arena_strdup(scan->arena, path);
	f->real = real;
	f->where = where;
	scan->n_files++;
	return 0;
}

static int
on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
	char *copy = mem_strdup(cfg->filename);
	const char *dir = dirname(copy);
	int rc = 0;

	(void)opt;
	for (int i = 0; i < argc && rc == 0; i++)
		rc = add_file(
		    conf_path_join(scan->arena, dir, argv[i]), place(cfg));
	mem_free(&copy);
	return rc;
}

/* ------------------------------------------------ tables to libConfuse */

static void
opt_list(cfg_opt_t *opt, const char *name, const char *def)
{
	opt->name = name;
	opt->type = CFGT_STR;
	opt->flags = CFGF_LIST | (def == NULL ? CFGF_NODEFAULT : CFGF_NONE);
	opt->def.parsed = (char *)(uintptr_t)def;
	opt->parsecb = on_value;
}

static cfg_opt_t *
opts_for(const struct conf_section *s)
{
	size_t room = s->n_keys + s->n_subs + 3; /* begin, include, end */
	cfg_opt_t *opts = arena_alloc(scan->arena, room * sizeof(*opts));
	cfg_opt_t *opt = opts;

	if (s != &conf_root)
		opt_list(opt++, BEGIN_KEY, "{begin}");
	for (size_t i = 0; i < s->n_keys; i++)
		if (conf_key_in_file(&s->keys[i]))
			opt_list(opt++, s->keys[i].name, NULL);
	for (size_t i = 0; i < s->n_subs; i++, opt++) {
		opt->name = s->subs[i].name;
		opt->type = CFGT_SEC;
		opt->flags = CFGF_MULTI;
		if (s->subs[i].shape == CONF_MANY)
			opt->flags |= CFGF_TITLE | CFGF_NO_TITLE_DUPES;
		opt->subopts = opts_for(&s->subs[i]);
	}
	if (s == &conf_root) {
		opt->name = "include";
		opt->type = CFGT_FUNC;
		opt->func = on_include;
	}
	return opts;
}

/* ------------------------------------------------ libConfuse to nodes */

static const char *
dir_of(const char *filename)
{
	char *copy = real_path(filename);

	return arena_strdup(scan->arena, dirname(copy));
}

static int
take_given(struct conf_given *given, cfg_opt_t *opt, const char *section_where)
{
	const char *where = cfg_opt_getcomment(opt);
	unsigned int n = cfg_opt_size(opt);

	if ((opt->flags & CFGF_MODIFIED) == 0)
		return 0;
	if (n == 0 && where != NULL)
		return err_set(
		    fail(), "%s: %s: stands twice", where, opt->name);
	/* `key = {}` calls nobody: its section is the best known place. */
	given->where =
	    where != NULL ? arena_strdup(scan->arena, where) : section_where;
	for (unsigned int i = 0; i < n; i++)
		conf_strings_add(
		    &given->texts, scan->arena, cfg_opt_getnstr(opt, i));
	return 0;
}

static int take_node(
    struct conf_node *node, const struct conf_section *s, cfg_t *cfg);

/* A section that is not written: all defaults. */
static void
empty_node(struct conf_node *node, const struct conf_section *s,
    const struct conf_node *parent)
{
	node->section = s;
	node->parent = parent;
	node->where = parent->where;
	node->dir = parent->dir;
	node->given =
	    arena_alloc(scan->arena, s->n_keys * sizeof(*node->given));
	node->kids = arena_alloc(scan->arena, s->n_subs * sizeof(*node->kids));
	for (size_t i = 0; i < s->n_subs; i++)
		if (s->subs[i].shape != CONF_MANY)
			empty_node(
			    &node->kids[node->n_kids++], &s->subs[i], node);
}

static int
take_kids(struct conf_node *node, const struct conf_section *s, cfg_t *cfg)
{
	unsigned int n = cfg_size(cfg, s->name);

	if (n == 0 && s->shape != CONF_MANY) {
		empty_node(&node->kids[node->n_kids++], s, node);
		return 0;
	}
	for (unsigned int i = 0; i < n; i++) {
		struct conf_node *kid = &node->kids[node->n_kids++];

		kid->parent = node;
		if (take_node(kid, s, cfg_getnsec(cfg, s->name, i)) < 0)
			return -1;
		if (i > 0 && s->shape != CONF_MANY)
			return err_set(fail(),
			    "%s: section \"%s\" stands twice, first at %s",
			    kid->where, s->name, kid[-1].where);
	}
	return 0;
}

static int
take_node(struct conf_node *node, const struct conf_section *s, cfg_t *cfg)
{
	size_t room = s->n_subs; /* for those that are not written */

	node->section = s;
	node->written = true;
	node->where = arena_strdup(
	    scan->arena, s == &conf_root ? scan->files[0].path : begin_of(cfg));
	node->dir =
	    dir_of(s == &conf_root ? scan->files[0].path : cfg->filename);
	if (cfg->title != NULL)
		node->title = take_title(s, cfg);
	node->given =
	    arena_alloc(scan->arena, s->n_keys * sizeof(*node->given));
	for (size_t i = 0; i < s->n_keys; i++)
		if (conf_key_in_file(&s->keys[i]) &&
		    take_given(&node->given[i],
			cfg_getopt(cfg, s->keys[i].name), node->where) < 0)
			return -1;
	for (size_t i = 0; i < s->n_subs; i++)
		room += cfg_size(cfg, s->subs[i].name);
	node->kids = arena_alloc(scan->arena, room * sizeof(*node->kids));
	for (size_t i = 0; i < s->n_subs; i++)
		if (take_kids(node, &s->subs[i], cfg) < 0)
			return -1;
	return 0;
}

/* --------------------------------------------------------------- files */

static int
parse_text(cfg_t *cfg, const char *path, char *text, size_t length)
{
	FILE *fp;
	int rc;

	if (length == 0)
		return 0; /* fmemopen refuses it */
	fp = fmemopen(text, length, "r");
	if (fp == NULL)
		return err_set(fail(), "%s: cannot read it from memory", path);
	free(cfg->filename);
	cfg->filename = mem_strdup(path);
	rc = cfg_parse_fp(cfg, fp);
	fclose(fp);
	if (rc == CFG_SUCCESS)
		return 0;
	if (!scan->failed)
		err_set(fail(), "%s: not a configuration", place(cfg));
	return -1;
}

static int
parse_file(cfg_t *cfg, const struct file *file)
{
	struct err err;
	size_t length;
	char *text = NULL;
	int rc;

	if (conf_perm_check(file->path, &err) == 0)
		text = fd_read_file(file->path, FILE_BYTES_MAX, &length, &err);
	if (text == NULL) {
		if (file->where != NULL)
			err_prefix(&err, "%s: include", file->where);
		*fail() = err;
		return -1;
	}
	rc = conf_shape_check(text, length, file->path, &err);
	if (rc < 0)
		*fail() = err;
	else
		rc = parse_text(cfg, file->path, text, length);
	mem_free(&text);
	return rc;
}

static struct conf_node *
run(const char *path)
{
	struct conf_node *root = arena_alloc(scan->arena, sizeof(*root));
	cfg_t *cfg = cfg_init(opts_for(&conf_root), CFGF_NONE);
	int rc;

	assert(cfg != NULL);
	cfg_set_error_function(cfg, on_error);
	rc = add_file(path, NULL);
	for (size_t i = 0; i < scan->n_files && rc == 0; i++)
		rc = parse_file(cfg, &scan->files[i]);
	if (rc == 0)
		rc = take_node(root, &conf_root, cfg);
	cfg_free(cfg);
	return rc == 0 ? root : NULL;
}

struct conf_node *
conf_scan(struct arena *arena, const char *path, struct err *err)
{
	struct scan now = {.arena = arena, .err = err};
	struct conf_node *root;

	now.files = arena_alloc(arena, FILES_MAX * sizeof(*now.files));
	scan = &now;
	root = run(path);
	scan = NULL;
	return root;
}
