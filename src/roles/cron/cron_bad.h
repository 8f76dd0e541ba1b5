/*
 * Which schedules were complained about, so that each is only once.
 */
#ifndef CHIMP_ROLES_CRON_CRON_BAD_H
#define CHIMP_ROLES_CRON_CRON_BAD_H

#include "common/base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct cron_bad {
	struct list list; /* one entry per schedule, kept for good */
};

void cron_bad_init(struct cron_bad *bad);

/* Note it. True the first time that this revision of the schedule is seen. */
bool cron_bad_is_new(struct cron_bad *bad, int64_t schedule, int64_t revision);

#endif
