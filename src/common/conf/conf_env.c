/*
 * Environment variables that users of the earlier systems know; they override
 * the files. They are laid over the texts, so that a bad value is found and
 * named like one in a file. An empty variable counts as none.
 */
#include "common/conf/conf_node.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct env {
	const char *variable;
	const char *section;
	const char *key;
	const char *unit; /* appended to a number */
};

/* A later one wins over an earlier one. */
static const struct env overrides[] = {
    {"DATABASE_URL", "database", "url", NULL},
    {"CHIMPBASE_DATABASE_URL", "database", "url", NULL},
    {"CHIMPBASE_STORAGE_ENGINE", "database", "mode", NULL},
    {"CHIMPBASE_WORKER_CONCURRENCY", "worker", "concurrency", NULL},
    {"CHIMPBASE_WORKER_POLL_INTERVAL_MS", "worker", "poll", "ms"},
    {"CHIMPBASE_WORKER_LEASE_MS", "worker", "lease", "ms"},
};

static const char *
env_get(const char *variable)
{
	const char *value = getenv(variable);

	return value != NULL && *value != '\0' ? value : NULL;
}

static const char *
env_where(struct arena *arena, const char *variable)
{
	char *text = mem_printf("environment variable %s", variable);
	const char *copy = arena_strdup(arena, text);

	mem_free(&text);
	return copy;
}

static void
give(struct arena *arena, struct conf_given *given, const char *variable,
    const char *text)
{
	given->where = env_where(arena, variable);
	given->texts = (struct conf_strings){NULL, 0};
	conf_strings_add(&given->texts, arena, text);
}

/* A number without a unit becomes one with it; anything else is left to the
 * check of the value, which says what it must be. */
static char *
with_unit(const char *value, const char *unit)
{
	bool number = value[strspn(value, "0123456789")] == '\0';

	return mem_printf("%s%s", value, unit != NULL && number ? unit : "");
}

static void
override(struct arena *arena, struct conf_node *root, const struct env *env,
    const char *value)
{
	char *text = with_unit(value, env->unit);

	for (size_t i = 0; i < root->n_kids; i++) {
		struct conf_node *kid = &root->kids[i];

		if (strcmp(kid->section->name, env->section) == 0)
			give(arena, conf_node_given(kid, env->key),
			    env->variable, text);
	}
	mem_free(&text);
}

static struct conf_node *
kid_of(struct conf_node *root, const char *section)
{
	for (size_t i = 0; i < root->n_kids; i++)
		if (strcmp(root->kids[i].section->name, section) == 0)
			return &root->kids[i];
	abort(); /* conf_scan always makes them */
}

static int
check_engine(struct err *err)
{
	static const char name[] = "CHIMPBASE_STORAGE_ENGINE";
	const char *value = env_get(name);

	if (value == NULL || strcmp(value, "sqlite") != 0)
		return 0;
	err_set(err, "environment variable %s: there is no engine \"sqlite\"",
	    name);
	return err_hint(err,
	    "embedded keeps everything on this machine too: "
	    "set %s=embedded",
	    name);
}

static char *
with_port(const char *listen, const char *port)
{
	const char *colon = strrchr(listen, ':');
	int host = colon != NULL ? (int)(colon - listen) : (int)strlen(listen);
	const char *options = strpbrk(listen, " \t");

	return mem_printf(
	    "%.*s:%s%s", host, listen, port, options != NULL ? options : "");
}

/* The port of the first TCP listener; without one there is nothing to do. */
static int
override_port(struct arena *arena, struct conf_node *root, struct err *err)
{
	const char *name = env_get("CHIMPBASE_SERVER_PORT") != NULL
			       ? "CHIMPBASE_SERVER_PORT"
			       : "PORT";
	const char *port = env_get(name);
	struct conf_node *http = kid_of(root, "http");
	struct conf_given *listen = conf_node_given(http, "listen");

	if (port == NULL || !http->written)
		return 0;
	if (port[strspn(port, "0123456789")] != '\0' || strlen(port) > 5 ||
	    atoi(port) < 1 || atoi(port) > 65535)
		return err_set(err,
		    "environment variable %s: must be a port "
		    "from 1 to 65535, not \"%s\"",
		    name, port);
	if (listen->where == NULL)
		give(arena, listen, name,
		    conf_key_find(http->section, "listen")->def);
	for (int i = 0; i < listen->texts.count; i++) {
		char **item = &listen->texts.items[i], *text;

		if (strncmp(*item, "unix:", 5) == 0)
			continue;
		text = with_port(*item, port);
		*item = arena_strdup(arena, text);
		mem_free(&text);
		break;
	}
	return 0;
}

static int
parse_bool(const char *text, bool *value)
{
	static const char *const yes[] = {"true", "1", "yes", "on"};
	static const char *const no[] = {"false", "0", "no", "off"};

	for (size_t i = 0; i < 4; i++) {
		*value = strcasecmp(text, yes[i]) == 0;
		if (*value || strcasecmp(text, no[i]) == 0)
			return 0;
	}
	return -1;
}

/* true: only http runs on this node. */
static int
disable_workers(struct arena *arena, struct conf_node *root, struct err *err)
{
	static const char name[] = "DISABLE_BACKGROUND_WORKERS";
	const char *value = env_get(name);
	bool disable = false;

	if (value == NULL)
		return 0;
	if (parse_bool(value, &disable) < 0)
		return err_set(err,
		    "environment variable %s: must be true "
		    "or false, not \"%s\"",
		    name, value);
	if (!disable)
		return 0;
	give(arena, conf_node_given(root, "background_workers"), name, "false");
	for (size_t i = 0; i < root->n_kids; i++) {
		const char *section = root->kids[i].section->name;

		if (strcmp(section, "worker") == 0 ||
		    strcmp(section, "cron") == 0 ||
		    strcmp(section, "subscriber") == 0)
			give(arena,
			    conf_node_given(&root->kids[i], "processes"), name,
			    "0");
	}
	return 0;
}

int
conf_env_apply(struct arena *arena, struct conf_node *root, struct err *err)
{
	size_t n = sizeof(overrides) / sizeof(overrides[0]);

	const char *secrets = env_get("CHIMPBASE_SECRETS_DIR");

	if (check_engine(err) < 0)
		return -1;
	if (secrets != NULL)
		give(arena, conf_node_given(root, "secrets_dir"),
		    "CHIMPBASE_SECRETS_DIR", secrets);
	for (size_t i = 0; i < n; i++) {
		const char *value = env_get(overrides[i].variable);

		if (value != NULL)
			override(arena, root, &overrides[i], value);
	}
	if (override_port(arena, root, err) < 0)
		return -1;
	return disable_workers(arena, root, err);
}
