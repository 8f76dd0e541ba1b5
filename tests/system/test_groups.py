"""G15: jobs share a transaction only where nobody can tell.

The SQL functions are called as the worker calls them: a claim of several jobs,
run by the function that is made for its queue.
"""

import uuid

import psycopg2
import psycopg2.extras
import pytest

from harness.cluster import rows
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.ran (job bigint, saw text);
create table t.one (id int primary key);
create table t.parent (id int primary key);
create table t.child (parent int references t.parent deferrable initially deferred);
create function t.run(input jsonb) returns jsonb language plpgsql as $$
declare
    saw text;
begin
    execute coalesce(input ->> 'look', 'select null') into saw;
    insert into t.ran values ((chimp.job() ->> 'id')::bigint, saw);
    if input ? 'do' then
        execute input ->> 'do';
    end if;
    return input -> 'result';
end $$;
"""


@pytest.fixture
def queue(start, app, database):
    start(app('queue "q" { sql = "t.run" }', SCHEMA), workers="", cron=0, subscriber=0)
    return database


class Group:
    """A claim of jobs with these payloads, on a connection of its own."""

    def __init__(self, database, payloads, size=32):
        self.database = database
        self.process = str(uuid.uuid4())
        database.rows("select chimp.process_start(%s, %s, 'n', 'worker', 'default', 0, 1, 'v',"
                      " '{*}', 60000)", self.process, str(uuid.uuid4()))
        self.jobs = [database.value("select chimp.enqueue('q', %s)", psycopg2.extras.Json(p))
                     for p in payloads]
        self.id = database.value("select id from chimp.queue where name = 'q'")
        self.claims = database.rows(
            "select token, jobs from chimp.claim(%s, %s, 100, %s)",
            self.process, [self.id], [size])
        self.token = self.claims[0][0]
        self.connection = database.connect()
        self.connection.autocommit = True

    def run(self, token=None, budget="1 min"):
        """(done, jobs left, their tokens)"""
        [(done, _, _, jobs, tokens, _)] = rows(
            self.connection, f"select * from chimp.run_{self.id}(%s, %s, %s)",
            self.process, token or self.token, budget)
        return done, jobs or [], tokens or []

    def run_alone(self, job, token):
        rows(self.connection, "select chimp.session_reset()")
        return rows(self.connection,
                    "select chimp.job_done(%s, %s, t.run(chimp.job_begin(%s, %s)))",
                    job, token, job, token)

    def saw(self):
        return [saw for saw, in self.database.rows("select saw from t.ran order by job")]

    def states(self):
        return dict(self.database.rows("select id, state from chimp.jobs order by id"))


def test_a_claim_has_as_many_jobs_as_it_may(queue):
    group = Group(queue, [{}] * 70)
    assert [len(jobs) for _, jobs in group.claims] == [32, 32, 6]
    assert [job for _, jobs in group.claims for job in jobs] == group.jobs


def test_g15_all_are_done_with_their_results(queue):
    group = Group(queue, [{"result": {"n": n}} for n in range(40)])
    for token, jobs in group.claims:
        assert group.run(token) == (len(jobs), [], [])
    assert queue.rows("select state, attempt, count(*) from chimp.jobs group by 1, 2") == [
        ("done", 1, 40)]
    assert [r["n"] for r, in queue.rows("select result from chimp.jobs order by id")] == list(range(40))


def test_g15_one_that_fails_is_run_alone_and_charges_no_other(queue):
    group = Group(queue, [{}, {"do": "select 1 / 0"}, {}])
    done, [job], [token] = group.run()
    assert (done, job) == (2, group.jobs[1])
    # Not yet charged, and nothing of it is there.
    assert queue.value("select count(*) from chimp.job_attempt") == 0
    assert len(group.saw()) == 2
    assert list(group.states().values()).count("done") == 2
    with pytest.raises(psycopg2.errors.DivisionByZero):
        group.run_alone(job, token)
    assert queue.value("select chimp.job_fail(%s, %s, '22012', 'm', null, null, null)",
                       job, token) == "retry"


@pytest.mark.parametrize("do", [
    "select set_config('work_mem', '64kB', true)",
    "select set_config('work_mem', '64kB', false)",
    "set local work_mem = '64kB'",
])
def test_g15_settings_reach_no_other(queue, do):
    look = "select current_setting('work_mem')"
    group = Group(queue, [{"look": look, "do": do}, {"look": look}, {"look": look}])
    assert group.run() == (3, [], [])
    assert group.saw() == ["4MB"] * 3
    assert rows(group.connection, "show work_mem") == [("4MB",)]


def test_g15_locks_reach_no_other(queue):
    look = "select count(*) from pg_locks where locktype = 'advisory' and objid = 77"
    group = Group(queue, [{"look": look, "do": "select pg_advisory_lock(77)"}, {"look": look}])
    assert group.run() == (2, [], [])
    assert group.saw() == ["0", "0"]
    assert rows(group.connection, look) == [(0,)]


def test_g15_temporary_tables_reach_no_other(queue):
    look = "select to_regclass('pg_temp.x')::text"
    make = "create temporary table x on commit drop as select 1"
    group = Group(queue, [{"look": look, "do": make}, {"look": look}, {"look": look, "do": make}])
    done, jobs, tokens = group.run()
    assert done == 1 and jobs == [group.jobs[0], group.jobs[2]]
    for job, token in zip(jobs, tokens):
        group.run_alone(job, token)
    assert group.saw() == [None] * 3


def test_g15_a_role_reaches_no_other(cluster, queue):
    admin = cluster.connect("postgres")
    rows(admin, "create role nobody_else")
    rows(admin, "grant nobody_else to app")
    try:
        look = "select current_user::text"
        me = queue.value(look)
        group = Group(queue, [{"look": look, "do": "set role nobody_else"}, {"look": look}])
        done, jobs, _ = group.run()
        assert (done, jobs) == (1, [group.jobs[0]])
        assert group.saw() == [me]
    finally:
        rows(admin, "drop role nobody_else")
        admin.close()


def test_a_run_leaves_nothing_in_the_session_for_the_next(cluster, queue):
    """Alone as well: what outlives a transaction ends before the next one."""
    admin = cluster.connect("postgres")
    rows(admin, "create role somebody_else")
    rows(admin, "grant somebody_else to app")
    try:
        group = Group(queue, [{}])
        admin_here = queue.connect()
        for leave in ("set work_mem = '64kB'", "create temporary table x (a int)",
                      "select pg_advisory_lock(5)", "set role somebody_else"):
            rows(group.connection, leave)
        rows(admin_here, "grant usage on schema chimp to somebody_else")
        rows(group.connection, "select chimp.session_reset()")
        assert rows(group.connection, "select current_setting('work_mem'), to_regclass('pg_temp.x'),"
                    " current_user = session_user, (select count(*) from pg_locks"
                    " where locktype = 'advisory' and pid = pg_backend_pid())") == [
                        ("4MB", None, True, 0)]
    finally:
        group.connection.close()
        rows(admin_here, "revoke usage on schema chimp from somebody_else")
        rows(admin, "drop role somebody_else")
        admin.close()


def test_a_queue_without_its_handler_is_refused(queue):
    """It would end its jobs as done, without a call."""
    with pytest.raises(psycopg2.Error) as raised:
        queue.rows("select chimp.queue_put('r', chimp.registration.definition"
                   " || '{\"sql\": \"t.gone\"}') from chimp.registration where kind = 'queue'")
    assert raised.value.pgcode == "CH002"


def test_g15_deferred_constraints_reach_no_other(queue):
    """The violation comes at the commit: nobody can tell whose it was."""
    group = Group(queue, [{}, {"do": "insert into t.child values (1)"}, {}])
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        group.run()
    assert set(group.states().values()) == {"running"} and group.saw() == []
    [(jobs, tokens, _)] = queue.rows("select * from chimp.group_split(%s, %s)",
                                     group.process, group.token)
    assert jobs == group.jobs
    for job, token in zip(jobs, tokens):
        if job == group.jobs[1]:
            with pytest.raises(psycopg2.errors.ForeignKeyViolation):
                group.run_alone(job, token)
        else:
            group.run_alone(job, token)
    assert queue.value("select count(*) from chimp.job_attempt") == 0
    assert sorted(group.states().values()) == ["done", "done", "running"]


def test_g15_what_is_no_job_s_own_error_takes_the_group_back(queue):
    group = Group(queue, [{}, {"do": "do $x$ begin raise sqlstate '40001'; end $x$"}, {}])
    with pytest.raises(psycopg2.errors.SerializationFailure):
        group.run()
    assert set(group.states().values()) == {"running"} and group.saw() == []


def test_g15_a_slow_job_ends_its_group(queue):
    group = Group(queue, [{"do": "select pg_sleep(0.03)"}, {}, {}])
    done, jobs, tokens = group.run(budget="20 ms")
    assert (done, jobs) == (1, group.jobs[1:])
    assert len(set(tokens)) == 2
    assert queue.value("select count(*) from chimp.job_claim") == 2


def test_a_job_with_a_time_out_of_its_own_runs_alone(queue):
    group = Group(queue, [{}])
    timed = queue.value("select chimp.enqueue('q', timeout => '1 s')")
    [(token, jobs)] = queue.rows("select token, jobs from chimp.claim(%s, %s, 10, array[32])",
                                 group.process, [group.id])
    assert jobs == [timed]
    assert group.run(token)[:2] == (0, [timed])


def test_g03_a_stale_group_is_rolled_back_whole(queue):
    group = Group(queue, [{}, {}])
    queue.rows("select chimp.process_end(%s)", group.process)
    with pytest.raises(psycopg2.Error) as raised:
        group.run()
    assert raised.value.pgcode == "CH001"
    assert group.saw() == []
    assert set(group.states().values()) == {"ready"}
    assert queue.rows("select attempt, interruptions from chimp.job_attempt") == [(0, 1)] * 2


def test_g14_a_job_of_a_group_can_be_cancelled(queue):
    group = Group(queue, [{}, {}, {}])
    assert queue.value("select chimp.cancel(%s)", group.jobs[1]) is True
    assert group.run() == (2, [], [])
    assert list(group.states().values()) == ["done", "cancelled", "done"]


def test_g12_keys_are_free_after_a_group(queue):
    for n in range(3):
        queue.rows("select chimp.enqueue('q', ordering_key => 'k', unique_key => %s)", str(n))
    group = Group(queue, [{}])
    # The head of the key and the plain one; the others wait.
    assert group.run()[0] == 2
    assert queue.value("select count(*) from chimp.job_ready") == 1
    assert queue.value("select count(*) from chimp.job_unique") == 2


def test_queues_of_fast_jobs_come_to_share_transactions(start, app, database):
    """And each job is run once all the same, those that fail at times too."""
    start(app('queue "q" { sql = "t.fast"  retry_delay = "10ms" }', """
        create schema t;
        create table t.ran (n int);
        create function t.fast(input jsonb) returns jsonb language plpgsql as $$
        begin
            insert into t.ran values (input::int);
            if input::int % 100 = 0 and (chimp.job() ->> 'attempt')::int = 1 then
                raise 'at first';
            end if;
            return null;
        end $$;"""), cron=0, subscriber=0)
    database.rows("select count(*) from chimp.enqueue_many('q', array(select to_jsonb(n)"
                  " from generate_series(1, 20000) n))")
    until(lambda: database.value("select done from chimp.queues") == 20000, "all are done", 120)
    assert database.rows("select count(*), count(distinct n) from t.ran") == [(20000, 20000)]
    largest, chunks = database.rows(
        "select max(cardinality(jobs)), count(*) from chimp.job_done")[0]
    assert 1 < largest <= 32
    print(f"20000 jobs in {chunks} pieces, the largest of {largest}")


NAP = """
create schema t;
create function t.nap(input jsonb) returns jsonb language sql as $$
    select to_jsonb(pg_sleep((input ->> 's')::float) is null)
$$;
"""


@pytest.fixture
def naps(start, app, database):
    start(app('queue "q" { sql = "t.nap" }', NAP), processes=0, cron=0, subscriber=0,
          workers="worker default { processes = 1  concurrency = 16 }")
    return lambda n, seconds: database.rows(
        "select chimp.enqueue('q', jsonb_build_object('s', %s)) from generate_series(1, %s)",
        seconds, n)


def count(database, state):
    return database.value("select count(*) from chimp.jobs where state = %s", state)


def test_the_first_jobs_of_a_queue_run_side_by_side_however_long_they_take(naps, database, figure):
    naps(16, 60)
    with Stopwatch() as watch:
        until(lambda: database.value(
            "select count(*) from pg_stat_activity where state = 'active'"
            " and wait_event = 'PgSleep'") == 16, "all run")
    figure("16 long jobs of a new queue until all run", watch.ms, "ms", 1000)
    database.rows("select chimp.cancel(id) from chimp.jobs")


def test_g15_long_jobs_of_a_fast_queue_hold_no_others(naps, database):
    naps(500, 0)
    until(lambda: count(database, "done") == 500, "the queue is known to be fast")
    naps(14, 60)
    until(lambda: count(database, "running") == 14, "the long ones run")
    for n in range(1, 6):
        naps(100, 0)
        until(lambda: count(database, "done") == 500 + 100 * n, "the short ones run beside them")
    assert count(database, "running") == 14
    database.rows("select chimp.cancel(id) from chimp.jobs where state = 'running'")
