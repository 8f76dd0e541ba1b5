"""Queues and workers: G6, G8 to G12, and how soon a job starts."""

import statistics
import threading
import time

import pytest

from harness.cluster import rows
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.ran (n bigint generated always as identity, payload jsonb, job jsonb,
	at timestamptz not null default clock_timestamp());
create function t.run(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep(coalesce((input ->> 'sleep')::float, 0));
	insert into t.ran (payload, job) values (input, chimp.job());
	if (chimp.job() ->> 'attempt')::int <= (input ->> 'failures')::int then
		raise exception 'failure number %', chimp.job() ->> 'attempt' using detail = 'on purpose';
	end if;
	return input;
end $$;
-- PostgreSQL puts its body in the place of its call.
create function t.deaf(input jsonb) returns jsonb language sql as $$ select chimp.job() $$;
"""
QUEUES = """
  queue "q" { sql = "t.run"  max_attempts = 3  retry_delay = "100ms"  backoff = "constant" }
  queue "q.dlq" { sql = "t.run" }
  queue "deaf" { sql = "t.deaf" }
"""


@pytest.fixture
def jobs(start, app, database):
    start(app(QUEUES, SCHEMA), cron=0, subscriber=0)
    return database


def ended(database, job):
    """Wait for a job's end; its state, attempts and result."""
    [found] = until(lambda: database.rows(
        "select state, attempt, result from chimp.jobs where id = %s and ended_at is not null",
        job), f"job {job} ends")
    return found


def test_g10_a_job_is_run_only_after_its_enqueuer_commits(jobs):
    enqueuer = jobs.connect()
    enqueuer.autocommit = False
    [(job,)] = rows(enqueuer, "select chimp.enqueue('q', '{\"n\": 1}')")
    time.sleep(0.5)
    assert jobs.rows("select * from chimp.jobs where id = %s", job) == []
    assert jobs.rows("select * from t.ran") == []
    enqueuer.commit()
    assert ended(jobs, job) == ("done", 1, {"n": 1})


@pytest.mark.parametrize("late_s", [0.05, 1.0])
def test_a_job_that_commits_late_is_found_in_a_busy_queue(jobs, figure, late_s):
    """Its id is below those that were claimed meanwhile."""
    enqueuer, stop = jobs.connect(), threading.Event()
    enqueuer.autocommit = False

    def keep_busy(connection):
        while not stop.wait(0.02):
            rows(connection, "select chimp.enqueue('q', '{}') from generate_series(1, 5)")

    busy = threading.Thread(target=keep_busy, args=(jobs.connect(),))
    busy.start()
    try:
        for _ in range(5):
            [(job,)] = rows(enqueuer, "select chimp.enqueue('q', '{}')")
            time.sleep(late_s)
            [(at,)] = rows(enqueuer, "select clock_timestamp()")
            enqueuer.commit()
            took = until(lambda: jobs.rows(
                "select extract(epoch from at - %s) * 1000 from t.ran"
                " where (job ->> 'id')::bigint = %s", at, job), "it runs", interval=0.1)[0][0]
            figure(f"commit to start, {late_s:g} s after larger ids", float(took), "ms", 200)
    finally:
        stop.set()
        busy.join()


def test_a_claim_that_was_held_up_puts_off_no_look_at_all_jobs(jobs, figure):
    """A process is stopped in the middle of one, or waits for a lock."""
    old = jobs.value("select chimp.enqueue('q', '{}', delay => '1 hour')")
    holder = jobs.connect()
    for _ in range(2):                  # the ids that are looked at move on
        ended(jobs, jobs.value("select chimp.enqueue('q', '{}')"))
        time.sleep(0.3)
    holder.autocommit = False
    rows(holder, "select id from chimp.process where role = 'worker' for update")
    new = jobs.value("select chimp.enqueue('q', '{}')")
    time.sleep(2)
    assert jobs.rows("select 1 from t.ran where (job ->> 'id')::bigint = %s", new) == []
    holder.commit()
    ended(jobs, new)
    assert jobs.value("select chimp.retry(%s)", old)
    with Stopwatch() as watch:
        until(lambda: jobs.rows("select 1 from t.ran where (job ->> 'id')::bigint = %s", old),
              "the older job runs", timeout=50)
    figure("retry to start, behind a claim that took 2 s", watch.ms, "ms", 2000)


def test_g10_a_job_of_a_rolled_back_transaction_is_never_run(jobs):
    enqueuer = jobs.connect()
    enqueuer.autocommit = False
    [(lost,)] = rows(enqueuer, "select chimp.enqueue('q', '{}')")
    enqueuer.rollback()
    ended(jobs, jobs.value("select chimp.enqueue('q', '{}')"))
    assert jobs.value("select count(*) from t.ran") == 1
    assert jobs.rows("select * from chimp.jobs where id = %s", lost) == []


def test_job_knows_its_id_queue_and_attempt(jobs):
    job = jobs.value("select chimp.enqueue('q', '{}')")
    ended(jobs, job)
    known = jobs.value("select job from t.ran")
    assert (known["id"], known["queue"], known["attempt"]) == (job, "q", 1)
    assert known["token"] > 0


def test_a_handler_in_sql_need_not_look_at_its_input(jobs):
    for _ in range(3):
        job = jobs.value("select chimp.enqueue('deaf', '{}', timeout => '1 min')")
        state, _, result = ended(jobs, job)
        assert (state, result["id"]) == ("done", job)


def test_an_idle_worker_starts_a_job_within_10_ms(jobs, figure):
    waits = []
    for _ in range(30):
        time.sleep(0.1)
        job = jobs.value("select chimp.enqueue('q', '{}')")
        ended(jobs, job)
        waits.append(float(jobs.value(
            "select extract(epoch from started_at - created_at) * 1000"
            " from chimp.jobs where id = %s", job)))
    figure("enqueue to start of an idle worker, median of 30", statistics.median(waits), "ms", 10)


NOOP = """
create function t.noop(input jsonb) returns jsonb language plpgsql as $$ begin return null; end $$;
"""


def test_a_busy_queue_has_no_others_looked_at(start, app, database, record_property):
    database.cluster.admin(f"alter database {database.name} set track_functions = 'all'")
    queues = "".join(f'queue "q{n}" {{ sql = "t.noop" }}\n' for n in range(20))
    start(app(queues, SCHEMA + NOOP), cron=0, subscriber=0)
    database.rows("select chimp.pause('q7')")
    database.rows("select count(*) from"
                  " chimp.enqueue_many('q7', array_fill('{}'::jsonb, array[20000]))")
    time.sleep(3)  # until the workers know that there is nothing in any of them
    # What claims ask besides when a queue that they look at was empty before.
    asked = ("select coalesce(sum(calls), 0)::int from pg_stat_user_functions"
             " where schemaname = 'chimp' and funcname = 'next_due_ms'")
    before = database.value(asked)
    database.rows("select chimp.resume('q7')")
    until(lambda: database.value("select done from chimp.queues where name = 'q7'") == 20000,
          "the queue is drained", timeout=30)
    time.sleep(2)  # backends tell the statistics once a second
    looks = database.value(asked) - before
    record_property("figure", f"looks at 20 queues while 20,000 jobs of one run: {looks}")
    assert looks <= 40


def test_jobs_that_come_one_after_the_other_are_not_notified_of(start, app, database,
                                                                record_property):
    start(app('queue "q" { sql = "t.noop" }', SCHEMA + NOOP), cron=0, subscriber=0)
    done = "select done from chimp.queues where name = 'q'"
    # The first claims and runs of a connection take long.
    database.rows("select count(*) from"
                  " chimp.enqueue_many('q', array_fill('{}'::jsonb, array[500]))")
    until(lambda: database.value(done) == 500, "the workers are warm")
    time.sleep(1)  # and wait for a NOTIFY
    listener = database.connect()
    rows(listener, "listen chimp_work; select 1")
    database.rows("do $$ begin for i in 1..1000 loop"
                  " perform chimp.enqueue('q', '{}'); commit; end loop; end $$")
    until(lambda: database.value(done) == 1500, "all jobs are done")
    rows(listener, "select 1")
    record_property("figure", f"NOTIFY of 1,000 jobs, each committed: {len(listener.notifies)}")
    assert 1 <= len(listener.notifies) <= 700


def scans(plan, table):
    """How often a plan reads a table, all told."""
    return ((plan.get("Relation Name") == table) * plan["Actual Loops"]
            + sum(scans(part, table) for part in plan.get("Plans", ())))


def test_a_list_of_jobs_walks_over_the_claims_once(start, app, database):
    """For claims that have ended are still there while a transaction is held open."""
    start(app('queue "q" { sql = "t.noop" }', SCHEMA + NOOP), cron=0, subscriber=0)
    database.rows("select count(*) from"
                  " chimp.enqueue_many('q', array_fill('{}'::jsonb, array[2000]))")
    until(lambda: database.value("select done from chimp.queues where name = 'q'") == 2000,
          "all jobs are done")
    [top] = database.value("explain (analyze, format json) select * from chimp.jobs")
    assert top["Plan"]["Actual Rows"] == 2000
    assert scans(top["Plan"], "job_claim") == 1


def test_an_idle_worker_starts_a_delayed_job_when_it_is_due(jobs, figure):
    time.sleep(0.3)
    jobs.rows("select chimp.enqueue('q', '{}', delay => '700 ms')")
    job, due, created = jobs.rows("select id, run_at, created_at from chimp.jobs")[0]
    assert jobs.value("select state from chimp.jobs") == "scheduled"
    assert (due - created).total_seconds() > 0.6
    ended(jobs, job)
    ran_at = jobs.value("select at from t.ran")
    assert ran_at >= due
    figure("due to done of a delayed job", (ran_at - due).total_seconds() * 1000, "ms", 100)


def test_g08_a_failed_job_is_retried_after_its_delay(jobs):
    job = jobs.value("select chimp.enqueue('q', '{\"failures\": 2}')")
    assert ended(jobs, job)[:2] == ("done", 3)
    failures = jobs.rows("select attempt, failed_at, error from chimp.job_error order by attempt")
    assert [f[0] for f in failures] == [1, 2]
    assert failures[0][2]["message"] == "failure number 1"
    assert failures[0][2]["detail"] == "on purpose"
    assert failures[0][2]["sqlstate"] == "P0001"
    assert (failures[1][1] - failures[0][1]).total_seconds() >= 0.1
    # What the failed attempts wrote is gone.
    assert jobs.value("select count(*) from t.ran") == 1


def test_g09_a_dead_job_is_kept_and_its_letter_is_a_job(jobs):
    job = jobs.value("select chimp.enqueue('q', '{\"failures\": 9}')")
    assert ended(jobs, job)[:2] == ("dead", 3)
    assert jobs.value("select error ->> 'message' from chimp.jobs where id = %s",
                      job) == "failure number 3"
    until(lambda: jobs.value("select count(*) from t.ran") == 1, "the dead letter is handled")
    [(letter, letter_job)] = jobs.rows("select payload, job from t.ran")
    assert letter_job["queue"] == "q.dlq"
    assert set(letter) == {"attempts", "error", "failedAt", "payload", "queue"}
    assert (letter["attempts"], letter["queue"]) == (3, "q")
    assert letter["payload"] == {"failures": 9}
    assert letter["error"] == "failure number 3"
    assert letter["failedAt"].endswith("Z")


def test_g08_backoff_grows_and_is_capped(database):
    for attempt, bound in ((1, 1000), (2, 2000), (3, 4000), (10, 60000), (1000, 60000)):
        low, high = database.rows(
            "select min(d), max(d) from (select chimp.retry_delay_ms('exponential', 1000, 60000,"
            " %s) d from generate_series(1, 2000)) x", attempt)[0]
        assert 0 <= low < bound * 0.05 and bound * 0.95 < high <= bound
    assert [database.value("select chimp.retry_delay_ms('linear', 1000, 2500, %s)", n)
            for n in (1, 2, 3)] == [1000, 2000, 2500]


def test_g15_a_slow_job_delays_no_other(jobs):
    slow = jobs.value("select chimp.enqueue('q', '{\"sleep\": 2}')")
    fast = [jobs.value("select chimp.enqueue('q', '{}')") for _ in range(20)]
    for job in fast:
        ended(jobs, job)
    assert jobs.value("select state from chimp.jobs where id = %s", slow) == "running"
    assert ended(jobs, slow)[0] == "done"


def test_g15_a_failing_job_charges_no_other(jobs):
    bad = jobs.value("select chimp.enqueue('q', '{\"failures\": 9}', max_attempts => 1)")
    good = [j for j, in jobs.rows("select chimp.enqueue_many('q',"
                                  " array_fill('{}'::jsonb, array[50]))")]
    assert ended(jobs, bad)[:2] == ("dead", 1)
    for job in good:
        assert ended(jobs, job)[:2] == ("done", 1)


def test_g11_a_unique_key_gives_the_first_job_s_id(jobs):
    call = "select chimp.enqueue('q', %s, delay => '1 hour', unique_key => 'k')"
    first = jobs.value(call, '{"n": 1}')
    assert jobs.value(call, '{"n": 1}') == first
    with pytest.raises(Exception) as raised:
        jobs.value(call, '{"n": 2}')
    assert raised.value.pgcode == "CH003"
    assert jobs.value("select chimp.cancel(%s)", first) is True
    assert jobs.value(call, '{"n": 2}') != first


def test_g12_jobs_of_one_ordering_key_run_one_at_a_time_in_order(jobs):
    made = [jobs.value("select chimp.enqueue('q', jsonb_build_object('n', %s, 'sleep', 0.02,"
                       " 'failures', %s), ordering_key => %s)", n, int(n == 3), f"k{n % 2}")
            for n in range(20)]
    for job in made:
        assert ended(jobs, job)[0] == "done"
    for key in (0, 1):
        order = [n for n, in jobs.rows("select (payload ->> 'n')::int from t.ran"
                                       " where (payload ->> 'n')::int %% 2 = %s order by n", key)]
        assert order == list(range(key, 20, 2))


def test_g14_a_paused_queue_is_not_claimed_from(jobs):
    jobs.rows("select chimp.pause('q')")
    time.sleep(1)  # a claim may be under way that began before
    job = jobs.value("select chimp.enqueue('q', '{}')")
    time.sleep(0.7)
    assert jobs.value("select state from chimp.jobs where id = %s", job) == "ready"
    paused_by, paused_at = jobs.rows(
        "select paused_by, paused_at from chimp.queues where name = 'q'")[0]
    assert paused_by == "app" and paused_at is not None
    jobs.rows("select chimp.resume('q')")
    assert ended(jobs, job)[0] == "done"


def test_the_most_specific_pattern_serves_a_queue(start, app, database):
    classes = """
worker default { processes = 1  concurrency = 2  queues = { "*" } }
worker heavy { processes = 1  concurrency = 2  queues = { "video.*" } }
"""
    start(app('queue "video.encode" { sql = "t.run" }  queue "mail" { sql = "t.run" }', SCHEMA),
          workers=classes, cron=0, subscriber=0)
    made = {q: [database.value("select chimp.enqueue(%s, '{}')", q) for _ in range(10)]
            for q in ("video.encode", "mail")}
    for job in made["video.encode"] + made["mail"]:
        ended(database, job)
    served = dict(database.rows(
        "select j.queue, array_agg(distinct p.class) from chimp.jobs j"
        " join chimp.process p on p.id = j.process_id group by 1"))
    assert served == {"video.encode": ["heavy"], "mail": ["default"]}


def test_every_job_of_a_flood_is_run_once(jobs):
    jobs.rows("select chimp.enqueue_many('q', array(select to_jsonb(n)"
              " from generate_series(1, 2000) n))")
    until(lambda: jobs.value("select count(*) from t.ran") >= 2000, "2000 jobs are done",
          timeout=30)
    time.sleep(0.2)
    assert jobs.rows("select count(*), count(distinct payload) from t.ran") == [(2000, 2000)]
