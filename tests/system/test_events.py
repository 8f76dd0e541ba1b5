"""Publish and subscribe: G16 to G22."""

import threading
import time

import pytest

from harness.cluster import rows
from harness.wait import until

SCHEMA = """
create schema t;
create table t.seen (n bigint generated always as identity, subscription text, id bigint,
	event text, key text, payload jsonb, at timestamptz not null default clock_timestamp());
create function t.see(subscription text, input jsonb) returns jsonb language sql as $$
	insert into t.seen (subscription, id, event, key, payload)
	values (subscription, (input ->> 'id')::bigint, input ->> 'event', input ->> 'key',
		input -> 'payload')
	returning null::jsonb
$$;
create function t.one(input jsonb) returns jsonb language sql as $$
	select t.see('one', input)
$$;
create function t.lanes(input jsonb) returns jsonb language sql as $$
	select t.see('lanes', input)
$$;
create function t.fail(input jsonb) returns jsonb language plpgsql as $$
begin
	perform t.see('fail', input);
	if input -> 'payload' ->> 'bad' is not null then
		raise exception 'cannot take event %', input ->> 'id';
	end if;
	return null;
end $$;
create function t.cascade(input jsonb) returns jsonb language sql as $$
	select to_jsonb(chimp.publish('second', input -> 'payload'))
$$;
"""
ONE = 'subscription "one" { event = "e"  sql = "t.one" }\n'
LANES = 'subscription "lanes" { event = "e"  sql = "t.lanes"  lanes = 4 }\n'


@pytest.fixture
def subscribe(start, app, database):
    def make(registrations, **conf):
        conf.setdefault("workers", "")
        start(app(registrations, SCHEMA), cron=0, **conf)
        return database
    return make


def seen(database, subscription="one"):
    return [i for i, in database.rows(
        "select id from t.seen where subscription = %s order by n", subscription)]


def wait_seen(database, ids, subscription="one", timeout=10):
    until(lambda: set(ids) <= set(seen(database, subscription)),
          f"{len(set(ids))} events reach {subscription}", timeout)
    return seen(database, subscription)


def publish(connection, payload="{}", event="e", key=None):
    return rows(connection, "select chimp.publish(%s, %s, %s)", event, payload, key)[0][0]


def transaction(database):
    connection = database.connect()
    connection.autocommit = False
    return connection


def test_g16_transactions_that_commit_against_the_order_of_their_ids(subscribe):
    """Sequence order is not commit order: the classic way to lose events."""
    database = subscribe(ONE)
    for _ in range(10):
        early, late = transaction(database), transaction(database)
        first, second = publish(early), publish(late)
        assert first < second
        late.commit()
        wait_seen(database, [second])
        early.commit()
        wait_seen(database, [first])
    ids = seen(database)
    assert len(ids) == len(set(ids)) == 20


def test_g16_a_rolled_back_event_reaches_nobody(subscribe):
    database = subscribe(ONE)
    tx = transaction(database)
    lost = publish(tx)
    tx.rollback()
    kept = publish(database.connect())
    assert wait_seen(database, [kept]) == [kept]
    assert lost != kept


def test_g16_no_gap_and_no_duplicate_under_concurrent_publishers(subscribe):
    database = subscribe(ONE + LANES)
    published, lock = [], threading.Lock()

    def run(number):
        connection = transaction(database)
        for n in range(60):
            ids = [publish(connection, key=str((number, n, k))) for k in range(n % 3 + 1)]
            rows(connection, "select pg_sleep(random() * 0.01)")
            if n % 7 == 3:
                connection.rollback()
                continue
            connection.commit()
            with lock:
                published.extend(ids)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for subscription in ("one", "lanes"):
        wait_seen(database, published, subscription, timeout=30)
        assert sorted(seen(database, subscription)) == sorted(published)


def test_g16_savepoints_are_no_hole(subscribe):
    database = subscribe(ONE)
    tx = transaction(database)
    kept = [publish(tx)]
    rows(tx, "savepoint a")
    publish(tx)
    rows(tx, "rollback to a")
    rows(tx, "savepoint b")
    kept.append(publish(tx))
    rows(tx, "release b")
    between = publish(database.connect())
    wait_seen(database, [between])
    tx.commit()
    assert sorted(wait_seen(database, kept)) == sorted([between, *kept])


def test_g17_a_held_transaction_delays_only_its_own_events(subscribe, figure):
    database = subscribe(ONE)
    held = transaction(database)
    own = publish(held)
    other = database.connect()
    delays = []
    for _ in range(20):
        event = publish(other)
        wait_seen(database, [event])
        delays.append(float(database.value(
            "select extract(epoch from s.at - e.published_at) * 1000 from t.seen s"
            " join chimp.events e using (id) where id = %s", event)))
        time.sleep(0.02)
    assert own not in seen(database)
    held.commit()
    ids = wait_seen(database, [own])
    assert len(ids) == len(set(ids)) == 21
    figure("publish to handler beside a held transaction, median of 20",
           sorted(delays)[10], "ms", 20)


def test_g18_events_of_one_key_stay_in_order_in_their_lane(subscribe):
    database = subscribe(LANES + ONE)
    connection = database.connect()
    made = {key: [] for key in "abcdefgh"}
    for n in range(160):
        key = "abcdefgh"[n % 8]
        made[key].append(publish(connection, key=key))
    everything = sorted(i for ids in made.values() for i in ids)
    assert wait_seen(database, everything, "one") == everything
    wait_seen(database, everything, "lanes")
    for key, ids in made.items():
        assert [i for i, in database.rows(
            "select id from t.seen where subscription = 'lanes' and key = %s order by n",
            key)] == ids


def test_g18_every_subscription_sees_the_same_order(subscribe):
    database = subscribe(ONE + 'subscription "other" { event = "e"  sql = "t.fail" }')
    ids = []
    for _ in range(30):
        early, late = transaction(database), transaction(database)
        ids += [publish(early), publish(late)]
        late.commit()
        early.commit()
    assert wait_seen(database, ids, "one") == wait_seen(database, ids, "fail")


def test_g16_cursors_survive_a_restart(start, app, database):
    small = app(ONE, SCHEMA)
    daemon = start(small, workers="", cron=0)
    first = publish(database.connect())
    wait_seen(database, [first])
    daemon.stop()
    meanwhile = [publish(database.connect()) for _ in range(5)]
    daemon.start()
    assert wait_seen(database, meanwhile) == [first, *meanwhile]


def test_a_new_subscription_begins_now_or_at_the_beginning(start, app, database):
    daemon = start(app('subscription "none" { event = "e"  sql = "t.fail" }', SCHEMA),
                   workers="", cron=0)
    old = publish(database.connect())
    wait_seen(database, [old], "fail")
    daemon.stop()
    start(app(ONE + 'subscription "lanes" { event = "e"  sql = "t.lanes"  from = "beginning" }',
              name="u"), name="second", workers="", cron=0)
    new = publish(database.connect())
    assert wait_seen(database, [old, new], "lanes") == [old, new]
    assert wait_seen(database, [new]) == [new]


def test_g20_an_event_that_always_fails_is_parked_and_the_lane_goes_on(subscribe):
    database = subscribe('subscription "fail" { event = "e"  sql = "t.fail"  max_attempts = 3'
                         '  retry_delay = "50ms"  backoff = "constant" }\n' + ONE)
    connection = database.connect()
    ids = [publish(connection, payload) for payload in ("{}", '{"bad": 1}', "{}")]
    # The other subscription is not held up.
    assert wait_seen(database, ids) == ids
    assert wait_seen(database, [ids[0], ids[2]], "fail") == [ids[0], ids[2]]
    assert database.rows("select subscription, event_id, attempts, error ->> 'message'"
                         " from chimp.dead_events") == [
        ("fail", ids[1], 3, f"cannot take event {ids[1]}")]


def test_g20_on_failure_pause_stops_the_lane_and_says_so(subscribe):
    database = subscribe('subscription "fail" { event = "e"  sql = "t.fail"  max_attempts = 2'
                         '  retry_delay = "50ms"  backoff = "constant"  on_failure = "pause" }')
    connection = database.connect()
    ids = [publish(connection, payload) for payload in ("{}", '{"bad": 1}', "{}")]
    until(lambda: database.value("select paused from chimp.subscriptions") == 1, "it pauses")
    time.sleep(0.3)
    assert seen(database, "fail") == [ids[0]]
    assert database.value("select lag_events from chimp.subscriptions") == 2


def test_g22_events_published_by_subscribers_are_delivered(subscribe):
    database = subscribe('subscription "first" { event = "first"  sql = "t.cascade" }\n'
                         'subscription "one" { event = "second"  sql = "t.one" }')
    rows(database.connect(), "select chimp.publish('first', jsonb_build_object('n', n))"
         " from generate_series(1, 20) n")
    until(lambda: len(seen(database)) == 20, "20 events arrive by way of another")
    assert [n for n, in database.rows(
        "select (payload ->> 'n')::int from t.seen order by n")] == list(range(1, 21))


def test_patterns_and_names_choose_events(subscribe):
    database = subscribe('subscription "one" { event = "order.*"  sql = "t.one" }\n'
                         'subscription "lanes" { event = "order.made"  sql = "t.lanes" }')
    connection = database.connect()
    made = {e: publish(connection, event=e) for e in ("order.made", "order.sent", "orders", "e")}
    assert wait_seen(database, [made["order.sent"]]) == [made["order.made"], made["order.sent"]]
    assert wait_seen(database, [made["order.made"]], "lanes") == [made["order.made"]]
