/*
 * Slots. See slot.h.
 */
#include "supervisor/slot.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf_classes.h"
#include "roles/role.h"
#include "supervisor/heartbeat.h"
#include "supervisor/master_state.h"
#include "supervisor/spawn.h"
#include "supervisor/watchdog.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
slot_state_name(enum slot_state state)
{
	switch (state) {
	case SLOT_EMPTY:
		return "empty";
	case SLOT_WAITING:
		return "waiting to restart";
	case SLOT_STARTING:
		return "starting";
	case SLOT_SERVING:
		return "serving";
	case SLOT_DRAINING:
		return "draining";
	case SLOT_HUNG:
		return "hung";
	case SLOT_FAILED:
		return "failed";
	}
	abort();
}

/* How long a slot may stay in a state before slot_on_timer; -1 = for ever. */
static int64_t
slot_patience_ms(const struct slot *slot)
{
	switch (slot->state) {
	case SLOT_EMPTY:
	case SLOT_FAILED:
		return -1;
	case SLOT_WAITING:
		return slot->restart_delay_ms;
	case SLOT_STARTING:
	case SLOT_SERVING:
	case SLOT_DRAINING:
		return slot->master->conf->watchdog_ms;
	case SLOT_HUNG:
		return WATCHDOG_KILL_MS;
	}
	abort();
}

static void
slot_arm_timer(struct slot *slot)
{
	int64_t ms = slot_patience_ms(slot);
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	event_del(&slot->timer);
	if (ms < 0)
		return;
	slot->due_ms = clock_mono_ms() + ms;
	event_add(&slot->timer, &tv);
}

void
slot_set_state(struct slot *slot, enum slot_state state)
{
	struct master *m = slot->master;

	if (slot->state == state)
		return;
	log_debug("%s: %s, was %s", slot->name, slot_state_name(state),
	    slot_state_name(slot->state));
	list_remove(&slot->node);
	m->slot_count[slot->state]--;
	slot->state = state;
	list_append(&m->slots_in[state], &slot->node);
	m->slot_count[state]++;
	slot_arm_timer(slot);
}

void
slot_alive_again(struct slot *slot)
{
	if (slot->state != SLOT_HUNG)
		slot_arm_timer(slot);
}

static void
slot_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct slot *slot = arg;

	(void)fd;
	(void)what;
	switch (slot->state) {
	case SLOT_EMPTY:
	case SLOT_FAILED:
		abort(); /* their timer is never armed */
	case SLOT_WAITING:
		slot_start(slot);
		break;
	case SLOT_STARTING:
	case SLOT_SERVING:
	case SLOT_DRAINING:
		watchdog_silent(slot);
		break;
	case SLOT_HUNG:
		watchdog_kill(slot);
		break;
	}
	master_advance(slot->master);
}

bool
slot_alive(const struct slot *slot)
{
	return slot->pid > 0;
}

int
slot_count_alive(const struct master *m)
{
	return m->slot_count[SLOT_STARTING] + m->slot_count[SLOT_SERVING] +
	       m->slot_count[SLOT_DRAINING] + m->slot_count[SLOT_HUNG];
}

struct slot *
slot_by_pid(struct master *m, pid_t pid)
{
	for (int i = 0; i < m->n_slots; i++)
		if (m->slots[i].pid == pid)
			return &m->slots[i];
	return NULL;
}

void
slot_start(struct slot *slot)
{
	assert(!slot_alive(slot) && slot->fd < 0);
	slot->generation++;
	uuid_random(slot->id);
	memset(&slot->heartbeat, 0, sizeof(slot->heartbeat));
	slot->wrong_messages = 0;
	slot->born_ms = clock_mono_ms();
	slot->ready_ms = 0;
	if (spawn_slot(slot) == 0) {
		event_assign(&slot->io, slot->master->base, slot->fd,
		    EV_READ | EV_PERSIST, heartbeat_on_readable, slot);
		event_add(&slot->io, NULL);
		slot_set_state(slot, SLOT_STARTING);
		return;
	}
	/* No memory or too many processes: try again later, and later still. */
	log_error(
	    "%s: cannot start a process: %s", slot->name, strerror(errno));
	slot_set_state(slot, SLOT_EMPTY);
	slot->restart_delay_ms = backoff_next_ms(
	    &slot->backoff, 0, slot->master->conf->restart_delay_max_ms);
	slot_set_state(slot, SLOT_WAITING);
}

bool
slot_send(struct slot *slot, enum msg_type type, int64_t deadline_ms,
    const char *birth)
{
	struct msg msg = {.type = type,
	    .slot = slot->number,
	    .generation = slot->generation,
	    .deadline_ms = deadline_ms};

	assert(slot_alive(slot));
	snprintf(msg.birth, sizeof(msg.birth), "%s", birth);
	return msg_send(slot->fd, &msg);
}

void
slot_kill_group(struct slot *slot, int sig)
{
	if (slot_alive(slot))
		kill(-slot->pid, sig);
}

void
slot_clear(struct slot *slot)
{
	if (slot->fd >= 0)
		event_del(&slot->io);
	fd_close(&slot->fd);
	slot->pid = 0;
}

static void
slot_table_add(struct master *m, const char *role,
    const struct conf_worker *worker, int64_t processes)
{
	for (int i = 0; i < processes; i++) {
		struct slot *slot = &m->slots[m->n_slots];

		slot->master = m;
		slot->number = (uint32_t)m->n_slots++;
		slot->role = role_find(role);
		assert(slot->role != NULL);
		slot->worker = worker;
		slot->index = i;
		slot->fd = -1;
		if (worker != NULL)
			snprintf(slot->name, sizeof(slot->name), "%s/%.40s/%d",
			    role, worker->name, i);
		else
			snprintf(
			    slot->name, sizeof(slot->name), "%s/%d", role, i);
		evtimer_assign(&slot->timer, m->base, slot_on_timer, slot);
		list_append(&m->slots_in[SLOT_EMPTY], &slot->node);
		m->slot_count[SLOT_EMPTY]++;
	}
}

int
slot_table_init(struct master *m)
{
	struct conf_class class;
	int64_t processes = 0;

	for (size_t i = 0; conf_class_at(m->conf, i, &class); i++)
		processes += class.processes;
	m->slots = mem_zalloc((size_t)processes * sizeof(*m->slots));
	for (size_t i = 0; conf_class_at(m->conf, i, &class); i++)
		slot_table_add(m, class.role, class.worker, class.processes);
	return m->n_slots > 0 ? 0 : -1;
}

void
slot_table_done(struct master *m)
{
	for (int i = 0; i < m->n_slots; i++) {
		event_del(&m->slots[i].timer);
		slot_clear(&m->slots[i]);
	}
	m->n_slots = 0;
	mem_free(&m->slots);
}
