/*
 * What children say. See heartbeat.h.
 */
#include "supervisor/heartbeat.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/master_state.h"
#include "supervisor/recycle.h"
#include "supervisor/replace.h"
#include "supervisor/rescue.h"
#include "supervisor/slot.h"
#include "supervisor/watchdog.h"
#include "supervisor/words.h"

/* Messages taken at once: a mad child must not keep the master busy. */
#define HEARTBEAT_BURST 16

static void
heartbeat_ready(struct slot *slot)
{
	char took[WORDS_BYTES];

	/* It may be draining already, or declared hung. */
	if (slot->state != SLOT_STARTING)
		return;
	slot->ready_ms = clock_mono_ms();
	slot_set_state(slot, SLOT_SERVING, LOG_LEVEL_INFO, "is ready after %s",
	    words_duration(slot->ready_ms - slot->born_ms, took));
	rescue_repeat(slot);
	replace_ready(slot);
}

static void
heartbeat_wrong(struct slot *slot)
{
	/* The first of a process is worth a line, a flood is not. */
	if (slot->wrong_messages++ == 0)
		log_warn("%s pid %d sent a message that is not understood; "
			 "such messages are ignored",
		    slot->name, (int)slot->pid);
}

static void
heartbeat_beat(struct slot *slot, const struct msg *msg)
{
	slot->heartbeat = *msg;
	watchdog_heard(slot);
	recycle_look(slot);
}

static void
heartbeat_take(struct slot *slot, const struct msg *msg)
{
	if (msg->slot != slot->number || msg->generation != slot->generation) {
		heartbeat_wrong(slot);
		return;
	}
	slot_heard(slot);
	if (msg->type == MSG_READY)
		heartbeat_ready(slot);
	else if (msg->type == MSG_RESCUED)
		rescue_done(slot->master, msg->birth);
	else if (msg->type == MSG_HEARTBEAT)
		heartbeat_beat(slot, msg);
	else
		heartbeat_wrong(slot);
}

void
heartbeat_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct slot *slot = arg;
	struct msg msg;

	(void)what;
	for (int i = 0; i < HEARTBEAT_BURST; i++) {
		int rc = msg_receive(fd, &msg);

		if (rc == 0)
			break;
		if (rc == -1) {
			/* It ends, and SIGCHLD will say so; or it closed the
			 * socket and lives on: the watchdog's case. */
			event_del(&slot->io);
			break;
		}
		if (rc == 1)
			heartbeat_take(slot, &msg);
		else
			heartbeat_wrong(slot);
	}
	master_advance(slot->master);
}
