"""Runs of workflows and what comes at the same moment, or too late (G29, G31, G32).

No chimpd runs here: the test does what its workers do, one job at a time.
"""

import json
import threading
import time
import uuid

import psycopg2
import pytest

from harness.bank import OPEN
from harness.cluster import rows
from harness.wait import until

POLICY = {"version": 1, "max_attempts": 3, "retry_delay_ms": 3600000, "retry_delay_max_ms": 3600000,
          "backoff": "constant", "timeout_ms": 0, "concurrency": 0, "group": 32, "retention_ms": 86400000,
          "max_transitions": 100}
SCHEMA = """
create schema t;
create function t.fails(input jsonb) returns jsonb language plpgsql as $$ begin raise exception 'always'; end $$;
create function t.twice(input jsonb) returns jsonb language plpgsql as $$
begin
    if (chimp.job() ->> 'attempt')::int = 1 then
        raise exception 'once';
    end if;
    return null;
end $$;
create function t.waits(i jsonb) returns jsonb language plpgsql as $$
begin
    if i -> 'signal' <> 'null' then
        return '{"directive": "complete"}';
    elsif i -> 'timedOut' = 'true' then
        raise exception 'too late';
    end if;
    return '{"directive": "waitForSignal", "signal": "go", "timeoutMs": 1}';
end $$;
"""
SIGNAL = {"steps": [{"name": "wait", "kind": "signal", "signal": "go"}]}
FAILS = {"steps": [{"name": "try", "kind": "action", "action": "fails"}]}
TWICE = {"steps": [{"name": "try", "kind": "action", "action": "twice", "timeout_ms": 5000}]}
NAPS = {"steps": [{"name": "wait", "kind": "signal", "signal": "go", "timeout_ms": 1000},
                  {"name": "nap", "kind": "sleep", "sleep_ms": 3600000}]}
WAITS = {"sql": "t.waits", "steps": []}


class Node:
    """A process that is registered, and works when it is told to."""

    def __init__(self, database):
        self.connection = database.connect()
        self.id = str(uuid.uuid4())
        self.process = str(uuid.uuid4())
        rows(self.connection, "select chimp.process_start(%s, %s, %s, 'worker', null, 0, 1, '0', '{*}', 3600000)",
             self.process, self.id, self.id)

    def register(self, *workflows):
        rows(self.connection, "select chimp.register_apps(%s, %s, %s)", self.id, self.id, json.dumps({
            "event_retention_ms": 604800000,
            "apps": [{"name": "t", "actions": [{"name": f, "sql": f"t.{f}"} for f in ("fails", "twice")],
                      "workflows": [{"name": "w", **POLICY, **w} for w in workflows]}]}))

    def claim(self):
        """[(job, token, handler)] of a job that is ready, if there is one."""
        return rows(self.connection, """
            select c.jobs[1], c.token, c.handler
            from chimp.claim(%s, array(select id from chimp.queue), 1) c""", self.process)

    def work(self):
        """Until nothing is ready; how many jobs it has run."""
        n = 0
        for [claim] in iter(self.claim, []):
            self.attempt(*claim)
            n += 1
        return n

    def attempt(self, job, token, handler):
        try:
            rows(self.connection, f"select chimp.job_done(%s, %s, {handler}(chimp.job_begin(%s, %s)))",
                 job, token, job, token)
        except psycopg2.Error as e:
            rows(self.connection, "select chimp.job_fail(%s, %s, %s, %s, %s, null, null)",
                 job, token, e.pgcode, str(e), e.diag.message_detail)


@pytest.fixture
def node(database):
    database.rows(SCHEMA)
    return Node(database)


def status(database):
    return database.value("select status from chimp.workflow_run")


def start(database, node, workflow):
    node.register(workflow)
    database.rows("select chimp.workflow_start('w', '{}', 'r')")
    node.work()


def test_g29_a_signal_said_again_is_known_when_its_run_has_ended(database, node):
    start(database, node, SIGNAL)
    send = "select chimp.workflow_signal('r', 'go', '1', %s)"
    assert database.value(send, "d") is True
    node.work()
    assert status(database) == "completed"
    # Its answer may have been lost: the sender must not be told that it came too late.
    assert database.value(send, "d") is False
    assert database.value("select chimp.workflow_signal_with_start('w', '{}', 'r', 'go', '1', 'd')") is False
    for another in ("another", None):
        with pytest.raises(psycopg2.Error, match="has ended"):
            database.rows(send, another)


def nobody_serves(database, node):
    """A run of a version that no node has, and whose job is still to come; its handler's call."""
    node.register(FAILS)
    database.rows("select chimp.workflow_start('w', '{}', 'r')")
    node.register()
    assert database.value("select active from chimp.workflow_definition") is False
    return database.value("select format('select %s(%L)', q.handler, j.payload) from chimp.job j"
                          " join chimp.queue q on q.id = j.queue_id")


def in_transaction(database):
    connection = database.connect()
    connection.autocommit = False
    return connection


def blocked_or_over(database, thread):
    until(lambda: not thread.is_alive() or database.value(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"), "it waits or is through")


def test_g31_a_version_that_returns_while_a_run_is_being_parked(database, node):
    call = nobody_serves(database, node)
    worker = in_transaction(database)
    rows(worker, call)
    thread = threading.Thread(target=node.register, args=(FAILS,))
    thread.start()
    blocked_or_over(database, thread)
    worker.commit()
    thread.join()
    assert status(database) == "running"


def test_g31_a_run_that_is_to_be_parked_while_its_version_returns(database, node):
    call = nobody_serves(database, node)
    node.connection.autocommit = False
    node.register(FAILS)
    said = []

    def work():
        try:
            rows(database.connect(), call)
        except psycopg2.Error as e:
            said.append(e.pgcode)

    thread = threading.Thread(target=work)
    thread.start()
    blocked_or_over(database, thread)
    node.connection.commit()
    thread.join()
    assert status(database) == "running"
    assert said == ["CH005"], "its job looks again, with what the node has brought"


def left(database):
    return {table: n for table in ("attempt", "error", "ready", "scheduled", "claim") for n in [database.value(
        f"select count(*) from chimp.job_{table}")] if n}


def test_g30_of_a_time_out_that_could_not_be_handled_nothing_is_left(database, node):
    start(database, node, WAITS)
    until(lambda: not node.work() and left(database) == {"attempt": 1, "error": 1, "scheduled": 1}, "it has failed once")
    database.rows("select chimp.workflow_signal('r', 'go')")
    node.work()
    assert status(database) == "completed"
    assert left(database) == {}


def test_g32_a_cancel_leaves_no_job_that_was_to_be_tried_again(database, node):
    start(database, node, FAILS)
    assert left(database) == {"attempt": 1, "error": 1, "scheduled": 1}
    database.rows("select chimp.workflow_cancel('r')")
    node.work()
    assert status(database) == "cancelled"
    assert database.value(OPEN) == 0


def first_job(database):
    return database.value("select r.job_id from chimp.workflow_run r join chimp.job j on j.id = r.job_id")


def test_g32_the_history_has_the_attempts_of_the_first_step_as_well(database, node):
    start(database, node, {"steps": [{**TWICE["steps"][0], "retry_delay_ms": 1}]})
    job = database.value("select min(id) from chimp.job")
    until(lambda: not node.work() and status(database) == "completed", "it is tried again")
    assert database.rows("select what, job_id, attempts from chimp.workflow_history order by seq") \
        == [("action", job, 2), ("completed", None, 1)]


def test_g31_a_run_that_was_parked_has_one_job_with_the_time_out_of_its_step(database, node):
    start(database, node, TWICE)
    job = first_job(database)
    node.register()
    database.rows("select chimp.workflow_cancel('r')")
    node.work()
    assert status(database) == "parked"
    node.register(TWICE)
    assert first_job(database) not in (job, None)
    assert database.rows("select id, timeout_ms from chimp.job where payload ->> 'seq' = '0'") \
        == [(first_job(database), 5000)]
    node.work()
    assert status(database) == "cancelled"
    assert database.value(OPEN) == 0


def test_a_signal_to_a_run_that_is_at_work_for_long_is_looked_at_now_and_then(database, node, record_property):
    start(database, node, SIGNAL)
    at_work = in_transaction(database)
    rows(at_work, "select from chimp.workflow_run for update")
    database.rows("select chimp.workflow_signal('r', 'go')")
    over = time.monotonic() + 4
    looks = 0
    while time.monotonic() < over:
        looks += node.work()
        time.sleep(0.01)
    record_property("figure", f"a signal to a run that is at work for 4 s: its job looks {looks} times")
    # Every 20 ms would be more than a hundred.
    assert 5 < looks < 40
    at_work.rollback()
    until(lambda: node.work() and status(database) == "completed", "it is consumed", timeout=3)


def test_g30_a_wake_that_was_claimed_as_the_signal_came_does_nothing(database, node):
    start(database, node, NAPS)
    assert status(database) == "waiting_signal"
    [wake] = until(node.claim, "its time-out is due")
    database.rows("select chimp.workflow_signal('r', 'go')")
    node.work()
    node.attempt(*wake)
    assert status(database) == "sleeping"
    assert database.rows("select what from chimp.workflow_history") == [("signal",)]
