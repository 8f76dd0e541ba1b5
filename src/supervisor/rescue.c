/*
 * Rescue. See rescue.h.
 */
#include "supervisor/rescue.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
#include "supervisor/slot.h"

#include <stdio.h>
#include <string.h>

/* Workers first: they are the ones that start the released jobs. */
static const struct role *const rescue_roles[] = {
    &role_worker, &role_cron, &role_subscriber, &role_http};

static struct slot *
rescue_try(struct master *m, enum slot_state state, const struct role *role,
    const struct rescue_dead *dead)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots_in[state]) {
		struct slot *slot = LIST_ENTRY(n, struct slot, node);

		if (slot->role == role && slot_alive(slot) &&
		    slot->heartbeat.state != MSG_STATE_WAITING_DB &&
		    slot_send_rescue(slot, dead->birth, &dead->crash))
			return slot;
	}
	return NULL;
}

/* The process that has taken it on; NULL if there is none now. */
static struct slot *
rescue_ask(struct master *m, const struct rescue_dead *dead)
{
	static const enum slot_state states[] = {SLOT_SERVING, SLOT_DRAINING};
	struct slot *slot = NULL;

	for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++)
		for (size_t r = 0;
		     slot == NULL &&
		     r < sizeof(rescue_roles) / sizeof(rescue_roles[0]);
		     r++)
			slot = rescue_try(m, states[s], rescue_roles[r], dead);
	return slot;
}

static void
rescue_asked(struct rescue *r, int i, const struct slot *slot)
{
	log_debug("%s pid %d is to rescue process %s", slot->name,
	    (int)slot->pid, r->dead[i].birth);
	r->dead[i].asked = slot->number;
	r->dead[i].asked_ms = clock_mono_ms();
}

void
rescue_step(struct master *m)
{
	struct rescue *r = &m->rescue;
	int64_t now_ms = r->count > 0 ? clock_mono_ms() : 0;

	for (int i = 0; i < r->count; i++) {
		struct slot *slot;

		if (r->dead[i].asked_ms > 0 &&
		    now_ms - r->dead[i].asked_ms < RESCUE_AGAIN_MS)
			continue;
		slot = rescue_ask(m, &r->dead[i]);
		if (slot == NULL)
			return;
		rescue_asked(r, i, slot);
	}
}

void
rescue_repeat(struct slot *slot)
{
	struct rescue *r = &slot->master->rescue;

	for (int i = 0; i < r->count; i++)
		if (slot_send_rescue(slot, r->dead[i].birth, &r->dead[i].crash))
			rescue_asked(r, i, slot);
}

void
rescue_ended(const struct slot *slot)
{
	struct rescue *r = &slot->master->rescue;

	for (int i = 0; i < r->count; i++)
		if (r->dead[i].asked == slot->number)
			r->dead[i].asked_ms = 0;
}

static void
rescue_remove(struct rescue *r, int i)
{
	r->count--;
	memmove(&r->dead[i], &r->dead[i + 1],
	    (size_t)(r->count - i) * sizeof(r->dead[0]));
}

void
rescue_add(struct slot *slot)
{
	struct rescue *r = &slot->master->rescue;

	if (r->count == RESCUE_MAX) {
		log_warn("too many dead processes at once: %s is left to its "
			 "lease",
		    r->dead[0].birth);
		rescue_remove(r, 0);
	}
	memset(&r->dead[r->count], 0, sizeof(r->dead[0]));
	snprintf(
	    r->dead[r->count].birth, sizeof(r->dead[0].birth), "%s", slot->id);
	r->dead[r->count].crash = slot->crash.what;
	r->count++;
}

void
rescue_done(struct master *m, const char *birth)
{
	for (int i = 0; i < m->rescue.count; i++)
		if (strcmp(m->rescue.dead[i].birth, birth) == 0) {
			rescue_remove(&m->rescue, i);
			return;
		}
}
