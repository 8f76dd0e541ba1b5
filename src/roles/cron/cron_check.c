/*
 * Checks a schedule's registration. See cron_check.h.
 */
#include "roles/cron/cron_check.h"

#include "roles/cron/cron_misfire.h"

#include "common/base/err.h"
#include "common/conf/conf.h"
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

static int
cron_check_app(const struct conf_app *app, struct err *err)
{
	for (size_t i = 0; i < app->n_schedules; i++) {
		const struct conf_schedule *s = &app->schedules[i];

		if (cron_check(s->schedule, s->timezone, err) != 0 ||
		    cron_check_misfire(s->misfire, err) != 0)
			return err_prefix(err, "%s: app \"%s\": cron \"%s\"",
			    s->at, app->name, s->name);
	}
	return 0;
}

int
cron_check_conf(const struct conf *conf, struct err *err)
{
	for (size_t i = 0; i < conf->n_apps; i++)
		if (cron_check_app(&conf->apps[i], err) != 0)
			return -1;
	return 0;
}
