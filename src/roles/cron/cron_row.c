/*
 * A row of chimp.cron_due. See cron_row.h.
 */
#include "roles/cron/cron_row.h"

#include "common/pg/link.h"
#include "roles/cron/cron_zones.h"

const struct pg_stmt cron_row_stmt = {"cron_due",
    "select schedule, revision, name, expression, timezone, misfire, "
    "slot_ms, now_ms from chimp.cron_due($1)",
    1};

void
cron_row_read(struct cron_row *row, const struct pg_result *r, int i)
{
	row->schedule = pg_int(r, i, 0);
	row->revision = pg_int(r, i, 1);
	row->name = pg_value(r, i, 2);
	row->expression = pg_value(r, i, 3);
	row->timezone = pg_value(r, i, 4);
	row->misfire = pg_value(r, i, 5);
	row->planned = !pg_is_null(r, i, 6);
	row->slot_ms = row->planned ? pg_int(r, i, 6) : 0;
	row->now_ms = pg_int(r, i, 7);
}

int
cron_job_open(struct cron_job *job, const struct cron_row *row,
    struct cron_zones *zones, struct err *err)
{
	job->row = row;
	if (cron_expr_parse(row->expression, &job->expr, err) != 0 ||
	    cron_policy_parse(row->misfire, &job->policy, err) != 0)
		return -1;
	job->zone = cron_zones_get(zones, row->timezone, err);
	return job->zone == NULL ? -1 : 0;
}
