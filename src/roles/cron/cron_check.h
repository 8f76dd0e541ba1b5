/*
 * Checks a schedule's registration before the roles start.
 */
#ifndef CHIMP_ROLES_CRON_CRON_CHECK_H
#define CHIMP_ROLES_CRON_CRON_CHECK_H

struct conf;
struct err;

/*
 * 0 if the cron role can run this schedule. Else -1 with an error that names
 * the expression and its field, or the unknown time zone ("" is UTC).
 */
int cron_check(const char *expression, const char *timezone, struct err *err);

/* The same with the misfire policy: "skip", "latest", "all(N)". */
int cron_check_misfire(const char *misfire, struct err *err);

/* All schedules of all apps; the error names the app and where it stands. */
int cron_check_conf(const struct conf *conf, struct err *err);

#endif
