/*
 * Which schedules were complained about. See cron_bad.h.
 */
#include "roles/cron/cron_bad.h"

#include "common/base/mem.h"

#include <stddef.h>

struct bad_schedule {
	struct list node;
	int64_t schedule;
	int64_t revision; /* the newest that was seen */
};

void
cron_bad_init(struct cron_bad *bad)
{
	list_init(&bad->list);
}

bool
cron_bad_is_new(struct cron_bad *bad, int64_t schedule, int64_t revision)
{
	struct bad_schedule *found = NULL;
	struct list *n;

	LIST_FOREACH (n, &bad->list) {
		found = LIST_ENTRY(n, struct bad_schedule, node);
		if (found->schedule == schedule)
			break;
		found = NULL;
	}
	if (found == NULL) {
		found = mem_zalloc(sizeof(*found));
		found->schedule = schedule;
		list_append(&bad->list, &found->node);
	}
	if (found->revision == revision)
		return false;
	found->revision = revision;
	return true;
}
