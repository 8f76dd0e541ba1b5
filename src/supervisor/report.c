/*
 * What the master says of the whole node. See report.h.
 */
#include "supervisor/report.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
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

	if (m->listeners.count > 0) {
		listen_names(&m->listeners, names, sizeof(names));
		report_add(&t, "http on %s; ", names);
	}
	if (m->embedded.pid > 0)
		report_add(&t, "postgres pid %d, ", (int)m->embedded.pid);
	for (int i = 0; i < m->n_slots; i++)
		report_add(&t, "%s%s pid %d", i > 0 ? ", " : "",
		    m->slots[i].name, (int)m->slots[i].pid);
	log_info("ready after %s: %s",
	    words_duration(clock_mono_ms() - m->born_ms, took), t.text);
}

void
report_not_ready(const struct master *m)
{
	char limit[WORDS_BYTES];

	words_duration(m->conf->start_timeout_ms, limit);
	for (int i = 0; i < m->n_slots; i++) {
		const struct slot *slot = &m->slots[i];
		const char *said = slot->heartbeat.text;

		if (slot->state != SLOT_SERVING)
			log_error("%s is not ready %s after the start: %s%s%s",
			    slot->name, limit, slot_state_name(slot->state),
			    said[0] ? "; it last said: " : "", said);
	}
}

static void
report_slots(const struct master *m, struct report_text *t)
{
	int waiting_db = 0;

	for (int i = 0; i < m->n_slots; i++)
		waiting_db +=
		    slot_alive(&m->slots[i]) &&
		    m->slots[i].heartbeat.state == MSG_STATE_WAITING_DB;
	report_add(t, "%d of %d processes serve",
	    m->slot_count[SLOT_SERVING] - waiting_db, m->n_slots);
	if (waiting_db > 0)
		report_add(t, ", %d wait for the database", waiting_db);
	if (m->slot_count[SLOT_STARTING] > 0)
		report_add(t, ", %d starting", m->slot_count[SLOT_STARTING]);
	if (m->slot_count[SLOT_WAITING] > 0)
		report_add(t, ", %d restarting after a crash",
		    m->slot_count[SLOT_WAITING]);
	if (m->slot_count[SLOT_HUNG] > 0)
		report_add(t, ", %d hanging", m->slot_count[SLOT_HUNG]);
	if (m->slot_count[SLOT_FAILED] > 0)
		report_add(t, ", %d with a bad configuration",
		    m->slot_count[SLOT_FAILED]);
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
		report_add(&t, "Running: ");
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
