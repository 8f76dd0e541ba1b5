/*
 * The table of slots. See slot_table.h.
 */
#include "supervisor/slot_table.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/conf/conf_classes.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
#include "supervisor/slot.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct slot *
slot_add(struct master *m, const struct conf_class *class, int index)
{
	struct slot *slot = mem_zalloc(sizeof(*slot));

	slot->master = m;
	slot->number = m->next_slot++;
	slot->serial = m->serial;
	slot->role = role_find(class->role);
	assert(slot->role != NULL);
	slot->index = index;
	slot->fd = -1;
	snprintf(slot->class, sizeof(slot->class), "%s", class->name);
	snprintf(slot->name, sizeof(slot->name), "%.20s%s%s/%d", class->role,
	    class->name[0] ? "/" : "", slot->class, index);
	slot_timer_init(slot);
	list_append(&m->slots, &slot->table);
	list_append(&m->slots_in[SLOT_EMPTY], &slot->node);
	m->slot_count[SLOT_EMPTY]++;
	return slot;
}

static void
slot_free(struct slot *slot)
{
	struct master *m = slot->master;

	slot_clear(slot);
	event_del(&slot->timer);
	list_remove(&slot->table);
	list_remove(&slot->node);
	m->slot_count[slot->state]--;
	free(slot);
}

void
slot_sweep(struct master *m)
{
	struct list *n, *next;

	LIST_FOREACH_SAFE (n, next, &m->slots_in[SLOT_EMPTY]) {
		struct slot *slot = LIST_ENTRY(n, struct slot, node);

		if (slot->leaving)
			slot_free(slot);
	}
}

int
slot_table_check(const struct conf *conf, struct err *err)
{
	struct conf_class class;

	for (size_t i = 0; conf_class_at(conf, i, &class); i++)
		if (class.processes > 0)
			return 0;
	err_set(err, "%s starts no process on this node", conf->path);
	return err_hint(err, "give at least one of http, worker, cron and "
			     "subscriber processes = 1 or more");
}

void
slot_table_init(struct master *m)
{
	struct conf_class class;

	for (size_t i = 0; conf_class_at(m->conf, i, &class); i++)
		for (int n = 0; n < class.processes; n++)
			slot_add(m, &class, n);
}

void
slot_table_done(struct master *m)
{
	struct list *n, *next;

	LIST_FOREACH_SAFE (n, next, &m->slots)
		slot_free(LIST_ENTRY(n, struct slot, table));
}

static bool
slot_is_of(const struct slot *slot, const struct conf_class *class)
{
	return strcmp(slot->role->name, class->role) == 0 &&
	       strcmp(slot->class, class->name) == 0;
}

struct slot *
slot_find(struct master *m, const struct conf_class *class, int index)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->index == index && !slot->leaving &&
		    slot->predecessor == NULL && slot_is_of(slot, class))
			return slot;
	}
	return NULL;
}

bool
slot_place_is_taken(struct master *m, const struct conf_class *class, int index)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->index == index && slot->leaving && slot_alive(slot) &&
		    slot_is_of(slot, class))
			return true;
	}
	return false;
}

int64_t
slot_connections_leaving(const struct master *m)
{
	int64_t connections = 0;
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		const struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->leaving && slot_alive(slot) &&
		    !slot_wanted(slot, NULL))
			connections += slot->connections;
	}
	return connections;
}

struct slot *
slot_by_pid(struct master *m, pid_t pid)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots) {
		struct slot *slot = LIST_ENTRY(n, struct slot, table);

		if (slot->pid == pid)
			return slot;
	}
	return NULL;
}

bool
slot_wanted(const struct slot *slot, struct conf_class *class)
{
	struct conf_class c;

	for (size_t i = 0; conf_class_at(slot->master->conf, i, &c); i++)
		if (slot_is_of(slot, &c)) {
			if (class != NULL)
				*class = c;
			return slot->index < c.processes;
		}
	return false;
}

int
slot_count_alive(const struct master *m)
{
	return m->slot_count[SLOT_STARTING] + m->slot_count[SLOT_SERVING] +
	       m->slot_count[SLOT_DRAINING] + m->slot_count[SLOT_HUNG];
}

int
slot_count_wanted(const struct master *m)
{
	struct conf_class class;
	int n = 0;

	for (size_t i = 0; conf_class_at(m->conf, i, &class); i++)
		n += (int)class.processes;
	return n;
}
