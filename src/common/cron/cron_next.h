/*
 * The next slot of a schedule. Pure: no clock, no I/O.
 *
 * Over changes of the offset (G25): with fixed hours a schedule follows the
 * wall clock; a time that clocks skip comes at the first instant behind the
 * gap (several of them as one), a time that they show twice comes once, at its
 * first occurrence. With `*` or a step in the hour it comes whenever the wall
 * clock matches, twice in a repeated hour and never in a skipped one.
 */
#ifndef CHIMP_COMMON_CRON_CRON_NEXT_H
#define CHIMP_COMMON_CRON_CRON_NEXT_H

#include <stdint.h>

struct cron_expr;
struct cron_zone;

/*
 * The first slot strictly after `after_s` (seconds since 1970). -1 if there is
 * none within a hundred years, or before CRON_TIME_MAX: that is never.
 */
int cron_next(const struct cron_expr *expr, const struct cron_zone *zone,
    int64_t after_s, int64_t *next_s);

#endif
