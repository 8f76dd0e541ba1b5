"""The cache: what is kept, for how long, what is evicted, and who computes."""

import os
import signal
import threading
import time

import psycopg2
import pytest

from harness.chimpd import chimpctl
from harness.cluster import rows
from harness.wait import until

SCHEMA = """
create schema t;
create table t.computed (n bigint generated always as identity, input jsonb);
create function t.compute(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep(coalesce((input ->> 'seconds')::float, 0));
	insert into t.computed (input) values (input);
	return input -> 'value';
end $$;
"""


@pytest.fixture
def cache(database):
    database.rows(SCHEMA)
    return database


def put(database, key, value="1", ttl=None):
    database.rows("select chimp.cache_set(%s, %s::jsonb, %s::interval)", key, value, ttl)


def get(database, key):
    return database.value("select chimp.cache_get(%s)", key)


def test_what_is_set_is_there_until_its_end(cache):
    assert get(cache, "a") is None
    put(cache, "a", '{"n": 1}')
    put(cache, "b", "null", "30 ms")
    assert get(cache, "a") == {"n": 1}
    assert cache.value("select chimp.cache_get('b')::text") == "null"
    time.sleep(0.05)
    assert cache.value("select chimp.cache_get('b')::text") is None
    assert cache.value("select chimp.cache_delete('b')") is False
    assert cache.value("select chimp.cache_delete('a')") is True
    assert get(cache, "a") is None


def test_it_is_rolled_back_with_the_transaction(cache):
    tx = cache.transaction()
    rows(tx, "select chimp.cache_set('a', '1')")
    assert get(cache, "a") is None
    tx.rollback()
    assert get(cache, "a") is None


def test_a_reader_waits_for_nobody_and_writes_nothing_where_it_may_not(cache):
    put(cache, "a")
    tx = cache.transaction()
    rows(tx, "select chimp.cache_set('a', '2')")
    other = cache.connect()
    rows(other, "set lock_timeout = '100ms'")
    assert rows(other, "select chimp.cache_get('a')") == [(1,)]
    tx.rollback()
    other.readonly = True
    assert rows(other, "select chimp.cache_get('a')") == [(1,)]


def test_a_crash_of_the_server_empties_it(make_cluster):
    cluster = make_cluster(fsync="on")
    database = cluster.create_database()
    assert chimpctl("-d", database.url, "migrate").status == 0
    put(database, "a")
    database.rows("select chimp.kv_set('a', '1')")
    [(pid,)] = cluster.admin("select pid from pg_stat_activity where backend_type = 'checkpointer'")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(psycopg2.Error):
        database.rows("select pg_sleep(60)")
    until(lambda: database.value("select true"), "PostgreSQL answers", timeout=30)
    assert get(database, "a") is None
    assert database.value("select chimp.kv_get('a')") == 1


# --- get or compute --------------------------------------------------------------------

GET_OR = "select chimp.cache_get_or(%s, '1 h', 't.compute', %s::jsonb)"


def test_it_is_computed_once(cache):
    for _ in range(3):
        assert cache.value(GET_OR, "a", '{"value": [7]}') == [7]
    assert cache.rows("select input from t.computed") == [({"value": [7]},)]
    assert cache.value("select chimp.cache_get_or('b', null, 't.compute')") is None
    assert cache.value("select chimp.cache_get_or('b', null, 't.compute')") is None
    assert cache.rows("select input from t.computed offset 1") == [({"key": "b"},)] * 2


def test_of_200_that_ask_at_once_one_computes(cache):
    barrier, values = threading.Barrier(200), []

    def ask():
        connection = cache.connect()
        barrier.wait()
        values.extend(rows(connection, GET_OR, "a", '{"value": 5, "seconds": 0.3}'))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [(5,)] * 200
    assert cache.value("select count(*) from t.computed") == 1


def test_when_the_one_that_computes_fails_the_next_one_does(cache):
    tx = cache.transaction()
    rows(tx, GET_OR, "a", '{"value": 1}')
    answer, other = [], cache.connect()
    thread = threading.Thread(target=lambda: answer.extend(rows(other, GET_OR, "a", '{"value": 2}')))
    thread.start()
    until(lambda: cache.value("select count(*) from pg_locks where not granted") == 1, "it waits")
    tx.rollback()
    thread.join()
    assert answer == [(2,)]


# --- size ------------------------------------------------------------------------------

def test_what_is_not_read_goes_first_and_nothing_but_the_cache(cache):
    cache.rows("select chimp.kv_set('kept' || n, to_jsonb(n)) from generate_series(1, 1000) n")
    cache.rows("update chimp.cache_store set max_bytes = 1000000")
    for start in range(0, 20000, 1000):
        cache.rows("select chimp.cache_set('k' || n, to_jsonb(repeat('x', 100)))"
                   " from generate_series(%s + 1, %s + 1000) n", start, start)
        cache.rows("select chimp.cache_get('k' || n) from generate_series(1, 100) n")
        while cache.value("select chimp.cache_evict(500)"):
            pass
        assert cache.value("select sum(bytes) from chimp.cache_entry") <= 1_000_000
    assert cache.value("select sum(bytes) from chimp.cache_entry") > 600_000
    assert cache.value("select count(chimp.cache_get('k' || n)) from generate_series(1, 100) n") == 100
    assert cache.value("select count(chimp.cache_get('k' || n)) from generate_series(19901, 20000) n") > 90
    assert cache.value("select count(*) from chimp.kv") == 1000


def test_large_values_count_where_they_lie(cache):
    cache.rows("update chimp.cache_store set max_bytes = 2000000")
    cache.rows("select chimp.cache_set('k' || n, to_jsonb((select string_agg(md5(n::text || i), '')"
               " from generate_series(1, 600) i))) from generate_series(1, 300) n")
    assert cache.value("select pg_relation_size('chimp.cache_entry')") < 2000000
    while cache.value("select chimp.cache_evict(500)"):
        pass
    assert 1_000_000 < cache.value("select sum(bytes) from chimp.cache_entry") <= 2_000_000


def test_its_size_is_estimated_well(cache):
    cache.rows("select chimp.cache_set('k' || n, to_jsonb(repeat(md5(n::text), 1 + mod(n, 40))))"
               " from generate_series(1, 40000) n")
    real = cache.value("select sum(bytes) from chimp.cache_entry")
    assert real > 20_000_000
    for _ in range(5):
        assert 0.8 * real < cache.value("select chimp.cache_bytes()") < 1.2 * real


def test_workers_keep_it_below_cache_max(start, app, database):
    start(app("", ""), cron=0, subscriber=0, database='cache_max = "1MiB"')
    assert database.value("select max_bytes from chimp.cache_store") == 1 << 20
    database.rows("select chimp.cache_set('k' || n, to_jsonb(repeat('x', 1000)), case when n = 1 then"
                  " interval '1 ms' end) from generate_series(1, 4000) n")
    until(lambda: database.value("select sum(bytes) from chimp.cache_entry") < 1 << 20,
          "it is below its size", timeout=60)
    assert database.value("select sum(bytes) from chimp.cache_entry") > 1 << 19
    assert database.value("select count(*) from chimp.cache_entry where key = 'k1'") == 0


# --- bad input -------------------------------------------------------------------------

def test_bad_input_is_refused_with_the_reason(cache):
    for statement, code, wanted in [
            ("select chimp.cache_set('', '1')", "22023", "a key or the name of a lock has 1 to 1024 bytes"),
            ("select chimp.cache_set('a', '1', '0')", "22023", 'the ttl of "a"'),
            ("select chimp.cache_set('a', null)", "22023", 'the value of "a" is NULL'),
            ("select chimp.cache_get_or('a', '1 h', 't.no')", "CH002", "t.no")]:
        got, message = cache.refused(statement)
        assert got == code and wanted in message, message
    reader = cache.connect()
    reader.readonly = True
    with pytest.raises(psycopg2.Error) as error:
        rows(reader, GET_OR, "a", '{"value": 1}')
    assert error.value.pgcode == "25006"
    assert cache.value("select count(*) from chimp.cache_entry") == 0
