"""What queues are given and cannot use, and what is taken from under them."""

import json
import os
import pathlib
import shutil
import subprocess

import psycopg2
import pytest

from harness.cluster import Cluster, temp_dir
from harness.settings import AS_ROOT
from harness.wait import until

SCHEMA = """
create schema t;
create table t.wrote (n int, filler text);
create function t.run(input jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep(coalesce((input ->> 'sleep')::float, 0));
    return to_jsonb(length(input ->> 'text'));
end $$;
create function t.write(input jsonb) returns jsonb language plpgsql as $$
begin
    -- Does not compress.
    insert into t.wrote select (input ->> 'n')::int, string_agg(md5(random()::text), '')
    from generate_series(1, 1000);
    return null;
end $$;
"""
QUEUES = """
  queue "q" { sql = "t.run"  max_attempts = 100  retry_delay = "100ms"  backoff = "constant" }
  queue "w" { sql = "t.write" }
"""
DROP = "drop function t.run(jsonb)"
AGAIN = ("create function t.run(input jsonb) returns jsonb language sql as"
         " $$ select '\"again\"'::jsonb $$")


@pytest.fixture
def node(start, app):
    return start(app(QUEUES, SCHEMA), processes=0, cron=0, subscriber=0)


def job(database, id):
    return database.rows("select state, result, error ->> 'message' from chimp.jobs"
                         " where id = %s", id)[0]


def ends(database, id):
    return until(lambda: job(database, id)[0] == "done" and job(database, id), f"job {id} is done")


@pytest.mark.parametrize("call, sqlstate, words", [
    ("chimp.enqueue('none', '{}')", "CH002", 'unknown queue "none"'),
    ("chimp.enqueue('q', 'no json')", "22P02", "invalid input syntax for type json"),
    ("chimp.enqueue('q', '\"\\u0000\"')", "22P05", "unsupported Unicode escape"),
    ("chimp.enqueue('q', '{}', delay => '-1 s')", "22023", "delay not negative"),
    ("chimp.enqueue('q', '{}', run_at => 'infinity')", "22023", "run_at finite"),
    ("chimp.enqueue('q', '{}', max_attempts => 0)", "22023", "max_attempts must be at least 1"),
    ("chimp.enqueue('q', '{}', timeout => '-1 s')", "22023", "timeout at least 1 ms"),
    ("chimp.enqueue('q', '{}', unique_key => (select string_agg(md5(random()::text), '')"
     " from generate_series(1, 500)))", "54000", "index row"),
    ("chimp.enqueue(null, '{}')", "CH002", "unknown queue"),
    ("chimp.cancel(999999)", "CH002", "unknown job 999999"),
    ("chimp.retry(null)", "CH002", "unknown job"),
])
def test_what_is_refused_says_why_and_leaves_nothing(node, database, call, sqlstate, words):
    with pytest.raises(psycopg2.Error) as e:
        database.rows(f"select {call}")
    assert e.value.pgcode == sqlstate
    assert words in str(e.value)
    assert database.value("select count(*) from chimp.job") == 0


def test_a_payload_of_10_mb_runs(node, database):
    text = "x" * (10 << 20)
    id = database.value("select chimp.enqueue('q', %s)", json.dumps({"text": text}))
    assert ends(database, id)[1] == len(text)


def test_null_payloads_and_the_largest_numbers(node, database):
    ids = [database.value(f"select chimp.enqueue('q', {args})") for args in (
        "null", "'null'", "'{}', priority => 2147483647", "'{}', priority => -2147483647",
        "'{}', max_attempts => 2147483647", "'{}', timeout => '1000 years'")]
    for id in ids:
        ends(database, id)


def test_a_job_of_the_year_9999_waits_and_holds_nobody_up(node, database):
    far = database.value("select chimp.enqueue('q', '{}', run_at => '9999-12-31 23:59Z')")
    near = database.value("select chimp.enqueue('q', '{}', delay => '200 ms')")
    ends(database, near)
    assert job(database, far)[0] == "scheduled"
    assert database.value("select chimp.retry(%s)", far) is True
    ends(database, far)


def test_a_handler_that_is_dropped_costs_no_job(node, database):
    running = database.value("select chimp.enqueue('q', '{\"sleep\": 1}')")
    until(lambda: job(database, running)[0] == "running", "it runs")
    database.rows(DROP)
    waiting = [id for id, in database.rows(
        "select chimp.enqueue_many('q', array_fill('{}'::jsonb, array[50]))")]
    until(lambda: "t.run" in (job(database, waiting[0])[2] or ""), "the error names the function")
    database.rows(AGAIN)
    for id in waiting:
        ends(database, id)
    ends(database, running)
    assert {job(database, id)[1] for id in waiting} == {"again"}


# --- a full disk -----------------------------------------------------------------

class SmallDisk:
    """A file system of its own for a PostgreSQL."""

    def __init__(self, mebibytes):
        self.dir = temp_dir("disk")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755",
                               "chimp-test", self.dir], capture_output=True, text=True,
                              check=False)
        self.problem = done.stderr if done.returncode else None

    def fill(self):
        """Until nothing fits any more."""
        with open(self.dir / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * (1 << 16))
            except OSError:
                pass

    def free(self):
        (self.dir / "filler").unlink()

    def close(self):
        if self.problem is None:
            subprocess.run(["umount", self.dir], check=True)
        shutil.rmtree(self.dir)


@pytest.fixture
def small_disk():
    if not AS_ROOT:
        pytest.skip("a small file system can be mounted by root only")
    disk = SmallDisk(200)
    if disk.problem:
        disk.close()
        pytest.skip(f"no file system can be mounted here: {disk.problem}")
    yield disk
    disk.close()


@pytest.fixture
def cramped(small_disk, monkeypatch):
    """A PostgreSQL on it."""
    def on_disk(name, _):
        made = pathlib.Path(small_disk.dir / f"{name}{len(os.listdir(small_disk.dir))}")
        made.mkdir(mode=0o755)
        shutil.chown(made, "postgres", "postgres")
        return made

    monkeypatch.setattr("harness.cluster.temp_dir", on_disk)
    cluster = Cluster(os.environ["CHIMP_TEST_TEMPLATE"], max_wal_size="64MB",
                      min_wal_size="32MB")
    monkeypatch.undo()
    yield cluster
    cluster.destroy()


def test_a_full_disk_costs_no_acknowledged_job(start, app, cramped, small_disk):
    database = cramped.create_database()
    start(app(QUEUES, SCHEMA), url=database.url, processes=0, cron=0, subscriber=0)
    acknowledged, refused = [], []

    def enqueue(n):
        try:
            acknowledged.append(database.value(
                "select chimp.enqueue('w', jsonb_build_object('n', %s))", n))
        except psycopg2.Error as e:
            refused.append(str(e))

    for n in range(50):
        enqueue(n)
    small_disk.fill()
    for n in range(50, 5000):
        enqueue(n)
        if len(refused) >= 20:
            break
    assert refused, "the disk was never full"
    assert any("No space left on device" in said or "could not" in said or "terminat" in said
               or "recovery" in said or "connection" in said for said in refused), refused
    small_disk.free()
    if cramped.process.poll() is not None:      # it could not even write its WAL
        cramped.start()
    until(lambda: database.value("select 1") == 1, "PostgreSQL answers", timeout=60)
    until(lambda: database.value("select count(*) from chimp.jobs where id = any (%s)"
                                 " and state = 'done'", acknowledged) == len(acknowledged),
          "every acknowledged job is done", timeout=90)
    assert database.rows("select n from t.wrote group by n having count(*) > 1") == []
    enqueue(10000)
    until(lambda: database.value("select count(*) from t.wrote where n = 10000") == 1,
          "and new ones run")
    print(f"{len(acknowledged)} acknowledged, {len(refused)} refused: {refused[0].strip()}")
