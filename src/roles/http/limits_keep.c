/*
 * What limits need in a process: who is trusted and how much each client has,
 * refusals, and the sweep of what the database kept (chimp.http_sweep), in
 * bounded steps over the control connection. One process in the database
 * sweeps at a time, whichever asks.
 */
#include "roles/http/limit.h"

#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "roles/http/clients.h"

enum { KEEP_MS = 10000, KEEP_MORE_MS = 100 };

/* clang-format off */
static const struct pg_stmt keep_stmt = { "http_sweep",
	"select next, more from chimp.http_sweep($1)", 1 };
/* clang-format on */

static struct peer_nets *
limits_proxies(const struct conf_http *conf, struct err *err)
{
	struct peer_nets *nets =
	    peer_nets_new((const char *const *)conf->trusted_proxies.items,
		(size_t)conf->trusted_proxies.count, err);

	if (nets == NULL)
		err_prefix(err, "http: trusted_proxies");
	return nets;
}

int
limits_check(const struct conf_http *conf, struct err *err)
{
	struct peer_nets *nets = limits_proxies(conf, err);

	if (nets == NULL)
		return -1;
	peer_nets_free(&nets);
	return 0;
}

static void
keep_on_reply(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct child *child = arg;
	struct http *http = child->state;
	bool more = false;

	(void)link;
	if (http == NULL)
		return; /* all done, deregistering */
	if (reply->ok) {
		const struct pg_result *result = reply->results[0];

		mem_free(&http->swept);
		if (!pg_is_null(result, 0, 0))
			http->swept = mem_strdup(pg_value(result, 0, 0));
		more = pg_bool(result, 0, 1);
	} else if (!reply->lost) {
		log_warn("sweep of rates and kept answers: %s",
		    reply->error.message);
	}
	loop_timer_start(&http->keep_timer, more ? KEEP_MORE_MS : KEEP_MS);
}

static void
keep_on_timer(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;
	struct pg_link *control = http->child->control;
	const char *values[] = {http->swept};

	if (!http->child->registered || control == NULL ||
	    !pg_link_ready(control))
		loop_timer_start(timer, KEEP_MS);
	else
		pg_query(
		    control, &keep_stmt, values, keep_on_reply, http->child);
}

void
limits_start(struct http *http)
{
	struct err err;

	list_init(&http->counting);
	list_init(&http->guarded);
	http->proxies = limits_proxies(http->conf, &err);
	if (http->proxies == NULL)
		abort(); /* limits_check has seen them */
	http->clients = clients_new();
	http->refusals = mem_zalloc(LIMIT_REFUSALS * sizeof(*http->refusals));
	loop_timer_init(&http->keep_timer, http->loop, keep_on_timer, http);
	loop_timer_start(&http->keep_timer, KEEP_MS);
}

void
limits_stop(struct http *http)
{
	loop_timer_done(&http->keep_timer);
	clients_free(&http->clients);
	peer_nets_free(&http->proxies);
	mem_free(&http->refusals);
	mem_free(&http->swept);
}
