/*
 * Migrations: chimp's own schema and the apps', each file once, in order,
 * recorded with its checksum in chimp.migration, under one advisory lock, so
 * that any number of nodes may start at once.
 *
 * A chimp migration may say in its head `-- oldest-binary: N`: binaries whose
 * newest migration is older than N refuse to start. Binaries older than the
 * database but not older than N run on it unchanged.
 */
#ifndef CHIMP_PG_MIGRATE_H
#define CHIMP_PG_MIGRATE_H

#include "common/pg/conn.h"

/* An app's folder of *.sql files, applied in the order of their names. */
struct migrate_app {
	const char *name;
	const char *dir; /* absolute */
};

/* Bring the schema and the apps up to date. Every file is a transaction of
 * its own: a failing one leaves nothing of itself. Logs what it applies. */
int migrate_run(struct pg_conn *conn, const struct migrate_app *apps,
    int n_apps, struct err *err);

#endif
