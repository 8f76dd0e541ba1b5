/*
 * common/pg/pool against a real PostgreSQL.
 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/loop.h"
#include "common/base/mem.h"
#include "common/pg/pool.h"
#include "pg_server.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_PATIENCE_MS = 10000, TEST_WATCH_MS = 20 };

static struct pg_server server;
static struct loop *loop;
static struct loop_timer patience, watch;
static bool impatient;
static struct pg_pool *pool;

/* Somebody who wants a link. */
struct client {
	struct pg_waiter waiter;
	struct pg_link *link;
	int grants;
	int lost;
	int done;
	bool release_at_once;
};

/* The pool has no callback for changes of its own: look every 20 ms. */
#define AWAIT(condition)                                                      \
	do {                                                                  \
		loop_timer_start(&patience, TEST_PATIENCE_MS);                \
		loop_timer_start(&watch, TEST_WATCH_MS);                      \
		while (!(condition)) {                                        \
			loop_run(loop);                                       \
			ck_assert_msg(                                        \
			    !impatient, "waited in vain for %s", #condition); \
		}                                                             \
		loop_timer_stop(&watch);                                      \
		loop_timer_stop(&patience);                                   \
	} while (0)

static void
on_patience(struct loop_timer *timer, void *arg)
{
	(void)timer;
	(void)arg;
	impatient = true;
	loop_stop(loop);
}

static void
on_watch(struct loop_timer *timer, void *arg)
{
	(void)arg;
	loop_timer_start(timer, TEST_WATCH_MS);
	loop_stop(loop);
}

static void
on_granted(struct pg_link *link, void *arg)
{
	struct client *c = arg;

	ck_assert(pg_link_ready(link));
	c->grants++;
	c->link = link;
	if (c->release_at_once) {
		c->link = NULL;
		pg_pool_release(pool, link);
	}
}

static enum pg_pool_answer
ask(struct client *c)
{
	c->waiter.granted = on_granted;
	c->waiter.arg = c;
	return pg_pool_acquire(pool, &c->waiter);
}

static void
give_back(struct client *c)
{
	struct pg_link *link = c->link;

	c->link = NULL;
	pg_pool_release(pool, link);
}

static struct pg_pool_stats
stats(void)
{
	struct pg_pool_stats s;

	pg_pool_stats(pool, &s);
	return s;
}

static void
pool_of(int min, int max, int waiters_max, int64_t idle_ms, int64_t life_ms)
{
	struct pg_pool_opts opts = {
	    .link =
		{
		    .loop = loop,
		    .conninfo = server.conninfo,
		    .application_name = "chimpd/test/0@here",
		    .connect_timeout_ms = 5000,
		    .quiet = true,
		},
	    .min = min,
	    .max = max,
	    .idle_ms = idle_ms,
	    .life_ms = life_ms,
	    .waiters_max = waiters_max,
	};

	pool = pg_pool_new(&opts);
}

static void
setup(void)
{
	loop = loop_event_new();
	loop_timer_init(&patience, loop, on_patience, NULL);
	loop_timer_init(&watch, loop, on_watch, NULL);
	impatient = false;
}

static void
teardown(void)
{
	pg_pool_free(&pool);
	loop_timer_done(&patience);
	loop_timer_done(&watch);
	loop_free(&loop);
}

static const struct pg_stmt stmt_sleep = {
    "sleep", "select pg_catalog.pg_sleep(30)", 0};
static const struct pg_stmt stmt_kill = {
    "kill", "select pg_terminate_backend($1::int)", 1};

START_TEST(test_opens_min_and_grows_to_max)
{
	struct client c[4] = {0};

	pool_of(1, 3, 10, 60000, 60000);
	AWAIT(stats().open == 1);
	ck_assert_int_eq(ask(&c[0]), PG_POOL_GRANTED);
	ck_assert_int_eq(ask(&c[1]), PG_POOL_WAITING);
	ck_assert_int_eq(ask(&c[2]), PG_POOL_WAITING);
	ck_assert_int_eq(ask(&c[3]), PG_POOL_WAITING);
	AWAIT(stats().busy == 3);
	ck_assert_int_eq(stats().waiting, 1);
	ck_assert_ptr_null(c[3].link);
	ck_assert_ptr_ne(c[0].link, c[1].link);
	give_back(&c[1]);
	ck_assert_int_eq(c[3].grants, 1);
	ck_assert_int_eq(stats().waiting, 0);
	for (int i = 0; i < 4; i++)
		if (c[i].link != NULL)
			give_back(&c[i]);
	ck_assert_int_eq(stats().busy, 0);
	ck_assert_int_eq(stats().open, 3);
}
END_TEST

START_TEST(test_line_is_in_order_and_bounded)
{
	struct client c[4] = {0};

	pool_of(1, 1, 2, 60000, 60000);
	AWAIT(stats().open == 1);
	ck_assert_int_eq(ask(&c[0]), PG_POOL_GRANTED);
	ck_assert_int_eq(ask(&c[1]), PG_POOL_WAITING);
	ck_assert_int_eq(ask(&c[2]), PG_POOL_WAITING);
	ck_assert_int_eq(ask(&c[3]), PG_POOL_FULL);
	/* The first in line gives it back inside granted(). */
	c[1].release_at_once = true;
	give_back(&c[0]);
	ck_assert_int_eq(c[1].grants, 1);
	ck_assert_int_eq(c[2].grants, 1);
	ck_assert_ptr_nonnull(c[2].link);
	give_back(&c[2]);
}
END_TEST

START_TEST(test_cancelled_waiter_is_not_served)
{
	struct client c[3] = {0};

	pool_of(1, 1, 10, 60000, 60000);
	AWAIT(stats().open == 1);
	ask(&c[0]);
	ask(&c[1]);
	ask(&c[2]);
	pg_pool_cancel(pool, &c[1].waiter);
	give_back(&c[0]);
	ck_assert_int_eq(c[1].grants, 0);
	ck_assert_int_eq(c[2].grants, 1);
	give_back(&c[2]);
}
END_TEST

START_TEST(test_down_is_said_at_once_and_ends)
{
	struct client c = {0};

	pool_of(2, 4, 10, 60000, 60000);
	AWAIT(stats().open == 2);
	pg_server_stop(&server);
	AWAIT(stats().down);
	ck_assert_int_eq(stats().open, 0);
	ck_assert_str_ne(stats().last_error, "");
	ck_assert_int_eq(ask(&c), PG_POOL_DOWN);
	pg_server_start(&server);
	AWAIT(stats().open == 2);
	ck_assert(!stats().down);
	ck_assert_int_eq(ask(&c), PG_POOL_GRANTED);
	give_back(&c);
}
END_TEST

static void
on_lost_unit(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct client *c = arg;

	ck_assert(reply->lost);
	c->lost++;
	c->link = NULL;
	pg_pool_release(pool, link);
}

static void
on_killed(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct client *c = arg;

	(void)link;
	ck_assert(reply->ok);
	c->done++;
	give_back(c);
}

START_TEST(test_lost_link_is_given_back_in_its_callback)
{
	struct client victim = {0}, killer = {0};
	char pid[16];
	const char *values[] = {pid};

	pool_of(2, 2, 10, 60000, 60000);
	AWAIT(stats().open == 2);
	ask(&victim);
	ask(&killer);
	snprintf(pid, sizeof(pid), "%d", pg_link_backend_pid(victim.link));
	pg_query(victim.link, &stmt_sleep, NULL, on_lost_unit, &victim);
	pg_query(killer.link, &stmt_kill, values, on_killed, &killer);
	AWAIT(victim.lost == 1 && killer.done == 1);
	ck_assert(!stats().down);
	AWAIT(stats().open == 2);
	ck_assert_int_eq(stats().busy, 0);
}
END_TEST

START_TEST(test_idle_links_above_min_and_old_ones_are_closed)
{
	struct client c[3] = {0};
	int pid;

	pool_of(1, 3, 10, 100, 1500);
	AWAIT(stats().open == 1);
	for (int i = 0; i < 3; i++)
		ask(&c[i]);
	AWAIT(stats().busy == 3);
	pid = pg_link_backend_pid(c[0].link);
	for (int i = 2; i >= 0; i--)
		give_back(&c[i]);
	AWAIT(stats().open == 1);
	/* Its life ends, too, and another takes its place. */
	AWAIT(ask(&c[0]) != PG_POOL_GRANTED ||
	      pg_link_backend_pid(c[0].link) != pid || (give_back(&c[0]), 0));
	AWAIT(c[0].link != NULL);
	ck_assert_int_ne(pg_link_backend_pid(c[0].link), pid);
	give_back(&c[0]);
}
END_TEST

START_TEST(test_free_with_a_busy_link)
{
	struct client c = {0};

	pool_of(1, 1, 10, 60000, 60000);
	AWAIT(stats().open == 1);
	ask(&c);
	pg_query(c.link, &stmt_sleep, NULL, on_lost_unit, &c);
	pg_pool_free(&pool);
	ck_assert_int_eq(c.lost, 1);
	ck_assert_ptr_null(pool);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("pool");
	TCase *tc = tcase_create("pool");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_opens_min_and_grows_to_max);
	tcase_add_test(tc, test_line_is_in_order_and_bounded);
	tcase_add_test(tc, test_cancelled_waiter_is_not_served);
	tcase_add_test(tc, test_down_is_said_at_once_and_ends);
	tcase_add_test(tc, test_lost_link_is_given_back_in_its_callback);
	tcase_add_test(tc, test_idle_links_above_min_and_old_ones_are_closed);
	tcase_add_test(tc, test_free_with_a_busy_link);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
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
