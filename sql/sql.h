/*
 * The files of sql/, compiled into the binary by scripts/embed-sql, in the
 * order of their names.
 */
#ifndef CHIMP_SQL_SQL_H
#define CHIMP_SQL_SQL_H

struct sql_file {
	const char *name; /* "0001_foundation.sql"; NULL ends the array */
	const char *text; /* terminated */
};

extern const struct sql_file sql_migrations[];
extern const struct sql_file sql_functions[];

#endif
