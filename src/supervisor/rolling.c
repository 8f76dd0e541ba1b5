/*
 * Bringing a configuration to all processes. See rolling.h.
 *
 * Every slot knows by its serial which configuration its process was born
 * with; one that differs from the master's is due to be replaced. So going
 * back is going forward to the old one.
 */
#include "supervisor/rolling.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/conf/conf_classes.h"
#include "supervisor/master_state.h"
#include "supervisor/prepare.h"
#include "supervisor/reload.h"
#include "supervisor/replace.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"
#include "supervisor/words.h"

void
rolling_start(struct master *m, struct conf *conf)
{
	struct err err;

	if (listen_change(&m->listeners, conf_listen(conf), &err) != 0) {
		log_err(LOG_LEVEL_ERROR, &err);
		conf_free(&conf);
		reload_refused(m);
		/* The child has registered the new apps: the old ones again. */
		prepare_start(m);
		return;
	}
	m->conf_before = m->conf;
	m->serial_before = m->serial;
	m->conf = conf;
	m->serial = m->next_serial++;
	conf_apply_log(conf);
	master_set_state(m, MASTER_ROLLING);
}

/* The place has a process with the configuration, as far as it can. */
static bool
rolling_place(struct master *m, const struct conf_class *class, int index)
{
	struct slot *slot = slot_find(m, class, index);

	/* Given up earlier and wanted again: the budget has room for one. */
	if (slot == NULL && slot_place_is_taken(m, class, index))
		return false;
	if (slot == NULL) {
		slot = slot_add(m, class, index);
		slot->on_trial = true;
		slot_start(slot);
		return false;
	}
	/* It was down before: if it stays so, that is no reason to go back. */
	if (slot->state == SLOT_FAILED && slot->serial != m->serial)
		slot_set_state(slot, SLOT_EMPTY, LOG_LEVEL_INFO,
		    "is started again with the new configuration");
	if (slot->state == SLOT_EMPTY ||
	    (slot->state == SLOT_WAITING && slot->serial != m->serial))
		slot_start(slot);
	return slot->serial == m->serial && slot->successor == NULL &&
	       !slot->on_trial;
}

static bool
rolling_places(struct master *m)
{
	const enum master_state state = m->state;
	struct conf_class class;
	bool all = true;

	/* A fork that fails ends it, and the configuration is another one. */
	for (size_t i = 0;
	     m->state == state && conf_class_at(m->conf, i, &class); i++)
		for (int n = 0; m->state == state && n < class.processes; n++)
			all = rolling_place(m, &class, n) && all;
	return all && m->state == state;
}

static void
rolling_retire_unwanted(struct master *m)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (!slot->leaving && !slot_wanted(slot, NULL))
			replace_retire(
			    slot, "drains: it is not wanted any more");
	}
}

static void
rolling_end(struct master *m)
{
	bool reverted = m->state == MASTER_REVERTING;
	char took[WORDS_BYTES];

	rolling_retire_unwanted(m);
	listen_commit(&m->listeners);
	conf_free(&m->conf_before);
	words_duration(clock_mono_ms() - m->reload.since_ms, took);
	master_set_state(m, MASTER_RUNNING);
	if (reverted)
		log_warn(
		    "the old configuration is in effect again, after %s", took);
	else
		log_info("reloaded %s after %s", m->conf->path, took);
	notify_ready(&m->notify);
}

void
rolling_step(struct master *m)
{
	if (rolling_places(m))
		rolling_end(m);
}

static void
rolling_revert(struct master *m)
{
	master_set_state(m, MASTER_REVERTING);
	conf_free(&m->conf);
	m->conf = m->conf_before;
	m->serial = m->serial_before;
	m->conf_before = NULL;
	conf_apply_log(m->conf);
	listen_revert(&m->listeners);
	replace_cancel(m);
	/* The newest registration counts: make the old one that. */
	prepare_start(m);
}

void
rolling_failed(const struct slot *slot, struct slot *old)
{
	struct master *m = slot->master;

	if (m->state == MASTER_ROLLING) {
		log_error("the reload has failed: %s could not start with the "
			  "new configuration; going back to the old one",
		    slot->name);
		rolling_revert(m);
	} else if (old != NULL) {
		/* Neither the one nor the other: leave what serves alone. */
		log_error("%s could not start with the old configuration "
			  "either; pid %d serves on with the new one",
		    slot->name, (int)old->pid);
		old->serial = m->serial;
	}
}
