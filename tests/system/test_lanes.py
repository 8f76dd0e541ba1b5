"""Lanes over many processes that die, lose connections, and come and go (G5, G18 to G20)."""

import os
import random
import signal
import threading
import time

import pytest

from harness.cluster import rows
from harness.wait import until

SCHEMA = """
create schema t;
create table t.seen (n bigint generated always as identity, id bigint, key text,
	pid int default pg_backend_pid(), at timestamptz not null default clock_timestamp());
create function t.see(input jsonb) returns jsonb language sql as $$
	insert into t.seen (id, key) values ((input ->> 'id')::bigint, input ->> 'key')
	returning null::jsonb
$$;
create function t.slow(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input -> 'payload' ->> 'sleep')::float);
	return t.see(input);
end $$;
create sequence t.tries;
create function t.clash(input jsonb) returns jsonb language plpgsql as $$
begin
	if nextval('t.tries') < 5 then
		raise serialization_failure;
	end if;
	return t.see(input);
end $$;
create function t.late(input jsonb) returns jsonb language plpgsql as $$
begin
	-- Twice: with others, and alone.
	if nextval('t.tries') < 3 then
		raise exception 'not yet';
	end if;
	return t.see(input);
end $$;
"""
SEE = 'subscription "see" { event = "e"  sql = "t.see"  lanes = 6 }\n'
SLOW = 'subscription "slow" { event = "slow"  sql = "t.slow" }\n'


def publish(connection, key=None, event="e", payload="{}"):
    return rows(connection, "select chimp.publish(%s, %s, %s)", event, payload, key)[0][0]


class Publishers:
    """Each publishes its own keys, so that what came in order is known."""

    def __init__(self, database, count=3, pause=0.002):
        self.database, self.pause = database, pause
        self.made = {}
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def run(self, number):
        connection = self.database.connect()
        while not self.over.is_set():
            key = f"{number}-{random.randrange(5)}"
            self.made.setdefault(key, []).append(publish(connection, key))
            time.sleep(self.pause)


def each_once_in_order(database, made, timeout=60):
    total = sum(len(ids) for ids in made.values())
    until(lambda: database.value("select count(*) from t.seen") >= total,
          f"{total} events are seen", timeout)
    time.sleep(0.3)
    seen = {}
    for key, event in database.rows("select key, id from t.seen order by n"):
        seen.setdefault(key, []).append(event)
    assert seen == made
    assert database.value("select count(*) from chimp.dead_events") == 0


def two_nodes(start, app, registrations=SEE):
    small = app(registrations, SCHEMA)
    return [start(small, name=f"node{n}", node=f"node-{n}", workers="", cron=0, subscriber=2)
            for n in (1, 2)]


def owners(database):
    return dict(database.rows("select process_id::text, count(*) from chimp.lane"
                              " where process_id is not null group by 1"))


def wait_spread(database, members, lanes=6):
    share = -(-lanes // members)
    until(lambda: sum(owners(database).values()) == lanes
          and max(owners(database).values()) <= share,
          f"{lanes} lanes are spread over {members} processes", timeout=15)


def test_g19_killed_subscribers_lose_and_repeat_nothing(start, app, database):
    nodes = two_nodes(start, app)
    with Publishers(database) as publishers:
        for n in range(6):
            time.sleep(0.3)
            node, name = nodes[n % 2], f"subscriber/{n // 2 % 2}"
            node.wait_replaced(name, node.kill(name))
    each_once_in_order(database, publishers.made)
    wait_spread(database, 4)


def test_g19_lost_connections_lose_and_repeat_nothing(start, app, database):
    two_nodes(start, app)
    with Publishers(database) as publishers:
        for _ in range(8):
            time.sleep(0.25)
            database.rows("select pg_terminate_backend(pid) from pg_stat_activity"
                          " where datname = current_database() and"
                          " application_name like 'chimpd/subscriber%%' and random() < 0.5")
    each_once_in_order(database, publishers.made)


def test_g19_lanes_spread_under_constant_load_when_a_node_comes(start, app, database):
    small = app(SEE, SCHEMA)
    first = start(small, name="node1", node="node-1", workers="", cron=0)
    with Publishers(database, pause=0) as publishers:
        time.sleep(1)
        start(small, name="node2", node="node-2", workers="", cron=0)
        wait_spread(database, 2)
        first.stop()
        wait_spread(database, 1)
    each_once_in_order(database, publishers.made)


def test_g05_the_lanes_of_a_killed_subscriber_go_on_elsewhere(start, app, database, figure):
    nodes = two_nodes(start, app, 'subscription "see" { event = "e"  sql = "t.see" }')
    connection = database.connect()
    publish(connection)
    until(lambda: database.value("select count(*) from t.seen") == 1, "it is seen")
    pid = database.value("select p.pid from chimp.process p"
                         " join chimp.lane l on l.process_id = p.id")
    assert pid in [p for node in nodes for p in node.children("subscriber").values()]
    os.kill(pid, signal.SIGKILL)
    event = publish(connection)
    until(lambda: database.value("select count(*) from t.seen") == 2, "another sees it",
          interval=0.01)
    figure("event published at its subscriber's death, to its handler elsewhere",
           float(database.value("select extract(epoch from s.at - e.published_at) * 1000"
                                " from t.seen s join chimp.events e using (id)"
                                " where id = %s", event)), "ms", 200)


def test_g20_a_retry_comes_in_time_where_its_lane_has_gone_meanwhile(start, app, database, figure):
    """Others' events flow all the while, and none of them is for that lane."""
    nodes = two_nodes(start, app, SEE + """
        subscription "late" { event = "late"  sql = "t.late"  retry_delay = "2s"  backoff = "constant" }
    """)
    with Publishers(database):
        event = publish(database.connect(), event="late")
        retry_at, pid = until(lambda: (database.rows(
            "select l.retry_at, p.pid from chimp.lane l join chimp.process p on p.id = l.process_id"
            " where l.retry_at is not null") or [None])[0], "it fails")
        assert pid in [p for node in nodes for p in node.children("subscriber").values()]
        os.kill(pid, signal.SIGKILL)
        at = until(lambda: database.value("select at from t.seen where id = %s", event), "it is seen")
    figure("retry due in a lane that another process has now, to its handler",
           (at - retry_at).total_seconds() * 1000, "ms", 500)


def test_a_slow_handler_delays_no_other_subscription(start, app, database):
    start(app(SEE + SLOW, SCHEMA), workers="", cron=0)
    connection = database.connect()
    slow = publish(connection, event="slow", payload='{"sleep": 6}')
    time.sleep(0.2)
    quick = publish(connection)
    until(lambda: database.value("select count(*) from t.seen where id = %s", quick), "seen")
    assert database.value("select count(*) from t.seen where id = %s", slow) == 0
    until(lambda: database.value("select count(*) from t.seen where id = %s", slow), "seen")


def test_g33_a_stop_waits_for_the_event_in_work_and_gives_the_lane_back(start, app, database):
    daemon = start(app(SLOW, SCHEMA), workers="", cron=0)
    connection = database.connect()
    for _ in range(3):
        publish(connection, event="slow", payload='{"sleep": 0.7}')
    time.sleep(0.3)
    assert daemon.stop() == 0
    assert 1 <= database.value("select count(*) from t.seen") <= 3
    assert owners(database) == {}
    daemon.start()
    until(lambda: database.value("select count(*) from t.seen") == 3, "the rest is seen")
    time.sleep(0.3)
    assert database.value("select count(*) from t.seen") == 3


def test_g33_a_stop_abandons_an_event_that_does_not_end(start, app, database, figure):
    daemon = start(app(SLOW, SCHEMA), workers="", cron=0)
    publish(database.connect(), event="slow", payload='{"sleep": 30}')
    time.sleep(0.5)
    began = time.monotonic()
    assert daemon.stop() == 0
    figure("stop of 5 s with an event that does not end",
           (time.monotonic() - began) * 1000, "ms", 6000)
    assert database.value("select count(*) from t.seen") == 0
    until(lambda: database.value("select count(*) from pg_stat_activity where"
                                 " application_name like 'chimpd/%%'") == 0,
          "its query is cancelled", timeout=2)


def test_g06_a_serialization_failure_is_tried_again_uncharged(start, app, database):
    start(app('subscription "c" { event = "e"  sql = "t.clash"  max_attempts = 2 }', SCHEMA),
          workers="", cron=0)
    ids = [publish(database.connect()) for _ in range(3)]
    until(lambda: database.value("select count(*) from t.seen") == 3, "they are seen")
    assert [i for i, in database.rows("select id from t.seen order by n")] == ids
    assert database.value("select count(*) from chimp.dead_events") == 0


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_backlog_is_worked_off_in_order(start, app, database, figure, nodes):
    small = app(SEE, SCHEMA)
    for n in range(nodes):
        start(small, name=f"node{n}", node=f"node-{n}", workers="", cron=0)
    wait_spread(database, nodes)
    began = time.monotonic()
    database.rows("select chimp.publish('e', '{}', (n % 50)::text)"
                  " from generate_series(1, 5000) n")
    until(lambda: database.value("select count(*) from t.seen") == 5000, "5000 events",
          timeout=30, interval=0.05)
    figure(f"a backlog of 5000 events, {nodes} subscribers", time.monotonic() - began, "s", 3)
    assert database.value("""select count(*) from (
        select id < lag(id) over (partition by key order by n) as bad from t.seen) x
        where bad""") == 0
