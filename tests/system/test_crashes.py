"""kill -9 of any child, under load: it is replaced, and nothing is lost."""

import os
import signal
import time

import pytest

from harness import procs
from harness.load import Load, nothing_was_lost
from harness.wait import Stopwatch, until

ROLES = ["http/0", "worker/default/0", "cron/0", "subscriber/0"]


@pytest.mark.parametrize("name", ROLES)
def test_a_killed_child_is_replaced_and_nothing_is_lost(start, orders_conf, database, name):
    daemon = start(orders_conf)
    others = {n: p for n, p in daemon.children().items() if n != name}
    with Load(daemon.http) as load:
        for _ in range(3):
            time.sleep(0.4)
            daemon.wait_replaced(name, daemon.kill(name))
            until(lambda: daemon.http.get("/ready").status == 200, "the node is ready again")
        time.sleep(0.4)
    nothing_was_lost(database, load)
    # The other children were left alone.
    assert {n: daemon.children()[n] for n in others} == others


def test_all_children_killed_at_once_come_back(start, orders_conf, database):
    daemon = start(orders_conf, processes=2)
    with Load(daemon.http) as load:
        time.sleep(0.5)
        killed = daemon.children()
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in killed.items():
            daemon.wait_replaced(name, pid)
        time.sleep(1)
    nothing_was_lost(database, load)


SCHEMA = """
create schema t;
create table t.ran (job bigint);
create function t.slow(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input ->> 'sleep')::float);
	insert into t.ran values ((chimp.job() ->> 'id')::bigint);
	return null;
end $$;
"""


def test_g05_jobs_of_a_killed_worker_start_elsewhere(start, app, database, figure):
    """Its claims are released at once, not when their lease has run out."""
    daemon = start(app('queue "q" { sql = "t.slow" }', SCHEMA), cron=0, subscriber=0,
                   workers="worker default { processes = 2  concurrency = 2 }")
    job = database.value("select chimp.enqueue('q', '{\"sleep\": 1}')")
    pid = until(lambda: database.value(
        "select p.pid from chimp.jobs j join chimp.process p on p.id = j.process_id"
        " where j.id = %s and j.state = 'running'", job), "the job is claimed")
    time.sleep(0.2)
    died_at = database.value("select clock_timestamp()")
    os.kill(pid, signal.SIGKILL)
    until(lambda: database.value("select ended_at from chimp.jobs where id = %s", job),
          "the job is done")
    attempt, again_at, interruptions = database.rows(
        "select attempt, started_at, interruptions from chimp.jobs where id = %s", job)[0]
    assert attempt == 1
    assert interruptions == 1
    assert again_at > died_at
    assert database.value("select count(*) from t.ran") == 1
    figure("death of a worker to the restart of its job",
           (again_at - died_at).total_seconds() * 1000, "ms", 200)


def test_g06_interruptions_are_not_charged(start, app, database):
    daemon = start(app('queue "q" { sql = "t.slow"  max_attempts = 1 }', SCHEMA),
                   cron=0, subscriber=0)
    # Longer than a rescue takes: what a dead client has sent may still end well.
    job = database.value("select chimp.enqueue('q', '{\"sleep\": 3}')")
    for n in (1, 2):
        until(lambda: database.value(
            "select interruptions from chimp.jobs where id = %s and state = 'running'", job) == n - 1,
            "the job runs")
        daemon.wait_replaced("worker/default/0", daemon.kill("worker/default/0"))
    until(lambda: database.value("select ended_at from chimp.jobs where id = %s", job),
          "the job is done")
    assert database.rows("select state, attempt, interruptions from chimp.jobs"
                         " where id = %s", job) == [("done", 1, 2)]


def test_g35_a_child_that_keeps_dying_is_restarted_with_growing_delays(start, orders_conf):
    daemon = start(orders_conf)
    others = {n: p for n, p in daemon.children().items() if n != "cron/0"}
    delays = []
    for _ in range(4):
        pid = daemon.kill("cron/0")
        begun = time.monotonic()
        daemon.wait_replaced("cron/0", pid)
        delays.append(time.monotonic() - begun)
    assert delays[0] < 0.1 * 10
    assert delays[3] > delays[0] and delays[3] >= 0.2
    assert {n: daemon.children()[n] for n in others} == others


def test_g36_children_end_when_the_master_dies(start, orders_conf, figure):
    daemon = start(orders_conf, processes=2)
    children = list(daemon.children().values())
    assert len(children) == 5
    daemon.expected_status = -signal.SIGKILL
    begun = time.monotonic()
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(5)
    until(lambda: not any(procs.alive(pid) for pid in children), "the children end")
    figure("death of the master to the end of its children",
           (time.monotonic() - begun) * 1000, "ms", 1000)
    procs.reap()


def test_g05_the_dead_are_rescued_though_their_rescuer_dies(start, app, database, figure):
    """It is asked until somebody says that it is done."""
    node = start(app('queue "q" { sql = "t.nap" }', """
        create schema t;
        create function t.nap(input jsonb) returns jsonb language sql as $$
            select '{}'::jsonb from pg_sleep(600)
        $$;"""), workers="worker default { processes = 2  concurrency = 1  lease = \"60s\" }",
        cron=0, subscriber=0, stop_timeout="100ms")
    job = database.value("select chimp.enqueue('q')")
    owner = lambda: database.value(
        "select 'worker/' || p.class || '/' || p.slot || ' ' || p.pid from chimp.jobs j "
        "join chimp.process p on p.id = j.process_id where j.id = %s and j.state = 'running'", job)
    name, pid = until(owner, "the job runs").split()
    for other in set(node.children()) - {name}:
        os.kill(node.child(other), signal.SIGSTOP)
    with Stopwatch() as watch:
        node.kill(name)
        until(lambda: owner() not in (None, f"{name} {pid}"), "it runs elsewhere", 20)
    figure("death of a worker to the restart of its job, all others stopped", watch.ms, "ms", 200)
    for stopped in procs.children(node.pid):
        os.kill(stopped, signal.SIGCONT)


def test_a_hung_child_is_killed_and_replaced(start, orders_conf):
    daemon = start(orders_conf, top='watchdog = "1s"')
    time.sleep(3)
    assert "hangs" not in daemon.text(), "those that beat are left alone"
    pid = daemon.kill("worker/default/0", signal.SIGSTOP)
    daemon.wait_replaced("worker/default/0", pid, timeout=20)
