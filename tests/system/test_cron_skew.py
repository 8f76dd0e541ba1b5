"""Nodes whose clocks are wrong: only the database's decides (G23)."""

import calendar
import glob
import os
import random
import re
import signal
import time

import pytest

from harness import procs
from harness.settings import long_or_short
from harness.wait import until

LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
SKEWS_S = (-90, -35, 0, 40, 90)  # of five nodes
DAY_S = 86400

SCHEMA = """
create schema t;
create table t.fired (name text, slot_ms bigint);
create function t.fire(input jsonb) returns jsonb language sql as $$
	insert into t.fired values (input ->> 'name', (input ->> 'fireAtMs')::bigint)
	returning null::jsonb
$$;
"""
EACH = 'sql = "t.fire"  misfire = "all(1000)"  overlap = "allow"'


def skewed(seconds):
    """Only the wall clock; a monotonic one does not depend on who set it."""
    asan = os.environ.get("ASAN_OPTIONS", "")
    return {"LD_PRELOAD": LIBRARIES[0], "FAKETIME": f"{seconds:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1",
            "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0".lstrip(":")}


class Nodes:
    """Five nodes of wrong clocks, killed and started again."""

    def __init__(self, start, app):
        self.start_one = start
        self.app = app
        self.lives = 0
        self.skews_seen = {}
        self.up = [self.start(i) for i in range(len(SKEWS_S))]

    def start(self, i):
        self.lives += 1
        begun = time.time()
        daemon = self.start_one(
            self.app, name=f"life{self.lives}", node=f"node-{i}", env=skewed(SKEWS_S[i]),
            subscriber=0, pool_max=2, top='restart_delay_max = "200ms"')
        stamp = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", daemon.text())[0]
        said = calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S"))
        self.skews_seen[i] = said - begun
        return daemon

    def kill_a_child(self):
        there = random.choice(self.up).children()
        crons = [pid for name, pid in there.items() if name.startswith("cron/")]
        procs.end([random.choice(crons or list(there.values()))] if there else [])

    def kill_a_master(self):
        i = random.randrange(len(self.up))
        daemon = self.up[i]
        children = list(daemon.children().values())
        daemon.expected_status = -signal.SIGKILL
        procs.end([daemon.pid])
        daemon.wait(5)
        until(lambda: not any(procs.alive(pid) for pid in children), "no orphan is left")
        procs.reap()
        self.up[i] = self.start(i)

    def kill_until(self, over):
        """Numbers of children and of masters killed."""
        killed = [0, 0]
        while not over():
            master = random.random() < 0.2
            killed[master] += 1
            if master:
                self.kill_a_master()
            else:
                self.kill_a_child()
            time.sleep(random.uniform(0, 0.5))
        return killed


def every_slot_once(database, name, step_ms):
    """How many; each one fired, its job done once, none left out."""
    first, last, fired = database.rows(
        "select min(chimp.to_ms(slot_at)), max(chimp.to_ms(slot_at)), count(*)"
        " from chimp.firing f join chimp.schedule s on s.id = f.schedule_id where name = %s",
        name)[0]
    assert fired == (last - first) // step_ms + 1, f"{name}: slots are missing"
    assert database.rows("select count(*), count(distinct slot_ms), min(slot_ms), max(slot_ms)"
                         " from t.fired where name = %s", name) == [(fired, fired, first, last)]
    return fired


def pause_all(database):
    """No further slot, so that what has fired can be counted."""
    database.rows("update chimp.schedule set active = false")
    until(lambda: database.value("select count(*) from t.fired")
          == database.value("select count(*) from chimp.firing"), "the jobs are done",
          timeout=180)


@pytest.fixture
def no_litter():
    """libfaketime leaves files where a process was killed."""
    before = set(glob.glob("/dev/shm/*faketime_*"))
    yield
    for path in set(glob.glob("/dev/shm/*faketime_*")) - before:
        os.unlink(path)


@pytest.mark.usefixtures("no_litter")
@pytest.mark.skipif(not LIBRARIES, reason="no libfaketime; on Debian: apt-get install libfaketime")
@pytest.mark.soak
def test_g23_a_slot_fires_once_on_killed_nodes_of_wrong_clocks(start, app, database,
                                                               record_property):
    """A schedule of every second, and others with a whole day that was missed,
    a slot every two minutes: sixty such days in the long form."""
    days = [f"day{i}" for i in range(long_or_short(60, 3))]
    nodes = Nodes(start, app("\n".join(
        [f'cron "second" {{ schedule = "* * * * * *"  {EACH} }}']
        + [f'cron "{day}" {{ schedule = "*/2 * * * *"  {EACH} }}' for day in days]), SCHEMA))
    for i, skew in enumerate(SKEWS_S):
        assert abs(nodes.skews_seen[i] - skew) < 20, nodes.skews_seen
    until(lambda: database.value("select bool_and(planned) from chimp.schedule"), "all planned")
    database.rows("update chimp.schedule set next_at = date_bin('2 minutes', now(), '2000-01-01')"
                  " - interval '1 day' where name <> 'second'")
    database.rows("select pg_notify('chimp_control', 'schedules')")
    end = time.monotonic() + long_or_short(120, 12)
    killed = nodes.kill_until(lambda: time.monotonic() > end)
    until(lambda: database.value("select min(next_at) > now() - interval '3 s' from chimp.schedule"),
          "nothing is behind", timeout=120)
    pause_all(database)
    seconds = every_slot_once(database, "second", 1000)
    assert seconds >= long_or_short(118, 10)
    for day in days:
        assert every_slot_once(database, day, 120000) >= DAY_S // 120
    record_property("figure", f"{killed[0]} children and {killed[1]} masters of five skewed nodes"
                    f" killed: {seconds} slots of every second and {len(days)} days of 720"
                    " each fired once")
