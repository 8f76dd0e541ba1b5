"""Everything is killed at random, on three nodes, while jobs move money.

The sum never changes; every acknowledged job has its effect once; every job
ends; limits are never exceeded; no claim is left.
"""

import collections
import os
import random
import signal
import threading
import time

import psycopg2
import psycopg2.extras
import pytest

from harness import procs
from harness.cluster import rows
from harness.settings import long_or_short
from harness.wait import until

ACCOUNTS = 20
TOTAL = ACCOUNTS * 1000

SCHEMA = f"""
create schema f;
create table f.account (id int primary key, balance bigint not null);
insert into f.account select n, 1000 from generate_series(1, {ACCOUNTS}) n;
-- Nothing is unique: what is done twice would be seen.
create table f.effect (job bigint, queue text, begun timestamptz, ended timestamptz, next bigint);
create function f.move(input jsonb) returns jsonb language plpgsql as $$
declare
    begun timestamptz := clock_timestamp();
    next bigint;
begin
    perform from f.account where id in ((input ->> 'from')::int, (input ->> 'to')::int)
    order by id for update;
    update f.account set balance = balance - 1 where id = (input ->> 'from')::int;
    perform pg_sleep((input ->> 'sleep')::float);
    update f.account set balance = balance + 1 where id = (input ->> 'to')::int;
    if input ? 'next' then
        next := chimp.enqueue('move', input -> 'next');
    end if;
    if input ? 'never' or (input ? 'chance' and random() < 0.2) then
        raise exception 'not this time';
    end if;
    insert into f.effect values ((chimp.job() ->> 'id')::bigint, chimp.job() ->> 'queue',
        begun, clock_timestamp(), next);
    return null;
end $$;
"""
QUEUES = """
  queue "move" { sql = "f.move"  max_attempts = 100  retry_delay = "20ms"  backoff = "constant" }
  queue "dies" { sql = "f.move"  max_attempts = 2  retry_delay = "20ms"  backoff = "constant" }
  queue "one" { sql = "f.move"  concurrency = 1 }
  queue "seven" { sql = "f.move"  concurrency = 7 }
"""

# More of these at once than one, by what they themselves have written down.
AT_ONCE = """
select coalesce(max(n), 0) from (
    select count(*) filter (where e.begun <= o.begun and e.ended > o.begun) as n
    from f.effect o join f.effect e using (queue) where queue = %s group by o.ctid) x
"""


def payload(**more):
    a, b = random.sample(range(1, ACCOUNTS + 1), 2)
    return {"from": a, "to": b, "sleep": random.choice([0, 0, 0.01, 0.3]), **more}


def any_job(i):
    """(queue, payload, options of chimp.enqueue)"""
    kind = random.choice(["steady"] * 3 + ["chance", "next", "key"] * 2 + ["dies", "one", "seven"])
    if kind == "dies":
        return "dies", payload(never=True), {}
    if kind == "key":
        return "move", payload(), {"ordering_key": f"k{i % 3}"}
    if kind in ("one", "seven"):
        return kind, {**payload(), "sleep": 0.02}, {}
    if kind == "next":
        return "move", payload(next={**payload(), "sleep": 0}), {}
    if kind == "chance":
        return "move", payload(chance=True), {}
    return "move", payload(), {"priority": random.choice([0, 0, 1])}


class Enqueuer(threading.Thread):
    """Enqueues in transactions, some of which it rolls back; knows which stand."""

    def __init__(self, database, pause):
        super().__init__()
        self.database = database
        self.pause = pause
        self.over = threading.Event()
        self.acknowledged = {}     # job -> queue
        self.undone = set()        # of transactions that were rolled back
        self.unknown = set()       # the connection was lost at the commit
        self.lost = 0

    def run(self):
        i = 0
        while not self.over.wait(self.pause):
            try:
                with_connection = psycopg2.connect(self.database.url)
            except psycopg2.Error:
                continue
            try:
                while not self.over.wait(self.pause):
                    i += 1
                    self.transaction(with_connection, i)
            except psycopg2.Error:
                self.lost += 1
            finally:
                with_connection.close()

    def transaction(self, connection, i):
        ids = {}
        with connection.cursor() as cursor:
            for _ in range(random.randint(1, 5)):
                queue, what, more = any_job(i)
                names = "".join(f", {name} => %s" for name in more)
                cursor.execute(f"select chimp.enqueue(%s, %s{names})",
                               (queue, psycopg2.extras.Json(what), *more.values()))
                ids[cursor.fetchone()[0]] = queue
        if random.random() < 0.2:
            self.undone |= ids.keys()
            connection.rollback()
            return
        try:
            connection.commit()
        except psycopg2.Error:
            self.unknown |= ids.keys()
            raise
        self.acknowledged.update(ids)


class Watcher(threading.Thread):
    """Looks at the sum and at the claims of limited queues all the time."""

    def __init__(self, database):
        super().__init__()
        self.database = database
        self.over = threading.Event()
        self.sums = collections.Counter()
        self.most = collections.Counter()

    def run(self):
        while not self.over.wait(0.05):
            try:
                self.look()
            except psycopg2.Error:
                pass    # the server restarts

    def look(self):
        connection = psycopg2.connect(self.database.url)
        connection.autocommit = True
        try:
            while not self.over.wait(0.05):
                self.sums[rows(connection, "select sum(balance) from f.account")[0][0]] += 1
                for queue, n in rows(connection, """
                        select q.name, sum(cardinality(c.jobs)) from chimp.job_claim c
                        join chimp.queue q on q.id = c.queue_id group by 1"""):
                    self.most[queue] = max(self.most[queue], n)
        finally:
            connection.close()


class Faults:
    """Does one thing after the other to three nodes and their PostgreSQL."""

    def __init__(self, nodes, cluster, database):
        self.nodes = nodes
        self.cluster = cluster
        self.database = database
        self.done = collections.Counter()
        self.hits = 0              # workers and masters that were killed with running jobs

    def ask(self, statement, *args):
        try:
            return self.database.rows(statement, *args)
        except psycopg2.Error:
            return []

    def running(self, pids):
        return len(self.ask("select j.id from chimp.jobs j join chimp.process p on p.id = j.process_id"
                            " where j.state = 'running' and p.pid = any (%s)", list(pids)))

    def worker(self):
        workers = list(random.choice(self.nodes).children("worker").values())
        return random.choice(workers) if workers else None

    def kill_worker(self):
        pid = self.worker()
        if pid is not None:
            self.hits += self.running([pid]) > 0
            procs.end([pid])

    def kill_master(self):
        node = random.choice(self.nodes)
        self.hits += self.running(node.children("worker").values()) > 0
        node.expected_status = -signal.SIGKILL
        procs.end([node.pid])
        node.wait(10)
        node.expected_status = 0
        node.start(timeout=60)

    def kill_backend(self):
        """The postmaster ends all others, and recovers."""
        self.backend(lambda pid: os.kill(pid, signal.SIGKILL))

    def terminate_backend(self):
        self.backend(lambda pid: self.ask("select pg_terminate_backend(%s)", pid))

    def backend(self, end):
        found = self.ask("select pid from pg_stat_activity where datname = current_database()"
                         " and application_name like 'chimpd/worker/%%'")
        if found:
            try:
                end(random.choice(found)[0])
            except ProcessLookupError:
                pass

    def stop_worker(self):
        pid = self.worker()
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(random.uniform(0, 1))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def restart_postgres(self):
        self.cluster.stop(signal.SIGQUIT)
        self.cluster.start()

    def any(self):
        what, = random.choices(
            [self.kill_worker, self.kill_master, self.kill_backend, self.terminate_backend,
             self.stop_worker, self.restart_postgres], [12, 3, 1, 6, 4, 1])
        self.done[what.__name__] += 1
        what()


@pytest.fixture
def three(start, app, make_cluster):
    """three(workers) -> nodes, cluster, database"""
    def make(workers):
        cluster = make_cluster(fsync="on")
        database = cluster.create_database()
        made = app(QUEUES, SCHEMA)
        nodes = [start(made, name=f"n{n}", node=f"n{n}", url=database.url, processes=0, cron=0,
                       subscriber=0, workers=workers, top='restart_delay_max = "200ms"')
                 for n in range(3)]
        return nodes, cluster, database
    return make


def ends(database, watchers):
    """Every job ends; nothing of it is left anywhere."""
    for watcher in watchers:
        watcher.over.set()
        watcher.join()
    until(lambda: database.rows("select distinct state from chimp.jobs"
                                " where state not in ('done', 'dead')") == [],
          "every job has ended", timeout=90)
    assert database.value("select count(*) from chimp.job_claim") == 0
    assert database.value("""
        select count(*) from (select job_id from chimp.job_ready
            union all select job_id from chimp.job_scheduled
            union all select job_id from chimp.job_held
            union all select job_id from chimp.job_suspect
            union all select job_id from chimp.job_key) left_over""") == 0


def effects_are_right(database, enqueuer):
    """Of every job that stands one effect, of every other none."""
    assert database.rows("select job from f.effect group by job having count(*) > 1") == []
    states = dict(database.rows("select id, state from chimp.jobs"))
    effects = {job for job, in database.rows("select job from f.effect")}
    follow_ups = {job for job, in database.rows("select next from f.effect where next is not null")}
    assert {job for job, state in states.items() if state == "done"} == effects
    for job, queue in enqueuer.acknowledged.items():
        assert states.get(job) == ("dead" if queue == "dies" else "done"), job
    assert not enqueuer.undone & states.keys()
    assert states.keys() - enqueuer.unknown == enqueuer.acknowledged.keys() | follow_ups
    # Only a job's own failure is charged.
    assert database.rows("select id, attempt, error from chimp.jobs where queue <> 'dies'"
                         " and not payload ? 'chance' and attempt > 1") == []
    assert database.value("select coalesce(max(attempt), 2) from chimp.jobs"
                          " where queue = 'dies'") == 2


def limits_held(database, watcher):
    for queue, limit in ("one", 1), ("seven", 7):
        assert database.value(AT_ONCE, queue) <= limit
        assert watcher.most[queue] <= limit


@pytest.mark.soak
def test_money_is_moved_once_whatever_is_killed(three, record_property):
    nodes, cluster, database = three(
        'worker default { processes = 2  concurrency = 6  lease = "5s" }')
    enqueuer, watcher = Enqueuer(database, 0.05), Watcher(database)
    faults = Faults(nodes, cluster, database)
    for thread in enqueuer, watcher:
        thread.start()
    try:
        until_s = time.monotonic() + long_or_short(3600, 30)
        while time.monotonic() < until_s:
            time.sleep(random.uniform(0, 0.8))
            faults.any()
    finally:
        enqueuer.over.set()
        enqueuer.join()
    ends(database, [watcher])
    assert set(watcher.sums) == {TOTAL}
    assert database.value("select sum(balance) from f.account") == TOTAL
    effects_are_right(database, enqueuer)
    limits_held(database, watcher)
    interruptions = database.value("select sum(interruptions) from chimp.job_attempt")
    assert faults.hits > 0, "no kill has hit a running job"
    assert interruptions > 0
    record_property("figure", f"{dict(faults.done)}: {len(enqueuer.acknowledged)} jobs "
                    f"acknowledged, {len(enqueuer.unknown)} nobody knows, "
                    f"{len(enqueuer.undone)} rolled back; {faults.hits} kills hit running jobs, "
                    f"{interruptions} interruptions; none lost or doubled")


@pytest.mark.soak
def test_g13_limits_hold_while_64_workers_are_killed(three, record_property):
    nodes, cluster, database = three("worker default { processes = 2  concurrency = 11 }")
    watcher = Watcher(database)
    watcher.start()
    faults = Faults(nodes, cluster, database)
    seconds = long_or_short(600, 10)
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        for queue in "one", "seven", "move":
            # Never empty, so that every permit is wanted.
            if database.value("select ready from chimp.queues where name = %s", queue) < 200:
                database.rows("select chimp.enqueue_many(%s, array(select %s::jsonb from"
                              " generate_series(1, 200)))", queue,
                              psycopg2.extras.Json({**payload(), "sleep": 0.02}))
        faults.kill_worker()
        time.sleep(random.uniform(0, 0.2))
    for queue in "one", "seven", "move":
        while database.value("select chimp.drain(%s)", queue):
            pass
    watcher.over.set()
    watcher.join()
    until(lambda: database.value("select count(*) from chimp.job_claim") == 0, "all have ended")
    assert faults.hits > 0
    limits_held(database, watcher)
    assert database.rows("select job from f.effect group by job having count(*) > 1") == []
    # The longest time in which nobody had the only permit.
    gap = database.value("""
        select max(extract(epoch from begun - before) * 1000)::int from (
            select begun, lag(ended) over (order by begun) as before
            from f.effect where queue = 'one') x""")
    assert gap < 10000
    record_property("figure", f"limits 1 and 7, {faults.hits} kills in {seconds} s: at most "
                    f"{watcher.most['one']} and {watcher.most['seven']} claimed; the only permit "
                    f"was free for {gap} ms at most (goal 1000, limit 10000)")
