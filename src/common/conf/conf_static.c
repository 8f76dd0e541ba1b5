/*
 * Static files: prefixes that differ, folders and pages that are there.
 */
#include "common/conf/conf_draft.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

/* "/" or "/a/b-c": compared with what a request's path is once decoded. */
static bool
is_prefix(const char *prefix)
{
	size_t length = strlen(prefix);

	if (strcmp(prefix, "/") == 0)
		return true;
	if (prefix[0] != '/' || prefix[length - 1] == '/')
		return false;
	for (size_t i = 1; i < length; i++) {
		bool begins = prefix[i - 1] == '/';

		if (prefix[i] == '/' || prefix[i] == '.'
			? begins
			: !isalnum((unsigned char)prefix[i]) &&
			      strchr("-_~./", prefix[i]) == NULL)
			return false;
	}
	return true;
}

static int
check_fallback(
    const struct conf_draft *d, const struct conf_static *s, struct err *err)
{
	struct arena *arena = d->conf->arena;
	struct stat st;

	if (*s->fallback == '\0')
		return 0;
	if (strchr(s->fallback, '/') != NULL || s->fallback[0] == '.')
		return conf_draft_err(d, s, "fallback", err,
		    "must be the name of a file in dir, not \"%s\"",
		    s->fallback);
	if (stat(conf_path_join(arena, s->dir, s->fallback), &st) != 0 ||
	    !S_ISREG(st.st_mode))
		return conf_draft_err(d, s, "fallback", err,
		    "there is no file \"%s\" in \"%s\"", s->fallback, s->dir);
	return 0;
}

static int
check_static(
    const struct conf_draft *d, const struct conf_static *s, struct err *err)
{
	struct stat st;

	if (!is_prefix(s->prefix))
		return conf_draft_err(d, s, NULL, err,
		    "must be \"/\" or a path like \"/assets\" without a slash "
		    "at its end");
	if (*s->dir == '\0')
		return conf_draft_err(
		    d, s, "dir", err, "must be given: the folder of the files");
	if (stat(s->dir, &st) != 0 || !S_ISDIR(st.st_mode))
		return conf_draft_err(
		    d, s, "dir", err, "there is no folder \"%s\"", s->dir);
	return check_fallback(d, s, err);
}

/* Number `n` over all apps, or NULL. */
static const struct conf_static *
static_at(const struct conf *conf, size_t n)
{
	for (size_t a = 0; a < conf->n_apps; a++) {
		if (n < conf->apps[a].n_statics)
			return &conf->apps[a].statics[n];
		n -= conf->apps[a].n_statics;
	}
	return NULL;
}

int
conf_check_statics(const struct conf_draft *d, struct err *err)
{
	const struct conf_static *s, *before;

	for (size_t i = 0; (s = static_at(d->conf, i)) != NULL; i++) {
		if (check_static(d, s, err) < 0)
			return -1;
		for (size_t j = 0;
		     (before = static_at(d->conf, j)) != NULL && before != s;
		     j++) {
			if (strcmp(before->prefix, s->prefix) == 0)
				return conf_draft_err(d, s, NULL, err,
				    "the path is taken already at %s",
				    conf_draft_node(d, before)->where);
		}
	}
	return 0;
}
