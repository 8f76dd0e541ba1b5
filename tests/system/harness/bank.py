"""A bank whose jobs move money, and an audit of what became of each of them.

Every job has a reference of the client's own: after a crash PostgreSQL gives out
again the ids of those that were never committed. A job says by it how it is to
fare; the effect that it leaves is not unique, so that a second one would be seen.
"""

import collections
import random
import threading
import time

import psycopg2
from psycopg2.extras import Json

from .cluster import rows

MAX_ATTEMPTS = 3
ACCOUNTS, BALANCE = 20, 1000
LIMITS = {"one": 1, "seven": 7}
POLICY = f'sql = "t.work"  max_attempts = {MAX_ATTEMPTS}  backoff = "constant"' \
         '  retry_delay = "50ms"'
QUEUES = "\n".join([
    *(f'queue "{name}" {{ {POLICY} }}' for name in ("quick", "slow", "keyed")),
    *(f'queue "{name}" {{ {POLICY}  concurrency = {n} }}' for name, n in LIMITS.items())])

SCHEMA = f"""
create schema t;
create table t.account (id int primary key, balance bigint not null);
insert into t.account select i, {BALANCE} from generate_series(1, {ACCOUNTS}) i;
create table t.effect (ref text, queue text, job bigint, token bigint, key text, source int,
    target int, amount bigint, begun timestamptz, ended timestamptz default clock_timestamp());
create table t.permit (queue text, n int, primary key (queue, n));
insert into t.permit select 'one', 1 union all select 'seven', generate_series(1, 7);

-- Counted by sequences: those stay when the handler is rolled back.
create sequence t.exceeded;      -- more ran than the limit
create sequence t.beside_dead;   -- more backends ran, but not all for a claim that stood

-- A permit of the test's own, to this transaction's end.
create function t.take_permit(job jsonb) returns void language plpgsql as $$
declare
    allowed int := (select count(*) from t.permit p where p.queue = job ->> 'queue');
    claimed int;
    running int;
begin
    if allowed = 0 then
        return;
    end if;
    perform from t.permit p where p.queue = job ->> 'queue' for update skip locked limit 1;
    if not found then
        select count(*) into running from chimp.job_claim c
        join chimp.queue q on q.id = c.queue_id
        join pg_locks l on l.locktype = 'advisory' and l.classid = 7 and l.objid::bigint = c.token % 2147483648
        where q.name = job ->> 'queue';
        perform nextval(case when running > allowed then 't.exceeded' else 't.beside_dead' end);
    end if;
    select sum(cardinality(c.jobs)) into claimed from chimp.job_claim c
    join chimp.queue q on q.id = c.queue_id where q.name = job ->> 'queue';
    if claimed > allowed then
        perform nextval('t.exceeded');
    end if;
end $$;

create function t.move(source int, target int, amount bigint, pause float) returns void
language plpgsql as $$
begin
    perform from t.account a where a.id in (source, target) order by a.id for update;
    update t.account a set balance = a.balance - amount where a.id = source;
    if pause > 0 then
        perform pg_sleep(pause);
    end if;
    update t.account a set balance = a.balance + amount where a.id = target;
end $$;

create function t.work(input jsonb) returns jsonb language plpgsql as $$
declare
    job jsonb := chimp.job();
    begun timestamptz := clock_timestamp();
    more int := (input ->> 'more')::int;
begin
    -- Tells which backend runs what.
    perform pg_advisory_xact_lock_shared(7, ((job ->> 'token')::bigint % 2147483648)::int);
    perform t.take_permit(job);
    if (input ->> 'before')::float > 0 then
        perform pg_sleep((input ->> 'before')::float);
    end if;
    perform t.move((input ->> 'source')::int, (input ->> 'target')::int,
        (input ->> 'amount')::bigint, (input ->> 'pause')::float);
    insert into t.effect (ref, queue, job, token, key, source, target, amount, begun)
    values (input ->> 'ref', job ->> 'queue', (job ->> 'id')::bigint, (job ->> 'token')::bigint,
        input ->> 'key', (input ->> 'source')::int, (input ->> 'target')::int,
        (input ->> 'amount')::bigint, begun);
    if more > 0 then
        perform chimp.enqueue('quick', input || jsonb_build_object('ref', (input ->> 'ref') || '/',
            'more', more - 1, 'fails', 0, 'before', 0, 'key', null));
    end if;
    if (job ->> 'attempt')::int <= (input ->> 'fails')::int then
        raise exception 'at times';
    end if;
    return to_jsonb(more);
end $$;
"""

# The handlers that run now, and for whom. Theirs is a claim that stands.
RUNNING = """
select u.job, p.pid as worker, p.node, l.pid as backend
from pg_locks l join chimp.job_claim c on c.token % 2147483648 = l.objid::bigint
join chimp.process p on p.id = c.process_id cross join unnest(c.jobs) u (job)
where l.locktype = 'advisory' and l.classid = 7 and l.granted
"""

# Each job once for each table that says of it how it is.
STATES = """
select job_id, 'ready' as state from chimp.job_ready
union all select job_id, 'scheduled' from chimp.job_scheduled
union all select job_id, 'held' from chimp.job_held
union all select unnest(jobs), 'claimed' from chimp.job_claim
union all select unnest(jobs), 'done' from chimp.job_done
union all select job_id, state from chimp.job_ended
"""
NOT_ONE_STATE = f"""
select j.id, s.job_id, array_agg(s.state) from chimp.job j
full join ({STATES}) s on s.job_id = j.id group by 1, 2
having count(s.state) <> 1 or count(j.id) <> 1
"""
OPEN = "select " + " + ".join(
    f"(select count(*) from chimp.job_{table})" for table in ("ready", "scheduled", "held", "claim"))

# Accounts that are not what their effects make of them.
NOT_BALANCED = f"""
select a.id, a.balance, {BALANCE} + coalesce(m.sum, 0) from t.account a left join (
    select e.id, sum(e.amount) from (
        select source as id, -amount as amount from t.effect
        union all select target, amount from t.effect) e group by e.id) m on m.id = a.id
where a.balance <> {BALANCE} + coalesce(m.sum, 0)
"""

# The most whose claims and commits overlapped, of each queue and key.
AT_ONCE = """
select queue, max(n) from (
    select queue, sum(step) over (partition by queue, part order by at, step) as n
    from (select queue, {key} as part, begun as at, 1 as step from t.effect
        union all select queue, {key}, ended, -1 from t.effect) s
    where part is not null) x
group by queue
"""


def gone(error, connection):
    """Close it if that is what the server's end looks like, else raise the error again."""
    if error.pgcode is not None and not error.pgcode.startswith("57P"):
        raise error
    if connection is not None:
        connection.close()


ALL_QUEUES = {"quick": 5, "slow": 1, "keyed": 2, "one": 1, "seven": 2}  # in shares


def order(dice, ref, queue, client):
    """The payload of a job, and the arguments of its enqueue."""
    source, target = dice.sample(range(1, ACCOUNTS + 1), 2)
    before = {"slow": dice.uniform(0.2, 1), "one": dice.uniform(0, 0.05),
              "seven": dice.uniform(0, 0.3)}.get(queue, 0)
    key = f"{client}.{dice.randrange(2)}" if queue == "keyed" else None
    payload = {"ref": ref, "source": source, "target": target, "amount": dice.randint(1, 99),
               "before": before, "pause": dice.choice([0, 0, 0, 0.01]), "key": key,
               "fails": dice.choices([0, 1, 2, MAX_ATTEMPTS], [80, 12, 5, 3])[0],
               "more": dice.choices([0, 1, 2], [80, 14, 6])[0]}
    more = {"ordering_key": key}
    if key is None:
        more["delay"] = dice.choices([None, "200 ms"], [9, 1])[0]
        more["unique_key"] = dice.choices([None, ref], [9, 1])[0]
    return payload, more


class Client(threading.Thread):
    """Enqueues, a few jobs to a transaction, and keeps what it was told of each.

    acknowledged: {reference: payload}; rolled_back: references; unknown: a dict
    like acknowledged for each transaction whose commit was not answered.
    """

    WAITING_MAX = 40  # of a queue: it is not to be what is measured

    def __init__(self, database, number, queues, pause_s):
        super().__init__(name=f"client {number}")
        self.pause_s = pause_s
        self.queues = queues
        self.database = database
        self.number = number
        self.dice = random.Random()
        self.connection = None
        self.numbers = 0
        self.acknowledged = {}
        self.rolled_back = set()
        self.unknown = []
        self.over = threading.Event()
        self.problem = None

    def run(self):
        try:
            while not self.over.is_set():
                self.transaction()
                self.over.wait(self.dice.uniform(0, self.pause_s))
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e

    def transaction(self):
        jobs = {}
        try:
            if self.connection is None or self.connection.closed:
                self.connection = self.database.connect()
                self.connection.autocommit = False
            for queue in self.with_room():
                self.numbers += 1
                ref = f"{self.number}.{self.numbers}"
                jobs[ref], more = order(self.dice, ref, queue, self.number)
                self.enqueue(queue, jobs[ref], more)
            what = self.dice.choices(["commit", "rollback", "close"], [85, 12, 3])[0]
            if what != "commit":
                getattr(self.connection, what)()
        except psycopg2.Error as e:
            gone(e, self.connection)
            what = "lost"
        if what != "commit":
            self.rolled_back |= jobs.keys()
            return
        try:
            self.connection.commit()
            self.acknowledged.update(jobs)
        except psycopg2.Error as e:
            gone(e, self.connection)
            self.unknown.append(jobs)

    def with_room(self):
        deep = {name for name, in rows(self.connection, """
            select q.name from chimp.queue q cross join lateral (
                select count(*) as n from (
                    select from chimp.job_ready r where r.queue_id = q.id
                    union all select from chimp.job_held h where h.queue_id = q.id
                    limit %s) x) w where w.n = %s""", self.WAITING_MAX, self.WAITING_MAX)}
        queues = [q for q, share in self.queues.items() for _ in range(share) if q not in deep]
        return [self.dice.choice(queues) for _ in range(self.dice.randint(1, 5)) if queues]

    def enqueue(self, queue, payload, more):
        call = "select chimp.enqueue(%s, %s, " + ", ".join(f"{k} => %s" for k in more) + ")"
        [(first,)] = rows(self.connection, call, queue, Json(payload), *more.values())
        if more.get("unique_key"):
            assert rows(self.connection, call, queue, Json(payload), *more.values()) == [(first,)]


class Reader(threading.Thread):
    """Looks into the bank now and then: nothing may be halfway in any snapshot."""

    def __init__(self, database):
        super().__init__(name="reader")
        self.database = database
        self.looks = 0
        self.over = threading.Event()
        self.problem = None

    def run(self):
        connection = None
        while not self.over.is_set():
            begun = time.monotonic()
            try:
                connection = self.look(connection)
            except Exception as e:  # pylint: disable=broad-except
                self.problem = e
                return
            self.over.wait(0.2 + 5 * (time.monotonic() - begun))


    def look(self, connection):
        try:
            if connection is None or connection.closed:
                connection = self.database.connect()
                connection.set_session("repeatable read", readonly=True, autocommit=False)
            nothing_is_halfway(connection)
            connection.rollback()
            self.looks += 1
        except psycopg2.Error as e:
            gone(e, connection)
        return connection


def nothing_is_halfway(connection):
    """Of one snapshot, if the connection's isolation says so."""
    for statement, expected in (("select sum(balance) from t.account", [(ACCOUNTS * BALANCE,)]),
                                (NOT_BALANCED, []), (NOT_ONE_STATE, [])):
        found = rows(connection, statement)
        assert found == expected, f"{found[:10]} by {statement}"
    for queue, claimed in rows(
            connection, "select q.name, sum(cardinality(c.jobs)) from chimp.job_claim c"
            " join chimp.queue q on q.id = c.queue_id group by 1"):
        assert claimed <= LIMITS.get(queue, claimed), f"{claimed} of queue {queue} are claimed"


class Bank:
    """with Bank(database, clients=3) as bank: ...; then bank.audit()"""

    def __init__(self, database, queues=None, clients=3, pause_s=0.1):
        """queues: those that are used, in shares; all if none are named.

        pause_s: at most, of a client between two transactions.
        """
        self.database = database
        self.clients = [Client(database, n, queues or ALL_QUEUES, pause_s)
                        for n in range(clients)]
        self.reader = Reader(database)

    def __enter__(self):
        for thread in (*self.clients, self.reader):
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in (*self.clients, self.reader):
            thread.over.set()
        for thread in (*self.clients, self.reader):
            thread.join()

    def problems(self):
        return [t.problem for t in (*self.clients, self.reader) if t.problem is not None]

    def settled(self):
        """{reference: payload} of what was committed; the references of what was not."""
        there = {ref for ref, in self.database.rows("select payload ->> 'ref' from chimp.job")}
        committed, rolled_back = {}, set()
        for client in self.clients:
            committed.update(client.acknowledged)
            rolled_back |= client.rolled_back
            for jobs in client.unknown:
                found = jobs.keys() & there
                assert found in (set(), jobs.keys()), "half of a transaction"
                committed.update(jobs if found else {})
                rolled_back |= set() if found else jobs.keys()
        assert committed.keys() <= there, "acknowledged jobs that are gone"
        assert not rolled_back & there, "jobs of transactions that were rolled back"
        return committed, rolled_back

    def audit(self):
        """When all has ended: each job fared as it was to. How many jobs there were."""
        assert not self.problems(), self.problems()
        committed, _ = self.settled()
        expected = {}  # reference -> (state, attempts charged)
        for ref, payload in committed.items():
            dies = payload["fails"] >= MAX_ATTEMPTS
            expected[ref] = ("dead" if dies else "done", payload["fails"])
            if not dies:
                expected.update({ref + "/" * n: ("done", 0) for n in range(1, payload["more"] + 1)})
        self.audit_effects({ref for ref, (state, _) in expected.items() if state == "done"})
        self.audit_jobs(expected)
        nothing_is_halfway(self.database.connect())
        self.audit_order()
        assert self.database.value("select is_called from t.exceeded") is False
        return len(expected)

    def audit_effects(self, done):
        effects = collections.Counter(
            ref for ref, in self.database.rows("select ref from t.effect"))
        assert [ref for ref, n in effects.items() if n > 1] == [], "doubled"
        assert done - effects.keys() == set(), "lost"
        assert effects.keys() - done == set(), "effects of what was rolled back"

    def audit_jobs(self, expected):
        found = self.database.rows(
            "select j.payload ->> 'ref', s.state, coalesce(a.attempt, 0) from chimp.job j"
            f" join ({STATES}) s on s.job_id = j.id"
            " left join chimp.job_attempt a on a.job_id = j.id")
        assert len(found) == len(expected)
        # Only the handler's own failures were charged.
        assert [f for f in found if expected.get(f[0]) != f[1:]] == []
        assert self.database.rows("select distinct error ->> 'message' from chimp.job_error") \
            in ([("at times",)], [])
        for table in ("claim", "key", "held", "unique", "ready", "scheduled"):
            assert self.database.rows(f"select * from chimp.job_{table}") == [], table

    def audit_order(self):
        for queue, n in self.database.rows(AT_ONCE.format(key="queue")):
            assert n <= LIMITS.get(queue, n), f"{n} of queue {queue} ran at once"
        for queue, n in self.database.rows(AT_ONCE.format(key="key")):
            assert n == 1, f"{n} of a key of {queue} ran at once"
        assert self.database.rows("""
            select job from (select job, lag(job) over (partition by key order by begun) as before
                from t.effect where key is not null) x where before > job""") == []
