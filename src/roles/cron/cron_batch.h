/*
 * The slots that a round fires together, one for each of many schedules, and
 * the arrays that say so to chimp.cron_fire_many. Pure.
 */
#ifndef CHIMP_ROLES_CRON_CRON_BATCH_H
#define CHIMP_ROLES_CRON_CRON_BATCH_H

#include "common/base/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

#define CRON_BATCH_MAX 1000

struct cron_shot {
	int64_t schedule;
	int64_t revision;
	int64_t due_ms; /* its next slot until then */
	int64_t slot_s;
	int64_t next_s; /* the slot after it, unless `ends` */
	bool ends;      /* none follows, ever */
};

struct cron_batch {
	struct cron_shot shots[CRON_BATCH_MAX];
	int count;
};

enum { CRON_BATCH_PARAMS = 5 };

/* Schedules, revisions, due and fired slots and next slots as array literals,
 * for the caller to strbuf_done(). */
void cron_batch_params(
    const struct cron_batch *batch, struct strbuf params[CRON_BATCH_PARAMS]);

#endif
