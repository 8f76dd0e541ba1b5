/*
 * The built-in routes. See health.h.
 */
#include "config.h"

#include "roles/http/health.h"

#include <inttypes.h>

#include "common/base/strbuf.h"
#include "roles/http/answer.h"

#define HEALTH_JSON    "application/json"
#define HEALTH_METRICS "text/plain; version=0.0.4; charset=utf-8"

void
health_live(h2o_req_t *req)
{
	answer_text(req, 200, HEALTH_JSON, H2O_STRLIT("{\"ok\":true}\n"));
}

/* The pool may have no connection because nobody needs one: just born, or
 * with pool_min = 0. Then the control connection knows. */
static bool
health_database_up(const struct http *http)
{
	struct pg_pool_stats stats;

	pg_pool_stats(http->pool, &stats);
	return !stats.down && (stats.open > 0 || http->child->registered);
}

void
health_ready(struct http *http, h2o_req_t *req)
{
	/* One that is replaced answers for the node, which goes on. */
	if (http->child->stopping)
		answer_error(req, 503, "stopping");
	else if (!health_database_up(http))
		answer_error(req, 503, "database unreachable");
	else
		answer_text(
		    req, 200, HEALTH_JSON, H2O_STRLIT("{\"ready\":true}\n"));
}

/* --- metrics --- */

static void
health_head(
    struct strbuf *out, const char *name, const char *type, const char *help)
{
	strbuf_printf(
	    out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
health_gauge(struct strbuf *out, struct http *http, const char *name,
    const char *help, int value)
{
	health_head(out, name, "gauge", help);
	strbuf_printf(
	    out, "%s{process=\"%s\"} %d\n", name, http->child->name, value);
}

/* A label's value: \, " and line breaks are escaped. */
static void
health_label(struct strbuf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == '"')
			strbuf_putc(out, '\\');
		strbuf_putc(out, *text == '\n' ? ' ' : *text);
	}
}

static void
health_answers(struct strbuf *out, struct http *http, const struct endpoint *e)
{
	for (int class = 1; class <= 5; class ++) {
		if (e->answers[class] == 0)
			continue;
		strbuf_printf(out,
		    "chimpd_http_requests_total{process=\"%s\""
		    ",route=\"",
		    http->child->name);
		health_label(out, e->pattern);
		strbuf_printf(out, "\",code=\"%dxx\"} %" PRIu64 "\n", class,
		    e->answers[class]);
	}
}

static void
health_database(struct strbuf *out, struct http *http)
{
	struct pg_pool_stats stats;

	pg_pool_stats(http->pool, &stats);
	health_gauge(out, http, "chimpd_database_up",
	    "Whether this process reaches the database.",
	    health_database_up(http));
	health_gauge(out, http, "chimpd_pool_connections",
	    "Open connections for requests.", stats.open);
	health_gauge(out, http, "chimpd_pool_connections_busy", "Those in use.",
	    stats.busy);
	health_gauge(out, http, "chimpd_pool_waiting",
	    "Requests that wait for a connection.", stats.waiting);
}

void
health_metrics(struct http *http, h2o_req_t *req)
{
	const struct endpoints *all = http->endpoints;
	struct strbuf out = STRBUF_EMPTY;

	health_head(&out, "chimpd_build_info", "gauge", "The running build.");
	strbuf_printf(&out,
	    "chimpd_build_info{process=\"%s\",version=\"%s\"}"
	    " 1\n",
	    http->child->name, PACKAGE_VERSION);
	health_database(&out, http);
	health_gauge(&out, http, "chimpd_http_connections",
	    "Connections of clients.", http->n_conns);
	health_gauge(&out, http, "chimpd_http_requests_in_flight",
	    "Requests at work in handlers.", http->n_calls);
	health_head(&out, "chimpd_http_requests_total", "counter",
	    "Answers by route and class of status.");
	for (size_t i = 0; i < all->n; i++)
		health_answers(&out, http, &all->items[i]);
	health_answers(&out, http, &all->unmatched);
	answer_text(req, 200, HEALTH_METRICS, out.data, out.length);
	strbuf_done(&out);
}
