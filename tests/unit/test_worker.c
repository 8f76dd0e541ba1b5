/*
 * The worker role and the common birth of a child: a real process, born by
 * role_main from a master that this test plays, on a real PostgreSQL with the
 * real schema.
 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "role_process.h"

#include <check.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A queue per behaviour; every handler writes down what it did. */
static const char schema[] =
    "create schema t;"
    "create table t.done (job bigint, attempt int, at timestamptz default "
    " clock_timestamp());"
    "create sequence t.tries;"
    "create function t.ok(i jsonb) returns jsonb language plpgsql as $$ begin"
    " insert into t.done select (chimp.job()->>'id')::bigint,"
    "  (chimp.job()->>'attempt')::int; return i; end $$;"
    "create function t.bad(i jsonb) returns jsonb language plpgsql as $$ begin"
    " perform t.ok(i); raise exception 'not today' using detail = 'rain'; end "
    "$$;"
    "create function t.slow(i jsonb) returns jsonb language plpgsql as $$ begin"
    " perform t.ok(i); perform pg_sleep((i->>'s')::float8); return null; end "
    "$$;"
    "create function t.clash(i jsonb) returns jsonb language plpgsql as $$ "
    "begin"
    " perform t.ok(i); if nextval('t.tries') % 4 <> 0 then"
    " raise exception 'clash' using errcode = '40001'; end if;"
    " return null; end $$;"
    "create function t.queue(name text, max_attempts int default 3, timeout_ms "
    " int default 0) returns int language sql as $$"
    " select chimp.queue_put(name, jsonb_build_object('sql', 't.' || name,"
    " 'max_attempts', max_attempts, 'retry_delay_ms', 20,"
    " 'retry_delay_max_ms', 20, 'backoff', 'constant', 'timeout_ms', "
    "timeout_ms,"
    " 'dead_letter', '', 'priority', 0)) $$;"
    "select t.queue('ok'), t.queue('bad'), t.queue('slow'), t.queue('clash');";

static void
setup(void)
{
	db_connect();
	run("truncate t.done, chimp.job_done, chimp.job_ended, chimp.job_ready,"
	    " chimp.job_scheduled, chimp.job_claim, chimp.job, chimp.process,"
	    " chimp.job_error, chimp.job_attempt");
	class.concurrency = 4;
	class.lease_ms = 30000;
}

static void
teardown(void)
{
	db_close();
}

#define DONE    "select count(*) from chimp.jobs where state = 'done'"
#define EFFECTS "select count(*) || ' ' || count(distinct job) from t.done"

/* --- tests --- */

START_TEST(test_runs_a_job_and_says_what_it_does)
{
	struct process p;
	struct msg beat;

	process_born(&p);
	ck_assert(says("select role || ' ' || class || ' ' || slot || ' ' ||"
		       " node from chimp.process",
	    "worker default 0 here"));
	ck_assert(says("select count(*) from pg_stat_activity where"
		       " application_name = 'chimpd/worker/default/0@here'",
		      "1") ||
		  says("select count(*) from pg_stat_activity where"
		       " application_name = 'chimpd/worker/default/0@here'",
		      "2"));
	run("select chimp.enqueue('ok', '{\"n\": 1}')");
	await(DONE, "1");
	ck_assert(says("select result ->> 'n' from chimp.jobs", "1"));
	ck_assert(says(EFFECTS, "1 1"));
	beat = process_hear(&p, MSG_HEARTBEAT);
	ck_assert_uint_eq(beat.capacity, 4);
	ck_assert_uint_eq(beat.state, MSG_STATE_SERVING);
	process_stop(&p);
}
END_TEST

START_TEST(test_wakes_at_once_when_idle)
{
	struct process p;
	int64_t best_us = INT64_MAX, t;

	process_born(&p);
	for (int i = 0; i < 5; i++) {
		/* Behind the short re-looks, only NOTIFY wakes it. */
		usleep(1500000 / 5);
		run("truncate t.done");
		t = clock_mono_us();
		run("select chimp.enqueue('ok')");
		while (!says("select count(*) from t.done", "1"))
			continue;
		t = clock_mono_us() - t;
		if (t < best_us)
			best_us = t;
	}
	ck_assert_int_lt(best_us, 50000);
	process_stop(&p);
}
END_TEST

START_TEST(test_scheduled_job_runs_when_due)
{
	struct process p;

	process_born(&p);
	run("select chimp.enqueue('ok', delay => '300 ms')");
	await(DONE, "1");
	ck_assert(
	    says("select (d.at - j.created_at) between '299 ms' and"
		 " '600 ms' from t.done d join chimp.job j on j.id = d.job",
		"t"));
	process_stop(&p);
}
END_TEST

START_TEST(test_failure_is_charged_and_ends_dead)
{
	struct process p;

	process_born(&p);
	run("select chimp.enqueue('bad')");
	await("select state || ' ' || attempt || ' ' || interruptions from"
	      " chimp.jobs",
	    "dead 3 0");
	ck_assert(says("select string_agg(attempt || (error ->> 'message') ||"
		       " (error ->> 'detail') || (error ->> 'sqlstate'), ','"
		       " order by attempt) from chimp.job_error",
	    "1not todayrainP0001,2not todayrainP0001,3not todayrainP0001"));
	ck_assert(says(EFFECTS, "0 0"));
	process_stop(&p);
}
END_TEST

START_TEST(test_serialization_failure_is_rerun_uncharged)
{
	struct process p;

	run("select setval('t.tries', 4)");
	process_born(&p);
	run("select chimp.enqueue('clash')");
	await("select state || ' ' || attempt || ' ' || interruptions from"
	      " chimp.jobs",
	    "done 1 0");
	ck_assert(says("select last_value from t.tries", "8"));
	ck_assert(says(EFFECTS, "1 1"));
	process_stop(&p);
}
END_TEST

START_TEST(test_timeout_is_charged)
{
	struct process p;

	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 20}', max_attempts => 1,"
	    " timeout => '100 ms')");
	await("select state || ' ' || attempt || ' ' || (error ->> 'message')"
	      " from chimp.jobs",
	    "dead 1 the attempt took longer than its time-out of 100 ms");
	process_stop(&p);
}
END_TEST

START_TEST(test_many_jobs_each_once)
{
	struct process p, q;

	process_born(&p);
	process_born(&q);
	run("select chimp.enqueue_many('ok', array_fill('{}'::jsonb,"
	    " array[2000]))");
	await(DONE, "2000");
	ck_assert(says(EFFECTS, "2000 2000"));
	ck_assert(
	    says("select count(distinct process_id) from chimp.jobs", "2"));
	process_tell(&q, MSG_DRAIN, 5000, "");
	ck_assert_int_eq(process_end(&q), 0);
	process_stop(&p);
}
END_TEST

START_TEST(test_slow_job_does_not_delay_those_claimed_with_it)
{
	struct process p;

	class.concurrency = 2;
	process_born(&p);
	/* Short runs, so that it claims ahead. */
	run("select chimp.enqueue_many('ok', array_fill('{}'::jsonb,"
	    " array[100]))");
	await(DONE, "100");
	run("select chimp.enqueue('slow', '{\"s\": 2}')");
	run("select chimp.enqueue_many('ok', array_fill('{}'::jsonb,"
	    " array[50]))");
	ck_assert_int_lt(await(DONE, "150"), 1500);
	await(DONE, "151");
	process_stop(&p);
}
END_TEST

START_TEST(test_claimed_ahead_is_given_back_when_all_are_slow)
{
	struct process p, q;

	class.concurrency = 1;
	process_born(&p);
	run("select chimp.enqueue_many('ok', array_fill('{}'::jsonb,"
	    " array[50]))");
	await(DONE, "50");
	/* Runs one and has claimed the other. */
	run("select chimp.enqueue('slow', '{\"s\": 3}'), chimp.enqueue('ok')");
	process_born(&q);
	ck_assert_int_lt(await("select count(*) from t.done", "51"), 2500);
	process_tell(&q, MSG_DRAIN, 5000, "");
	ck_assert_int_eq(process_end(&q), 0);
	process_stop(&p);
}
END_TEST

START_TEST(test_killed_process_is_rescued_by_its_successor)
{
	struct process p, q;

	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 0.3}')");
	await("select count(*) from chimp.job_claim", "1");
	process_kill(&p);
	process_born(&q);
	process_tell(&q, MSG_RESCUE, 0, p.birth.id);
	ck_assert_str_eq(process_hear(&q, MSG_RESCUED).birth, p.birth.id);
	await(DONE, "1");
	ck_assert(says("select attempt || ' ' || interruptions from"
		       " chimp.jobs",
	    "1 1"));
	ck_assert(says(EFFECTS, "1 1"));
	process_stop(&q);
}
END_TEST

START_TEST(test_killed_process_is_rescued_by_its_sibling)
{
	struct process p, q;
	char *claimed;

	class.concurrency = 1;
	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 0.5}')");
	await("select count(*) from chimp.job_claim", "1");
	process_born(&q);
	claimed = mem_printf("select count(*) from chimp.job_claim where"
			     " process_id = '%s'",
	    q.birth.id);
	process_kill(&p);
	process_tell(&q, MSG_RESCUE, 0, "not an id");
	process_tell(&q, MSG_RESCUE, 0, p.birth.id);
	ck_assert_int_lt(await(claimed, "1"), 300);
	await(DONE, "1");
	ck_assert(says(EFFECTS, "1 1"));
	free(claimed);
	process_stop(&q);
}
END_TEST

START_TEST(test_lost_runner_gives_the_job_back)
{
	struct process p;

	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 0.4}')");
	await("select count(*) from pg_stat_activity where query like"
	      " '%\"slow\"%' and state = 'active' and pid <> pg_backend_pid()",
	    "1");
	run("select pg_terminate_backend(pid) from pg_stat_activity where"
	    " query like '%\"slow\"%' and pid <> pg_backend_pid()");
	await(DONE, "1");
	ck_assert(says("select attempt || ' ' || interruptions from"
		       " chimp.jobs",
	    "1 1"));
	ck_assert(says(EFFECTS, "1 1"));
	process_stop(&p);
}
END_TEST

START_TEST(test_evicted_process_drops_its_work_and_registers_anew)
{
	struct process p;

	class.lease_ms = 600;
	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 1}')");
	await("select count(*) from pg_stat_activity where query like"
	      " '%\"slow\"%' and state = 'active' and pid <> pg_backend_pid()",
	    "1");
	/* Somebody takes it for dead: G3, its run must not count. */
	run("select chimp.process_end(id) from chimp.process");
	await(DONE, "1");
	ck_assert(says(EFFECTS, "1 1"));
	ck_assert(says("select interruptions from chimp.jobs", "1"));
	ck_assert(says("select count(*) from chimp.process", "1"));
	process_stop(&p);
}
END_TEST

START_TEST(test_outage_is_waited_for)
{
	struct process p;
	struct msg beat;

	process_born(&p);
	run("select chimp.enqueue_many('ok', array_fill('{}'::jsonb,"
	    " array[300]))");
	db_close();
	pg_server_stop(&server);
	do
		beat = process_hear(&p, MSG_HEARTBEAT);
	while (beat.state != MSG_STATE_WAITING_DB);
	ck_assert_ptr_eq(
	    strstr(beat.text, "waiting for the database"), beat.text);
	pg_server_start(&server);
	db_connect();
	ck_assert_int_lt(await(DONE, "300"), 4000);
	ck_assert(says(EFFECTS, "300 300"));
	process_stop(&p);
}
END_TEST

START_TEST(test_born_in_an_outage_is_ready_all_the_same)
{
	struct process p;

	run("select chimp.enqueue('ok')");
	db_close();
	pg_server_stop(&server);
	process_born(&p);
	pg_server_start(&server);
	db_connect();
	await(DONE, "1");
	process_stop(&p);
}
END_TEST

START_TEST(test_drain_finishes_what_runs_and_gives_back_the_rest)
{
	struct process p;

	class.concurrency = 1;
	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 0.5}')");
	await("select count(*) from chimp.job_claim", "1");
	run("select chimp.enqueue('ok')");
	usleep(50000);
	process_tell(&p, MSG_DRAIN, 5000, "");
	ck_assert_int_eq(process_end(&p), 0);
	ck_assert(says("select count(*) filter (where state = 'done') || ' ' ||"
		       " (select count(*) from chimp.job_ready) || ' ' ||"
		       " (select count(*) from chimp.job_claim) || ' ' ||"
		       " (select count(*) from chimp.process)"
		       " from chimp.jobs",
	    "1 1 0 0"));
}
END_TEST

START_TEST(test_stop_is_never_later_than_its_deadline_and_a_second)
{
	struct process p;
	int64_t since_ms;

	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 60}')");
	await("select count(*) from chimp.job_claim", "1");
	since_ms = clock_mono_ms();
	process_tell(&p, MSG_DRAIN, 300, "");
	ck_assert_int_eq(process_end(&p), 0);
	ck_assert_int_lt(clock_mono_ms() - since_ms, 1300);
	ck_assert(says("select attempt || ' ' || interruptions from"
		       " chimp.jobs",
	    "0 1"));
	await("select count(*) from pg_stat_activity where query like"
	      " '%\"slow\"%' and state = 'active' and pid <> pg_backend_pid()",
	    "0");
}
END_TEST

START_TEST(test_master_death_ends_it_within_seconds)
{
	struct process p;
	int64_t since_ms;

	process_born(&p);
	run("select chimp.enqueue('slow', '{\"s\": 60}')");
	await("select count(*) from chimp.job_claim", "1");
	since_ms = clock_mono_ms();
	shutdown(p.fd, SHUT_RDWR);
	ck_assert_int_eq(process_end(&p), 0);
	ck_assert_int_lt(clock_mono_ms() - since_ms, 2000);
	ck_assert(says("select count(*) from chimp.job_ready", "1"));
}
END_TEST

START_TEST(test_signal_drains_and_others_do_nothing)
{
	struct process p;

	process_born(&p);
	kill(p.pid, SIGHUP);
	kill(p.pid, SIGUSR1);
	kill(p.pid, SIGPIPE);
	run("select chimp.enqueue('ok')");
	await(DONE, "1");
	kill(p.pid, SIGTERM);
	ck_assert_int_eq(process_end(&p), 0);
	ck_assert(says("select count(*) from chimp.process", "0"));
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("worker");
	TCase *tc = tcase_create("worker");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_runs_a_job_and_says_what_it_does);
	tcase_add_test(tc, test_wakes_at_once_when_idle);
	tcase_add_test(tc, test_scheduled_job_runs_when_due);
	tcase_add_test(tc, test_failure_is_charged_and_ends_dead);
	tcase_add_test(tc, test_serialization_failure_is_rerun_uncharged);
	tcase_add_test(tc, test_timeout_is_charged);
	tcase_add_test(tc, test_many_jobs_each_once);
	tcase_add_test(tc, test_slow_job_does_not_delay_those_claimed_with_it);
	tcase_add_test(tc, test_claimed_ahead_is_given_back_when_all_are_slow);
	tcase_add_test(tc, test_killed_process_is_rescued_by_its_successor);
	tcase_add_test(tc, test_killed_process_is_rescued_by_its_sibling);
	tcase_add_test(tc, test_lost_runner_gives_the_job_back);
	tcase_add_test(
	    tc, test_evicted_process_drops_its_work_and_registers_anew);
	tcase_add_test(tc, test_outage_is_waited_for);
	tcase_add_test(tc, test_born_in_an_outage_is_ready_all_the_same);
	tcase_add_test(
	    tc, test_drain_finishes_what_runs_and_gives_back_the_rest);
	tcase_add_test(
	    tc, test_stop_is_never_later_than_its_deadline_and_a_second);
	tcase_add_test(tc, test_master_death_ends_it_within_seconds);
	tcase_add_test(tc, test_signal_drains_and_others_do_nothing);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	log_init(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	role_process_init(schema);
	/* In this process: the server is stopped and started by a test. */
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	role_process_done();
	return failed == 0 ? 0 : 1;
}
