/*
 * Secrets. See conf_secret.h.
 */
#include "common/conf/conf_secret.h"
#include "common/conf/conf_perm.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_PREFIX "secret:"

enum { SECRET_BYTES_MAX = 64 << 10, SECRET_FILE_BYTES_MAX = 16 << 20 };

struct secret {
	struct arena *arena;
	const char *dir; /* secrets_dir, absolute; "" = none */
	struct conf_strings *warnings;
};

typedef int secret_fn(struct secret *s, const struct conf_node *node,
    const struct conf_key *key, char **text, struct err *err);

/* Call fn for every text given for a key that may hold a secret. */
static int
secret_each(struct secret *s, const struct conf_node *node, secret_fn *fn,
    struct err *err)
{
	for (size_t i = 0; i < node->section->n_keys; i++) {
		const struct conf_key *key = &node->section->keys[i];
		struct conf_strings *texts = &node->given[i].texts;

		if ((key->flags & CONF_SECRET) == 0)
			continue;
		for (int j = 0; j < texts->count; j++)
			if (fn(s, node, key, &texts->items[j], err) != 0)
				return -1;
	}
	for (size_t i = 0; i < node->n_kids; i++)
		if (secret_each(s, &node->kids[i], fn, err) != 0)
			return -1;
	return 0;
}

static void __attribute__((format(printf, 2, 3)))
secret_warning(struct secret *s, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	conf_strings_add(s->warnings, s->arena, text);
}

/* In the file -----------------------------------------------------------*/

/* Word for word: what comes from a variable is not in the file. */
static bool
secret_is_in_file(const char *path, const char *value)
{
	struct err err;
	size_t length;
	char *text = fd_read_file(path, SECRET_FILE_BYTES_MAX, &length, &err);
	bool found =
	    text != NULL && memmem(text, length, value, strlen(value)) != NULL;

	mem_free(&text);
	return found;
}

static int
secret_warn_one(struct secret *s, const struct conf_node *node,
    const struct conf_key *key, char **text, struct err *err)
{
	const char *where = conf_node_given(node, key->name)->where;
	const char *colon = strrchr(where, ':');
	char *masked = conf_mask_url(*text), *path;
	struct stat st;

	(void)err;
	path = mem_strndup(
	    where, colon != NULL ? (size_t)(colon - where) : strlen(where));
	if (strcmp(masked, *text) != 0 && stat(path, &st) == 0 &&
	    conf_perm_public(&st) && secret_is_in_file(path, *text))
		secret_warning(s,
		    "%s: %s.%s has a password, and everybody may read the "
		    "file; run: chmod o-r %s, or say \"secret:NAME\"",
		    where, node->section->name, key->name, path);
	mem_free(&path);
	mem_free(&masked);
	return 0;
}

void
conf_secret_warn(struct arena *arena, const struct conf_node *root,
    struct conf_strings *warnings)
{
	struct secret s = {.arena = arena, .warnings = warnings};
	struct err err;

	secret_each(&s, root, secret_warn_one, &err);
}

/* Elsewhere -------------------------------------------------------------*/

static bool
secret_name_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	size_t length = strlen(name);

	return length > 0 && length <= 255 && name[0] != '.' &&
	       strspn(name, letters) == length;
}

/* What an open file says; NULL with the reason. */
static char *
secret_read_open(struct secret *s, const char *path, int fd, struct err *err)
{
	struct stat st;
	size_t length = 0;
	char *text;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		err_set(err, "\"%s\" is no regular file", path);
		return NULL;
	}
	if (conf_perm_check_secret(path, &st, err) != 0)
		return NULL;
	text = fd_read_all(fd, SECRET_BYTES_MAX, &length);
	if (text == NULL) {
		err_set(err, "cannot read \"%s\": %s", path, strerror(errno));
		return NULL;
	}
	if (length > 0 && text[length - 1] == '\n')
		text[--length] = '\0';
	if (length == 0 || strlen(text) != length) {
		err_set(err, "\"%s\" %s", path,
		    length == 0 ? "is empty" : "has a zero byte");
		mem_free(&text);
	} else if (conf_perm_public(&st)) {
		secret_warning(s,
		    "\"%s\" holds a secret, and everybody may read it; run: "
		    "chmod o-r %s",
		    path, path);
	}
	return text;
}

/*
 * The file's text in *value; 1 if there is no such file, and why not only in
 * *tried. A file that is there but cannot be used is an error: what stands at
 * the next place may be another secret.
 */
static int
secret_from_file(struct secret *s, const char *dir, const char *name,
    char **value, struct strbuf *tried, struct err *err)
{
	char *path, *text = NULL;
	int fd, rc = 1;

	if (dir == NULL || *dir == '\0')
		return 1;
	path = mem_printf("%s/%s", dir, name);
	/* A pipe that nobody writes to would block. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		text = secret_read_open(s, path, fd, err);
	else if (errno != ENOENT && errno != ENOTDIR)
		err_set(err, "cannot read \"%s\": %s", path, strerror(errno));
	else
		strbuf_printf(tried, "\"%s\", ", path);
	if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR))
		rc = text != NULL ? 0 : -1;
	fd_close(&fd);
	if (text != NULL)
		*value = arena_strdup(s->arena, text);
	mem_free(&text);
	mem_free(&path);
	return rc;
}

static int
secret_missing(const struct secret *s, const char *name,
    const struct strbuf *tried, struct err *err)
{
	err_set(err,
	    "there is no secret \"%s\": looked for %sthe environment "
	    "variable %s",
	    name, strbuf_str(tried), name);
	if (*s->dir != '\0')
		return -1;
	return err_hint(err, "set secrets_dir, or CHIMPBASE_SECRETS_DIR, to "
			     "the folder with a file for each secret");
}

static int
secret_find(struct secret *s, const char *name, char **value, struct err *err)
{
	struct strbuf tried = STRBUF_EMPTY;
	const char *variable = getenv(name);
	int rc;

	rc = secret_from_file(s, s->dir, name, value, &tried, err);
	if (rc > 0)
		rc = secret_from_file(s, getenv("CREDENTIALS_DIRECTORY"), name,
		    value, &tried, err);
	if (rc > 0 && variable != NULL && *variable != '\0') {
		*value = arena_strdup(s->arena, variable);
		rc = 0;
	}
	if (rc > 0)
		rc = secret_missing(s, name, &tried, err);
	strbuf_done(&tried);
	return rc;
}

static int
secret_resolve_one(struct secret *s, const struct conf_node *node,
    const struct conf_key *key, char **text, struct err *err)
{
	const size_t prefix = strlen(SECRET_PREFIX);
	const char *name = *text + prefix;
	struct err reason = {"", ""};
	int rc;

	if (strncmp(*text, SECRET_PREFIX, prefix) != 0)
		return 0;
	if (secret_name_valid(name))
		rc = secret_find(s, name, text, &reason);
	else
		rc = err_set(&reason,
		    "\"%.64s\" is no name of a secret: letters, digits, _, - "
		    "and dots, but none at the beginning",
		    name);
	if (rc == 0)
		return 0;
	conf_node_err(node, key->name, err, "%s", reason.message);
	return err_hint(err, "%s", reason.hint);
}

int
conf_secret_resolve(struct arena *arena, const struct conf_node *root,
    struct conf_strings *warnings, struct err *err)
{
	const struct conf_given *dir = conf_node_given(root, "secrets_dir");
	struct secret s = {.arena = arena, .dir = "", .warnings = warnings};

	/* Anything but one text is refused when it becomes a value. */
	if (dir->texts.count == 1 && *dir->texts.items[0] != '\0')
		s.dir = conf_path_join(arena, root->dir, dir->texts.items[0]);
	return secret_each(&s, root, secret_resolve_one, err);
}
