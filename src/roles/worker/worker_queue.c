/*
 * What a worker knows of the queues that it has met: how to run their jobs, how
 * fast they are, and when and from where to look for more. See worker.h.
 *
 * A claim that finds fewer jobs than it was to tells that there are no more,
 * and a queue is not looked at then until a NOTIFY names it, the end of a job
 * may have let another one start, or some time has passed, longer each time.
 * Enqueuers are asked for a NOTIFY only by the second look: while jobs come
 * every few milliseconds, nobody sends one.
 */
#include "roles/worker/worker.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* Looks at all that is ready take at most this part of the time. But a
	 * claim may take long for other reasons, such as a process that was
	 * stopped meanwhile: the next look is never later than that. */
	QUEUE_FULL_LOOK_PART = 100,
	QUEUE_FULL_LOOK_MS = 1000,
	/* How much longer than those of smaller ids enqueuers may take to
	 * commit, without a full look to be found. */
	QUEUE_FLOORS_MS = 100
};

static struct queue *
queue_new(struct worker *w, int64_t id, const char *name)
{
	struct queue *q = mem_zalloc(sizeof(*q));
	char *text = mem_printf("%" PRId64, id);

	q->worker = w;
	q->id = id;
	q->name = mem_strdup(name);
	q->function = mem_strdup("");
	q->group_max = WORKER_GROUP_MAX; /* until a claim says */
	q->speed.mean_us = -1;
	q->group = sql_handler_group(text);
	list_append(&w->all_queues, &q->node);
	free(text);
	return q;
}

struct queue *
queue_get(struct worker *w, int64_t id, const char *name)
{
	struct list *n;

	LIST_FOREACH (n, &w->all_queues) {
		struct queue *q = LIST_ENTRY(n, struct queue, node);

		if (q->id == id)
			return q;
	}
	return queue_new(w, id, name);
}

/* A queue may get another handler: that of the claim is the one to call. */
void
queue_learn(struct queue *q, const char *function, int group_max)
{
	if (strcmp(q->function, function) != 0) {
		free(q->function);
		q->function = mem_strdup(function);
		q->single = sql_handlers_get(&q->worker->handlers, function);
	}
	q->group_max = group_max;
}

/* --- which are served --- */

bool
queues_serve(struct worker *w, const struct pg_result *r)
{
	struct strbuf ids = STRBUF_EMPTY;
	char *before = w->served_ids;
	bool changed;

	w->n_served = pg_rows(r);
	w->served = mem_realloc(
	    w->served, ((size_t)w->n_served + 1) * sizeof(*w->served));
	strbuf_putc(&ids, '{');
	for (int i = 0; i < w->n_served; i++) {
		w->served[i] = queue_get(w, pg_int(r, i, 0), pg_value(r, i, 1));
		w->served[i]->limited = pg_bool(r, i, 2);
		strbuf_printf(
		    &ids, "%s%" PRId64, i > 0 ? "," : "", w->served[i]->id);
	}
	strbuf_putc(&ids, '}');
	w->served_ids = strbuf_take(&ids);
	changed = before == NULL || strcmp(before, w->served_ids) != 0;
	free(before);
	return changed;
}

/* --- when to look at them --- */

void
queue_look(struct queue *q)
{
	q->look_us = 0;
	q->misses = 0;
	q->again = true;
}

void
queue_ended(struct queue *q)
{
	if (q->limited)
		queue_look(q);
}

void
queues_look(struct worker *w)
{
	for (int i = 0; i < w->n_served; i++)
		queue_look(w->served[i]);
}

void
queues_notified(struct worker *w, const char *name)
{
	for (int i = 0; i < w->n_served; i++)
		if (*name == '\0' || strcmp(w->served[i]->name, name) == 0)
			queue_look(w->served[i]);
}

static int
queue_limit(const struct queue *q)
{
	return worker_limit(&q->speed, q->worker->fast_runners, q->group_max,
	    q->held, worker_run_slow_of(q->worker, q));
}

void
queue_got(struct queue *q)
{
	q->got++;
	q->misses = 0;
}

int
queues_choose(struct worker *w, int64_t now_us, int64_t *next_us)
{
	int room = 0;

	*next_us = INT64_MAX;
	for (int i = 0; i < w->n_served; i++) {
		struct queue *q = w->served[i];
		int64_t again_us = q->look_us;

		q->got = 0;
		q->again = false;
		q->rest = q->look_us != 0;
		q->asked = q->look_us <= now_us ? queue_limit(q) : 0;
		if (room < WORKER_NO_LIMIT)
			room += q->asked;
		if (q->asked > 0)
			continue;
		/* By then some may have turned out to be slow. */
		if (again_us <= now_us)
			again_us = now_us + WORKER_SLOW_MS * 1000;
		if (again_us < *next_us)
			*next_us = again_us;
	}
	return room;
}

bool
queues_due(const struct worker *w, int64_t now_us)
{
	for (int i = 0; i < w->n_served; i++)
		if (w->served[i]->look_us <= now_us)
			return true;
	return false;
}

void
queues_exhausted(struct worker *w, int n, int64_t now_us)
{
	int chosen = 0, share;

	for (int i = 0; i < w->n_served; i++)
		chosen += w->served[i]->asked > 0;
	assert(chosen > 0);
	/* What chimp.claim gives each of them at least. */
	share = (n + chosen - 1) / chosen;
	for (int i = 0; i < w->n_served; i++) {
		struct queue *q = w->served[i];

		if (q->got >= q->asked || q->got >= share || q->again)
			continue;
		q->look_us = worker_relook_us(now_us, w->phase_us, q->misses);
		q->misses += q->got == 0;
	}
}

bool
queues_missed(const struct worker *w)
{
	for (int i = 0; i < w->n_served; i++)
		if (w->served[i]->asked > 0 && w->served[i]->misses > 0)
			return true;
	return false;
}

static void
queues_move_floors(struct worker *w, int64_t now_us)
{
	struct list *n;

	if (now_us < w->floors_us)
		return;
	LIST_FOREACH (n, &w->all_queues) {
		struct queue *q = LIST_ENTRY(n, struct queue, node);

		q->floor = q->next_floor;
	}
	w->floors_us = now_us + QUEUE_FLOORS_MS * 1000;
}

void
queues_begin(struct worker *w, int64_t now_us)
{
	queues_move_floors(w, now_us);
	for (int i = 0; i < w->n_served; i++) {
		struct queue *q = w->served[i];

		q->full_look = q->asked > 0 && now_us >= q->full_look_us;
	}
}

void
queues_looked(struct worker *w, int64_t now_us)
{
	int64_t wait_us = QUEUE_FULL_LOOK_PART * (now_us - w->asked_us);

	if (wait_us > QUEUE_FULL_LOOK_MS * 1000)
		wait_us = QUEUE_FULL_LOOK_MS * 1000;
	for (int i = 0; i < w->n_served; i++) {
		struct queue *q = w->served[i];

		if (q->full_look)
			q->full_look_us = now_us + wait_us;
	}
}

void
queues_look_at_all(struct worker *w)
{
	struct list *n;

	LIST_FOREACH (n, &w->all_queues)
		LIST_ENTRY(n, struct queue, node)->full_look_us = 0;
}

/* --- arrays for chimp.claim --- */

static int64_t
queue_id_of(const struct queue *q)
{
	return q->id;
}

static int64_t
queue_group_of(const struct queue *q)
{
	return worker_group(&q->speed, q->group_max);
}

static int64_t
queue_limit_of(const struct queue *q)
{
	return q->asked;
}

static int64_t
queue_floor_of(const struct queue *q)
{
	return q->full_look ? 0 : q->floor;
}

static int64_t
queue_rest_of(const struct queue *q)
{
	return q->rest;
}

static char *
queues_map(struct worker *w, int64_t (*value)(const struct queue *q))
{
	struct strbuf out = STRBUF_EMPTY;

	strbuf_putc(&out, '{');
	for (int i = 0; i < w->n_served; i++)
		if (w->served[i]->asked > 0)
			strbuf_printf(&out, "%s%" PRId64,
			    out.length > 1 ? "," : "", value(w->served[i]));
	strbuf_putc(&out, '}');
	return strbuf_take(&out);
}

char *
queues_ids(struct worker *w)
{
	return queues_map(w, queue_id_of);
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

char *
queues_floors(struct worker *w)
{
	return queues_map(w, queue_floor_of);
}

char *
queues_rests(struct worker *w)
{
	return queues_map(w, queue_rest_of);
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
	mem_free(&w->served);
	mem_free(&w->served_ids);
}
