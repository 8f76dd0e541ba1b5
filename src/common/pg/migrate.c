/*
 * Migrations of chimp's schema and of the apps. See migrate.h.
 */
#include "common/pg/migrate.h"

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"
#include "sql/sql.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A migration larger than this is a mistake. */
#define MIGRATE_FILE_MAX_BYTES (64 << 20)

/* The recorded migrations of "" are chimp's own; app names are not empty. */
#define MIGRATE_OWN ""
/* The set of functions is recorded as a migration of that name. */
#define MIGRATE_FUNCTIONS "functions"

static const char migrate_bootstrap[] =
    "create schema if not exists chimp;"
    "create table if not exists chimp.migration ("
    " app text not null,"
    " name text not null,"
    " checksum text not null,"
    " oldest_binary int not null,"
    " binary_number int not null," /* newest migration of who applied it */
    " applied_at timestamptz not null default clock_timestamp(),"
    " primary key (app, name))";

/* "0012_name.sql" -> 12 */
static int
migrate_number(const char *name)
{
	return atoi(name);
}

static int
migrate_newest_own(void)
{
	int newest = 0;

	for (const struct sql_file *f = sql_migrations; f->name != NULL; f++)
		newest = migrate_number(f->name);
	return newest;
}

static int
migrate_oldest_binary(const char *text)
{
	static const char key[] = "-- oldest-binary:";
	const char *p = strstr(text, key);

	return p != NULL ? atoi(p + sizeof(key) - 1) : 0;
}

/*
 * What is recorded under (app, name) against this text.
 * 1 = the same, 0 = nothing, 2 = another checksum, -1 = error.
 */
static int
migrate_recorded(struct pg_conn *conn, const char *app, const char *name,
    const char *text, struct err *err)
{
	const char *const values[] = {app, name, text};
	struct pg_result *r;
	int state = 0;

	if (pg_conn_query(conn,
		"select checksum = encode(sha256(convert_to($3, 'UTF8')), "
		"'hex') from chimp.migration where app = $1 and name = $2",
		3, values, &r, err) != 0)
		return -1;
	if (pg_rows(r) > 0)
		state = pg_bool(r, 0, 0) ? 1 : 2;
	pg_result_free(&r);
	return state;
}

static int
migrate_record(struct pg_conn *conn, const char *app, const char *name,
    const char *text, struct err *err)
{
	char oldest[16], number[16];
	const char *const values[] = {app, name, text, oldest, number};

	snprintf(oldest, sizeof(oldest), "%d",
	    app[0] == '\0' ? migrate_oldest_binary(text) : 0);
	snprintf(number, sizeof(number), "%d", migrate_newest_own());
	return pg_conn_query(conn,
	    "insert into chimp.migration as m"
	    " (app, name, checksum, oldest_binary, binary_number) values"
	    " ($1, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'), $4, $5)"
	    " on conflict on constraint migration_pkey do update set"
	    " checksum = excluded.checksum,"
	    " binary_number = excluded.binary_number,"
	    " applied_at = excluded.applied_at",
	    5, values, NULL, err);
}

/* The script and its record, or nothing. */
static int
migrate_apply(struct pg_conn *conn, const char *app, const char *name,
    const char *script, const char *recorded_text, struct err *err)
{
	struct err ignored;

	if (pg_conn_script(conn, "begin", err) == 0 &&
	    pg_conn_script(conn, script, err) == 0 &&
	    pg_conn_script(conn, "set search_path = pg_catalog", err) == 0 &&
	    migrate_record(conn, app, name, recorded_text, err) == 0 &&
	    pg_conn_script(conn, "commit", err) == 0) {
		log_info("migration %s%s%s applied", app,
		    app[0] != '\0' ? "/" : "", name);
		return 0;
	}
	(void)pg_conn_script(conn, "rollback", &ignored);
	return err_prefix(err, "migration %s%s%s failed, nothing of it is kept",
	    app, app[0] != '\0' ? "/" : "", name);
}

static int
migrate_file(struct pg_conn *conn, const char *app, const char *name,
    const char *text, struct err *err)
{
	switch (migrate_recorded(conn, app, name, text, err)) {
	case 0:
		return migrate_apply(conn, app, name, text, text, err);
	case 1:
		return 0;
	case 2:
		err_set(err,
		    "migration %s%s%s was changed after it had been applied",
		    app, app[0] != '\0' ? "/" : "", name);
		return err_hint(err, "restore the file as it was, and put the "
				     "change into a new migration");
	default:
		return -1;
	}
}

/* Refuse a database that has moved on too far for this binary (G39). */
static int
migrate_check_binary(struct pg_conn *conn, struct err *err)
{
	struct pg_result *r;
	int64_t oldest;

	if (pg_conn_query(conn,
		"select coalesce(max(oldest_binary), 0) from chimp.migration "
		"where app = ''",
		0, NULL, &r, err) != 0)
		return -1;
	oldest = pg_int(r, 0, 0);
	pg_result_free(&r);
	if (oldest <= migrate_newest_own())
		return 0;
	err_set(err,
	    "the database needs a newer chimpd: its schema asks for migration "
	    "%lld at least, this binary knows %d",
	    (long long)oldest, migrate_newest_own());
	return err_hint(err, "install the chimpd that the other nodes run");
}

/* All functions together, unless a newer binary has brought its own. */
static int
migrate_functions(struct pg_conn *conn, struct err *err)
{
	struct strbuf all = STRBUF_EMPTY;
	struct pg_result *r = NULL;
	bool newer;
	int rc = -1, state;

	for (const struct sql_file *f = sql_functions; f->name != NULL; f++)
		strbuf_puts(&all, f->text);
	if (pg_conn_query(conn,
		"select coalesce(max(binary_number), 0) from chimp.migration "
		"where app = '' and name = '" MIGRATE_FUNCTIONS "'",
		0, NULL, &r, err) != 0)
		goto out;
	newer = pg_int(r, 0, 0) > migrate_newest_own();
	state = migrate_recorded(
	    conn, MIGRATE_OWN, MIGRATE_FUNCTIONS, strbuf_str(&all), err);
	if (state < 0)
		goto out;
	rc = newer || state == 1
		 ? 0
		 : migrate_apply(conn, MIGRATE_OWN, MIGRATE_FUNCTIONS,
		       strbuf_str(&all), strbuf_str(&all), err);
out:
	pg_result_free(&r);
	strbuf_done(&all);
	return rc;
}

static int
migrate_own(struct pg_conn *conn, struct err *err)
{
	if (pg_conn_script(conn, migrate_bootstrap, err) != 0)
		return err_prefix(err, "cannot make schema chimp");
	if (migrate_check_binary(conn, err) != 0)
		return -1;
	for (const struct sql_file *f = sql_migrations; f->name != NULL; f++)
		if (migrate_file(conn, MIGRATE_OWN, f->name, f->text, err) != 0)
			return -1;
	return migrate_functions(conn, err);
}

static int
migrate_is_sql(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && n > 4 &&
	       strcmp(e->d_name + n - 4, ".sql") == 0;
}

/* By bytes: the same everywhere, whatever the locale. */
static int
migrate_by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int
migrate_app_file(struct pg_conn *conn, const struct migrate_app *app,
    const char *name, struct err *err)
{
	char *path = mem_printf("%s/%s", app->dir, name);
	size_t size;
	char *text = fd_read_file(path, MIGRATE_FILE_MAX_BYTES, &size, err);
	int rc = -1;

	if (text != NULL && strlen(text) != size)
		err_set(err, "migration \"%s\" contains a NUL character", path);
	else if (text != NULL)
		rc = migrate_file(conn, app->name, name, text, err);
	free(text);
	free(path);
	return rc;
}

static int
migrate_app(
    struct pg_conn *conn, const struct migrate_app *app, struct err *err)
{
	struct dirent **files;
	int n, rc = 0;

	n = scandir(app->dir, &files, migrate_is_sql, migrate_by_name);
	if (n < 0) {
		err_set(err, "app \"%s\": cannot read migrations in \"%s\": %s",
		    app->name, app->dir, strerror(errno));
		return err_hint(err, "make the folder readable for the user "
				     "that chimpd runs as");
	}
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = migrate_app_file(conn, app, files[i]->d_name, err);
		free(files[i]);
	}
	free(files);
	return rc;
}

int
migrate_run(struct pg_conn *conn, const struct migrate_app *apps, int n_apps,
    struct err *err)
{
	struct err ignored;
	int rc;

	/* A session's lock: each file commits by itself while we hold it. */
	if (pg_conn_script(conn,
		"select pg_advisory_lock(hashtext('chimp.migrate'))", err) != 0)
		return -1;
	rc = migrate_own(conn, err);
	for (int i = 0; i < n_apps && rc == 0; i++)
		rc = migrate_app(conn, &apps[i], err);
	(void)pg_conn_script(conn,
	    "select pg_advisory_unlock(hashtext('chimp.migrate'))", &ignored);
	return rc;
}
