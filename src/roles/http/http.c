/*
 * The http role: its birth, its drain, its end. See http.h.
 */
#include "roles/http/http.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/args.h"
#include "roles/http/call.h"
#include "roles/http/limit.h"
#include "roles/http/line.h"
#include "roles/http/metrics.h"
#include "roles/http/tls.h"

enum { HTTP_MARGIN_MS = 100 };

/* Also of actions that no route names yet. */
static int
http_check_actions(const struct conf_app *app, struct err *err)
{
	for (size_t i = 0; i < app->n_actions; i++) {
		const struct conf_action *action = &app->actions[i];

		if (args_check(action->args, err) != 0)
			return err_prefix(err, "%s: app \"%s\": action \"%s\"",
			    action->at, app->name, action->name);
	}
	return 0;
}

/* Routes and signatures are this role's to understand. */
static int
http_check(const struct conf *conf, struct err *err)
{
	struct endpoints *endpoints;

	for (size_t i = 0; i < conf->n_apps; i++)
		if (http_check_actions(&conf->apps[i], err) != 0)
			return -1;
	endpoints = endpoints_new(conf, err);
	if (endpoints == NULL)
		return -1;
	endpoints_free(&endpoints);
	if (limits_check(&conf->http, err) != 0)
		return -1;
	return tls_check(&conf->http, err);
}

/*
 * A successor takes its predecessor's place: its first requests would wait, and
 * some in vain, for the connection that is being made. In an outage there is
 * nothing to wait for.
 */
static void
http_warm(void *arg)
{
	struct child *child = arg;
	struct http *http = child->state;
	struct pg_pool_stats stats;

	if (!child->warming || http->draining)
		return;
	pg_pool_stats(http->pool, &stats);
	if (stats.open == 0 && !stats.down &&
	    child->birth->conf->database.pool_min > 0)
		return;
	child->warming = false;
	server_open(http);
	child_ready(child);
}

/* What ends a query whose cancel does not arrive: before the deadline of a
 * request that did not have to wait. */
static int64_t
http_statement_timeout_ms(const struct conf *conf)
{
	int64_t own = conf->database.statement_timeout_ms;
	int64_t limit = conf->http.request_timeout_ms;

	limit =
	    limit > 2 * HTTP_MARGIN_MS ? limit - HTTP_MARGIN_MS : limit / 2 + 1;
	return own > 0 && own < limit ? own : limit;
}

static struct pg_pool *
http_pool(struct child *child)
{
	const struct conf *conf = child->birth->conf;
	struct http *http = child->state;
	char name[128];
	struct pg_pool_opts opts = {
	    .link =
		{
		    .loop = child->loop,
		    .conninfo = conf->database.url,
		    .application_name = name,
		    .connect_timeout_ms = conf->database.connect_timeout_ms,
		    .statement_timeout_ms = http->statement_timeout_ms,
		    /* The control connection of role.c says it. */
		    .quiet = true,
		},
	    .min = (int)conf->database.pool_min,
	    .max = (int)conf->database.pool_max,
	    .idle_ms = conf->database.pool_idle_ms,
	    .life_ms = conf->database.pool_life_ms,
	    .waiters_max = (int)conf->http.max_requests_waiting,
	    .on_change = http_warm,
	    .arg = child,
	};

	/* <role>/<class>/<slot>@<node>, as in design.md, section 2. */
	snprintf(name, sizeof(name), "chimpd/http//%d@%s", child->birth->index,
	    conf->node);
	return pg_pool_new(&opts);
}

/* From the loop, for it may be a connection's own callback that is last. */
static void
http_on_end(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;
	struct child *child = http->child;

	(void)timer;
	call_done(http);
	line_done(http);
	metrics_done(http);
	server_done(http);
	limits_stop(http);
	access_close(http);
	loop_timer_done(&http->sweep_timer);
	loop_timer_done(&http->gone_timer);
	loop_timer_done(&http->end_timer);
	pg_pool_free(&http->pool);
	endpoints_free(&http->endpoints);
	tls_free(&http->tls);
	mem_free(&http);
	child->state = NULL;
	child_finished(child);
}

void
http_advance(struct http *http)
{
	if (http->draining && http->n_conns == 0 && http->n_calls == 0 &&
	    http->n_listeners == 0 && !http->end_timer.armed)
		loop_timer_start(&http->end_timer, 0);
}

static int
http_start(struct child *child, struct err *err)
{
	struct http *http = mem_zalloc(sizeof(*http));

	http->child = child;
	http->conf = &child->birth->conf->http;
	http->loop = child->loop;
	http->endpoints = endpoints_new(child->birth->conf, err);
	if (http->endpoints != NULL && http->conf->n_tls > 0)
		http->tls = tls_new(http->conf, err);
	if (http->endpoints == NULL ||
	    (http->conf->n_tls > 0 && http->tls == NULL) ||
	    access_open(http, err) != 0) {
		tls_free(&http->tls);
		endpoints_free(&http->endpoints);
		free(http);
		return -1;
	}
	child->state = http;
	loop_timer_init(&http->end_timer, http->loop, http_on_end, http);
	http->statement_timeout_ms =
	    http_statement_timeout_ms(child->birth->conf);
	http->pool = http_pool(child);
	call_init(http);
	line_init(http);
	limits_start(http);
	metrics_start(http);
	server_start(http);
	sweep_start(http);
	child->warming = true;
	http_warm(child); /* the pool says when that may have changed */
	return 0;
}

static void
http_drain(struct child *child, int64_t deadline_ms)
{
	struct http *http = child->state;

	(void)deadline_ms; /* role.c comes back with abandon */
	http->draining = true;
	server_stop_listening(http);
}

static void
http_abandon(struct child *child)
{
	struct http *http = child->state;
	struct list *n;

	if (http == NULL)
		return; /* all done, deregistering */
	call_abandon_all(http);
	LIST_FOREACH (n, &http->conns)
		conn_shut(LIST_ENTRY(n, struct conn, node));
}

static void
http_status(struct child *child, struct msg *heartbeat)
{
	struct http *http = child->state;
	struct pg_pool_stats stats;

	if (http == NULL)
		return;
	pg_pool_stats(http->pool, &stats);
	heartbeat->busy = (uint32_t)http->n_calls;
	heartbeat->done = http->n_answers;
	heartbeat->capacity = (uint32_t)(child->birth->conf->database.pool_max +
					 http->conf->max_requests_waiting);
	snprintf(heartbeat->text, sizeof(heartbeat->text),
	    "%d connections, %d requests, %d waiting", http->n_conns,
	    http->n_calls, stats.waiting);
}

static void
http_reopen(struct child *child)
{
	struct http *http = child->state;

	if (http->access.on)
		access_out_reopen(&http->access.out);
}

const struct role role_http = {
    .name = "http",
    .loop_new = loop_h2o_new,
    .check = http_check,
    .start = http_start,
    .drain = http_drain,
    .abandon = http_abandon,
    .status = http_status,
    .metrics = metrics_lines,
    .reopen = http_reopen,
};
