/*
 * The processes that a configuration asks for. See conf_classes.h.
 */
#include "common/conf/conf_classes.h"

static void
class_http(const struct conf *conf, struct conf_class *class)
{
	*class = (struct conf_class){.role = "http",
	    .name = "",
	    .processes = conf->http.present ? conf->http.processes : 0,
	    .connections = conf->database.pool_max + CONF_CONTROL_CONNECTIONS,
	    .recycle = conf->http.recycle};
}

static void
class_worker(const struct conf_worker *worker, struct conf_class *class)
{
	*class = (struct conf_class){.role = "worker",
	    .name = worker->name,
	    .processes = worker->processes,
	    .connections = worker->concurrency + CONF_WORKER_CONNECTIONS,
	    .recycle = worker->recycle,
	    .worker = worker};
}

static void
class_cron(const struct conf *conf, struct conf_class *class)
{
	*class = (struct conf_class){.role = "cron",
	    .name = "",
	    .processes = conf->cron.present ? conf->cron.processes : 0,
	    .connections = CONF_CRON_CONNECTIONS,
	    .recycle = conf->cron.recycle};
}

static void
class_subscriber(const struct conf *conf, struct conf_class *class)
{
	*class = (struct conf_class){.role = "subscriber",
	    .name = "",
	    .processes =
		conf->subscriber.present ? conf->subscriber.processes : 0,
	    .connections = CONF_SUBSCRIBER_CONNECTIONS,
	    .recycle = conf->subscriber.recycle};
}

#ifdef CHIMP_TEST_ROLE
static void
class_fake(const struct conf *conf, struct conf_class *class)
{
	*class = (struct conf_class){.role = "fake",
	    .name = "",
	    .processes = conf->fake.present ? conf->fake.processes : 0,
	    .connections = CONF_CONTROL_CONNECTIONS,
	    .recycle = conf->fake.recycle};
}
#endif

bool
conf_class_at(const struct conf *conf, size_t i, struct conf_class *class)
{
	const size_t n = conf->n_workers;

	if (i == 0)
		class_http(conf, class);
	else if (i <= n)
		class_worker(&conf->workers[i - 1], class);
	else if (i == n + 1)
		class_cron(conf, class);
	else if (i == n + 2)
		class_subscriber(conf, class);
#ifdef CHIMP_TEST_ROLE
	else if (i == n + 3)
		class_fake(conf, class);
#endif
	else
		return false;
	/* DISABLE_BACKGROUND_WORKERS: only http runs on this node. */
	if (i > 0 && !conf->background_workers)
		class->processes = 0;
	return true;
}

const struct conf_strings *
conf_listen(const struct conf *conf)
{
	static const struct conf_strings none;
	struct conf_class http;

	conf_class_at(conf, 0, &http);
	return http.processes > 0 ? &conf->http.listen : &none;
}
