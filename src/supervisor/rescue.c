/*
 * Rescue. See rescue.h.
 */
#include "supervisor/rescue.h"
#include "common/base/log.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
#include "supervisor/slot.h"

#include <string.h>

/* Workers first: they are the ones that start the released jobs. */
static const struct role *const rescue_roles[] = {
    &role_worker, &role_cron, &role_subscriber, &role_http};

static bool
rescue_try(struct master *m, enum slot_state state, const struct role *role,
    const char *birth)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots_in[state]) {
		struct slot *slot = LIST_ENTRY(n, struct slot, node);

		/* The dead one itself may still stand in the list. */
		if (slot->role != role || !slot_alive(slot) ||
		    strcmp(slot->id, birth) == 0)
			continue;
		if (slot->heartbeat.state == MSG_STATE_WAITING_DB)
			continue;
		if (slot_send(slot, MSG_RESCUE, 0, birth)) {
			log_debug("%s pid %d is to rescue process %s",
			    slot->name, (int)slot->pid, birth);
			return true;
		}
	}
	return false;
}

void
rescue_send(struct master *m, const char *birth)
{
	static const enum slot_state states[] = {SLOT_SERVING, SLOT_DRAINING};

	for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++)
		for (size_t r = 0;
		     r < sizeof(rescue_roles) / sizeof(rescue_roles[0]); r++)
			if (rescue_try(m, states[s], rescue_roles[r], birth))
				return;
	log_debug("no process can rescue process %s now; its successor or the "
		  "end of its lease will",
	    birth);
}
