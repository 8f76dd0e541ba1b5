/*
 * What the tests of links share. See link_bench.h.
 */
#include "link_bench.h"
#include "common/base/log.h"

#include <stdio.h>
#include <string.h>

struct pg_server server;
struct loop *loop;
struct loop_timer patience;
bool impatient;
int n_ready, n_lost, n_notified;
char notified[256];

static void
on_patience(struct loop_timer *timer, void *arg)
{
	(void)timer;
	(void)arg;
	impatient = true;
	loop_stop(loop);
}

static void
on_ready(struct pg_link *link, void *arg)
{
	(void)arg;
	ck_assert(pg_link_ready(link));
	n_ready++;
	loop_stop(loop);
}

static void
on_lost(struct pg_link *link, void *arg)
{
	(void)arg;
	ck_assert_int_eq(pg_link_state(link), PG_LINK_WAITING);
	ck_assert_int_eq(pg_link_in_flight(link), 0);
	n_lost++;
	loop_stop(loop);
}

static void
on_notify(
    struct pg_link *link, const char *channel, const char *payload, void *arg)
{
	(void)link;
	(void)arg;
	n_notified++;
	snprintf(notified, sizeof(notified), "%s:%s", channel, payload);
	loop_stop(loop);
}

void
on_done(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct outcome *o = arg;
	const struct pg_result *last;

	(void)link;
	o->calls++;
	o->ok = reply->ok;
	o->lost = reply->lost;
	o->n_results = reply->n_results;
	if (reply->ok) {
		last = reply->results[reply->n_results - 1];
		if (pg_rows(last) > 0 && !pg_is_null(last, 0, 0))
			snprintf(o->value, sizeof(o->value), "%s",
			    pg_value(last, 0, 0));
	} else {
		memcpy(o->sqlstate, reply->error.sqlstate, 6);
		snprintf(
		    o->message, sizeof(o->message), "%s", reply->error.message);
	}
	loop_stop(loop);
}

struct pg_link *
link_within(const char *conninfo, const char *const *channels,
    int64_t connect_timeout_ms)
{
	struct pg_link_opts opts = {
	    .loop = loop,
	    .conninfo = conninfo,
	    .application_name = "chimpd/test/0@here",
	    .connect_timeout_ms = connect_timeout_ms,
	    .statement_timeout_ms = 7000,
	    .listen = channels,
	    .quiet = true,
	    .on_ready = on_ready,
	    .on_lost = on_lost,
	    .on_notify = on_notify,
	};

	return pg_link_new(&opts);
}

struct pg_link *
link_to(const char *conninfo, const char *const *channels)
{
	return link_within(conninfo, channels, 5000);
}

struct pg_link *
link_ready(void)
{
	struct pg_link *link = link_to(server.conninfo, NULL);

	AWAIT(pg_link_ready(link));
	return link;
}

void
run(struct pg_link *link, const struct pg_stmt *stmt, const char *const *values,
    struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	pg_query(link, stmt, values, on_done, o);
	AWAIT(o->calls == 1);
}

void
link_setup(void)
{
	loop = loop_event_new();
	loop_timer_init(&patience, loop, on_patience, NULL);
	impatient = false;
	n_ready = n_lost = n_notified = 0;
}

void
link_teardown(void)
{
	loop_timer_done(&patience);
	loop_free(&loop);
}

int
link_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	log_init(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	pg_server_create(&server);
	/* In this process: the server is stopped and started by a test. */
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	pg_server_destroy(&server);
	return failed == 0 ? 0 : 1;
}
