/*
 * The child's side of the pipe to the master: commands come in, heartbeats go
 * out, and its end of file means that the master is dead.
 */
#include "roles/child.h"
#include "common/base/log.h"
#include "common/pg/link.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	CHILD_HEARTBEAT_MS = 1000,
	/* A short watchdog: so many of them before it bites. */
	CHILD_HEARTBEATS = 4,
	/* G36: what is left to a child whose master died. */
	CHILD_ORPHAN_MS = 1000,
	/* Messages per wake-up, so that a mad master starves nobody. */
	CHILD_MESSAGES_MAX = 16
};

static void
child_orphaned(struct child *child)
{
	loop_io_done(&child->priv->master_io);
	loop_timer_stop(&child->priv->heartbeat);
	log_warn("the master is gone: stopping");
	child->stopping = true;
	child_drain(child, CHILD_ORPHAN_MS);
}

static void
child_obey(struct child *child, const struct msg *msg)
{
	switch ((enum msg_type)msg->type) {
	case MSG_DRAIN:
		child->stopping |= msg->stopping != 0;
		child_drain(child, msg->deadline_ms);
		return;
	case MSG_REOPEN:
		/* The log is stderr, which the master owns. */
		if (child->birth->role->reopen != NULL && child->state != NULL)
			child->birth->role->reopen(child);
		return;
	case MSG_LOG_LEVEL:
		if (msg->level <= LOG_LEVEL_DEBUG)
			log_set_level((enum log_level)msg->level);
		return;
	case MSG_RESCUE:
		child_rescue(child, msg->birth, &msg->crash);
		return;
	case MSG_READY:
	case MSG_RESCUED:
	case MSG_HEARTBEAT:
		break;
	}
	child->priv->ignored++;
	log_debug("ignored a message of type %u from the master", msg->type);
}

static void
child_on_master(struct loop_io *io, int events, void *arg)
{
	struct child *child = arg;
	const struct birth *birth = child->birth;
	struct msg msg;
	int got = 1;

	(void)events;
	for (int i = 0; i < CHILD_MESSAGES_MAX && io->loop != NULL; i++) {
		got = msg_receive(birth->master_fd, &msg);
		if (got == 0)
			return;
		if (got == -1) {
			child_orphaned(child);
			return;
		}
		if (got == 1 && msg.slot == birth->slot &&
		    msg.generation == birth->generation)
			child_obey(child, &msg);
		else
			child->priv->ignored++;
	}
}

static enum msg_state
child_state(const struct child *child)
{
	if (child->priv->stage != CHILD_RUNNING)
		return MSG_STATE_DRAINING;
	if (!child->priv->said_ready)
		return MSG_STATE_STARTING;
	return child->registered ? MSG_STATE_SERVING : MSG_STATE_WAITING_DB;
}

void
child_status(struct child *child, struct msg *heartbeat)
{
	memset(heartbeat, 0, sizeof(*heartbeat));
	heartbeat->type = MSG_HEARTBEAT;
	heartbeat->slot = child->birth->slot;
	heartbeat->generation = child->birth->generation;
	heartbeat->state = child_state(child);
	if (child->priv->stage != CHILD_FINISHING &&
	    child->birth->role->status != NULL)
		child->birth->role->status(child, heartbeat);
	if (heartbeat->state == MSG_STATE_WAITING_DB)
		snprintf(heartbeat->text, sizeof(heartbeat->text),
		    "waiting for the database: %s",
		    pg_link_last_error(child->control));
}

static int64_t
child_heartbeat_ms(const struct child *child)
{
	int64_t ms = child->birth->conf->watchdog_ms / CHILD_HEARTBEATS;

	return ms < CHILD_HEARTBEAT_MS ? ms : CHILD_HEARTBEAT_MS;
}

static void
child_on_heartbeat(struct loop_timer *timer, void *arg)
{
	struct child *child = arg;
	struct msg msg;

	loop_timer_start(timer, child_heartbeat_ms(child));
	/* A descriptor of ours that another process inherited would keep the
	 * pipe open: the parent's id changes all the same. */
	if (getppid() != child->birth->master_pid) {
		child_orphaned(child);
		return;
	}
	child_ready(child); /* if its message did not get through */
	child_status(child, &msg);
	/* A full buffer means that the master is not reading: nothing is lost
	 * that the next heartbeat does not say. */
	msg_send(child->birth->master_fd, &msg);
}

void
child_master_rescued(struct child *child, const char *birth)
{
	const struct birth *self = child->birth;
	struct msg msg = {
	    .type = MSG_RESCUED,
	    .slot = self->slot,
	    .generation = self->generation,
	};

	snprintf(msg.birth, sizeof(msg.birth), "%s", birth);
	msg_send(self->master_fd, &msg); /* if it is lost, we are asked again */
}

void
child_ready(struct child *child)
{
	const struct birth *birth = child->birth;
	struct msg msg = {
	    .type = MSG_READY,
	    .slot = birth->slot,
	    .generation = birth->generation,
	    .state = MSG_STATE_SERVING,
	};

	if (child->priv->said_ready || !child->priv->started ||
	    !child->priv->tried || child->warming)
		return;
	child->priv->said_ready = msg_send(birth->master_fd, &msg);
	log_debug("ready");
}

void
child_master_start(struct child *child)
{
	struct child_priv *p = child->priv;

	loop_io_init(&p->master_io, child->loop, child->birth->master_fd,
	    child_on_master, child);
	loop_io_set(&p->master_io, LOOP_READ);
	loop_timer_init(&p->heartbeat, child->loop, child_on_heartbeat, child);
	loop_timer_start(&p->heartbeat, 0);
}

void
child_master_done(struct child *child)
{
	loop_timer_done(&child->priv->heartbeat);
	loop_io_done(&child->priv->master_io);
}
