/*
 * The time zones of one round, each loaded once. They are let go after it, so
 * that an upgrade of tzdata counts from the next round on.
 */
#ifndef CHIMP_ROLES_CRON_CRON_ZONES_H
#define CHIMP_ROLES_CRON_CRON_ZONES_H

#include "common/base/list.h"

struct cron_zone;
struct err;

struct cron_zones {
	struct list list;
};

void cron_zones_init(struct cron_zones *zones);

/* As cron_zone_load; the zone stays the set's. */
const struct cron_zone *cron_zones_get(
    struct cron_zones *zones, const char *name, struct err *err);

void cron_zones_clear(struct cron_zones *zones);

#endif
