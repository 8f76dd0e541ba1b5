/*
 * Checks a schedule's registration. See cron_check.h.
 */
#include "roles/cron/cron_check.h"

#include "roles/cron/cron_misfire.h"

#include "common/cron/cron_expr.h"
#include "common/cron/cron_zone.h"

int
cron_check(const char *expression, const char *timezone, struct err *err)
{
	struct cron_zone *zone;
	struct cron_expr expr;

	if (cron_expr_parse(expression, &expr, err) != 0)
		return -1;
	zone = cron_zone_load(timezone, err);
	if (zone == NULL)
		return -1;
	cron_zone_free(&zone);
	return 0;
}

int
cron_check_misfire(const char *misfire, struct err *err)
{
	struct cron_policy policy;

	return cron_policy_parse(misfire, &policy, err);
}
