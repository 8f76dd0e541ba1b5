"""A process that has no room for what is left tells the others."""

import signal
import time

import pytest

from harness.cluster import rows
from harness.wait import until

SCHEMA = """
create schema t;
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input ->> 'seconds')::float);
	return 'null';
end $$;
"""
APP = 'queue "q" { sql = "t.nap" }'


@pytest.fixture
def node(start, app, database):
    """One worker of four runners, which waits for a NOTIFY."""
    daemon = start(app(APP, SCHEMA), cron=0, subscriber=0, processes=0, stop_timeout="20s")
    time.sleep(0.5)
    return daemon


@pytest.fixture
def listener(database):
    made = database.connect()
    rows(made, "listen chimp_work; select 1")
    return made


def put(database, seconds, jobs):
    database.rows("select count(*) from chimp.enqueue_many('q',"
                  " array_fill(jsonb_build_object('seconds', %s), array[%s]))", seconds, jobs)


def told(listener):
    """How many NOTIFY have come since the last look."""
    rows(listener, "select 1")
    n = len(listener.notifies)
    listener.notifies.clear()
    return n


def is_full(database):
    until(lambda: database.value("select running from chimp.queues where name = 'q'") == 4,
          "four jobs run")


def test_the_others_are_told_when_a_process_is_full(node, listener, database, figure):
    start = time.monotonic()
    put(database, 8, 4)  # the last claim finds all that it asks for
    assert told(listener) == 1  # the enqueuer's
    until(lambda: told(listener) > 0, "the others are told", timeout=6)
    figure("four jobs that fill a process, to the NOTIFY for the others",
           (time.monotonic() - start) * 1000, "ms", 300)
    is_full(database)
    time.sleep(0.6)  # it has claimed the last of them since, and says so again
    told(listener)
    put(database, 8, 1)
    assert told(listener) == 1  # and enqueuers tell them of what comes then


def test_the_others_are_told_when_a_process_drains(node, listener, database, figure):
    put(database, 3, 1)
    put(database, 0.05, 200)  # a claim whenever one of them ends
    is_full(database)
    time.sleep(0.5)
    told(listener)
    node.send_signal(signal.SIGTERM)
    start = time.monotonic()
    until(lambda: told(listener) > 0, "the others are told", timeout=5)
    figure("a process that drains, to the NOTIFY for the others",
           (time.monotonic() - start) * 1000, "ms", 50)
    assert database.value("select count(*)::int from chimp.process where role = 'worker'") == 1
