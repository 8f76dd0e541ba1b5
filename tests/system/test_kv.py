"""Key-value state: what the functions promise, under races and beside time."""

import threading
import time

import psycopg2
import pytest

from harness.cluster import rows
from harness.wait import until


def get(database, key):
    return database.value("select chimp.kv_get(%s)", key)


def put(database, key, value, ttl=None):
    database.rows("select chimp.kv_set(%s, %s::jsonb, %s::interval)", key, value, ttl)


# --- one key ---------------------------------------------------------------------------

def test_a_value_is_what_was_set_last(database):
    assert get(database, "a") is None
    put(database, "a", '{"n": [1, null]}')
    assert get(database, "a") == {"n": [1, None]}
    put(database, "a", "2")
    assert get(database, "a") == 2
    assert database.value("select chimp.kv_delete('a')") is True
    assert database.value("select chimp.kv_delete('a')") is False
    assert get(database, "a") is None


def test_null_is_a_value(database):
    database.rows("select chimp.kv_set('a', null), chimp.kv_set('b', 'null')")
    assert database.rows("select chimp.kv_get('a')::text, chimp.kv_get('c')::text") == [("null", None)]
    assert database.rows("select key from chimp.kv order by key") == [("a",), ("b",)]


def test_it_is_written_with_the_transaction(database):
    tx = database.transaction()
    rows(tx, "select chimp.kv_set('a', '1'), chimp.kv_increment('n')")
    assert rows(tx, "select chimp.kv_get('a'), chimp.kv_get('n')") == [(1, 1)]
    assert get(database, "a") is None
    tx.rollback()
    assert database.rows("select * from chimp.kv") == []


def test_several_are_read_at_once_in_their_order(database):
    for n, key in enumerate("abc"):
        put(database, key, str(n))
    put(database, "gone", "9", "1 ms")
    time.sleep(0.01)
    assert database.rows("select * from chimp.kv_get_many(%s)", ["c", "no", "gone", "a", "c"]) == [
        ("c", 2), ("a", 0), ("c", 2)]


def test_ten_megabytes_are_a_value(database):
    text = "x" * 10_000_000
    database.rows("select chimp.kv_set('big', to_jsonb(%s::text))", text)
    assert get(database, "big") == text


# --- time ------------------------------------------------------------------------------

def test_it_ends_to_the_millisecond_also_within_a_transaction(database, figure):
    """now() stands still there, and the clock of the transaction decides nothing."""
    tx = database.transaction()
    late = []
    for _ in range(20):
        rows(tx, "select chimp.kv_set('a', '1', '40 ms')")
        [(end,)] = rows(tx, "select expires_at from chimp.kv_entry where key = 'a'")
        while True:
            [(before, value, after)] = rows(
                tx, "select clock_timestamp(), chimp.kv_get('a'), clock_timestamp()")
            if value is None:
                break
            assert before < end, "it was there after its end"
        assert after >= end, "it was gone before its end"
        late.append((after - end).total_seconds() * 1000)
    figure("end of a ttl to the first look that misses it, median", sorted(late)[10], "ms", 1)


@pytest.mark.parametrize("look", [
    "select count(*) from chimp.kv_list()", "select count(*) from chimp.kv",
    "select count(*) from chimp.kv_get_many('{a}')", "select count(chimp.kv_get('a'))",
    "select chimp.kv_delete('a')::int", "select chimp.kv_expire('a', '1 h')::int",
    "select chimp.kv_compare_and_set('a', '1', '2')::int"])
def test_what_has_expired_is_not_there(database, look):
    put(database, "a", "1", "5 ms")
    time.sleep(0.02)
    assert database.value("select count(*) from chimp.kv_entry") == 1
    assert database.value(look) == 0


def test_its_end_can_be_moved(database):
    put(database, "a", "1", "1 hour")
    assert database.value("select chimp.kv_expire('a', null)")
    assert database.value("select expires_at from chimp.kv where key = 'a'") is None
    assert database.value("select chimp.kv_expire('a', '5 ms')")
    time.sleep(0.02)
    assert get(database, "a") is None


def test_what_has_expired_is_removed_in_bounded_steps(database):
    database.rows("select chimp.kv_set('k' || n, '1', case when n <= 1000 then interval '1 ms' end)"
                  " from generate_series(1, 1500) n")
    time.sleep(0.02)
    steps = [database.value("select chimp.remove_expired('chimp.kv_entry', 300)") for _ in range(5)]
    assert steps == [300, 300, 300, 100, 0]
    assert database.value("select count(*) from chimp.kv_entry") == 500


def test_a_worker_removes_what_has_expired(start, app, database):
    start(app("", ""), cron=0, subscriber=0)
    put(database, "kept", "1")
    put(database, "gone", "1", "1 ms")
    until(lambda: database.rows("select key from chimp.kv_entry") == [("kept",)],
          "it is removed", timeout=30)


# --- races -----------------------------------------------------------------------------

def everybody(database, n, work):
    """Run work(connection, i) on n connections at once."""
    barrier, problems = threading.Barrier(n), []

    def one(i):
        connection = database.connect()
        barrier.wait()
        try:
            work(connection, i)
        except psycopg2.Error as error:
            problems.append(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_no_increment_is_lost_and_none_rolled_back_counts(database):
    def work(connection, i):
        for n in range(50):
            connection.autocommit = False
            rows(connection, "select chimp.kv_increment('n', 2)")
            if (i + n) % 5 == 0:
                connection.rollback()
            else:
                connection.commit()

    everybody(database, 10, work)
    assert get(database, "n") == 2 * 400


def test_one_of_many_that_compare_wins_each_round(database):
    won = []

    def work(connection, i):
        for n in range(20):
            expected = None if n == 0 else str(n - 1)
            until(lambda: rows(connection, "select chimp.kv_get('c') is not distinct from %s::jsonb"
                               " or chimp.kv_get('c')::int >= %s", expected, n) == [(True,)], "its turn")
            if rows(connection, "select chimp.kv_compare_and_set('c', %s, %s)", expected,
                    str(n)) == [(True,)]:
                won.append((n, i))

    everybody(database, 8, work)
    assert sorted(n for n, _ in won) == list(range(20))
    assert get(database, "c") == 19


def test_a_comparison_waits_for_who_is_at_the_key(database):
    put(database, "a", "1")
    for commits in (False, True):
        tx = database.transaction()
        rows(tx, "select chimp.kv_set('a', '7')")
        answer = []
        other = database.connect()
        thread = threading.Thread(target=lambda o=other, a=answer: a.extend(
            rows(o, "select chimp.kv_compare_and_set('a', '1', '1')")))
        thread.start()
        until(lambda: database.value("select count(*) from pg_locks where not granted") == 1, "it waits")
        assert answer == []
        if commits:
            tx.commit()
        else:
            tx.rollback()
        thread.join()
        assert answer == [(not commits,)]


def test_of_many_that_expect_nothing_one_wins_also_where_something_has_expired(database):
    put(database, "lock", "0", "1 ms")
    time.sleep(0.01)
    won = []

    def work(connection, i):
        if rows(connection, "select chimp.kv_compare_and_set('lock', null, %s, '1 h')", str(i)) == [(True,)]:
            won.append(i)

    everybody(database, 20, work)
    assert len(won) == 1
    assert get(database, "lock") == won[0]


# --- counters --------------------------------------------------------------------------

def test_a_counter_keeps_the_end_it_began_with(database):
    assert database.value("select chimp.kv_increment('n', 1, '50 ms')") == 1
    end = database.value("select expires_at from chimp.kv")
    assert database.value("select chimp.kv_increment('n', 1, '1 hour')") == 2
    assert database.value("select expires_at from chimp.kv") == end
    time.sleep(0.1)
    assert database.value("select chimp.kv_increment('n', 0.5, '1 hour')::text") == "0.5"


def test_numbers_are_exact(database):
    put(database, "n", "12345678901234567890.01")
    assert database.value("select chimp.kv_increment('n', -0.01)::text") == "12345678901234567890.00"


# --- lists -----------------------------------------------------------------------------

def listed(database, *args):
    return [key for key, _ in database.rows(
        f"select * from chimp.kv_list({', '.join(['%s'] * len(args))})", *args)]


def test_a_prefix_is_what_it_says(database):
    keys = ["a%b", "a%c", "a_b", "aXb", "a\\b", "b", "é1", "é2", "\U0010ffff", "\U0010ffff\U0010ffffz",
            "A", "a", "a b", "'; drop table chimp.kv_entry; --"]
    for key in keys:
        put(database, key, "1")
    in_order = sorted(keys, key=str.encode)
    assert listed(database) == in_order
    for prefix in ["a", "a%", "a_", "a\\", "é", "\U0010ffff", "'", "", "zz"]:
        assert listed(database, prefix) == [k for k in in_order if k.startswith(prefix)]


def test_a_list_goes_on_where_another_ended(database):
    database.rows("select chimp.kv_set(format('k%s', n), to_jsonb(n),"
                  " case when mod(n, 3) = 0 then interval '1 ms' end) from generate_series(1, 1000) n")
    put(database, "l", "1")
    time.sleep(0.02)
    found, after = [], None
    while page := listed(database, "k", 70, after):
        assert len(page) <= 70
        found += page
        after = page[-1]
    assert found == sorted(f"k{n}" for n in range(1, 1001) if n % 3)


def test_a_list_reads_what_it_returns(database):
    database.rows("select chimp.kv_set(format('%s:%s', mod(n, 10), n), '1') from generate_series(1, 50000) n")
    assert len(listed(database, "7:", 20)) == 20
    [(plan,)] = database.rows(
        "explain (analyze, buffers, format json) select * from chimp.kv_list('7:', 20)")
    pages = sum(plan[0]["Plan"][f"Shared {kind} Blocks"] for kind in ("Hit", "Read"))
    assert pages < 120, database.value("select pg_relation_size('chimp.kv_entry') / 8192")


# --- bad input -------------------------------------------------------------------------

@pytest.mark.parametrize("call", [
    "chimp.kv_set(%s, '1')", "chimp.kv_increment(%s)", "chimp.kv_compare_and_set(%s, null, '1')"])
def test_a_key_is_of_1_to_1024_bytes(database, call):
    for key in ("", None, "é" * 513):
        code, message = database.refused(f"select {call}", key)
        assert (code, message.startswith("chimp: a key or the name of a lock has 1 to 1024 bytes")) == ("22023", True)
    database.rows(f"select {call}", "é" * 512)


def test_other_bad_input_is_refused_with_the_reason(database):
    put(database, "text", '"abc"')
    for statement, wanted in [
            ("select chimp.kv_set('a', '1', '0')", 'the ttl of "a" is 00:00:00'),
            ("select chimp.kv_set('a', '1', '-1 s')", 'the ttl of "a" is -00:00:01'),
            ("select chimp.kv_expire('text', '0')", 'the ttl of "text"'),
            ("select chimp.kv_expire('no', '0')", 'the ttl of "no"'),
            ("select chimp.kv_increment('text')", 'the value of "text" is a string, not a number'),
            ("select chimp.kv_increment('n', 'NaN')", 'cannot add NaN to "n"'),
            ("select chimp.kv_increment('n', null)", 'cannot add NULL to "n"'),
            ("select * from chimp.kv_list('', 0)", "max_rows must be at least 1")]:
        code, message = database.refused(statement)
        assert code == "22023" and wanted in message, message
    assert database.refused("select chimp.kv_set('a', '\"\\u0000\"')")[0] == "22P05"
    assert listed(database) == ["text"]
    assert get(database, "no") is None and get(database, "") is None


@pytest.mark.parametrize("call", [
    "chimp.kv_set('k', '2', '300 ms')", "chimp.kv_expire('k', '300 ms')",
    "chimp.kv_compare_and_set('k', '1', '2', '300 ms')", "chimp.kv_increment('new', 1, '300 ms')",
    "chimp.cache_set('k', '2', '300 ms')"])
@pytest.mark.parametrize("commits", [True, False])
def test_a_ttl_counts_from_when_it_was_the_writers_turn(database, call, commits):
    key = "new" if "increment" in call else "k"
    set_it, table = ("chimp.cache_set", "cache_entry") if "cache" in call else ("chimp.kv_set", "kv_entry")
    if key == "k":
        database.rows(f"select {set_it}('k', '1')")
    tx = database.transaction()
    rows(tx, f"select {set_it}('{key}', '1', '1 ms')" if key == "new" else f"select {set_it}('k', '1')")
    answer, other = [], database.connect()
    thread = threading.Thread(target=lambda: answer.extend(rows(other, f"select {call}, clock_timestamp()")))
    thread.start()
    until(lambda: database.value("select count(*) from pg_locks where not granted") == 1, "it waits")
    time.sleep(0.5)
    if commits:
        tx.commit()
    else:
        tx.rollback()
    thread.join()
    end = database.value(f"select expires_at from chimp.{table} where key = %s", key)
    assert (end - answer[0][1]).total_seconds() > 0.28
