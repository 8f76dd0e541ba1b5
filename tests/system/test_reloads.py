"""G34: reload after reload under load, and nobody notices."""

import threading
import time

import pytest

from harness import procs
from harness.http import free_port
from harness.settings import long_or_short
from harness.wait import until
from harness.wrk import Wrk

SCHEMA = """
create schema t;
create table t.ran (n bigint);
create table t.heard (n bigint);
create function t.work(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.ran values ((input ->> 'n')::bigint);
	perform pg_sleep(0.02);
	return null;
end $$;
create function t.hear(input jsonb) returns jsonb language sql as $$
	insert into t.heard values ((input -> 'payload' ->> 'n')::bigint);
	select null::jsonb
$$;
create function t.hello(input jsonb) returns jsonb language sql as $$
	select '{"hello": true}'::jsonb
$$;
create function t.feed(first bigint, size int) returns void language plpgsql as $$
declare
	n bigint;
begin
	for n in select generate_series(first, first + size - 1) loop
		perform chimp.enqueue('work', jsonb_build_object('n', n));
		perform chimp.publish('fed', jsonb_build_object('n', n));
	end loop;
end $$;
"""
APP = """
  queue "work" { sql = "t.work" }
  subscription "hear" { event = "fed"  sql = "t.hear"  lanes = 2 }
  action "hello" { sql = "t.hello"  readonly = true }
  route "GET /hello" { action = "hello" }
"""


class Feed(threading.Thread):
    """Jobs and events, a few at a time, until it is over."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection
        self.n = 0
        self.over = threading.Event()

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.over.wait(0.05):
                cursor.execute("select t.feed(%s, 4)", (self.n,))
                self.n += 4

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def reload(daemon, number):
    """HUP, and until no predecessor is left; how long that took."""
    before = set(daemon.children().values())
    begun = time.monotonic()
    daemon.send_signal(1)
    until(lambda: daemon.text().count(" reloaded") == number, f"reload {number}", timeout=30)
    until(lambda: not any(procs.alive(pid) for pid in before), "the old ones are gone", timeout=30)
    return time.monotonic() - begun


@pytest.mark.soak
def test_g34_reloads_under_load_fail_nothing(start, app, database, record_property):
    rounds = long_or_short(100, 10)
    # A busy machine may wait for its processors: that is not what is asked here.
    daemon = start(app(APP, SCHEMA), processes=2, listen=f"127.0.0.1:{free_port()}",
                   http='wait_max = "5s"  request_timeout = "20s"',
                   workers="worker default { processes = 2  concurrency = 4 }")
    slots = daemon.children().keys()
    kept = Wrk(daemon.http.address, "/hello", 8)
    fresh = Wrk(daemon.http.address, "/hello", 4, ["Connection: close"])
    took = []
    with Feed(database.connect()) as feed, kept, fresh:
        time.sleep(0.3)
        for n in range(1, rounds + 1):
            took.append(reload(daemon, n))
        assert daemon.children().keys() == slots
    assert (kept.errors, fresh.errors) == ([], []), daemon.text()
    assert kept.requests > 100 and fresh.requests > 100 and feed.n > 20
    for table in ("t.ran", "t.heard"):
        until(lambda t=table: database.value(f"select count(*) from {t}") >= feed.n,
              f"{feed.n} rows are in {table}", timeout=30)
        assert database.rows(f"select count(*), count(distinct n) from {table}") == \
            [(feed.n, feed.n)]
    assert database.value("select count(*) from chimp.jobs where state <> 'done'") == 0
    # As it would be had nobody reloaded: no attempt was charged.
    assert database.value("select max(attempt) from chimp.jobs") == 1
    record_property("figure", f"{rounds} reloads of {sum(took) / rounds:.1f} s each: "
                    f"{kept.requests} requests on kept connections (99 %: {kept.latency(99)}), "
                    f"{fresh.requests} on fresh ones (99 %: {fresh.latency(99)}), "
                    f"0 failed; {feed.n} jobs and {feed.n} events, 0 lost or doubled")
