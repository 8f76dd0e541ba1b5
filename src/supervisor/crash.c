/*
 * Deaths by their own fault. See crash.h.
 */
#include "supervisor/crash.h"
#include "common/base/clock.h"
#include "supervisor/policy.h"
#include "supervisor/slot.h"
#include "supervisor/words.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static size_t
crash_page_bytes(const struct slot *slot)
{
	return (size_t)slot->page.count * sizeof(slot->page.tokens[0]);
}

int
crash_page_open(struct slot *slot)
{
	void *memory;

	/* A runner has a connection, and runs one claim at a time. */
	slot->page.count = slot->connections;
	memory = mmap(NULL, crash_page_bytes(slot), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	slot->page.tokens = memory;
	return 0;
}

void
crash_page_hide(const struct slot *slot)
{
	madvise(slot->page.tokens, crash_page_bytes(slot), MADV_DONTFORK);
}

void
crash_page_close(struct slot *slot)
{
	if (slot->page.tokens != NULL)
		munmap(slot->page.tokens, crash_page_bytes(slot));
	slot->page.tokens = NULL;
}

static void
crash_read(const struct crash_page *page, struct msg_crash *what)
{
	what->n_started = 0;
	for (int64_t i = 0; i < page->count; i++) {
		int64_t token = page->tokens[i];

		if (token == 0)
			continue;
		if (what->n_started < MSG_STARTED_MAX)
			what->started[what->n_started] = token;
		what->n_started++;
	}
}

void
crash_note(struct slot *slot, int status, const struct rusage *usage)
{
	struct crash *crash = &slot->crash;
	char end[WORDS_BYTES], lived[WORDS_BYTES], cpu[WORDS_BYTES];
	int64_t cpu_ms =
	    (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
	    (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000;

	memset(crash, 0, sizeof(*crash));
	if (!policy_own_fault(status, slot->hangs))
		return;
	snprintf(crash->id, sizeof(crash->id), "%s", slot->id);
	snprintf(crash->what.how, sizeof(crash->what.how),
	    "%s %s%s%s after %s with %ld MiB and %s of CPU%s%s", slot->name,
	    words_exit(status, end), slot->cause[0] ? ", " : "", slot->cause,
	    words_duration(clock_mono_ms() - slot->born_ms, lived),
	    usage->ru_maxrss / 1024, words_duration(cpu_ms, cpu),
	    slot->heartbeat.text[0] ? "; it last said: " : "",
	    slot->heartbeat.text);
	if (slot->page.tokens != NULL)
		crash_read(&slot->page, &crash->what);
}
