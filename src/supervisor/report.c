/*
 * What the master says of the whole node. See report.h.
 */
#include "supervisor/report.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"
#include "supervisor/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A text that is cut where its room ends. */
struct report_text {
	char text[1024];
	size_t used;
};

static void __attribute__((format(printf, 2, 3)))
report_add(struct report_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->used >= sizeof(t->text))
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->text + t->used, sizeof(t->text) - t->used, fmt, ap);
	va_end(ap);
	t->used += (size_t)(n > 0 ? n : 0);
}

void
report_ready(const struct master *m)
{
	struct report_text t = {.text = ""};
	char took[WORDS_BYTES], names[512];
	struct list *n;

	if (m->listeners.count > 0) {
		listen_names(&m->listeners, names, sizeof(names));
		report_add(&t, "http on %s; ", names);
	}
	if (m->embedded.pid > 0)
		report_add(&t, "postgres pid %d, ", (int)m->embedded.pid);
	LIST_FOREACH (n, &m->slots) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->state == SLOT_SERVING)
			report_add(&t, "%s%s pid %d",
			    n == m->slots.next ? "" : ", ", slot->name,
			    (int)slot->pid);
	}
	log_info("ready after %s: %s",
	    words_duration(clock_mono_ms() - m->born_ms, took), t.text);
}

void
report_not_ready(const struct master *m)
{
	char limit[WORDS_BYTES];
	struct list *n;

	words_duration(m->conf->start_timeout_ms, limit);
	LIST_FOREACH (n, &m->slots) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, table);
		const char *said = slot->heartbeat.text;

		if (slot->state != SLOT_SERVING)
			log_error("%s is not ready %s after the start: %s%s%s",
			    slot->name, limit, slot_state_name(slot->state),
			    said[0] ? "; it last said: " : "", said);
	}
}

/* What a role has, in numbers of processes. */
struct report_count {
	int wanted;
	int serving;    /* and not waiting for the database */
	int waiting_db; /* serving as far as it can */
};

static void
report_count_role(
    const struct master *m, const struct role *role, struct report_count *count)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->role != role || slot->leaving ||
		    slot->predecessor != NULL || !slot_wanted(slot, NULL))
			continue;
		count->wanted++;
		if (slot->state != SLOT_SERVING)
			continue;
		if (slot->heartbeat.state == MSG_STATE_WAITING_DB)
			count->waiting_db++;
		else
			count->serving++;
	}
}

/* "http 2/2 worker 7/8"; returns how many wait for the database. */
static int
report_roles(const struct master *m, struct report_text *t)
{
	const char *space = "";
	int waiting_db = 0;

	for (const struct role *const *r = role_table; *r != NULL; r++) {
		struct report_count count = {0};

		report_count_role(m, *r, &count);
		if (count.wanted == 0)
			continue;
		report_add(t, "%s%s %d/%d", space, (*r)->name, count.serving,
		    count.wanted);
		space = " ";
		waiting_db += count.waiting_db;
	}
	return waiting_db;
}

/* ", 2 waiting 4 s": the longest of their delays. */
static void
report_waiting(const struct master *m, struct report_text *t)
{
	char delay[WORDS_BYTES];
	int64_t longest_ms = 0;
	struct list *n;

	LIST_FOREACH (n, &m->slots_in[SLOT_WAITING]) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, node);

		if (slot->restart_delay_ms > longest_ms)
			longest_ms = slot->restart_delay_ms;
	}
	if (m->slot_count[SLOT_WAITING] > 0)
		report_add(t, ", %d waiting %s", m->slot_count[SLOT_WAITING],
		    words_duration(longest_ms, delay));
}

static void
report_number(struct report_text *t, int number, const char *what)
{
	if (number > 0)
		report_add(t, ", %d %s", number, what);
}

/* "http 2/2 worker 7/8, 1 waiting 4 s": who serves, and why not the others. */
static void
report_slots(const struct master *m, struct report_text *t)
{
	int waiting_db = report_roles(m, t);

	report_waiting(m, t);
	report_number(t, m->slot_count[SLOT_STARTING], "starting");
	report_number(t, m->slot_count[SLOT_DRAINING], "draining");
	report_number(t, m->slot_count[SLOT_HUNG], "hung");
	report_number(
	    t, m->slot_count[SLOT_FAILED], "failed (bad configuration)");
	report_number(t, waiting_db, "waiting for the database");
	if (!embedded_ready(&m->embedded))
		report_add(t, "; PostgreSQL is restarting");
}

void
report_status(struct master *m)
{
	struct report_text t = {.text = ""};

	switch (m->state) {
	case MASTER_STARTING:
	case MASTER_DATABASE:
		report_add(&t, "Starting PostgreSQL");
		break;
	case MASTER_PREPARING:
		report_add(&t, "Preparing the database");
		break;
	case MASTER_BOOTING:
		report_add(&t, "Starting: ");
		report_slots(m, &t);
		break;
	case MASTER_RUNNING:
		report_slots(m, &t);
		break;
	case MASTER_CHECKING:
	case MASTER_ROLLING:
		report_add(&t, "Reloading: ");
		report_slots(m, &t);
		break;
	case MASTER_REVERTING:
		report_add(&t, "Reload failed, going back: ");
		report_slots(m, &t);
		break;
	case MASTER_STOPPING:
		report_add(
		    &t, "Stopping: %d processes left", slot_count_alive(m));
		break;
	case MASTER_STOPPING_DATABASE:
		report_add(&t, "Stopping PostgreSQL");
		break;
	case MASTER_ENDED:
		report_add(&t, "Stopped");
		break;
	}
	notify_status(&m->notify, t.text);
}

void
report_ended(const struct master *m)
{
	char took[WORDS_BYTES];

	words_duration(clock_mono_ms() - m->stop.since_ms, took);
	if (m->exit_status == 0)
		log_info("stopped after %s", took);
	else
		log_info("stopped, because the start failed");
}
