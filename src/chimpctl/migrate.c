/*
 * chimpctl migrate: what chimpd does before its roles start, by hand: chimp's
 * own schema, then the migrations of the apps that chimpd.conf includes.
 */
#include "chimpctl/command.h"
#include "chimpctl/human.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"
#include "common/pg/conn.h"
#include "common/pg/migrate.h"

#include <stdlib.h>

enum { MIGRATE_CONNECT_MS = 10000 };

/* What was applied since an instant, by this run or a node that started at
 * the same moment. */
static const char migrate_applied_sql[] =
    "select jsonb_build_object('app', app, 'name', name, 'applied_at',"
    " applied_at), app, name, applied_at from chimp.migration"
    " where applied_at >= $1::timestamptz order by applied_at, app, name";

static const struct table_column migrate_columns[] = {
    {"APP", TABLE_LEFT, 40},
    {"MIGRATION", TABLE_LEFT, 60},
    {"APPLIED", TABLE_LEFT, 0},
};

static void
migrate_print_json(const struct pg_result *applied)
{
	putchar('[');
	for (int i = 0; i < pg_rows(applied); i++)
		printf("%s%s", i > 0 ? ", " : "", pg_value(applied, i, 0));
	puts("]");
}

static void
migrate_print(const struct pg_result *applied, bool apps_known)
{
	struct table *table;

	if (!apps_known)
		puts("chimp's own schema only: with -c chimpd.conf the apps' "
		     "migrations as well");
	if (pg_rows(applied) == 0) {
		puts("nothing to do, the database is up to date");
		return;
	}
	table = table_new(migrate_columns, 3);
	for (int i = 0; i < pg_rows(applied); i++) {
		const char *app = pg_value(applied, i, 1);

		table_cell(table, "%s", *app != '\0' ? app : "chimp itself");
		table_cell(table, "%s", pg_value(applied, i, 2));
		table_cell(
		    table, "%s", human_instant(pg_value(applied, i, 3)).text);
	}
	table_print(table, stdout);
	table_free(&table);
}

static int
migrate_apps(struct pg_conn *conn, const struct conf *conf, struct err *err)
{
	size_t room = conf != NULL ? conf->n_apps : 0;
	struct migrate_app *apps = mem_zalloc((room + 1) * sizeof(*apps));
	int n = 0, rc;

	for (size_t i = 0; i < room; i++) {
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
migrate_work(struct ctl_call *call, struct pg_conn *conn, struct err *err)
{
	struct pg_result *now = NULL, *applied = NULL;
	const char *values[1];
	int rc = -1;

	if (pg_conn_query(
		conn, "select clock_timestamp()", 0, NULL, &now, err) != 0)
		return -1;
	values[0] = pg_value(now, 0, 0);
	if (migrate_apps(conn, call->where.conf, err) == 0 &&
	    pg_conn_query(
		conn, migrate_applied_sql, 1, values, &applied, err) == 0) {
		if (call->json)
			migrate_print_json(applied);
		else
			migrate_print(applied, call->where.conf != NULL);
		rc = 0;
	}
	pg_result_free(&applied);
	pg_result_free(&now);
	return rc;
}

static int
migrate_verb(struct ctl_call *call)
{
	struct pg_conn *conn = NULL;
	struct err err;
	int rc = where_find(&call->where, &err);

	/* The table below says what was applied. */
	log_set_level(LOG_LEVEL_WARN);
	if (rc == 0) {
		conn = pg_conn_open(
		    call->where.url, "chimpctl", MIGRATE_CONNECT_MS, &err);
		rc = conn != NULL ? migrate_work(call, conn, &err) : -1;
	}
	pg_conn_close(&conn);
	if (rc != 0)
		say_err(&err);
	return rc == 0 ? CTL_OK : CTL_FAILED;
}

static const struct ctl_verb migrate_verbs[] = {
    {NULL, "",
	"bring chimp's schema up to date, and with -c also the apps':\n"
	"what chimpd does by itself when it starts",
	0, 0, NULL, migrate_verb},
    {0},
};

const struct ctl_noun noun_migrate = {
    .name = "migrate",
    .help = "bring the schemas of chimp and of the apps up to date",
    .verbs = migrate_verbs,
};
