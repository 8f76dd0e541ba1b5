"""Writers that publish events beside rows of their own, and an audit of who got what.

An event's reference is the writer's own, and a row with it commits with the
event, or not: the rows say what has to have been delivered. Handlers log each
delivery in their transaction, by a run's number that nothing else has.
"""

import collections
import contextlib
import heapq
import itertools
import random
import threading
import time

import psycopg2

from .bank import gone
from .cluster import rows
from .faults import Faults

SCHEMA = """
create schema t;
create table t.row (ref text primary key, key text);
create table t.log (n bigint generated always as identity, subscription text, id bigint,
    ref text, key text, run int, at timestamptz default clock_timestamp(), published_at timestamptz);

-- And long enough commits to be struck.
create function t.commit_slowly() returns trigger language plpgsql as $$
begin
    if random() < 0.03 then
        perform pg_sleep(random() * 0.2);
    end if;
    return null;
end $$;
create constraint trigger slowly after insert on t.row deferrable initially deferred
    for each row execute function t.commit_slowly();
create function t.say(ref text, key text) returns bigint language sql as $$
    insert into t.row values (ref, key);
    select chimp.publish('said', jsonb_build_object('ref', ref), key)
$$;

-- The lock tells which backend runs what, until its transaction ends.
create function t.take(subscription text, event jsonb) returns void language plpgsql as $$
declare
    run int := floor(random() * 2147483647);
begin
    perform pg_advisory_xact_lock_shared(8, run);
    insert into t.log (subscription, id, ref, key, run, published_at)
    values ($1, (event ->> 'id')::bigint, event -> 'payload' ->> 'ref', event ->> 'key', run,
        (event ->> 'publishedAt')::timestamptz);
end $$;
-- Long enough at times for its owner's successor to come first.
create function t.pause(percent int) returns void language plpgsql as $$
begin
    if random() * 100 < percent then
        perform pg_sleep(power(random(), 4) * 0.5);
    end if;
end $$;
create function t.take_all(subscription text, events jsonb) returns void language plpgsql as $$
declare
    event jsonb;
begin
    for event in select e.value from jsonb_array_elements(events) with ordinality e order by e.ordinality loop
        perform t.take(subscription, event);
    end loop;
end $$;
create function t.each(event jsonb) returns jsonb language plpgsql as $$
begin
    perform t.take('each', event);
    perform t.pause(3);
    return null;
end $$;
create function t.batch(events jsonb) returns jsonb language plpgsql as $$
begin
    perform t.take_all('batch', events);
    perform t.pause(50);
    return null;
end $$;
create function t.replayed(event jsonb) returns jsonb language plpgsql as $$
begin
    perform t.take('replayed', event);
    perform t.pause(1);
    return null;
end $$;
"""

# The handlers that run now, in which process's backend.
RUNNING = """
select l.objid::bigint as run, p.pid as worker, p.node, l.pid as backend
from pg_locks l join pg_stat_activity a on a.pid = l.pid
join chimp.process p on p.role = 'subscriber'
    and a.application_name like 'chimpd/subscriber/' || p.slot || '/%%@' || p.node
where l.locktype = 'advisory' and l.classid = 8 and l.granted
"""


def log(database, subscription):
    """[(reference, key, id)] in the order in which its handlers ran."""
    return database.rows(
        "select ref, key, id from t.log where subscription = %s order by n", subscription)


class StreamFaults(Faults):
    """Where it strikes, it notes the runs of handlers that were under way."""

    def running(self):
        try:
            return self.database.rows(RUNNING)
        except psycopg2.Error:
            return []

    def interrupted(self, fault):
        """Of the runs that it struck, those that were rolled back."""
        runs = list(self.struck[fault])
        return len(runs) - self.database.value(
            "select count(*) from t.log where run = any (%s)", runs)

    def kill_a_subscriber(self):
        return self.kill_a_worker()

    def end_writers(self):
        """Those that commit first: they will not know what became of it."""
        with contextlib.suppress(psycopg2.Error):
            self.database.rows("""
                select pg_terminate_backend(a.pid) from (
                    select pid from pg_stat_activity where datname = current_database()
                    and application_name = 'writer'
                    order by state = 'active' and query ilike 'commit' desc, random() limit 5) a""")


class Writer:
    """Publishes a few events to a transaction, and keeps what it was told of each.

    kept: {reference: (key, when it was said, when its commit was known)}.
    """

    def __init__(self, database, number, over, longest_s, pause_s):
        self.database = database
        self.number = number
        self.over = over  # an Event
        self.longest_s = longest_s
        self.pause_s = pause_s
        self.dice = random.Random()
        self.connection = None
        self.refs = itertools.count(1)
        self.kept = {}
        self.lost = set()
        self.unknown = None  # {reference: (key, said)} whose commit was not answered
        self.unanswered = 0
        self.longest = 0

    def live(self):
        """Yields how many seconds to sleep, again and again."""
        while not self.over.is_set() or self.unknown is not None:
            yield self.dice.expovariate(1 / self.pause_s)
            try:
                self.connect()
                self.find_out()
            except psycopg2.Error as e:
                gone(e, self.connection)
                continue
            yield from self.transaction()
        self.connection.close()

    def connect(self):
        if self.connection is None or self.connection.closed:
            self.connection = self.database.connect()
            rows(self.connection, "set application_name = 'writer'")
            self.connection.autocommit = False

    def find_out(self):
        if self.unknown is None:
            return
        there = {ref for ref, in rows(self.connection, "select ref from t.row where ref = any (%s)",
                                      list(self.unknown))}
        self.connection.rollback()
        assert there in (set(), self.unknown.keys()), "half of a transaction"
        if there:
            self.keep(self.unknown)
        else:
            self.lost |= self.unknown.keys()
        self.unknown = None

    def keep(self, said):
        now = time.monotonic()
        self.kept.update({ref: (key, when, now) for ref, (key, when) in said.items()})

    def length(self):
        """How long the transaction is to take: most are short."""
        most = self.dice.choices([0.05, 1, self.longest_s], [85, 12, 3])[0]
        return self.dice.uniform(0.001, most)

    def transaction(self):
        said = {}
        committing = False
        events = self.dice.choice([1, 1, 2, 3, 5])
        pause = self.length() / events
        begun = time.monotonic()
        try:
            for _ in range(events):
                self.say(said)
                yield pause
            what = self.dice.choices(["commit", "rollback", "close"], [85, 12, 3])[0]
            committing = what == "commit"
            getattr(self.connection, what)()
        except psycopg2.Error as e:
            gone(e, self.connection)
            if committing and said:
                self.unknown = said
                self.unanswered += 1
                return
            committing = False
        if committing:
            self.keep(said)
            self.longest = max(self.longest, time.monotonic() - begun)
        else:
            self.lost |= said.keys()

    def say(self, said):
        """An event; at times behind a savepoint, to which it may roll back."""
        ref = f"{self.number}.{next(self.refs)}"
        key = self.dice.choice([None, *(f"k{n}" for n in range(20)), f"own{self.number}"])
        point = self.dice.choices(["", "release", "rollback to"], [70, 15, 15])[0]
        now = time.monotonic()
        if point:
            rows(self.connection, "savepoint a")
        said[ref] = (key, now)
        rows(self.connection, "select t.say(%s, %s)", ref, key)
        if point:
            rows(self.connection, f"{point} a")
        if point == "rollback to":
            del said[ref]
            self.lost.add(ref)


class Writers:
    """with Writers(database, 200, longest_s) as writers: ...; then writers.committed()"""

    THREADS = 8

    def __init__(self, database, n, longest_s, pause_s=1.0):
        self.database = database
        self.over = threading.Event()
        self.all = [Writer(database, i, self.over, longest_s, pause_s) for i in range(n)]
        self.threads = [threading.Thread(target=self.run, args=(self.all[i::self.THREADS],))
                        for i in range(self.THREADS)]
        self.problems = []

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def run(self, writers):
        """All of them, one step of one after the other: they sleep, mostly."""
        try:
            line = [(0, i, writer.live()) for i, writer in enumerate(writers)]
            while line:
                due, i, life = heapq.heappop(line)
                while due > time.monotonic() and not self.over.is_set():
                    self.over.wait(due - time.monotonic())
                pause = next(life, None)
                if pause is not None:
                    heapq.heappush(line, (time.monotonic() + pause, i, life))
        except Exception as e:  # pylint: disable=broad-except
            self.problems.append(e)

    def committed(self):
        """{reference: (key, said, known)} of all; they are what the database has."""
        assert self.problems == []
        kept, lost = {}, set()
        for writer in self.all:
            kept.update(writer.kept)
            lost |= writer.lost
        there = dict(self.database.rows("select ref, key from t.row"))
        assert there == {ref: key for ref, (key, _, _) in kept.items()}
        assert not lost & there.keys()
        return kept

    def unanswered(self):
        return sum(writer.unanswered for writer in self.all)

    def longest(self):
        return max(writer.longest for writer in self.all)


# --- audit -----------------------------------------------------------------------

def each_once(delivered, committed):
    """delivered: [(reference, key, id)]"""
    counts = collections.Counter((ref, key) for ref, key, _ in delivered)
    wanted = {(ref, key) for ref, (key, _, _) in committed.items()}
    assert wanted - counts.keys() == set(), "lost"
    assert counts.keys() - wanted == set(), "of transactions that were rolled back"
    assert [event for event, n in counts.items() if n > 1] == [], "doubled"


def by_key(delivered):
    """{key: [reference, ...]} of those that have one."""
    found = collections.defaultdict(list)
    for ref, key, _ in delivered:
        if key is not None:
            found[key].append(ref)
    return found


def happened_before(refs, committed):
    """No event stands before one that was known to be committed before it was said."""
    known_behind = float("inf")
    for ref in reversed(refs):
        _, said, known = committed[ref]
        assert said <= known_behind, f"{ref} stands before an event of its past"
        known_behind = min(known_behind, known)
