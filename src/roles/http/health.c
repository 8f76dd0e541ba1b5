/*
 * The built-in routes. See health.h.
 */
#include "roles/http/health.h"

#include "roles/http/answer.h"

#define HEALTH_JSON "application/json"

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
