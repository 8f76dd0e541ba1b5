/*
 * The database section: which mode, which url, and what cannot work.
 */
#include "common/conf/conf_draft.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* What chimpd itself says to its PostgreSQL, and where it is configured. */
static const struct {
	const char *name;
	const char *instead;
} taken[] = {
    {"max_connections", "set database.max_connections"},
    {"shared_buffers", "set database.shared_buffers"},
    {"data_directory", "set database.data_dir"},
    {"unix_socket_directories", "the socket lies beside data_dir"},
    {"listen_addresses", "the embedded PostgreSQL has no TCP port"},
    {"port", "the embedded PostgreSQL has no TCP port"},
};

char *
conf_embedded_socket_dir(const struct conf *conf)
{
	return mem_printf("%s.sock", conf->database.data_dir);
}

/* name=value, as postgres -c takes it */
static int
check_setting(const struct conf_draft *d, const char *setting, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.0123456789";
	size_t length = strspn(setting, letters);

	if (length == 0 || setting[length] != '=')
		return conf_draft_err(d, &d->conf->database, "settings", err,
		    "\"%s\" is not \"name=value\"", setting);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strlen(taken[i].name) == length &&
		    strncasecmp(taken[i].name, setting, length) == 0) {
			conf_draft_err(d, &d->conf->database, "settings", err,
			    "\"%s\" is not free to set", taken[i].name);
			return err_hint(err, "%s", taken[i].instead);
		}
	return 0;
}

/* Only libpq knows whether it is right; this finds what cannot be. */
static int
check_url(const struct conf_draft *d, struct err *err)
{
	const struct conf_database *db = &d->conf->database;

	if (*db->url == '\0') {
		conf_draft_err(
		    d, db, "url", err, "must be given with mode \"postgres\"");
		return err_hint(err, "set it, or DATABASE_URL, or mode = "
				     "\"embedded\"");
	}
	if (strncmp(db->url, "postgres://", 11) == 0 ||
	    strncmp(db->url, "postgresql://", 13) == 0 ||
	    (strchr(db->url, '=') != NULL && strstr(db->url, "://") == NULL))
		return 0;
	/* The value stays out: it may hold a password. */
	conf_draft_err(d, db, "url", err, "is no address of PostgreSQL");
	return err_hint(err, "postgresql://user@host:5432/name, or keywords "
			     "like \"host=/run/postgresql dbname=name\"");
}

/* 'as libpq's keywords want it' */
static void
quote_keyword(struct strbuf *out, const char *text)
{
	strbuf_putc(out, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'' || *text == '\\')
			strbuf_putc(out, '\\');
		strbuf_putc(out, *text);
	}
	strbuf_putc(out, '\'');
}

static int
check_socket(const struct conf_draft *d, const char *dir, struct err *err)
{
	static const char file[] = "/.s.PGSQL.5432";
	struct sockaddr_un un;
	size_t limit = sizeof(un.sun_path) - 1;
	size_t length = strlen(dir) + strlen(file);

	if (length <= limit)
		return 0;
	conf_draft_err(d, &d->conf->database, "data_dir", err,
	    "too long: the socket \"%s%s\" has %zu bytes and may have %zu", dir,
	    file, length, limit);
	return err_hint(err, "choose a data_dir of at most %zu bytes",
	    limit - strlen(file) - strlen(".sock"));
}

static int
resolve_embedded(const struct conf_draft *d, struct err *err)
{
	struct conf_database *db = &d->conf->database;
	size_t length = strlen(db->data_dir);
	struct strbuf url = STRBUF_EMPTY;
	char *dir;
	int rc;

	while (length > 1 && db->data_dir[length - 1] == '/')
		db->data_dir[--length] = '\0';
	if (length < 2)
		return conf_draft_err(
		    d, db, "data_dir", err, "must be a folder of its own");
	dir = conf_embedded_socket_dir(d->conf);
	rc = check_socket(d, dir, err);
	strbuf_puts(&url, "host=");
	quote_keyword(&url, dir);
	strbuf_puts(&url, " dbname=chimp user=chimp");
	db->url = arena_strdup(d->conf->arena, strbuf_str(&url));
	strbuf_done(&url);
	mem_free(&dir);
	return rc;
}

int
conf_check_database(struct conf_draft *d, struct err *err)
{
	struct conf_database *db = &d->conf->database;

	if (db->pool_min > db->pool_max)
		return conf_draft_err(
		    d, db, "pool_min", err, "must not be larger than pool_max");
	for (int i = 0; i < db->settings.count; i++)
		if (check_setting(d, db->settings.items[i], err) < 0)
			return -1;
	if (strcmp(db->mode, "memory") == 0) {
		conf_draft_err(d, db, "mode", err,
		    "\"memory\" is not in this version of chimpd");
		return err_hint(err, "use \"embedded\" with data_dir in a "
				     "temporary folder");
	}
	if (strcmp(db->mode, "auto") == 0)
		db->mode = arena_strdup(
		    d->conf->arena, *db->url != '\0' ? "postgres" : "embedded");
	if (strcmp(db->mode, "postgres") == 0)
		return check_url(d, err);
	return resolve_embedded(d, err);
}
