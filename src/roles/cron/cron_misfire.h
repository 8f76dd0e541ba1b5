/*
 * Which slots to fire when a schedule's next slot has come, perhaps long ago.
 * Pure: the database's time is passed in.
 *
 *	skip	 a slot that nobody was there to fire is left out: only the
 *		 newest one fires, and only if it is at most
 *		 CRON_SKIP_GRACE_S late (a restart of the process or of
 *		 PostgreSQL is not an absence)
 *	latest	 missed slots collapse to the newest one; the default
 *	all(N)	 the newest N of them, oldest first
 */
#ifndef CHIMP_ROLES_CRON_CRON_MISFIRE_H
#define CHIMP_ROLES_CRON_CRON_MISFIRE_H

#include <stdbool.h>
#include <stdint.h>

struct cron_expr;
struct cron_zone;
struct err;

#define CRON_SKIP_GRACE_S 5
#define CRON_ALL_MAX      1000

enum cron_misfire { CRON_MISFIRE_SKIP, CRON_MISFIRE_LATEST, CRON_MISFIRE_ALL };

struct cron_policy {
	enum cron_misfire misfire;
	int max; /* slots at once; 1 unless CRON_MISFIRE_ALL */
};

/* "skip", "latest", "all(N)" with N in 1..CRON_ALL_MAX. */
int cron_policy_parse(
    const char *text, struct cron_policy *policy, struct err *err);

struct cron_firings {
	int64_t slots_s[CRON_ALL_MAX]; /* to fire now, oldest first */
	int count;
	bool ends;      /* no slot follows, ever */
	int64_t next_s; /* the slot after now, unless `ends` */
};

/*
 * What to do at `now_s` with a schedule whose next slot is due_s <= now_s.
 * due_s counts as a slot even if the expression does not match it, because the
 * zone's rules may have changed since it was planned.
 */
void cron_firings(const struct cron_expr *expr, const struct cron_zone *zone,
    const struct cron_policy *policy, int64_t due_s, int64_t now_s,
    struct cron_firings *firings);

#endif
