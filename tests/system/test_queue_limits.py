"""What bounds a queue: concurrency, rate, keys, room, and how long ended jobs stay."""

import time

import psycopg2
import pytest

from harness.wait import until

SCHEMA = """
create schema t;
create table t.ran (job bigint, queue text, begun timestamptz, ended timestamptz, key text);
create function t.run(input jsonb) returns jsonb language plpgsql as $$
declare
    -- When the database gave it to its handler (chimp.job_begin).
    begun timestamptz := to_timestamp(split_part(current_setting('chimp.job'), ' ', 3)::bigint / 1000000.0);
begin
    perform pg_sleep((input ->> 'sleep')::float);
    insert into t.ran values ((chimp.job() ->> 'id')::bigint, chimp.job() ->> 'queue', begun,
        clock_timestamp(), input ->> 'key');
    return input;
end $$;
"""

# The most that ran at any instant: at each start, those that had begun and not ended.
AT_ONCE = """
select max(n) from (
    select (select count(*) from t.ran b where b.begun <= a.begun and b.ended > a.begun
        and b.queue = a.queue {more}) as n from t.ran a where a.queue = %s) x
"""
WORKERS = "worker default { processes = 2  concurrency = 8 }"


@pytest.fixture
def run(start, app, database):
    """run(policies, ...) -> a node with queue "q"."""
    def make(policies, nodes=1, **conf):
        made = app(f'queue "q" {{ sql = "t.run"  {policies} }}', SCHEMA)
        return [start(made, name=f"n{n}", node=f"n{n}", cron=0, subscriber=0,
                      **{"workers": WORKERS, **conf}) for n in range(nodes)]
    return make


def enqueue(database, n, payload='{"sleep": 0}', **more):
    names = "".join(f", {name} => %s" for name in more)
    return [id for id, in database.rows(
        f"select chimp.enqueue('q', %s{names}) from generate_series(1, %s)",
        payload, *more.values(), n)]


def all_done(database, n, timeout=30):
    until(lambda: database.value("select count(*) from t.ran") == n, f"{n} jobs have run", timeout)


def test_g13_concurrency_holds_over_nodes(run, database):
    run("concurrency = 3", nodes=2, workers="worker default { processes = 2  concurrency = 4 }")
    enqueue(database, 60, '{"sleep": 0.03}')
    all_done(database, 60)
    assert database.value(AT_ONCE.format(more=""), "q") == 3


def test_g13_permits_of_a_killed_process_are_free_at_once(run, database, figure):
    [node] = run("concurrency = 2", top='restart_delay_max = "200ms"')
    enqueue(database, 2, '{"sleep": 30}')
    until(lambda: database.value(
        "select count(*) from chimp.jobs where state = 'running'") == 2, "both run")
    enqueue(database, 1, '{"sleep": 0}', priority=9)
    time.sleep(0.3)
    assert database.value("select count(*) from t.ran") == 0
    # Whoever has them; both, if need be.
    killed_at = database.value("select clock_timestamp()")
    for name in ("worker/default/0", "worker/default/1"):
        node.kill(name)
    all_done(database, 1)
    took = database.value("select begun - %s from t.ran", killed_at).total_seconds()
    figure("kill -9 to the next use of its permits", took * 1000, "ms", 1000)


def test_g13_rate_holds_in_every_window(run, database):
    run('rate = "10/1s"')
    enqueue(database, 35, '{"sleep": 0}')
    all_done(database, 35, 60)
    most = database.value("""
        select max(n) from (select (select count(*) from t.ran b
            where b.begun >= a.begun and b.begun < a.begun + interval '1 s') as n from t.ran a) x""")
    assert most == 10
    took = database.value("select max(begun) - min(begun) from t.ran").total_seconds()
    assert 3 <= took < 30


def test_g12_key_concurrency(run, database):
    run("key_concurrency = 2")
    for key in ("a", "b"):
        database.rows("select chimp.enqueue('q', jsonb_build_object('sleep', 0.05, 'key', %s),"
                      " ordering_key => %s) from generate_series(1, 10)", key, key)
    all_done(database, 20)
    assert database.value(AT_ONCE.format(more="and b.key = a.key"), "q") == 2
    for table in ("key", "held"):
        assert database.value(f"select count(*) from chimp.job_{table}") == 0


def test_a_full_queue_refuses_with_an_error_of_its_own(run, database):
    run("max_ready = 5")
    database.rows("select chimp.pause('q')")
    enqueue(database, 5)
    for call in ("select chimp.enqueue('q')", "select chimp.enqueue_many('q', array['{}'::jsonb])"):
        with pytest.raises(psycopg2.Error) as raised:
            database.rows(call)
        assert raised.value.pgcode == "CH004"
        assert "is full: 5 jobs are ready" in str(raised.value)
    database.rows("select chimp.resume('q')")
    all_done(database, 5)
    until(lambda: enqueue(database, 1), "there is room")


def test_unique_for_outlives_the_job(run, database):
    run('unique_for = "2s"')
    first, = enqueue(database, 1, unique_key="k")
    all_done(database, 1)
    assert enqueue(database, 1, unique_key="k") == [first]
    with pytest.raises(psycopg2.Error) as raised:
        enqueue(database, 1, '{"sleep": 0.01}', unique_key="k")
    assert raised.value.pgcode == "CH003"
    again = until(lambda: [id for id in enqueue(database, 1, unique_key="k") if id != first],
                  "the key is free")
    all_done(database, 2)
    assert again != [first]


def test_ended_jobs_go_when_their_retention_is_over(run, database):
    run('retention = "1s"  retention_dead = "1h"  max_attempts = 1')
    done = enqueue(database, 50, '{"sleep": 0}')
    dead = enqueue(database, 2, '{"sleep": "no number"}')
    all_done(database, 50)
    until(lambda: database.rows("select id from chimp.jobs order by 1") == [(id,) for id in dead],
          "the others are gone", timeout=20)
    assert database.rows("select done, dead from chimp.queues") == [(0, 2)]
    for table in ("job_done", "job_ready", "job_claim"):
        assert database.value(f"select count(*) from chimp.{table}") == 0
    assert database.value("select count(*) from chimp.job") == 2
    assert done


def test_counts_need_no_scan_and_are_right(run, database):
    run("")
    database.rows("select chimp.pause('q')")
    database.rows("select count(*) from chimp.enqueue_many('q', array(select '{}'::jsonb"
                  " from generate_series(1, 3000)))")
    until(lambda: database.rows("select ready, done from chimp.queues") == [(3000, 0)],
          "they are counted", timeout=20)
    database.rows("select chimp.resume('q')")
    all_done(database, 3000, 60)
    until(lambda: database.rows("select ready, running, done from chimp.queues")
          == [(0, 0, 3000)], "they are counted")


@pytest.mark.parametrize("more", [
    {"delay": "-1 s"}, {"max_attempts": 0}, {"timeout": "0 s"}, {"run_at": "infinity"}])
def test_nonsense_is_refused(run, database, more):
    run("")
    with pytest.raises(psycopg2.Error) as raised:
        enqueue(database, 1, **more)
    assert raised.value.pgcode == "22023"


def test_a_far_future_is_accepted(run, database):
    run("")
    job, = enqueue(database, 1, run_at="9999-12-31T23:59:59Z")
    time.sleep(0.2)
    assert database.value("select state from chimp.jobs where id = %s", job) == "scheduled"
    assert database.value("select chimp.cancel(%s)", job) is True
