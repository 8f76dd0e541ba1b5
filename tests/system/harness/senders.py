"""Those who start runs of workflows, send them signals and cancel them, through any
fault: what was not answered is said again, which dedup ids and fixed ids are for."""

import contextlib
import random
import threading
import time

import psycopg2

from .bank import NOT_ONE_STATE, gone
from .cluster import rows
from .faults import Faults
from .runs import DEAF, KINDS, RUNNING, STUCK

# With "!" those that are about to time out.
WAITING = """
select a.id, r.waits_for || x from unnest(%s::text[]) a (id) join chimp.workflow_run o on o.external_id = a.id
join chimp.workflow_run r on r.id = o.id or r.parent_id = o.id
cross join unnest('{"",!}'::text[]) x
where r.status = 'waiting_signal' and (x = '' or r.wake_at < clock_timestamp() + interval '50 ms')
"""


class RunFaults(Faults):
    """Where it strikes, it notes the transitions that were under way."""

    def running(self):
        """Those of kinds that none has hit yet, if there are some before long."""
        found = []
        try:
            hits = self.hits()
            for _ in range(15):
                found = self.database.rows(RUNNING)
                rare = [row for row in found if not hits[KINDS[row[0] >> 27]]]
                if rare:
                    return rare
                time.sleep(0.02)
        except psycopg2.Error:
            pass
        return found

    def hits(self, fault=None):
        """{kind: how many that it (or any) struck were rolled back}"""
        struck = self.struck[fault] if fault else set().union(*self.struck.values())
        there = {n for n, in self.database.rows("select n from t.made where n = any (%s)", list(struck))}
        kinds = [KINDS[n >> 27] for n in struck - there]
        return {kind: kinds.count(kind) for kind in KINDS.values()}

    def interrupted(self, fault):
        return sum(self.hits(fault).values())

    def end_senders(self):
        """They will not know what became of what they have said."""
        with contextlib.suppress(psycopg2.Error):
            self.database.rows("""
                select pg_terminate_backend(a.pid) from (
                    select pid from pg_stat_activity where datname = current_database()
                    and application_name = 'sender' order by state = 'active' desc, random() limit 2) a""")


class Client(threading.Thread):
    """A connection that is made again when it is lost."""

    def __init__(self, database):
        super().__init__()
        self.database = database
        self.connection = None
        self.over = threading.Event()
        self.problem = None
        self.lost = 0

    def run(self):
        try:
            while not self.over.is_set():
                try:
                    self.connect()
                    pause = self.turn()
                except psycopg2.Error as e:
                    gone(e, self.connection)
                    self.lost += 1
                    pause = 0.05
                self.over.wait(pause)
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e

    def connect(self):
        if self.connection is None or self.connection.closed:
            self.connection = self.database.connect()
            rows(self.connection, f"set application_name = '{type(self).__name__.lower()}'")

    def turn(self):
        """What it does; how many seconds to sleep then."""
        raise NotImplementedError


class Sender(Client):
    def __init__(self, database, runs):
        super().__init__(database)
        self.runs = runs
        self.begun = time.monotonic()

    def turn(self):
        now = time.monotonic() - self.begun
        due = [r for r in self.runs if r.deeds and r.deeds[0][0] <= now]
        waiting = set(rows(self.connection, WAITING, [r.id for r in due if r.deeds[0][1]]))
        for run in due:
            if run.deeds[0][1] is None or (run.id, run.deeds[0][1]) in waiting:
                self.do(run)
        self.runs = [r for r in self.runs if r.deeds]
        if not self.runs:
            self.over.set()
        return 0.05

    def do(self, run):
        due, _, what, args = run.deeds[0]
        # If it is not answered it may have been done, and the run is elsewhere.
        run.deeds[0] = (due, None, what, args)
        rows(self.connection, f"select chimp.{what}", *args)
        if "signal" in what and random.random() < 0.2:
            # It is known, and by the time that it is said again the run may have ended.
            assert rows(self.connection, f"select chimp.{what}", *args) == [(False,)]
        run.deeds.pop(0)


class Watcher(Client):
    """Looks now and then: in no snapshot is a run stuck."""

    looks = 0

    def connect(self):
        if self.connection is None or self.connection.closed:
            super().connect()
            self.connection.set_session("repeatable read", readonly=True, autocommit=False)

    def turn(self):
        begun = time.monotonic()
        nothing_is_stuck(self.connection)
        self.connection.rollback()
        self.looks += 1
        return 0.3 + 5 * (time.monotonic() - begun)


def nothing_is_stuck(connection):
    for what, statement in (("stuck", STUCK), ("deaf", DEAF), ("not in one state", NOT_ONE_STATE)):
        found = rows(connection, statement)
        assert found == [], f"{what}: {found[:5]}"


class Senders:
    """with Senders(database, runs) as senders: ...; they go on until all is said."""

    def __init__(self, database, runs, n=4):
        self.senders = [Sender(database, runs[i::n]) for i in range(n)]
        self.watcher = Watcher(database)

    def __enter__(self):
        for thread in (*self.senders, self.watcher):
            thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None or self.problems():
            self.stop()
        for sender in self.senders:
            sender.join()
        self.watcher.over.set()
        self.watcher.join()

    def stop(self):
        for thread in (*self.senders, self.watcher):
            thread.over.set()

    def problems(self):
        return [t.problem for t in (*self.senders, self.watcher) if t.problem is not None]

    def left(self):
        """Runs that have not been told all yet."""
        return [r for s in self.senders for r in s.runs]
