/*
 * How many connections the processes of this node may open at once.
 */
#include "common/conf/conf.h"

void
conf_budget(const struct conf *conf, struct conf_budget *b)
{
	b->http = conf->http.processes *
		  (conf->database.pool_max + CONF_CONTROL_CONNECTIONS);
	b->worker = 0;
	for (size_t i = 0; i < conf->n_workers; i++)
		b->worker += conf->workers[i].processes *
			     (conf->workers[i].concurrency + 2);
	b->cron = conf->cron.processes * CONF_CRON_CONNECTIONS;
	b->subscriber =
	    conf->subscriber.processes * CONF_SUBSCRIBER_CONNECTIONS;
	b->extra = CONF_EXTRA_CONNECTIONS;
	b->total = b->http + b->worker + b->cron + b->subscriber + b->extra;
}
