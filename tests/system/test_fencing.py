"""G1 and G3: what a process may still do with a claim that it has lost.

The SQL functions are called as the roles call them, on several connections,
so that each interleaving is exact; the effects of real processes that die are
in test_crashes.py.
"""

import os
import signal
import threading
import uuid

import psycopg2
import pytest
from psycopg2.extras import Json

from harness.cluster import rows
from harness.wait import until

TABLES = """
create schema t;
create table t.done (job bigint, who text);
create function t.work(input jsonb) returns jsonb language sql as $$
	insert into t.done values ((chimp.job() ->> 'id')::bigint, 'worker')
	returning to_jsonb(job)
$$;
"""
QUEUE = 'queue "q" { sql = "t.work" }'
LIMITED = '''
  queue "rated" { sql = "t.work"  rate = "10/1h" }
  queue "bounded" { sql = "t.work"  concurrency = 10 }
'''


@pytest.fixture
def queue(start, app, database):
    """The registered queue, with no worker but the test itself."""
    start(app(QUEUE, TABLES), workers="", cron=0, subscriber=0)
    return database


def register(database, role="worker", lease_ms=60000):
    process = str(uuid.uuid4())
    queues = ["*"] if role == "worker" else None
    database.rows("select chimp.process_start(%s, %s, 'n', %s, 'default', 0, 1, 'v', %s, %s)",
                  process, str(uuid.uuid4()), role, queues, lease_ms)
    return process


def claim(database, process):
    [(job, token)] = database.rows(
        "select jobs[1], token from chimp.claim(%s, chimp.worker_queues(%s), 10)", process, process)
    return job, token


def done(database):
    return database.rows("select job, who from t.done order by 1, 2")


def test_g01_the_handler_s_writes_and_the_job_s_end_commit_together(queue):
    process = register(queue)
    job = queue.value("select chimp.enqueue('q', '{}')")
    _, token = claim(queue, process)
    tx = queue.transaction()
    rows(tx, "select chimp.job_done(%s, %s, t.work(chimp.job_begin(%s, %s)))",
         job, token, job, token)
    assert done(queue) == []
    assert queue.value("select state from chimp.jobs where id = %s", job) == "running"
    tx.commit()
    assert done(queue) == [(job, "worker")]
    assert queue.value("select state from chimp.jobs where id = %s", job) == "done"


def test_g03_a_stale_completion_raises_and_aborts_the_handler_s_transaction(queue):
    lost, heir = register(queue), register(queue)
    job = queue.value("select chimp.enqueue('q', '{}')")
    _, token = claim(queue, lost)
    tx = queue.transaction()
    rows(tx, "select chimp.job_begin(%s, %s)", job, token)
    rows(tx, "insert into t.done values (%s, 'lost')", job)

    assert queue.value("select chimp.process_end(%s)", lost) == 1
    _, new_token = claim(queue, heir)
    assert new_token > token
    with pytest.raises(psycopg2.Error) as raised:
        rows(tx, "select chimp.job_done(%s, %s, null)", job, token)
    assert raised.value.pgcode == "CH001"
    # Whatever a client that ignores the error sends next:
    tx.commit()
    assert done(queue) == []

    queue.rows("select chimp.job_done(%s, %s, t.work(chimp.job_begin(%s, %s)))",
               job, new_token, job, new_token)
    assert done(queue) == [(job, "worker")]


def test_g03_a_completion_that_waits_for_the_release_is_refused(queue):
    """The claim goes while job_done waits for the releaser's row lock."""
    process = register(queue)
    job = queue.value("select chimp.enqueue('q', '{}')")
    _, token = claim(queue, process)
    releaser = queue.transaction()
    rows(releaser, "select chimp.process_end(%s)", process)
    late = queue.connect()
    rows(late, "set lock_timeout = '200ms'")
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        rows(late, "select chimp.job_done(%s, %s, null)", job, token)
    releaser.commit()
    with pytest.raises(psycopg2.Error) as raised:
        rows(late, "select chimp.job_done(%s, %s, null)", job, token)
    assert raised.value.pgcode == "CH001"
    assert queue.value("select state from chimp.jobs where id = %s", job) == "ready"


@pytest.mark.parametrize("call", [
    "chimp.job_begin(%s, %s)",
    "chimp.job_done(%s, %s, null)",
    "chimp.job_fail(%s, %s, 'XX000', 'm', null, null, null)",
])
def test_g03_every_use_of_a_stale_token_raises(queue, call):
    process = register(queue)
    job = queue.value("select chimp.enqueue('q', '{}')")
    _, token = claim(queue, process)
    queue.rows("select chimp.process_end(%s)", process)
    with pytest.raises(psycopg2.Error) as raised:
        queue.rows(f"select {call}", job, token)
    assert raised.value.pgcode == "CH001"
    assert queue.value("select chimp.job_release(%s, %s)", job, token) is False


def test_g03_tokens_only_grow(queue):
    job = queue.value("select chimp.enqueue('q', '{}')")
    tokens = []
    for _ in range(5):
        process = register(queue)
        tokens.append(claim(queue, process)[1])
        queue.rows("select chimp.process_end(%s)", process)
    assert tokens == sorted(set(tokens))
    assert queue.value("select attempt from chimp.jobs where id = %s", job) == 0


def test_g03_a_dead_process_claims_nothing(queue):
    process = register(queue)
    queue.rows("select chimp.process_end(%s)", process)
    queue.rows("select chimp.enqueue('q', '{}')")
    with pytest.raises(psycopg2.Error) as raised:
        queue.rows("select * from chimp.claim(%s, array(select id from chimp.queue), 1)", process)
    assert raised.value.pgcode == "CH001"


# --- what a claim of several jobs leaves ------------------------------------------------

MIXED = TABLES + """
create function t.mixed(input jsonb) returns jsonb language plpgsql as $$
begin
	if input ? 'fails' then
		raise exception 'on purpose';
	end if;
	return null;
end $$;
"""


@pytest.fixture
def mixed(start, app, database):
    """Its chunks are claimed by the test, and one job of each fails."""
    start(app('queue "q" { sql = "t.mixed" }', MIXED), workers="", cron=0, subscriber=0)
    return database


def claim_group(database, process):
    database.rows("select chimp.enqueue('q', '{}'), chimp.enqueue('q', '{\"fails\": 1}'),"
                  " chimp.enqueue('q', '{}')")
    [(token,)] = database.rows("select token from chimp.claim(%s, chimp.worker_queues(%s), 1,"
                               " array[32])", process, process)
    return token


RUN = "select done, jobs, tokens from chimp.run_1(%s, %s)"
SPLIT = "select 0, jobs, tokens from chimp.group_split(%s, %s)"


@pytest.mark.parametrize("call, left", [(RUN, 1), (SPLIT, 3)])
def test_g06_what_a_group_leaves_is_released_by_an_end_of_its_process_meanwhile(mixed, call, left):
    """The worker is dead, and its session is about to commit."""
    process = register(mixed)
    token = claim_group(mixed, process)
    tx = mixed.transaction()
    [(done, jobs, _)] = rows(tx, call, process, token)
    assert (done, len(jobs)) == (3 - left, left)
    other, released = mixed.connect(), []
    end = threading.Thread(target=lambda: released.extend(
        rows(other, "select chimp.process_end(%s)", process)))
    end.start()
    until(lambda: mixed.value("select count(*) from pg_locks where not granted") == 1, "it waits")
    tx.commit()
    end.join()
    assert released == [(left,)]
    assert mixed.rows("select * from chimp.job_claim") == []
    assert mixed.value("select count(*) from chimp.jobs where state = 'ready'") == left


@pytest.mark.parametrize("call", [RUN, SPLIT])
def test_g03_a_group_whose_process_is_being_ended_leaves_nothing(mixed, call):
    process = register(mixed)
    token = claim_group(mixed, process)
    tx = mixed.transaction()
    assert rows(tx, "select chimp.process_end(%s)", process) == [(3,)]
    other, raised = mixed.connect(), []

    def run():
        try:
            rows(other, call, process, token)
        except psycopg2.Error as error:
            raised.append(error.pgcode)

    late = threading.Thread(target=run)
    late.start()
    until(lambda: mixed.value("select count(*) from pg_locks where not granted") >= 1, "it waits")
    tx.commit()
    late.join()
    assert raised == ["CH001"]
    assert mixed.value("select count(*) from chimp.jobs where state = 'ready'") == 3


@pytest.mark.parametrize("call", [RUN, SPLIT])
def test_g06_a_group_whose_answer_was_lost_is_given_back_with_what_it_left(mixed, call):
    process = register(mixed)
    token = claim_group(mixed, process)
    [(done, _, _)] = mixed.rows(call, process, token)
    assert mixed.value("select chimp.group_release(%s, %s)", process, token) is True
    assert mixed.value("select count(*) from chimp.jobs where state = 'ready'") == 3 - done
    assert mixed.value("select chimp.group_release(%s, %s)", process, token) is False
    token = claim_group(mixed, process)
    assert mixed.value("select chimp.group_release(%s, %s)", process, token) is True
    assert mixed.rows("select * from chimp.job_claim") == []


def test_g06_a_worker_whose_session_ends_right_behind_a_commit_loses_no_job(
        start, app, make_cluster):
    """The commit is on disk and waits for a standby that is not there."""
    cluster = make_cluster(fsync="on")
    database = cluster.create_database()
    start(app('queue "q" { sql = "t.mixed"  max_attempts = 1 }', MIXED), url=database.url, cron=0, subscriber=0)
    database.rows("set synchronous_commit = local")
    database.rows("select chimp.enqueue('q', '{}') from generate_series(1, 500)")
    ended = "select count(*) from chimp.jobs where state in ('done', 'dead')"
    until(lambda: database.value(ended) == 500, "they are known to be fast")
    cluster.admin("alter system set synchronous_standby_names = 'nobody'")
    cluster.admin("select pg_reload_conf()")
    database.rows("select chimp.enqueue('q', case when n % 2 = 0 then '{\"fails\": 1}'::jsonb"
                  " else '{}' end) from generate_series(1, 20) n")
    [(pid,)] = until(lambda: database.rows(
        "select pid from pg_stat_activity where wait_event = 'SyncRep'"
        " and query ~ 'run_1'"), "a group waits for the standby")[:1]
    database.rows("select pg_terminate_backend(%s)", pid)
    cluster.admin("alter system reset synchronous_standby_names")
    cluster.admin("select pg_reload_conf()")
    until(lambda: database.value(ended) == 520, "all jobs end", timeout=20)
    assert database.value("select count(*) from chimp.jobs where state = 'dead'") == 10


@pytest.fixture
def quiet(start, app, make_cluster):
    """Queues on a PostgreSQL that nobody uses but the test."""
    database = make_cluster(autovacuum="off").create_database()
    daemon = start(app(QUEUE + LIMITED, TABLES),
                   url=database.url, workers="", cron=0, subscriber=0)
    assert daemon.stop() == 0
    return database


class Forgetful:
    """Once it is entered, a commit reaches the disk only if it waits for that;
    at the end the server crashes."""

    def __init__(self, database):
        self.database = database

    def __enter__(self):
        [(self.writer,)] = self.database.cluster.admin(
            "select pid from pg_stat_activity where backend_type = 'walwriter'")
        os.kill(self.writer, signal.SIGSTOP)

    def __exit__(self, *_):
        os.kill(self.writer, signal.SIGKILL)
        with pytest.raises(psycopg2.Error):
            self.database.rows("select pg_sleep(60)")
        until(lambda: self.database.connect(), "PostgreSQL answers", timeout=30)


def claim_one(connection, process, queue):
    return rows(connection, "select c.jobs[1], c.token from chimp.claim(%s,"
                " array(select id from chimp.queue where name = %s), 1) c", process, queue)[0]


def test_g03_no_token_comes_twice_when_a_crash_of_the_server_takes_claims_back(quiet):
    process = register(quiet)
    jobs = [quiet.value("select chimp.enqueue('q', '{}')") for _ in range(100)]
    session = quiet.connect()
    with Forgetful(quiet):
        claims = [claim_one(session, process, "q") for _ in range(90)]
    assert [job for job, _ in claims] == jobs[:90]

    after = quiet.connect()
    [(held,)] = rows(after, "select count(*) from chimp.job_claim")
    assert held == 1, "only a session's first claim waits for the disk"
    anew = [claim_one(after, process, "q") for _ in range(99)]
    assert [job for job, _ in anew] == jobs[1:]
    assert min(token for _, token in anew) > max(token for _, token in claims)
    with pytest.raises(psycopg2.Error) as raised:
        rows(after, "select chimp.job_begin(%s, %s)", *claims[-1])
    assert raised.value.pgcode == "CH001"


@pytest.mark.parametrize("limited", ["rated", "bounded"])
def test_g13_a_crash_of_the_server_takes_no_counted_claim_back(quiet, limited):
    process = register(quiet)
    quiet.rows("select chimp.enqueue(%s, '{}') from generate_series(1, 12)", limited)
    session = quiet.connect()
    with Forgetful(quiet):
        claims = [claim_one(session, process, limited) for _ in range(9)]

    after = quiet.connect()
    assert rows(after, "select jobs[1], token from chimp.job_claim order by token") == claims
    claim_one(after, process, limited)
    assert rows(after, "select * from chimp.claim(%s, chimp.worker_queues(%s), 10)",
                process, process) == []


def test_g04_a_lease_that_ran_out_is_found_by_the_database_s_clock(queue):
    dead, alive = register(queue, lease_ms=-1), register(queue)
    queue.rows("insert into chimp.job_claim (token, process_id, queue_id, jobs)"
               " select nextval('chimp.token'), %s, id, array[chimp.enqueue('q', '{}')]"
               " from chimp.queue", dead)
    queue.rows("delete from chimp.job_ready")
    assert queue.value("select chimp.process_renew(%s, 60000, 0, '')", alive) is True
    job, _ = claim(queue, alive)
    assert queue.rows("select state, attempt from chimp.jobs where id = %s", job) == [
        ("running", 1)]
    assert queue.value("select chimp.process_renew(%s, 60000, 0, '')", dead) is False


def test_g19_a_resigned_owner_cannot_move_the_cursor(start, app, database):
    start(app('subscription "s" { event = "e"  sql = "t.work" }', TABLES),
          workers="", cron=0, subscriber=0)
    owner, heir = register(database, "subscriber"), register(database, "subscriber")

    def lane_of(process):
        return database.rows("select lane, epoch from chimp.lanes_claim(%s, '{}')", process)

    [(lane, epoch)] = lane_of(owner)
    assert lane_of(heir) == []
    database.rows("select chimp.publish('e', '{}')")
    database.rows("select chimp.tick()")
    [event] = database.rows("select tick, id, from_tick, from_id from chimp.lane_read(%s, %s, 10)",
                            lane, epoch)
    tx = database.transaction()
    rows(tx, "insert into t.done values (1, 'resigned')")
    database.rows("select chimp.process_end(%s)", owner)
    [(same_lane, new_epoch)] = lane_of(heir)
    assert same_lane == lane and new_epoch > epoch
    tick, event_id, from_tick, from_id = event
    advance = "select chimp.lane_advance(%s, %s, %s, %s, %s, %s, null)"
    with pytest.raises(psycopg2.Error) as raised:
        rows(tx, advance, lane, epoch, from_tick, from_id, tick, event_id)
    assert raised.value.pgcode == "CH001"
    tx.commit()
    assert done(database) == []

    database.rows(advance, lane, new_epoch, from_tick, from_id, tick, event_id)
    # Nor twice: the cursor does not stand there any more.
    with pytest.raises(psycopg2.Error) as raised:
        database.rows(advance, lane, new_epoch, from_tick, from_id, tick, event_id)
    assert raised.value.pgcode == "CH001"


# A backend that is named here waits in the handler for a lock.
SLOW = TABLES + """
create table t.slow (pid int);
create function t.event(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.done values ((input ->> 'id')::bigint, 'event');
	if exists (select from t.slow s where s.pid = pg_backend_pid()) then
		perform pg_advisory_xact_lock(9);
	end if;
	return null;
end $$;
create function t.events(input jsonb) returns jsonb language sql as $$
	select count(t.event(e.value)) from jsonb_array_elements(input) e;
	select null::jsonb
$$;
"""
MODES = {"each": 'sql = "t.event"', "batch": 'sql = "t.events"  mode = "batch"'}


class Delivery(threading.Thread):
    """A statement on a connection of its own; its answer, or its SQLSTATE."""

    def __init__(self, database, statement, *args):
        super().__init__()
        self.connection = database.connect()
        self.pid = self.connection.get_backend_pid()
        self.call = (statement, *args)
        self.answer = None
        self.sqlstate = None

    def run(self):
        try:
            self.answer = rows(self.connection, *self.call)
        except psycopg2.Error as e:
            self.sqlstate = e.pgcode

    def wait_blocked(self, database):
        until(lambda: database.value(
            "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s", self.pid),
            "it waits for a lock")


class Lane:
    """The only lane of a subscription, with events in it, and its owners."""

    def __init__(self, start, app, database, mode):
        start(app(f'subscription "s" {{ event = "e"  {MODES[mode]} }}', SLOW),
              workers="", cron=0, subscriber=0)
        self.database = database
        self.id = database.value("select id from chimp.lane")
        self.deliver = "select handled from chimp.deliver_%d(array[%%s]::bigint[], array[%%s]::bigint[], '1 min')" % database.value(
            "select id from chimp.subscription")
        self.owners = [register(database, "subscriber") for _ in range(2)]
        self.events = [database.value("select chimp.publish('e', '{}')") for _ in range(3)]
        database.rows("select chimp.tick()")

    def claim(self, n):
        """The epoch under which the n-th of its owners has it now."""
        return self.database.value(
            "select epoch from chimp.lanes_claim(%s, '{}')", self.owners[n])

    def end(self, n):
        self.database.rows("select chimp.process_end(%s)", self.owners[n])

    def each_once(self):
        return done(self.database) == [(event, "event") for event in self.events]


@pytest.fixture(params=list(MODES))
def lane(request, start, app, database):
    return Lane(start, app, database, request.param)


def test_g19_a_delivery_with_an_old_epoch_is_refused(lane):
    old = lane.claim(0)
    lane.end(0)
    for heir in (False, True):               # the lane is nobody's, then another's
        epoch = lane.claim(1) if heir else None
        with pytest.raises(psycopg2.Error) as raised:
            lane.database.rows(lane.deliver, lane.id, old)
        assert raised.value.pgcode == "CH001"
        assert done(lane.database) == []
    assert lane.database.value(lane.deliver, lane.id, epoch) == 3
    assert lane.each_once()


def test_g19_a_delivery_gets_on_however_long_it_takes_to_begin(lane):
    epoch = lane.claim(0)
    late = lane.deliver.replace("1 min", "0")
    assert sum(lane.database.value(late, lane.id, epoch) for _ in range(3)) == 3
    assert lane.each_once()


def test_g19_a_delivery_that_ends_after_its_heir_s_is_rolled_back(lane):
    lock = lane.database.transaction()
    rows(lock, "select pg_advisory_xact_lock(9)")
    late = Delivery(lane.database, lane.deliver, lane.id, lane.claim(0))
    lane.database.rows("insert into t.slow values (%s)", late.pid)
    late.start()
    late.wait_blocked(lane.database)
    lane.end(0)
    epoch = lane.claim(1)
    assert lane.database.value(lane.deliver, lane.id, epoch) == 3
    assert lane.each_once()
    lock.commit()
    late.join(20)
    assert late.sqlstate == "CH001"
    assert lane.each_once()
    assert lane.database.value(lane.deliver, lane.id, epoch) == 0


def test_g19_a_delivery_that_ends_between_is_not_repeated_by_its_heir(lane):
    tx = lane.database.transaction()
    [(handled,)] = rows(tx, lane.deliver, lane.id, lane.claim(0))
    assert handled == 3
    lane.end(0)
    claim = Delivery(lane.database, "select epoch from chimp.lanes_claim(%s, '{}')", lane.owners[1])
    claim.start()
    claim.wait_blocked(lane.database)
    tx.commit()
    claim.join(20)
    assert claim.sqlstate is None
    [(epoch,)] = claim.answer
    assert lane.each_once()
    assert lane.database.value(lane.deliver, lane.id, epoch) == 0
    assert lane.each_once()


FORMER = {"event": "e", "sql": "t.event", "lanes": 2, "batch": 32, "max_attempts": 3,
          "retry_delay_ms": 1000, "retry_delay_max_ms": 1000, "backoff": "constant",
          "on_failure": "park"}


@pytest.mark.parametrize("former", [False, True])
def test_g19_a_seek_beats_the_delivery_that_is_under_way(lane, former):
    if former:                               # of a former number of lanes, it ends with the seek
        lane.database.rows("select chimp.subscription_put('s', %s)", Json(FORMER))
    lock = lane.database.transaction()
    rows(lock, "select pg_advisory_xact_lock(9)")
    late = Delivery(lane.database, lane.deliver, lane.id, lane.claim(0))
    lane.database.rows("insert into t.slow values (%s)", late.pid)
    late.start()
    late.wait_blocked(lane.database)
    lane.database.rows("select chimp.subscription_seek('s', %s)", lane.events[1])
    lock.commit()
    late.join(20)
    assert late.sqlstate == "CH001"
    assert done(lane.database) == []
    handled = [lane.database.value(lane.deliver, new, epoch) for new, epoch in lane.database.rows(
        "select c.lane, c.epoch from unnest(%s::uuid[]) o (id), chimp.lanes_claim(o.id, '{}') c",
        lane.owners)]
    assert sum(handled) == 2 and len(handled) == 1 + former
    assert done(lane.database) == [(event, "event") for event in lane.events[1:]]
