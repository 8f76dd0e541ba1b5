/*
 * Recycling. See recycle.h.
 */
#include "supervisor/recycle.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/conf/conf_classes.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"
#include "supervisor/words.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024 * 1024)

/* `limit` less up to a tenth, by the random digits of the birth id. */
static int64_t
recycle_jitter(const struct slot *slot, int64_t limit)
{
	char digits[5];

	snprintf(digits, sizeof(digits), "%.4s", slot->id);
	return limit - limit / 10 * strtol(digits, NULL, 16) / 0x10000;
}

void
recycle_birth(struct slot *slot)
{
	struct conf_class class = {.role = ""};

	slot_wanted(slot, &class);
	slot->connections = class.connections;
	slot->recycle.max_work = recycle_jitter(slot, class.recycle.max_work);
	slot->recycle.max_age_ms =
	    recycle_jitter(slot, class.recycle.max_age_ms);
	/* Memory does not grow in step. */
	slot->recycle.memory_max_bytes = class.recycle.memory_max_bytes;
}

/* Resident memory that is not shared with files; 0 if it cannot be read. */
static int64_t
recycle_memory_bytes(pid_t pid)
{
	char path[32], text[128];
	int64_t resident = 0, shared = 0;
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	fd_close(&fd);
	text[n > 0 ? n : 0] = '\0';
	/* size resident shared ..., in pages: proc(5) */
	if (sscanf(text, "%*s %" SCNd64 " %" SCNd64, &resident, &shared) != 2)
		return 0;
	return (resident - shared) * sysconf(_SC_PAGESIZE);
}

/* Into slot->outworn, which limit was reached. */
static void
recycle_judge(struct slot *slot)
{
	const struct conf_recycle *limit = &slot->recycle;
	int64_t age_ms = clock_mono_ms() - slot->born_ms, bytes = 0;
	char age[WORDS_BYTES];

	if (limit->memory_max_bytes > 0)
		bytes = recycle_memory_bytes(slot->pid);
	if (limit->max_work > 0 &&
	    slot->heartbeat.done >= (uint64_t)limit->max_work)
		snprintf(slot->outworn, sizeof(slot->outworn),
		    "it has done %" PRIu64, slot->heartbeat.done);
	else if (limit->max_age_ms > 0 && age_ms >= limit->max_age_ms)
		snprintf(slot->outworn, sizeof(slot->outworn), "it is %s old",
		    words_duration(age_ms, age));
	else if (limit->memory_max_bytes > 0 && bytes > limit->memory_max_bytes)
		snprintf(slot->outworn, sizeof(slot->outworn),
		    "it has %" PRId64 " MiB of memory", bytes / MIB);
}

void
recycle_look(struct slot *slot)
{
	if (slot->state != SLOT_SERVING || slot->outworn[0] != '\0')
		return;
	recycle_judge(slot);
	if (slot->outworn[0] != '\0')
		log_info("%s pid %d will be replaced: %s", slot->name,
		    (int)slot->pid, slot->outworn);
}
