/*
 * Which slots to fire. See cron_misfire.h.
 */
#include "roles/cron/cron_misfire.h"

#include "common/base/err.h"
#include "common/cron/cron_next.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int
cron_policy_parse(const char *text, struct cron_policy *policy, struct err *err)
{
	int end = 0;

	policy->max = 1;
	if (strcmp(text, "skip") == 0) {
		policy->misfire = CRON_MISFIRE_SKIP;
		return 0;
	}
	if (strcmp(text, "latest") == 0) {
		policy->misfire = CRON_MISFIRE_LATEST;
		return 0;
	}
	policy->misfire = CRON_MISFIRE_ALL;
	if (sscanf(text, "all(%4d)%n", &policy->max, &end) == 1 && end > 0 &&
	    text[end] == '\0' && policy->max >= 1 &&
	    policy->max <= CRON_ALL_MAX)
		return 0;
	return err_set(err,
	    "misfire \"%.40s\" must be \"skip\", \"latest\" or "
	    "\"all(N)\" with N from 1 to %d",
	    text, CRON_ALL_MAX);
}

/* Turn the ring so that its oldest entry comes first. */
static void
firings_unwind(struct cron_firings *f, int64_t total, int max)
{
	int64_t copy[CRON_ALL_MAX];

	f->count = total < max ? (int)total : max;
	memcpy(copy, f->slots_s, (size_t)f->count * sizeof(copy[0]));
	for (int i = 0; i < f->count; i++)
		f->slots_s[i] = copy[(total - f->count + i) % max];
}

/* Keep the newest `max` slots in [from_s, now_s]; returns how many there
 * are. */
static int64_t
firings_collect(const struct cron_expr *expr, const struct cron_zone *zone,
    int64_t from_s, int64_t now_s, int max, struct cron_firings *f)
{
	int64_t at = from_s - 1;
	int64_t total = 0;

	while (cron_next(expr, zone, at, &at) == 0 && at <= now_s)
		f->slots_s[total++ % max] = at;
	return total;
}

/*
 * Look back in windows that grow, so that a schedule of every second that was
 * away for a month is not walked through.
 */
static void
firings_newest(const struct cron_expr *expr, const struct cron_zone *zone,
    int64_t due_s, int64_t now_s, int max, struct cron_firings *f)
{
	int64_t window = 64;
	int64_t total, from;

	do {
		from = now_s - due_s < window ? due_s : now_s - window;
		total = firings_collect(expr, zone, from, now_s, max, f);
		window *= 4;
	} while (total < max && from > due_s);
	if (total == 0) {
		f->slots_s[0] = due_s;
		total = 1;
	}
	firings_unwind(f, total, max);
}

void
cron_firings(const struct cron_expr *expr, const struct cron_zone *zone,
    const struct cron_policy *policy, int64_t due_s, int64_t now_s,
    struct cron_firings *firings)
{
	assert(due_s <= now_s);
	assert(policy->max >= 1 && policy->max <= CRON_ALL_MAX);
	firings_newest(expr, zone, due_s, now_s, policy->max, firings);
	if (policy->misfire == CRON_MISFIRE_SKIP &&
	    firings->slots_s[0] < now_s - CRON_SKIP_GRACE_S)
		firings->count = 0;
	firings->ends = cron_next(expr, zone, now_s, &firings->next_s) != 0;
}
