/*
 * GET /metrics. See metrics.h.
 */
#include "roles/http/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics_text.h"
#include "roles/http/answer.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum {
	METRICS_WAIT_MS = 1000, /* for the database */
	METRICS_GOOD_MS = 1000, /* what it said, for the next scrapes */
	/* The last statement ends before the wait does. What comes behind it on
	 * the control connection, leases and cancels, waits no longer. */
	METRICS_MARGIN_MS = 100,
	METRICS_PARTS = 5
};

/* clang-format off */
static const struct pg_stmt metrics_limit = { "metrics_limit",
	"select set_config('statement_timeout', $1, true)", 1 };
/* The database's part, asked for one after the other: one that takes long does
 * not take those before it along. */
static const struct metrics_part {
	const char *name;
	struct pg_stmt stmt;
} metrics_parts[METRICS_PARTS] = {
	{ "processes", { "metrics_processes",
	  "select chimp.metrics_processes($1, $2)", 2 } },
	{ "queues", { "metrics_queues",
	  "select chimp.metrics_queues(1000)", 0 } },
	{ "schedules", { "metrics_schedules",
	  "select chimp.metrics_schedules(1000)", 0 } },
	{ "subscriptions", { "metrics_subscriptions",
	  "select chimp.metrics_subscriptions(1000)", 0 } },
	{ "state", { "metrics_state", "select chimp.metrics_state(1000)", 0 } },
};
/* clang-format on */

struct metrics {
	struct http *http; /* NULL: gone; whoever gets the answer frees this */
	struct list waiting;
	struct loop_timer timer; /* armed while somebody waits */
	bool asking;             /* a statement is not answered */
	int part;                /* which */
	int64_t asked_ms;        /* CLOCK_MONOTONIC: the first of this round */
	int64_t told_ms;         /* the end of the last round; 0 = none */
	bool up;                 /* the database has answered in it */
	char *texts[METRICS_PARTS]; /* what it brought; NULL = nothing */
};

/* A request that waits; lies in its pool. */
struct metrics_scrape {
	struct list node;
	h2o_req_t *req;
};

/* --- lines --- */

static void
metrics_route(const struct endpoint *e, const char *process, struct strbuf *out)
{
	struct strbuf labels = STRBUF_EMPTY;
	char code[] = "0xx";

	for (int class = 1; class <= 5; class ++) {
		if (e->answers[class] == 0)
			continue;
		code[0] = (char)('0' + class);
		labels.length = 0;
		strbuf_puts(&labels, process);
		metrics_label(&labels, "route", e->pattern);
		metrics_label(&labels, "code", code);
		metrics_count(out, "chimpd_http_requests_total",
		    strbuf_str(&labels), e->answers[class]);
		metrics_histogram(out, "chimpd_http_request_duration_seconds",
		    strbuf_str(&labels), &e->durations[class]);
	}
	strbuf_done(&labels);
}

static void
metrics_pool(struct http *http, const char *labels, struct strbuf *out)
{
	struct pg_pool_stats stats;

	pg_pool_stats(http->pool, &stats);
	metrics_count(
	    out, "chimpd_pool_connections", labels, (uint64_t)stats.open);
	metrics_count(
	    out, "chimpd_pool_connections_busy", labels, (uint64_t)stats.busy);
	metrics_count(out, "chimpd_pool_connections_max", labels,
	    (uint64_t)http->child->birth->conf->database.pool_max);
	metrics_count(out, "chimpd_pool_waiting", labels,
	    (uint64_t)stats.waiting + (uint64_t)http->n_held);
}

void
metrics_lines(struct child *child, const char *labels, struct strbuf *out)
{
	struct http *http = child->state;
	const struct endpoints *all = http->endpoints;

	metrics_pool(http, labels, out);
	metrics_count(
	    out, "chimpd_http_connections", labels, (uint64_t)http->n_conns);
	metrics_count(out, "chimpd_http_requests_in_flight", labels,
	    (uint64_t)http->n_calls);
	metrics_count(out, "chimpd_http_sent_bytes_total", labels,
	    http->access.sent_bytes);
	if (http->access.on)
		metrics_count(out, "chimpd_http_access_log_dropped_total",
		    labels, http->access.out.dropped);
	for (size_t i = 0; i < all->n; i++)
		metrics_route(&all->items[i], labels, out);
	metrics_route(&all->unmatched, labels, out);
}

/* --- answers --- */

/* What is known without asking. */
static void
metrics_own(struct metrics *m, bool up, struct strbuf *out)
{
	struct child *child = m->http->child;
	struct strbuf labels = STRBUF_EMPTY;
	size_t length;

	metrics_label(&labels, "process", child->name);
	length = labels.length;
	metrics_count(out, "chimpd_database_up", strbuf_str(&labels), up);
	for (int i = 0; i < METRICS_PARTS; i++) {
		metrics_label(&labels, "part", metrics_parts[i].name);
		metrics_count(out, "chimpd_metrics_complete",
		    strbuf_str(&labels), up && m->texts[i] != NULL);
		labels.length = length;
	}
	child_metrics(child, out);
	child_metrics_master(child, out);
	strbuf_done(&labels);
}

static void
metrics_send(struct metrics *m, h2o_req_t *req, bool up)
{
	struct strbuf own = STRBUF_EMPTY, page = STRBUF_EMPTY;
	const char *texts[METRICS_PARTS + 1];
	size_t n = 0;

	metrics_own(m, up, &own);
	texts[n++] = strbuf_str(&own);
	for (int i = 0; i < METRICS_PARTS && up; i++)
		if (m->texts[i] != NULL)
			texts[n++] = m->texts[i];
	metrics_page(texts, n, &page);
	answer_text(req, 200, METRICS_TYPE, page.data, page.length);
	strbuf_done(&page);
	strbuf_done(&own);
}

static void
metrics_send_all(struct metrics *m)
{
	struct list *n;

	loop_timer_stop(&m->timer);
	while ((n = list_shift(&m->waiting)) != NULL)
		metrics_send(
		    m, LIST_ENTRY(n, struct metrics_scrape, node)->req, m->up);
}

/* --- the database's part --- */

static void
metrics_forget(struct metrics *m)
{
	for (int i = 0; i < METRICS_PARTS; i++)
		mem_free(&m->texts[i]);
	m->up = false;
}

static void metrics_on_reply(
    struct pg_link *link, struct pg_reply *reply, void *arg);

/* False when there is no time, or no database, for the next part. */
static bool
metrics_ask(struct metrics *m)
{
	struct child *child = m->http->child;
	const struct pg_stmt *stmt = &metrics_parts[m->part].stmt;
	int64_t left_ms =
	    m->asked_ms + METRICS_WAIT_MS - METRICS_MARGIN_MS - clock_mono_ms();
	char timeout[32];

	if (left_ms <= 0 || !pg_link_ready(child->control))
		return false;
	snprintf(timeout, sizeof(timeout), "%" PRId64 "ms", left_ms);
	m->asking = true;
	pg_send(child->control, &metrics_limit, (const char *const[]){timeout});
	pg_send(child->control, stmt,
	    (const char *const[]){child->birth->node_id, child->birth->id});
	pg_sync(child->control, metrics_on_reply, m);
	return true;
}

static void
metrics_take(struct metrics *m, const struct pg_reply *reply)
{
	if (reply->ok)
		m->texts[m->part] =
		    mem_strdup(pg_value(reply->results[1], 0, 0));
	else if (!reply->lost)
		log_warn("/metrics has no %s: %s", metrics_parts[m->part].name,
		    reply->error.message);
	m->up = m->up || !reply->lost;
}

static void
metrics_on_reply(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct metrics *m = arg;

	(void)link;
	m->asking = false;
	if (m->http == NULL) {
		free(m);
		return;
	}
	metrics_take(m, reply);
	if (++m->part < METRICS_PARTS && !reply->lost && metrics_ask(m))
		return;
	m->told_ms = clock_mono_ms();
	metrics_send_all(m);
}

static void
metrics_on_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	metrics_send_all(arg);
}

static void
metrics_on_request_gone(void *arg)
{
	struct metrics_scrape *scrape = arg;

	list_remove(&scrape->node);
}

void
metrics_answer(struct http *http, h2o_req_t *req)
{
	struct metrics *m = http->metrics;
	struct metrics_scrape *scrape;

	if (!m->asking) {
		if (m->up && clock_mono_ms() - m->told_ms < METRICS_GOOD_MS) {
			metrics_send(m, req, true);
			return;
		}
		metrics_forget(m);
		m->part = 0;
		m->asked_ms = clock_mono_ms();
		if (!metrics_ask(m)) {
			metrics_send(m, req, false);
			return;
		}
	}
	scrape = h2o_mem_alloc_shared(
	    &req->pool, sizeof(*scrape), metrics_on_request_gone);
	scrape->req = req;
	list_append(&m->waiting, &scrape->node);
	if (!m->timer.armed)
		loop_timer_start(&m->timer, METRICS_WAIT_MS);
}

/* --- life --- */

void
metrics_start(struct http *http)
{
	struct metrics *m = mem_zalloc(sizeof(*m));

	m->http = http;
	list_init(&m->waiting);
	loop_timer_init(&m->timer, http->loop, metrics_on_timer, m);
	http->metrics = m;
}

void
metrics_done(struct http *http)
{
	struct metrics *m = http->metrics;

	assert(list_empty(&m->waiting));
	loop_timer_done(&m->timer);
	metrics_forget(m);
	http->metrics = NULL;
	m->http = NULL;
	if (!m->asking)
		free(m);
}
