/*
 * Slots. See slot.h.
 */
#include "supervisor/slot.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "supervisor/heartbeat.h"
#include "supervisor/master_state.h"
#include "supervisor/recycle.h"
#include "supervisor/replace.h"
#include "supervisor/slot_table.h"
#include "supervisor/spawn.h"
#include "supervisor/watchdog.h"
#include "supervisor/words.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Until a draining process must have been heard, or be gone. */
static int64_t
slot_drain_patience_ms(const struct slot *slot)
{
	int64_t ms = slot->master->conf->watchdog_ms;
	int64_t left_ms = slot->drain_until_ms - clock_mono_ms();

	if (slot->drain_until_ms > 0 && left_ms < ms)
		ms = left_ms > 0 ? left_ms : 0;
	return ms;
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
		return slot->master->conf->watchdog_ms;
	case SLOT_DRAINING:
		return slot_drain_patience_ms(slot);
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
slot_set_state(struct slot *slot, enum slot_state state, enum log_level level,
    const char *fmt, ...)
{
	struct master *m = slot->master;
	char words[512];
	va_list ap;

	assert(slot_state_allowed(slot->state, state));
	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	if (slot->pid > 0)
		log_at(
		    level, "%s pid %d %s", slot->name, (int)slot->pid, words);
	else
		log_at(level, "%s %s", slot->name, words);
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
slot_heard(struct slot *slot)
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
		/* A reload that goes round may have given its class up. */
		if (slot_wanted(slot, NULL))
			slot_start(slot);
		else
			slot_set_state(slot, SLOT_EMPTY, LOG_LEVEL_DEBUG,
			    "is not wanted any more");
		break;
	case SLOT_STARTING:
	case SLOT_SERVING:
	case SLOT_DRAINING:
		watchdog_timer(slot);
		break;
	case SLOT_HUNG:
		watchdog_kill(slot);
		break;
	}
	master_advance(slot->master);
}

void
slot_timer_init(struct slot *slot)
{
	evtimer_assign(&slot->timer, slot->master->base, slot_on_timer, slot);
}

bool
slot_alive(const struct slot *slot)
{
	return slot->pid > 0;
}

/* No memory or too many processes: try again later, and later still. */
static void
slot_start_failed(struct slot *slot)
{
	const int error = errno;
	char delay[WORDS_BYTES];

	slot->restart_delay_ms =
	    BACKOFF_FIRST_MS + backoff_next_ms(&slot->backoff, 0,
				   slot->master->conf->restart_delay_max_ms);
	words_duration(slot->restart_delay_ms, delay);
	if (slot->state == SLOT_EMPTY) {
		slot_set_state(slot, SLOT_WAITING, LOG_LEVEL_ERROR,
		    "cannot be started: %s; trying again in %s",
		    strerror(error), delay);
		return;
	}
	log_error("%s still cannot be started: %s; trying again in %s",
	    slot->name, strerror(error), delay);
	slot_arm_timer(slot);
}

static void
slot_birth(struct slot *slot)
{
	if (slot->generation++ > 0)
		slot->restarts++;
	uuid_random(slot->id);
	memset(&slot->heartbeat, 0, sizeof(slot->heartbeat));
	slot->wrong_messages = 0;
	slot->born_ms = clock_mono_ms();
	slot->ready_ms = 0;
	slot->drain_until_ms = 0;
	slot->cause[0] = slot->outworn[0] = '\0';
	slot->hangs = false;
	slot->serial = slot->master->serial;
	recycle_birth(slot);
}

void
slot_start(struct slot *slot)
{
	assert(!slot_alive(slot) && slot->fd < 0);
	slot_birth(slot);
	if (spawn_slot(slot) != 0) {
		slot_start_failed(slot);
		replace_failed(slot);
		return;
	}
	event_assign(&slot->io, slot->master->base, slot->fd,
	    EV_READ | EV_PERSIST, heartbeat_on_readable, slot);
	event_add(&slot->io, NULL);
	slot_set_state(slot, SLOT_STARTING, LOG_LEVEL_DEBUG, "was forked");
}

void
slot_drain(struct slot *slot, int64_t limit_ms, const char *why)
{
	if (!slot_send(slot, MSG_DRAIN, limit_ms))
		log_warn("%s pid %d does not take messages; it will be killed "
			 "when its time is over",
		    slot->name, (int)slot->pid);
	/* A stop has one timer for all. */
	if (limit_ms > 0 && !master_is_stopping(slot->master))
		slot->drain_until_ms =
		    clock_mono_ms() + limit_ms + SLOT_KILL_AFTER_MS;
	if (slot->state == SLOT_DRAINING)
		slot_arm_timer(slot);
	else if (slot->state != SLOT_HUNG)
		slot_set_state(slot, SLOT_DRAINING, LOG_LEVEL_DEBUG, "%s", why);
}

static bool
slot_send_msg(struct slot *slot, struct msg *msg)
{
	assert(slot_alive(slot));
	msg->slot = slot->number;
	msg->generation = slot->generation;
	msg->stopping = master_is_stopping(slot->master);
	return msg_send(slot->fd, msg);
}

bool
slot_send(struct slot *slot, enum msg_type type, int64_t deadline_ms)
{
	struct msg msg = {.type = type, .deadline_ms = deadline_ms};

	return slot_send_msg(slot, &msg);
}

bool
slot_send_rescue(
    struct slot *slot, const char *birth, const struct msg_crash *crash)
{
	struct msg msg = {.type = MSG_RESCUE, .crash = *crash};

	snprintf(msg.birth, sizeof(msg.birth), "%s", birth);
	return slot_send_msg(slot, &msg);
}

void
slot_kill_group(struct slot *slot, int sig)
{
	if (slot_alive(slot))
		spawn_kill(slot->pid, sig);
}

void
slot_clear(struct slot *slot)
{
	if (slot->fd >= 0)
		event_del(&slot->io);
	fd_close(&slot->fd);
	crash_page_close(slot);
	slot->pid = 0;
}
