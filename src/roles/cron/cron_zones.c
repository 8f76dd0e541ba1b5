/*
 * The time zones of one round. See cron_zones.h.
 */
#include "roles/cron/cron_zones.h"

#include "common/cron/cron_zone.h"

#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct loaded_zone {
	struct list node;
	char *name;
	struct cron_zone *zone;
};

void
cron_zones_init(struct cron_zones *zones)
{
	list_init(&zones->list);
}

const struct cron_zone *
cron_zones_get(struct cron_zones *zones, const char *name, struct err *err)
{
	struct loaded_zone *loaded;
	struct cron_zone *zone;
	struct list *n;

	LIST_FOREACH (n, &zones->list) {
		loaded = LIST_ENTRY(n, struct loaded_zone, node);
		if (strcmp(loaded->name, name) == 0)
			return loaded->zone;
	}
	zone = cron_zone_load(name, err);
	if (zone == NULL)
		return NULL;
	loaded = mem_zalloc(sizeof(*loaded));
	loaded->name = mem_strdup(name);
	loaded->zone = zone;
	list_append(&zones->list, &loaded->node);
	return zone;
}

void
cron_zones_clear(struct cron_zones *zones)
{
	struct list *n, *next;

	LIST_FOREACH_SAFE (n, next, &zones->list) {
		struct loaded_zone *loaded =
		    LIST_ENTRY(n, struct loaded_zone, node);

		list_remove(n);
		cron_zone_free(&loaded->zone);
		free(loaded->name);
		mem_free(&loaded);
	}
}
