/*
 * What needs SQL before the roles start, in a short-lived child of the master:
 * the first connection, migrations, registration of the apps, and the checks
 * of handlers and of the connection budget.
 */
#include "roles/role.h"

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf_budget.h"
#include "common/pg/conn.h"
#include "common/pg/migrate.h"

#include <stdlib.h>
#include <string.h>

/* Exit statuses of the child, see role.h. */
enum { PREPARE_OK = 0, PREPARE_FAILED = 1, PREPARE_BAD_CONF = 78 };

static int
prepare_check_conf(const struct conf *conf, struct err *err)
{
	for (const struct role *const *r = role_table; *r != NULL; r++)
		if ((*r)->check != NULL && (*r)->check(conf, err) != 0)
			return -1;
	return 0;
}

/* initdb makes the database "postgres" only. */
static int
prepare_embedded_database(const struct conf *conf, struct err *err)
{
	char *dir = conf_embedded_socket_dir(conf);
	char *conninfo =
	    mem_printf("host='%s' dbname=postgres user=chimp", dir);
	struct pg_result *r = NULL;
	struct pg_conn *conn;
	int rc = -1;

	conn = pg_conn_open(
	    conninfo, "chimpd/prepare", conf->database.start_timeout_ms, err);
	free(conninfo);
	free(dir);
	if (conn == NULL)
		return -1;
	if (pg_conn_query(conn,
		"select from pg_database where datname = 'chimp'", 0, NULL, &r,
		err) != 0)
		goto out;
	rc = 0;
	if (pg_rows(r) == 0)
		rc = pg_conn_script(conn, "create database chimp", err);
out:
	pg_result_free(&r);
	pg_conn_close(&conn);
	return rc;
}

/* What PostgreSQL leaves to those who are no superusers; -1 on an error. */
static int64_t
prepare_room(struct pg_conn *conn, struct err *err)
{
	struct pg_result *r;
	int64_t room;

	if (pg_conn_query(conn,
		"select current_setting('max_connections')::int"
		" - current_setting('superuser_reserved_connections')::int"
		/* PostgreSQL 16 has it. */
		" - coalesce(current_setting('reserved_connections', true),"
		" '0')::int",
		0, NULL, &r, err) != 0)
		return -1;
	room = pg_int(r, 0, 0);
	pg_result_free(&r);
	return room;
}

/* What to lower or raise. */
static int
prepare_budget_hint(const struct conf *conf, const struct conf_budget *b,
    int64_t room, bool two_steps, struct err *err)
{
	bool embedded = strcmp(conf->database.mode, "embedded") == 0;

	return err_hint(err,
	    "raise %s by at least %lld, or lower processes, database.pool_max "
	    "or the concurrency of a worker class; %schimpd -T shows the "
	    "arithmetic",
	    embedded ? "database.max_connections"
		     : "max_connections of PostgreSQL",
	    (long long)(b->total - room),
	    two_steps ? "it is the reload that takes so many: reload in two "
			"steps, first what needs fewer; "
		      : "");
}

/* `now`: what the reload comes from, NULL at the start. */
static int
prepare_budget(const struct conf *conf, const struct conf *now, int64_t leaving,
    struct pg_conn *conn, struct err *err)
{
	int64_t room = prepare_room(conn, err);
	struct conf_budget b;
	char *text;
	bool two_steps;

	if (room < 0)
		return -1;
	two_steps = now != NULL && conf_budget_reload(conf, conf) <= room;
	conf_budget_of_reload(now != NULL ? now : conf, conf, &b);
	conf_budget_leaving(&b, leaving);
	if (b.total > room) {
		text = conf_budget_text(&b);
		err_set(err,
		    "this node may open too many connections%s: %s, "
		    "PostgreSQL allows %lld",
		    now != NULL ? " during the reload" : "", text,
		    (long long)room);
		prepare_budget_hint(conf, &b, room, two_steps, err);
		free(text);
	}
	conf_budget_done(&b);
	return b.total > room ? -1 : 0;
}

static int
prepare_migrate(const struct conf *conf, struct pg_conn *conn, struct err *err)
{
	struct migrate_app *apps =
	    mem_zalloc((conf->n_apps + 1) * sizeof(*apps));
	int n = 0, rc;

	for (size_t i = 0; i < conf->n_apps; i++) {
		if (conf->apps[i].migrations[0] == '\0')
			continue;
		apps[n].name = conf->apps[i].name;
		apps[n++].dir = conf->apps[i].migrations;
	}
	rc = migrate_run(conn, apps, n, err);
	free(apps);
	return rc;
}

static int
prepare_register(const struct conf *conf, const char *node_id,
    struct pg_conn *conn, struct err *err)
{
	char *apps = conf_apps_json(conf);
	const char *const values[] = {node_id, conf->node, apps};
	int rc;

	rc = pg_conn_query(conn, "select chimp.register_apps($1, $2, $3)", 3,
	    values, NULL, err);
	free(apps);
	return rc;
}

static int
prepare_with(struct pg_conn *conn, const struct conf *conf,
    const struct conf *now, int64_t leaving, const char *node_id,
    struct err *err)
{
	if (prepare_budget(conf, now, leaving, conn, err) != 0 ||
	    prepare_migrate(conf, conn, err) != 0 ||
	    prepare_register(conf, node_id, conn, err) != 0)
		return -1;
	return 0;
}

static int
prepare_database(const struct conf *conf, const struct conf *now,
    int64_t leaving, const char *node_id, struct err *err)
{
	int64_t deadline_ms = clock_mono_ms() + conf->database.start_timeout_ms;
	bool embedded = strcmp(conf->database.mode, "embedded") == 0;
	bool again = true;
	struct pg_conn *conn;
	int rc = -1;

	if (embedded && prepare_embedded_database(conf, err) != 0)
		return -1;
	while (again) {
		conn = pg_conn_open(conf->database.url, "chimpd/prepare",
		    deadline_ms - clock_mono_ms(), err);
		if (conn == NULL)
			return -1;
		rc = prepare_with(conn, conf, now, leaving, node_id, err);
		/* A server that restarts meanwhile is waited for like one that
		 * is not there yet; each step commits whole or not at all. */
		again = rc != 0 && pg_conn_lost(conn) &&
			clock_mono_ms() < deadline_ms;
		if (again)
			log_warn("lost the database: %s; beginning again",
			    err->message);
		pg_conn_close(&conn);
	}
	return rc;
}

int
role_prepare(const struct conf *conf, const struct conf *now, int64_t leaving,
    const char *node_id)
{
	struct err err;

	if (prepare_check_conf(conf, &err) != 0) {
		log_err(LOG_LEVEL_ERROR, &err);
		return PREPARE_BAD_CONF;
	}
	if (prepare_database(conf, now, leaving, node_id, &err) != 0) {
		log_err(LOG_LEVEL_ERROR, &err);
		return PREPARE_FAILED;
	}
	return PREPARE_OK;
}
