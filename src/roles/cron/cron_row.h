/*
 * A row of chimp.cron_due: a schedule to fire, or to plan.
 */
#ifndef CHIMP_ROLES_CRON_CRON_ROW_H
#define CHIMP_ROLES_CRON_CRON_ROW_H

#include "common/cron/cron_expr.h"
#include "roles/cron/cron_misfire.h"

#include <stdbool.h>
#include <stdint.h>

struct cron_zone;
struct cron_zones;
struct err;
struct pg_result;
struct pg_stmt;

/* Its texts are the result's. */
struct cron_row {
	int64_t schedule;
	int64_t revision;
	const char *name;
	const char *expression;
	const char *timezone;
	const char *misfire;
	bool planned;
	int64_t slot_ms; /* if planned */
	int64_t now_ms;
};

/* The statement that asks for rows; its parameter is how many at most. */
extern const struct pg_stmt cron_row_stmt;

void cron_row_read(struct cron_row *row, const struct pg_result *r, int i);

/* A row with its texts understood. */
struct cron_job {
	const struct cron_row *row;
	struct cron_expr expr;
	struct cron_policy policy;
	const struct cron_zone *zone; /* of the zones */
};

/* Fails where this binary or this machine's tzdata does not understand one. */
int cron_job_open(struct cron_job *job, const struct cron_row *row,
    struct cron_zones *zones, struct err *err);

#endif
