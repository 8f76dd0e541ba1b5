"""G7: a job that takes its process with it is found, and put away."""

import json
import os
import signal

import pytest

from harness.wait import until

SCHEMA = """
create schema t;
create sequence t.poison;
create table t.wrote (job bigint);
create function t.run(input jsonb) returns jsonb language plpgsql as $$
begin
    insert into t.wrote values ((chimp.job() ->> 'id')::bigint);
    if input ? 'poison' then
        perform nextval('t.poison');
        perform pg_sleep(60);
    end if;
    perform pg_sleep(coalesce((input ->> 'sleep')::float, 0));
    return null;
end $$;
"""
QUEUES = 'queue "q" { sql = "t.run" } queue "q.dlq" { sql = "t.run" }'
WORKER = "worker default { processes = 1  concurrency = 4 }"


@pytest.fixture
def node(start, app):
    return start(app(QUEUES, SCHEMA), processes=0, cron=0, subscriber=0, workers=WORKER,
                 top='watchdog = "2s"')


def enqueue(database, **payload):
    return database.value("select chimp.enqueue('q', %s)", json.dumps(payload))


def poison_runs(database, times):
    """Wait until the poisonous handler has begun for so many times."""
    until(lambda: database.value("select last_value from t.poison where is_called") == times,
          f"the handler begins, time {times}", timeout=60)


def running(database):
    return {row[0] for row in database.rows("select id from chimp.jobs where state = 'running'")}


@pytest.mark.parametrize("number, words", [
    (signal.SIGSEGV, "signal 11"),
    (signal.SIGABRT, "signal 6"),
    (signal.SIGSTOP, "no heartbeat for"),
], ids=["segv", "abrt", "hang"])
def test_g07_the_third_death_makes_it_poison_and_the_others_run(node, database, number, words):
    others = [enqueue(database, sleep=0.2) for _ in range(3)]
    first = enqueue(database, sleep=5)
    poison = enqueue(database, poison=True)
    others += [enqueue(database, sleep=0.2), first]
    for time in 1, 2, 3:
        poison_runs(database, time)
        if time > 1:
            # Whatever else is ready or suspected.
            assert running(database) == {poison}
        node.kill("worker/default/0", number)
    state, attempt, error = until(
        lambda: database.rows("select state, attempt, error from chimp.jobs where id = %s"
                              " and state = 'dead'", poison), "it is dead", timeout=60)[0]
    assert (state, attempt, error["kind"]) == ("dead", 0, "poison")
    assert words in error["detail"] and "MiB" in error["detail"]
    assert "it last said: " in error["detail"]
    until(lambda: database.rows("select state, count(*) from chimp.jobs where id = any (%s)"
                                " group by 1", others) == [("done", len(others))],
          "the others are done", timeout=60)
    # None of them was charged, and each has worked once.
    assert database.rows("select distinct attempt from chimp.jobs where id = any (%s)",
                         others) == [(1,)]
    assert database.value("select count(*) from t.wrote where job = any (%s)",
                          others) == len(others)
    assert database.value("select count(*) from t.wrote where job = %s", poison) == 0
    letter = database.value("select payload from chimp.jobs where queue = 'q.dlq'")
    assert letter["payload"] == {"poison": True} and letter["queue"] == "q"
    # With new hope it has all its lives.
    assert database.value("select chimp.retry(%s)", poison) is True
    poison_runs(database, 4)
    assert database.value("select crashes from chimp.job_attempt where job_id = %s", poison) is None
    assert database.value("select chimp.cancel(%s)", poison) is True


def test_g07_kill_from_outside_is_nobody_s_fault(node, database):
    job = enqueue(database, poison=True)
    for time in range(1, 5):
        poison_runs(database, time)
        node.kill("worker/default/0")
    poison_runs(database, 5)
    assert database.rows("select state, attempt, interruptions from chimp.jobs where id = %s",
                         job) == [("running", 1, 4)]
    assert database.value("select crashes from chimp.job_attempt where job_id = %s", job) == 0
    assert database.value("select chimp.cancel(%s)", job) is True


def test_g07_a_process_that_holds_nothing_takes_suspects_while_their_place_waits(
        start, app, database):
    node = start(app(QUEUES, SCHEMA), processes=0, cron=0, subscriber=0,
                 workers="worker default { processes = 2  concurrency = 4 }")
    job = enqueue(database, poison=True)
    for time in 1, 2, 3:
        poison_runs(database, time)
        (pid,) = [row[0] for row in database.rows(
            "select p.pid from chimp.jobs j join chimp.processes p on p.id = j.process_id"
            " where j.id = %s", job)]
        os.kill(pid, signal.SIGSEGV)
    until(lambda: database.value("select error ->> 'kind' from chimp.jobs where id = %s",
                                 job) == "poison", "it is dead")
    until(lambda: len(node.children("worker")) == 2, "both places are filled again")


# --- in SQL alone ----------------------------------------------------------------

NODE = "11111111-1111-1111-1111-111111111111"
ONE = "22222222-2222-2222-2222-222222222222"
TWO = "33333333-3333-3333-3333-333333333333"


@pytest.fixture
def queue(database):
    """A database with two processes and a queue, and the queue's id."""
    database.rows(SCHEMA)
    database.rows("select chimp.register_apps(%s, 'n', %s)", NODE, json.dumps(
        {"apps": [{"name": "a", "queues": [{
            "name": "q", "sql": "t.run", "timeout_ms": 0, "dead_letter": "", "priority": 0,
            "max_attempts": 5, "retry_delay_ms": 1000, "retry_delay_max_ms": 1000,
            "backoff": "constant"}]}]}))
    for process in ONE, TWO:
        born(database, process)
    return database, database.value("select id from chimp.queue where name = 'q'")


def born(database, process):
    database.rows("select chimp.process_start(%s, %s, 'n', 'worker', 'default', 0, 1, '0', '{*}',"
                  " 60000)", process, NODE)


def claim(database, queue, n=10):
    """{job: token}"""
    return {jobs[0]: token for token, jobs in database.rows(
        "select token, jobs from chimp.claim(%s, array[%s], %s)", ONE, queue, n)}


def suspect(database, queue, process=TWO):
    found = database.rows("select jobs[1] from chimp.claim_suspect(%s, array[%s])", process, queue)
    return found[0][0] if found else None


def states(database):
    return dict(database.rows("select id, state from chimp.jobs order by id"))


def test_g07_only_what_was_started_is_suspected(queue):
    database, queue = queue
    jobs = [enqueue(database) for _ in range(4)]
    held = claim(database, queue)
    started = [held[jobs[0]], held[jobs[1]]]
    assert database.value("select chimp.process_crashed(%s, %s, 'how')", ONE, started) == 4
    assert set(states(database).values()) == {"ready"}
    # Again, as whoever else was asked to: nothing is charged twice.
    assert database.value("select chimp.process_crashed(%s, %s, 'how')", ONE, started) == 0
    assert database.rows("select job_id, crashes, interruptions from chimp.job_attempt"
                         " order by 1") == [
        (jobs[0], 1, 1), (jobs[1], 1, 1), (jobs[2], 0, 1), (jobs[3], 0, 1)]
    assert database.value("select error ->> 'kind' from chimp.jobs where id = %s",
                          jobs[0]) == "crash"
    # What nobody suspects is claimed as ever, the suspects one by one.
    born(database, ONE)
    assert set(claim(database, queue)) == {jobs[2], jobs[3]}
    assert [suspect(database, queue) for _ in range(3)] == [jobs[0], jobs[1], None]
    assert set(states(database).values()) == {"running"}


def test_g07_what_runs_beside_others_is_never_convicted(queue):
    database, queue = queue
    jobs = [enqueue(database) for _ in range(2)]
    for _ in range(5):
        born(database, ONE)
        for _ in jobs:
            suspect(database, queue, ONE)
        claim(database, queue)
        assert database.value("select chimp.process_crashed(%s, null, 'how')", ONE) == 2
        assert set(states(database).values()) == {"ready"}
    born(database, ONE)
    assert suspect(database, queue, ONE) == jobs[0]
    database.rows("select chimp.process_crashed(%s, null, 'how')", ONE)
    assert states(database) == {jobs[0]: "dead", jobs[1]: "ready"}


def test_g07_suspects_can_be_cancelled_drained_and_paused_and_keep_to_limits(queue):
    database, queue = queue
    jobs = [enqueue(database) for _ in range(4)]
    claim(database, queue)
    database.rows("select chimp.process_crashed(%s, null, 'how')", ONE)
    assert database.value("select ready from chimp.queues where name = 'q'") == 4
    assert database.value("select chimp.cancel(%s)", jobs[0]) is True
    database.rows("select chimp.pause('q')")
    assert suspect(database, queue) is None
    database.rows("select chimp.resume('q')")
    database.rows("update chimp.queue set concurrency = 1 where id = %s", queue)
    assert suspect(database, queue) == jobs[1]
    assert suspect(database, queue) is None
    assert database.value("select chimp.drain('q')") == 2
    assert list(states(database).values()) == ["cancelled", "running", "cancelled", "cancelled"]
    with pytest.raises(Exception, match="not registered"):
        suspect(database, queue, ONE)
