"""Migrations: chimp's own and the app's; many nodes, and what goes wrong."""

import pytest

from harness.chimpd import Chimpd, chimpctl
from harness.wait import until

SCHEMA = """
create schema t;
create table t.x (n int);
create function t.f(input jsonb) returns jsonb language sql as $$ select input $$;
"""
QUEUE = 'queue "q" { sql = "t.f" }'


def refused(daemon, timeout=5):
    """It ends with 1, in time, and says why in one line."""
    daemon.expected_status = 1
    assert daemon.wait(timeout) == 1
    return why(daemon.text())


def why(text):
    lines = [l for l in text.splitlines() if "error" in l]
    assert len(lines) == 1, text
    return lines[0]


@pytest.fixture
def database(empty_database):
    return empty_database


def test_g39_eight_nodes_start_at_once_on_an_empty_database(folder, app, database):
    small = app(QUEUE, SCHEMA)
    nodes = [Chimpd(folder, f"n{n}", url=database.url, include=[small.conf], node=f"node-{n}",
                    pool_max=1, workers="worker default { processes = 1  concurrency = 1 }")
             for n in range(8)]
    try:
        for node in nodes:
            node.start(wait=False)
        for node in nodes:
            node.wait_ready(60)
        applied = database.rows("select app, name, count(*) from chimp.migration group by 1, 2")
        assert ("t", "0001_test.sql", 1) in applied
        assert database.value("select count(*) from chimp.nodes where alive") == 8
        assert database.value("select count(*) from chimp.processes where alive") == 32
        job = database.value("select chimp.enqueue('q', '{}')")
        until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "done",
              "a job is run by one of the eight")
    finally:
        for node in nodes:
            node.stop()
        for node in nodes:
            node.finish()


def test_a_second_start_applies_nothing_again(start, app, database):
    daemon = start(app(QUEUE, SCHEMA))
    before = database.rows("select * from chimp.migration order by 1, 2")
    daemon.stop()
    daemon.start()
    assert database.rows("select * from chimp.migration order by 1, 2") == before


def test_a_new_migration_is_applied_at_the_next_start(start, app, database):
    small = app(QUEUE, SCHEMA)
    daemon = start(small)
    daemon.stop()
    small.migration(2, "insert into t.x values (2)")
    daemon.start()
    assert database.rows("select n from t.x") == [(2,)]


def test_a_changed_checksum_is_refused(start, app, database):
    small = app(QUEUE, SCHEMA)
    daemon = start(small)
    daemon.stop()
    small.migration(1, SCHEMA + "create table t.y (n int);")
    daemon.start(wait=False)
    said = refused(daemon)
    assert "t/0001_test.sql" in said and "changed" in said
    assert database.value("select to_regclass('t.y')") is None


@pytest.mark.parametrize("wrong", [
    "create table t.half (n int); select 1 / 0;",
    "create table t.half (n int); create tabel t.other (n int);",
    "create table t.half (n int); do $$ begin raise exception 'no'; end $$;",
])
def test_a_failing_migration_leaves_nothing_of_it(start, app, database, wrong):
    small = app(QUEUE, SCHEMA)
    small.migration(2, wrong)
    small.migration(3, "create table t.after (n int);")
    daemon = start(small, wait=False)
    said = refused(daemon)
    assert "t/0002_test.sql" in said
    assert database.value("select to_regclass('t.half')") is None
    assert database.value("select to_regclass('t.after')") is None
    assert database.rows("select name from chimp.migration where app = 't'") == [
        ("0001_test.sql",)]
    # Mended, it starts.
    small.migration(2, "create table t.half (n int);")
    daemon.expected_status = 0
    daemon.start()
    assert database.value("select to_regclass('t.after')") is not None


def test_g39_a_database_that_needs_a_newer_binary_is_refused(start, app, database):
    small = app(QUEUE, SCHEMA)
    daemon = start(small)
    daemon.stop()
    database.rows("insert into chimp.migration (app, name, checksum, oldest_binary, binary_number)"
                  " values ('', '9999_future.sql', 'x', 9999, 9999)")
    small.migration(2, "create table t.y (n int);")
    daemon.start(wait=False)
    said = refused(daemon)
    assert "newer chimpd" in said and "9999" in said
    assert database.value("select to_regclass('t.y')") is None


def test_g39_a_database_with_a_newer_migration_that_allows_this_binary_is_served(
        start, app, database):
    daemon = start(app(QUEUE, SCHEMA))
    daemon.stop()
    database.rows("insert into chimp.migration (app, name, checksum, oldest_binary, binary_number)"
                  " values ('', '0002_future.sql', 'x', 1, 2)")
    daemon.start()
    assert daemon.http.get("/ready").status == 200


def test_g39_every_own_migration_records_the_oldest_binary_it_allows(database):
    assert chimpctl("-d", database.url, "migrate").status == 0
    assert database.value("select count(*) from chimp.migration where app = ''"
                          " and name <> 'functions' and oldest_binary < 1") == 0


def test_chimpctl_migrate_says_what_went_wrong(folder, start, app, database):
    small = app(QUEUE, SCHEMA)
    small.migration(2, "select 1 / 0")
    daemon = Chimpd(folder, url=database.url, include=[small.conf])
    done = chimpctl("-c", daemon.conf, "migrate")
    assert done.status == 1
    assert "t/0002_test.sql" in done.err and "division by zero" in done.err


def test_two_apps_that_claim_one_name_are_told(start, app, database):
    start(app(QUEUE, SCHEMA))
    other = app('queue "q" { sql = "u.f" }', SCHEMA.replace("t.", "u.").replace(
        "schema t", "schema u"), name="other")
    daemon = start(other, name="second", wait=False)
    said = refused(daemon)
    assert '"other"' in said and '"t"' in said and '"q"' in said
