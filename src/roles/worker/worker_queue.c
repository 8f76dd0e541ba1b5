/*
 * What a worker knows of the queues that it has met: how to run their jobs, how
 * fast they are, and from where to look for more. See worker.h.
 */
#include "roles/worker/worker.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct queue *
queue_find(struct worker *w, int64_t id)
{
	struct list *n;

	LIST_FOREACH (n, &w->all_queues) {
		struct queue *q = LIST_ENTRY(n, struct queue, node);

		if (q->id == id)
			return q;
	}
	return NULL;
}

static struct queue *
queue_new(struct worker *w, int64_t id)
{
	struct queue *q = mem_zalloc(sizeof(*q));
	char *text = mem_printf("%" PRId64, id);

	q->worker = w;
	q->id = id;
	q->name = mem_strdup("");
	q->function = mem_strdup("");
	q->group_max = 1;
	q->speed.mean_us = -1;
	q->group = sql_handler_group(text);
	list_append(&w->all_queues, &q->node);
	free(text);
	return q;
}

/* A queue may get another handler: that of the claim is the one to call. */
struct queue *
queue_learn(struct worker *w, int64_t id, const char *name,
    const char *function, int group_max)
{
	struct queue *q = queue_find(w, id);

	if (q == NULL)
		q = queue_new(w, id);
	if (strcmp(q->name, name) != 0) {
		free(q->name);
		q->name = mem_strdup(name);
	}
	if (strcmp(q->function, function) != 0) {
		free(q->function);
		q->function = mem_strdup(function);
		q->single = sql_handlers_get(&w->handlers, function);
	}
	q->group_max = group_max;
	return q;
}

/* --- arrays beside that of the ids, for chimp.claim --- */

static int64_t
queue_group_of(const struct queue *q)
{
	return q != NULL ? worker_group(&q->speed, q->group_max) : 1;
}

static int64_t
queue_limit_of(const struct queue *q)
{
	return q != NULL ? worker_limit(&q->speed, q->group_max, q->held,
			       worker_run_slow_of(q->worker, q))
			 : WORKER_FAST_RUNNERS;
}

static int64_t
queue_floor_of(const struct queue *q)
{
	return q != NULL ? q->floor : 0;
}

static char *
queues_map(struct worker *w, int64_t (*value)(const struct queue *q))
{
	struct strbuf out = STRBUF_EMPTY;
	const char *ids = w->queues;
	int64_t id;

	strbuf_putc(&out, '{');
	while (array_next(&ids, &id))
		strbuf_printf(&out, "%s%" PRId64, out.length > 1 ? "," : "",
		    value(queue_find(w, id)));
	strbuf_putc(&out, '}');
	return strbuf_take(&out);
}

char *
queues_groups(struct worker *w)
{
	return queues_map(w, queue_group_of);
}

char *
queues_limits(struct worker *w)
{
	return queues_map(w, queue_limit_of);
}

int
queues_room(struct worker *w)
{
	const char *ids = w->queues;
	int64_t id, room = 0;

	while (array_next(&ids, &id) && room < WORKER_NO_LIMIT)
		room += queue_limit_of(queue_find(w, id));
	return room < WORKER_NO_LIMIT ? (int)room : WORKER_NO_LIMIT;
}

char *
queues_floors(struct worker *w)
{
	return queues_map(w, queue_floor_of);
}

void
queues_look_at_all(struct worker *w)
{
	struct list *n;

	LIST_FOREACH (n, &w->all_queues)
		LIST_ENTRY(n, struct queue, node)->floor = 0;
}

bool
array_next(const char **array, int64_t *value)
{
	const char *s = *array + strspn(*array, "{,");
	char *end;

	if (*s == '}' || *s == '\0')
		return false;
	*value = strtoll(s, &end, 10);
	/* Where the server says something else, that is no number of ours. */
	assert(end != s);
	*array = end;
	return true;
}

void
queues_done(struct worker *w)
{
	struct list *n;

	while ((n = list_shift(&w->all_queues)) != NULL) {
		struct queue *q = LIST_ENTRY(n, struct queue, node);

		sql_handler_free(&q->group);
		free(q->name);
		free(q->function);
		free(q);
	}
}
