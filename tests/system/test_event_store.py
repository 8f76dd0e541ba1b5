"""Events are kept for a while: partitions that go round, and gaps that are shown (G21)."""

import threading
import time

import pytest

from harness.cluster import rows
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.seen (n bigint generated always as identity, subscription text, id bigint);
create function t.see(input jsonb) returns jsonb language sql as $$
	insert into t.seen (subscription, id) values ('see', (input ->> 'id')::bigint) returning null::jsonb
$$;
create function t.other(input jsonb) returns jsonb language sql as $$
	insert into t.seen (subscription, id) values ('other', (input ->> 'id')::bigint) returning null::jsonb
$$;
"""
SEE = 'subscription "see" { event = "e"  sql = "t.see" }\n'
OTHER = 'subscription "other" { event = "e"  sql = "t.other" }\n'


@pytest.fixture
def subscribe(start, app, database):
    def make(registrations, **conf):
        start(app(registrations, SCHEMA), workers="", cron=0, **conf)
        return database
    return make


def seen(database, subscription="see"):
    return [i for i, in database.rows(
        "select id from t.seen where subscription = %s order by n", subscription)]


def wait_seen(database, ids, subscription="see"):
    until(lambda: len(seen(database, subscription)) >= len(ids), f"{len(ids)} events reach {subscription}")
    return seen(database, subscription)


def publish(database):
    return database.value("select chimp.publish('e')")


def older(database, by):
    """As if all that has been written was written so much earlier."""
    database.rows("update chimp.event_partition set since = since - %s::interval, until = until - %s::interval",
                  by, by)


def rotate(database):
    """What the steps did, until one has nothing to do."""
    did = []
    while True:
        did.append(database.value("select chimp.events_rotate()"))
        if did[-1] is None:
            return did[:-1]


def ring(database):
    return database.value("select ring from chimp.event_partition where since is not null and until is null")


def counts(database):
    return [database.value(f"select count(*) from chimp.event_{n}") for n in (1, 2, 3, 4)]


def test_nothing_is_to_be_done_while_all_is_young(subscribe):
    database = subscribe(SEE, subscriber=0)
    publish(database)
    assert rotate(database) == []
    older(database, "3 days")
    assert rotate(database) == [] and ring(database) == 1


def test_partitions_go_round_and_the_oldest_is_emptied(subscribe):
    database = subscribe(SEE)
    made = []
    for turn in range(10):
        made.append(publish(database))
        assert wait_seen(database, made) == made
        older(database, "4 days")
        did = rotate(database)
        assert f"chimp.event_{(turn + 1) % 4 + 1} is written" in did
        assert ring(database) == (turn + 1) % 4 + 1
        # Whatever is younger than a week is there.
        assert set(made[-1:]) <= {i for i, in database.rows("select id from chimp.events")}
        assert database.value("select count(*) from chimp.event_partition where since is null") >= 1
    assert sum(counts(database)) <= 3
    assert database.value("select count(*) from chimp.tick") <= 6
    assert database.value("select count(*) from chimp.lanes where gap_until is not null") == 0


def test_g21_a_lane_that_is_too_far_behind_shows_a_gap_and_goes_on(subscribe):
    database = subscribe(SEE + OTHER)
    database.rows("select chimp.subscription_pause('see')")
    lost = [publish(database) for _ in range(3)]
    wait_seen(database, lost, "other")
    older(database, "4 days")
    assert rotate(database) == ["chimp.event_2 is written"]
    # The first tick behind what is lost; what follows it is kept.
    cut = publish(database)
    wait_seen(database, [*lost, cut], "other")
    kept = [publish(database) for _ in range(3)]
    wait_seen(database, [*lost, cut, *kept], "other")
    older(database, "4 days")
    assert "chimp.event_3 is written" in rotate(database)
    older(database, "4 days")
    assert "chimp.event_1 is empty again" in rotate(database)
    assert counts(database)[0] == 0 and counts(database)[1] == 4
    database.rows("select chimp.subscription_resume('see')")
    late = publish(database)
    until(lambda: late in seen(database), "it goes on")
    assert [i for i in seen(database) if i != cut] == [*kept, late]
    gap_from, gap_until = database.rows(
        "select gap_from, gap_until from chimp.subscriptions where name = 'see'")[0]
    assert gap_from is not None and gap_from < gap_until
    why = database.value("select chimp.why_subscription('see')")
    assert [r["kind"] for r in why["reasons"]] == ["gap", "up to date"]
    assert database.rows("select gap_until from chimp.lanes where subscription = 'other'") == [(None,)]
    assert wait_seen(database, [*lost, cut, *kept, late], "other") == [*lost, cut, *kept, late]
    # Seen and forgotten.
    database.rows("select chimp.subscription_resume('see')")
    assert database.value("select gap_until from chimp.subscriptions where name = 'see'") is None


def test_seek_goes_to_what_is_kept_and_no_further(subscribe):
    database = subscribe(SEE)
    lost = [publish(database) for _ in range(3)]
    wait_seen(database, lost)
    older(database, "8 days")
    rotate(database)
    older(database, "8 days")
    kept = [publish(database)]
    wait_seen(database, [*lost, *kept])
    assert "chimp.event_1 is empty again" in rotate(database)
    kept += [publish(database) for _ in range(2)]
    wait_seen(database, [*lost, *kept])
    for statement in ("'see', 0", "'see', at => '2000-01-01'"):
        database.rows("truncate t.seen")
        database.rows(f"select chimp.subscription_seek({statement})")
        until(lambda: kept[-1] in seen(database), "they are handled again")
        assert [i for i in seen(database) if i != kept[0]] == kept[1:]
    assert database.value("select gap_until from chimp.subscriptions") is None
    database.rows("truncate t.seen")
    database.rows("select chimp.subscription_seek('see', %s)", kept[1])
    assert wait_seen(database, kept[1:]) == kept[1:]


def test_publishing_and_delivery_go_on_while_partitions_go_round(subscribe):
    database = subscribe(SEE)
    made, over = [], threading.Event()
    slowest = [0.0]

    def run():
        connection = database.connect()
        while not over.is_set():
            with Stopwatch() as watch:
                made.append(rows(connection, "select chimp.publish('e')")[0][0])
            slowest[0] = max(slowest[0], watch.ms)

    thread = threading.Thread(target=run)
    thread.start()
    did = []
    try:
        for _ in range(12):
            time.sleep(0.2)
            # What is emptied has been handled: nobody is so far behind.
            tick = database.value("select chimp.tick()")
            until(lambda: database.value("select min(tick) >= %s from chimp.lanes", tick), "it keeps up")
            older(database, "4 days")
            for _ in range(5):
                did.append(database.value("select chimp.events_rotate()"))
    finally:
        over.set()
        thread.join()
    assert sum("empty" in str(d) for d in did) >= 3 and sum("written" in str(d) for d in did) >= 5
    assert wait_seen(database, made) == made
    assert database.value("select gap_until from chimp.subscriptions") is None
    assert slowest[0] < 5000, "a publisher has waited for a rotation"


def test_a_reader_of_the_partition_puts_it_off(subscribe, figure):
    database = subscribe(SEE, subscriber=0)
    publish(database)
    older(database, "8 days")
    assert rotate(database) == ["chimp.event_2 is written"]
    older(database, "8 days")
    reader = database.connect()
    reader.autocommit = False
    rows(reader, "select count(*) from chimp.event_1")
    with Stopwatch() as watch:
        assert database.value("select chimp.events_rotate()") != "chimp.event_1 is empty again"
    figure("a rotation that gives up", watch.ms, "ms", 150)
    assert counts(database)[0] == 1
    publish(database)
    reader.commit()
    assert "chimp.event_1 is empty again" in rotate(database)
    assert counts(database)[0] == 0


def test_a_publisher_that_is_still_open_loses_nothing(subscribe):
    database = subscribe(SEE)
    first = publish(database)
    wait_seen(database, [first])
    held = database.connect()
    held.autocommit = False
    own = rows(held, "select chimp.publish('e')")[0][0]
    older(database, "8 days")
    rotate(database)
    older(database, "8 days")
    assert "chimp.event_1 is empty again" not in rotate(database)
    held.commit()
    assert wait_seen(database, [first, own]) == [first, own]
    assert "chimp.event_1 is empty again" in rotate(database)
