"""G18: the number of lanes changes under load, and every key stays in order."""

import collections
import itertools
import random
import re
import signal
import threading
import time

import pytest

from harness import procs
from harness.cluster import rows
from harness.settings import long_or_short
from harness.stream import SCHEMA, by_key, log
from harness.wait import until

SUBSCRIPTION = 'subscription "s" {{ event = "said"  sql = "t.slow"  lanes = {} }}'
# Now and then it takes its time, so that changes meet open batches.
HANDLER = """
drop trigger slowly on t.row;
create function t.slow(event jsonb) returns jsonb language plpgsql as $$
begin
    perform t.take('s', event);
    if random() < 0.02 then
        perform pg_sleep(random() * 0.2);
    end if;
    return null;
end $$;
"""
KEYS = 20


class Publisher(threading.Thread):
    """Says one event after the other, of its own keys, at the pace of the lanes."""

    BEHIND_MAX = 1000

    def __init__(self, database, number):
        super().__init__()
        self.connection = database.connect()
        self.number = number
        self.said = []  # (reference, key)
        self.over = threading.Event()

    def run(self):
        for n in itertools.count():
            if self.over.is_set():
                break
            key = f"{self.number}/{n % KEYS}"
            rows(self.connection, "select t.say(%s, %s)", f"{self.number}.{n}", key)
            self.said.append((f"{self.number}.{n}", key))
            if n % 100 == 99:
                self.wait_for_the_rest()

    def wait_for_the_rest(self):
        while not self.over.is_set() and rows(
                self.connection, "select (select count(*) from t.row) - (select count(*) from t.log)"
        )[0][0] > self.BEHIND_MAX:
            time.sleep(0.01)


class Fleet:
    """Nodes with one app, whose subscription gets another number of lanes."""

    def __init__(self, start, app, database, nodes):
        self.database = database
        self.app = app(SUBSCRIPTION.format(2), SCHEMA + HANDLER)
        self.daemons = [start(self.app, name=f"n{n}", node=f"n{n}", processes=0, workers="",
                              cron=0, subscriber=2, top='restart_delay_max = "200ms"')
                        for n in range(nodes)]
        self.undone = collections.Counter()

    def change(self, lanes):
        text = self.app.conf.read_text()
        self.app.conf.write_text(re.sub("lanes = [0-9]+", f"lanes = {lanes}", text))
        for daemon in self.daemons:
            daemon.send_signal(signal.SIGHUP)
        until(lambda: self.has(lanes), f"the subscription has {lanes} lanes")

    def has(self, lanes):
        """A reload whose new processes are killed is undone, and told again."""
        for daemon in self.daemons:
            undone = daemon.text().count("the old configuration is in effect again")
            if undone > self.undone[daemon]:
                self.undone[daemon] = undone
                daemon.send_signal(signal.SIGHUP)
        return self.database.value("select lanes from chimp.subscription") == lanes

    def wait_for(self, lanes):
        """The former ones have come to their end."""
        until(lambda: self.has(lanes) and self.database.value(
            "select count(*) from chimp.lane") == lanes,
            f"there are {lanes} lanes, and no others", timeout=40)

    def kill_subscribers(self):
        """At random, whoever works: their lanes are in the midst of it."""
        for _ in range(3):
            time.sleep(random.uniform(0, 0.15))
            pids = [pid for daemon in self.daemons for pid in daemon.children("subscriber").values()]
            procs.end(random.sample(pids, min(1, len(pids))))


@pytest.mark.soak
@pytest.mark.parametrize("nodes, killed", [(1, False), (1, True), (2, True)])
def test_g18_keys_stay_in_order_while_the_number_of_lanes_changes(
        start, app, database, record_property, nodes, killed):
    fleet = Fleet(start, app, database, nodes)
    publishers = [Publisher(database, n) for n in range(2)]
    for publisher in publishers:
        publisher.start()
    took = []
    try:
        for lanes in [7, 3] * long_or_short(20, 1):
            time.sleep(0.3)
            begun = time.monotonic()
            fleet.change(lanes)
            if killed:
                # Nor is the next change at pains to let this one come to its end.
                fleet.kill_subscribers()
            if not killed or lanes == 3:
                fleet.wait_for(lanes)
                took.append(time.monotonic() - begun)
    finally:
        for publisher in publishers:
            publisher.over.set()
        for publisher in publishers:
            publisher.join()
    said = [event for publisher in publishers for event in publisher.said]
    until(lambda: database.value("select count(*) from t.log") >= len(said),
          f"{len(said)} events are delivered", timeout=60)
    found = log(database, "s")
    assert sorted((ref, key) for ref, key, _ in found) == sorted(said), "each once"
    assert by_key(found) == by_key((ref, key, None) for ref, key in said)
    record_property("figure", f"lanes changed under load, {nodes} nodes"
                    f"{', subscribers killed' if killed else ''}: {len(said)} events in order; "
                    f"{max(took):.1f} s at most until the new number alone was there, "
                    f"{sum(fleet.undone.values())} reloads undone")
