/*
 * A configuration as it was written: sections and keys with their places,
 * values still texts. conf_scan.c makes it from the files, conf_env.c lays the
 * environment over it, conf_build.c makes values of it.
 */
#ifndef CHIMP_CONF_CONF_NODE_H
#define CHIMP_CONF_CONF_NODE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/conf/conf.h"
#include "common/conf/conf_keys.h"

struct conf_given {
	const char *where; /* "chimpd.conf:12"; NULL: not given */
	struct conf_strings texts;
};

struct conf_node {
	const struct conf_section *section;
	const struct conf_node *parent; /* NULL: the top of the file */
	char *title;                    /* NULL: the section has none */
	const char *where;
	const char *dir;          /* absolute folder of its file */
	bool written;             /* false: only its defaults are there */
	struct conf_given *given; /* one per key of the section, in order */
	struct conf_node *kids;
	size_t n_kids;
};

/* Read `path` and what it includes. Everything lives in the arena. The
 * sections of shape CONF_ONE and CONF_ROLE are always there, once. */
struct conf_node *conf_scan(
    struct arena *arena, const char *path, struct err *err);

/* Lay the environment variables of design.md section 3 over it. */
int conf_env_apply(
    struct arena *arena, struct conf_node *root, struct err *err);

/* What is given for a key, which must exist. */
struct conf_given *conf_node_given(
    const struct conf_node *node, const char *key);

/*
 * "WHERE: http.KEY: ", "WHERE: worker "heavy": KEY: " and the reason; `key` may
 * be NULL. The place is the key's if it was given, else the section's. Within
 * an app's section those around it are named too: "WHERE: workflow "w": step
 * "s": KEY: ". Always returns -1.
 */
int conf_node_err(const struct conf_node *node, const char *key,
    struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Append a copy; the list and the copy live in the arena. */
void conf_strings_add(
    struct conf_strings *list, struct arena *arena, const char *text);

/* PATH, or DIR/PATH if it is relative; in the arena. */
char *conf_path_join(struct arena *arena, const char *dir, const char *path);

#endif
