"""G33 at twice the load that a node can bear, with handlers that do not yield."""

import pytest

from harness import procs
from harness.http import free_port
from harness.settings import long_or_short
from harness.wait import Stopwatch, until
from harness.wrk import Wrk

SCHEMA = """
create schema t;
create table t.hot (id int primary key, n int not null);
insert into t.hot values (1, 0);
create table t.ran (job bigint);

create function t.sleep(input jsonb) returns jsonb language sql as $$
	select '{}'::jsonb from pg_sleep((input ->> 'seconds')::float)
$$;
-- The first holds the row, the others wait for it.
create function t.lock(input jsonb) returns jsonb language plpgsql as $$
begin
	update t.hot set n = n + 1 where id = 1;
	perform pg_sleep((input ->> 'seconds')::float);
	return '{}';
end $$;
-- "when others" would not catch it; this one does, as if it had ignored a signal.
create function t.stubborn(input jsonb) returns jsonb language plpgsql as $$
declare
	until timestamptz := clock_timestamp() + (input ->> 'seconds')::float * interval '1 s';
begin
	while clock_timestamp() < until loop
		begin
			perform pg_sleep(1);
		exception when query_canceled then
			null;
		end;
	end loop;
	return '{}';
end $$;
create function t.quick(input jsonb) returns jsonb language sql as $$
	insert into t.ran values ((chimp.job() ->> 'id')::bigint);
	select null::jsonb
$$;
"""
APP = """
  queue "load.sleep" { sql = "t.sleep" }
  queue "load.lock" { sql = "t.lock" }
  queue "load.stubborn" { sql = "t.stubborn" }
  queue "load.quick" { sql = "t.quick" }
  action "sleep" { sql = "t.sleep"  args = "seconds: number" }
  action "stubborn" { sql = "t.stubborn"  args = "seconds: number" }
  route "GET /sleep" { action = "sleep" }
  route "GET /stubborn" { action = "stubborn" }
"""
LONG = ("sleep", "lock", "stubborn")
ROOM = 2 * 4  # workers * concurrency
STOP_MS = 1000


def put_twice_what_fits(database):
    """Quick ones between them: they end, and others take their place."""
    for i in range(2 * ROOM):
        database.rows("select chimp.enqueue(%s, '{\"seconds\": 120}')", f"load.{LONG[i % 3]}")
        database.rows("select count(*) from (select chimp.enqueue('load.quick')"
                      " from generate_series(1, 50)) x")


def claims(database, node):
    """job -> (attempts charged, interruptions) of the long ones that run there."""
    return {job: rest for job, *rest in database.rows(
        "select id, attempt - 1, interruptions from chimp.jobs"
        " where state = 'running' and node = %s and queue <> 'load.quick'", node)}


def active(database):
    return database.value("select count(*) from pg_stat_activity where state = 'active'"
                          " and application_name like 'chimpd/http/%%@loaded'")


@pytest.mark.soak
def test_g33_stop_at_twice_the_load(start, app, database, figure):
    made = app(APP, SCHEMA)
    stops, restarts = [], []
    for n in range(long_or_short(10, 1)):
        # The other takes what is load.* only when nobody else does.
        other = start(made, name=f"other{n}", node="other", cron=0, subscriber=0,
                      stop_timeout="1s", workers="worker any { processes = 2  concurrency = 32 }")
        daemon = start(made, name=f"loaded{n}", node="loaded", processes=2,
                       listen=f"127.0.0.1:{free_port()}", stop_timeout="1s",
                       workers='worker default { processes = 2  concurrency = 4 '
                               ' queues = { "load.*" } }',
                       http='request_timeout = "60s"')
        put_twice_what_fits(database)
        until(lambda: len(claims(database, "loaded")) == ROOM, "the workers are full")
        with Wrk(daemon.http.address, "/sleep?seconds=30", 8), \
                Wrk(daemon.http.address, "/stubborn?seconds=30", 8):
            # Slow calls hold two connections of a process, and one process may
            # have accepted all clients.
            until(lambda: active(database) >= 2, "the http processes are busy")
            held = claims(database, "loaded")
            descendants = procs.descendants(daemon.pid)
            with Stopwatch() as watch:
                assert daemon.stop() == 0
            ended_at = database.value("select clock_timestamp()")
        assert not [p for p in descendants if procs.alive(p)]
        assert len(held) == ROOM and all(attempt == 0 for attempt, _ in held.values())
        stops.append(watch.ms)
        assert watch.ms >= STOP_MS - 100
        # Released uncharged, and running again.
        again = until(lambda: held.keys() <= claims(database, "other").keys()
                      and claims(database, "other"), "the other node has taken them")
        assert {job: again[job] for job in held} == {job: [0, 1] for job in held}
        late = database.value("select max(started_at) - %s from chimp.jobs"
                              " where id = any(%s)", ended_at, list(held)).total_seconds()
        restarts.append(max(0, late * 1000))
        until(lambda: database.value("select done from chimp.queues where name = 'load.quick'")
              == (n + 1) * 2 * ROOM * 50, "the quick ones end", timeout=20)
        assert other.stop() == 0
        database.rows("select chimp.cancel(id) from chimp.jobs where state <> 'done'")
    assert database.rows("select count(*) = count(distinct job) from t.ran") == [(True,)]
    figure(f"stop with stop_timeout = 1s at twice the load, {ROOM} jobs in flight,"
           f" worst of {len(stops)}", max(stops), "ms", STOP_MS + 1000)
    figure(f"end of a node to the restart of its jobs on another, worst of {len(restarts)}",
           max(restarts), "ms", 200)
