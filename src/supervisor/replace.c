/*
 * Successors. See replace.h.
 */
#include "supervisor/replace.h"
#include "common/base/clock.h"
#include "common/conf/conf_classes.h"
#include "supervisor/master_state.h"
#include "supervisor/rolling.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"
#include "supervisor/words.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool
replace_due(const struct slot *slot)
{
	return slot->serial != slot->master->serial || slot->outworn[0] != '\0';
}

/* Those of which one at a time is replaced. */
static bool
replace_same_group(const struct slot *a, const struct slot *b)
{
	return strcmp(a->class, b->class) == 0;
}

static bool
replace_group_is_busy(const struct slot *of)
{
	struct list *n;

	LIST_FOREACH (n, &of->master->slots) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot_alive(slot) && replace_same_group(slot, of) &&
		    (slot->predecessor != NULL || slot->leaving))
			return true;
	}
	return false;
}

static void
replace_start(struct slot *old)
{
	struct master *m = old->master;
	struct conf_class class;
	struct slot *slot;

	if (!slot_wanted(old, &class))
		abort(); /* replace_may_start */
	slot = slot_add(m, &class, old->index);
	slot->predecessor = old;
	slot->restarts = old->restarts;
	slot->on_trial = master_is_rolling(m);
	old->successor = slot;
	slot_start(slot);
}

static bool
replace_may_start(const struct slot *slot, int64_t now_ms)
{
	return slot->state == SLOT_SERVING && !slot->leaving &&
	       slot->successor == NULL && replace_due(slot) &&
	       now_ms >= slot->replace_after_ms && slot_wanted(slot, NULL);
}

/* The oldest process of a group comes first: one that is due again as soon as
 * it serves does not keep the others, and a reload, waiting for ever. */
static bool
replace_is_first(const struct slot *of, int64_t now_ms)
{
	struct list *n;

	LIST_FOREACH (n, &of->master->slots) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->born_ms < of->born_ms &&
		    replace_same_group(slot, of) &&
		    replace_may_start(slot, now_ms))
			return false;
	}
	return true;
}

void
replace_step(struct master *m)
{
	const int64_t now_ms = clock_mono_ms();
	struct list *n;

	/* The list may grow at its end meanwhile: by slots that start. */
	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (replace_may_start(slot, now_ms) &&
		    replace_is_first(slot, now_ms) &&
		    !replace_group_is_busy(slot))
			replace_start(slot);
	}
}

/* The two are a pair no more. */
static void
replace_untie(struct slot *slot)
{
	slot->predecessor->successor = NULL;
	slot->predecessor = NULL;
}

void
replace_retire(struct slot *slot, const char *why)
{
	slot->leaving = true;
	switch (slot->state) {
	case SLOT_STARTING:
	case SLOT_SERVING:
		slot_drain(slot, slot->master->conf->drain_timeout_ms, why);
		break;
	case SLOT_WAITING:
	case SLOT_FAILED:
		slot_set_state(slot, SLOT_EMPTY, LOG_LEVEL_DEBUG, "%s", why);
		break;
	case SLOT_EMPTY:
	case SLOT_DRAINING:
	case SLOT_HUNG:
		break;
	}
}

void
replace_ready(struct slot *slot)
{
	struct slot *old = slot->predecessor;

	slot->on_trial = false;
	if (old == NULL)
		return;
	/* Its place in the table is the order of reports. */
	list_remove(&slot->table);
	list_append(&old->table, &slot->table);
	replace_untie(slot);
	replace_retire(old, "drains: its successor is ready");
}

/* A recycled process goes on for a while, and is then tried again. */
static void
replace_later(struct slot *old)
{
	char delay[WORDS_BYTES];
	int64_t ms =
	    BACKOFF_FIRST_MS + backoff_next_ms(&old->replace_backoff, 0,
				   old->master->conf->restart_delay_max_ms);

	old->replace_after_ms = clock_mono_ms() + ms;
	log_warn("%s pid %d serves on, since its successor did not start; "
		 "trying again in %s",
	    old->name, (int)old->pid, words_duration(ms, delay));
}

void
replace_failed(struct slot *slot)
{
	struct slot *old = slot->predecessor;
	bool on_trial = slot->on_trial;

	slot->on_trial = false;
	if (old != NULL) {
		replace_untie(slot);
		slot->leaving = true;
		if (slot->state == SLOT_WAITING)
			slot_set_state(
			    slot, SLOT_EMPTY, LOG_LEVEL_DEBUG, "is given up");
	}
	if (on_trial)
		rolling_failed(slot, old);
	else if (old != NULL)
		replace_later(old);
}

void
replace_ended(struct slot *slot)
{
	struct slot *successor = slot->successor;

	if (successor != NULL) {
		replace_untie(successor);
		slot->leaving = true;
	}
	if (master_is_stopping(slot->master))
		return;
	if (slot->predecessor != NULL || slot->on_trial)
		replace_failed(slot);
}

void
replace_cancel(struct master *m)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->predecessor == NULL || slot->serial == m->serial)
			continue;
		replace_untie(slot);
		slot->on_trial = false;
		replace_retire(slot, "is given up");
	}
}
