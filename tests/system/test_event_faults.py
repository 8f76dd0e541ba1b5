"""Publish and subscribe while anything dies at any time (G16 to G22)."""

import random
import time

import psycopg2
import pytest

from harness.faults import Node
from harness.settings import long_or_short
from harness.stream import (
    SCHEMA, StreamFaults, Writers, by_key, each_once, happened_before, log)
from harness.wait import until

SUBSCRIPTIONS = """
subscription "each" { event = "said"  sql = "t.each"  lanes = 4 }
subscription "batch" { event = "*"  sql = "t.batch"  mode = "batch"  batch = 20  lanes = 2 }
subscription "replayed" { event = "said"  sql = "t.replayed" }
"""
# How often each befalls them, in shares. A node whose processes are all killed
# is missed when its leases run out, after half a minute.
FAULTS = {"kill a subscriber": 10, "end a backend": 6, "kill a master": 2, "kill a backend": 1,
          "restart PostgreSQL": 1, "end writers": 2, **long_or_short({"lose a node": 1}, {})}

# Of each of these, one has to have rolled back an open batch, or it was not tested.
KINDS = long_or_short(
    [("kill a subscriber",), ("end a backend",), ("kill a backend", "restart PostgreSQL")],
    [FAULTS])


@pytest.fixture
def nodes(start, app):
    """nodes(database, n) -> n nodes of two subscribers each."""
    def make(database, n):
        made = app(SUBSCRIPTIONS, SCHEMA)

        def begin(name, node):
            return start(made, name=name, node=node, wait=False, url=database.url, processes=0,
                         cron=0, workers="", subscriber=2, top='restart_delay_max = "200ms"')

        begun = []
        for number in range(n):
            begun.append(Node(number, begin, "subscriber"))
            begun[-1].wait_ready()
        return begun
    return make


def delivered(database, subscription):
    return database.value("select count(*) from t.log where subscription = %s", subscription)


def struck(faults, kinds):
    try:
        return sum(faults.interrupted(kind) for kind in kinds)
    except psycopg2.Error:
        return 0                  # PostgreSQL is not there to be asked


def untested(faults):
    return [kinds for kinds in KINDS if not struck(faults, kinds)]


def wait_delivered(database, faults, committed):
    for subscription in ("each", "batch", "replayed"):
        until(lambda s=subscription: delivered(database, s) >= len(committed),
              f"{len(committed)} events reach {subscription}", timeout=120)
    until(lambda: database.value("select sum(lag_events) from chimp.subscriptions") == 0, "no lag")
    faults.look_at_logs()


def replay(database, faults, first):
    """Everything again, and somebody dies."""
    before = database.value("select max(n) from t.log")
    database.rows("select chimp.subscription_seek('replayed', 0)")
    until(lambda: delivered(database, "replayed") > len(first), "the replay begins")
    faults.one(FAULTS)
    faults.end()
    until(lambda: delivered(database, "replayed") >= 2 * len(first), "all are replayed",
          timeout=long_or_short(900, 120))
    return database.rows("select ref, key, id from t.log where subscription = 'replayed'"
                         " and n > %s order by n", before)


@pytest.mark.soak
def test_whatever_is_killed_no_event_is_lost_or_doubled_or_out_of_order(
        make_cluster, nodes, record_property):
    seconds = long_or_short(600, 10)
    cluster = make_cluster(fsync="on", max_connections="400", deadlock_timeout="100ms")
    database = cluster.create_database()
    faults = StreamFaults(cluster, database, nodes(database, 2))
    # Each kind once, and then by their shares.
    faults.deck = random.sample(list(FAULTS), len(FAULTS))
    begun = time.monotonic()
    with Writers(database, long_or_short(200, 100), longest_s=long_or_short(60, 6)) as writers:
        while not writers.problems and (
                time.monotonic() < begun + seconds
                or untested(faults) and time.monotonic() < begun + 4 * seconds):
            faults.one(FAULTS)
            time.sleep(random.uniform(0, 1))
        faults.end()
    ended = time.monotonic()
    committed = writers.committed()
    wait_delivered(database, faults, committed)
    drained = time.monotonic() - ended
    for fault, times in sorted(faults.counts.items()):
        record_property("figure", f"event faults, {fault}: {times} times, {len(faults.struck[fault])} "
                        f"handlers ran there, {struck(faults, [fault])} of them were rolled back")

    found = {name: log(database, name) for name in ("each", "batch", "replayed")}
    for events in found.values():
        each_once(events, committed)
        for refs in by_key(events).values():
            happened_before(refs, committed)
        assert by_key(events) == by_key(found["replayed"])
    # It has one lane: of all, whatever their key.
    happened_before([ref for ref, _, _ in found["replayed"]], committed)
    assert replay(database, faults, found["replayed"]) == found["replayed"]
    for name in ("each", "batch"):
        assert log(database, name) == found[name], "a replay is nobody else's"
    record_property("figure", f"event faults over {ended - begun:.0f} s: {len(committed)} events of "
                    f"{len(writers.all)} writers, transactions of up to {writers.longest():.0f} s, "
                    f"{writers.unanswered()} commits not answered, all delivered after {drained:.1f} s "
                    "to 3 subscriptions and replayed; 0 lost, doubled or out of order")
    assert len(committed) > 200
    assert untested(faults) == []
