"""chimp.stream_append and stream_read: every committed entry is read once, in order."""

import random
import threading
import time

import psycopg2
import pytest

from harness.chimpd import chimpctl
from harness.cluster import rows
from harness.wait import until

READ = "select position, event, payload from chimp.stream_read('s', %s, %s)"


def append(connection, payload="1", stream="s", event="e"):
    return rows(connection, "select chimp.stream_append(%s, %s, %s)", stream, event, payload)[0][0]


def appended(database, *payloads, stream="s"):
    connection = database.connect()
    return [append(connection, payload, stream) for payload in payloads or ["1"]]


def read(database, since=0, max_rows=100):
    return [(position, payload) for position, _, payload in database.rows(READ, since, max_rows)]


def test_entries_are_read_in_order_from_a_position_on(database):
    one, two, three = appended(database, '{"n": 1}', "null", '"drei"')
    appended(database, "0", stream="another")
    assert read(database) == [(one, {"n": 1}), (two, None), (three, "drei")]
    assert read(database, one, 1) == [(two, None)]
    assert read(database, three) == []
    assert database.value("select count(*) from chimp.stream_read('nobody')") == 0
    [(event, at)] = database.rows("select event, created_at between now() - interval '1 min' and now()"
                                  " from chimp.stream_read('another')")
    assert (event, at) == ("e", True)
    assert database.rows("select name, first_position, last_position from chimp.streams") == [
        ("another", three + 1, three + 1), ("s", one, three)]


def test_what_is_rolled_back_is_not_there(database):
    tx = database.transaction()
    append(tx, "1")
    rows(tx, "savepoint a")
    append(tx, "2")
    rows(tx, "rollback to a")
    append(tx, "3")
    assert rows(tx, READ, 0, 10) == [] == read(database)    # nor its own, whose place is not known yet
    tx.commit()
    assert [payload for _, payload in read(database)] == [1, 3]
    tx = database.transaction()
    append(tx)
    tx.rollback()
    assert len(read(database)) == 2


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_what_commits_late_comes_later(database, isolation):
    slow = database.transaction()
    slow.set_session(isolation_level=isolation)
    mine = [append(slow, "1"), append(slow, "2")]
    [others] = appended(database, "3")
    mine.append(append(slow, "4"))
    assert mine[1] < others < mine[2]
    assert read(database) == [(others, 3)]
    slow.commit()
    got = read(database, others)
    assert [payload for _, payload in got] == [1, 2, 4]
    assert [position for position, _ in got] == sorted(position for position, _ in got)
    assert read(database) == [(others, 3), *got]


def test_one_that_appends_to_several_streams_is_in_order_in_each(database):
    slow = database.transaction()
    append(slow, "1", "s"), append(slow, "1", "t"), append(slow, "1", "u")
    [others] = appended(database, "0", stream="t")
    append(slow, "2", "s"), append(slow, "2", "t"), append(slow, "2", "u")
    later = [database.value("select chimp.stream_append('u', 'e', '0')")]
    append(slow, "3", "u"), append(slow, "3", "s")
    slow.commit()
    got = {name: database.rows("select position, payload from chimp.stream_read(%s)", name) for name in "stu"}
    assert [payload for _, payload in got["s"]] == [1, 2, 3]
    assert got["t"][0] == (others, 0) and [payload for _, payload in got["t"]] == [0, 1, 2]
    assert got["u"][0] == (later[0], 0) and [payload for _, payload in got["u"]] == [0, 1, 2, 3]


def test_many_entries_of_one_transaction_in_many_streams(database, figure):
    slow = database.transaction()
    append(slow, "0", "s0")
    appended(database)
    rows(slow, "select chimp.stream_append('s' || n %% 100, 'e', to_jsonb(n)) from generate_series(1, %s) n", 20000)
    started = time.monotonic()
    slow.commit()
    figure("commit of 20,000 entries in 100 streams", time.monotonic() - started, "s", 2)
    assert [payload for _, payload in database.rows(
        "select position, payload from chimp.stream_read('s0', max_rows => 1000)")] == list(range(0, 20001, 100))


def test_nobody_waits_for_who_takes_long(database):
    slow = database.transaction()
    append(slow)
    started = time.monotonic()
    for n in range(20):
        appended(database, str(n))
        assert len(read(database)) == n + 1
    assert time.monotonic() - started < 10
    slow.rollback()


def test_a_reader_waits_for_who_is_committing(database):
    """One that has looked at its commit keeps its position; none before it is read meanwhile."""
    slow = database.transaction()
    position = append(slow, "1")
    rows(slow, "set constraints all immediate")     # as its commit does
    later = append(slow, "2")
    [third] = appended(database)                    # one that commits does not wait
    answer, reader = [], database.connect()
    thread = threading.Thread(target=lambda: answer.extend(rows(reader, READ, 0, 10)))
    thread.start()
    time.sleep(0.5)
    assert answer == []
    slow.commit()
    thread.join()
    assert [row[0] for row in answer] == [position, later, third]


def test_a_commit_that_takes_long_holds_up_no_other(database, figure):
    """Others commit, and read other streams, while a reader waits for it."""
    slow = database.transaction()
    append(slow, "1")
    rows(slow, "set constraints all immediate")
    appended(database)
    reader = database.connect()
    thread = threading.Thread(target=rows, args=(reader, READ, 0, 10), daemon=True)
    thread.start()
    longest, connection = 0, database.connect()
    rows(connection, "set lock_timeout = '20 s'")
    for n in range(200):
        started = time.monotonic()
        append(connection, str(n))
        longest = max(longest, time.monotonic() - started)
        time.sleep(0.002)
    assert thread.is_alive()
    appended(database, stream="another")
    assert len(database.rows("select position from chimp.stream_read('another')")) == 1
    slow.commit()
    thread.join()
    figure("append while a reader waits for a long commit, longest", longest * 1000, "ms", 100)


def test_a_standby_cannot_read(make_cluster):
    cluster = make_cluster()
    database = cluster.create_database()
    assert chimpctl("-d", database.url, "migrate").status == 0
    appended(database)
    assert len(read(database)) == 1
    cluster.stop()
    (cluster.data / "standby.signal").touch()
    cluster.start()
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="a standby"):
        rows(database.connect(), READ, 0, 10)


def test_entries_of_a_server_before_a_restore_are_no_own_ones(database):
    """Numbers of transactions begin anew there; this one's was an entry's once."""
    [position] = appended(database)
    tx = database.transaction()
    [(mine,)] = rows(tx, "select pg_current_xact_id()::text")
    database.rows("update chimp.stream_entry set xid = %s::xid8, created_at = created_at - interval '1 h'", mine)
    assert [row[0] for row in rows(tx, READ, 0, 10)] == [position]
    tx.rollback()


def test_who_was_read_over_after_a_trim_comes_later(database):
    slow = database.transaction()
    append(slow, "1")
    [others] = appended(database, "2")
    assert read(database) == [(others, 2)]
    assert database.value("select chimp.stream_trim('s', 0)") == 1
    slow.commit()
    [(position, payload)] = read(database, others)
    assert payload == 1 and position > others


# --- reading ---------------------------------------------------------------------------

def test_a_read_only_transaction_reads_too(database):
    [position] = appended(database)
    tx = database.transaction()
    tx.set_session(readonly=True)
    assert rows(tx, READ, 0, 10) == [(position, "e", 1)]
    [later] = appended(database)
    assert rows(tx, READ, position, 10) == [(later, "e", 1)]


def test_a_long_transaction_that_has_read_holds_up_nobody(database):
    appended(database)
    tx = database.transaction()
    rows(tx, READ, 0, 10)
    appended(database)
    assert len(read(database)) == 2
    assert rows(tx, "select count(*) from pg_locks where locktype = 'advisory'") == [(0,)]


def test_a_reader_waits_for_entries_and_not_longer(database, figure):
    started = time.monotonic()
    assert database.rows("select 1 from chimp.stream_read('s', wait => '300 ms')") == []
    assert 0.3 <= time.monotonic() - started < 3
    answer, reader = [], database.connect()
    thread = threading.Thread(target=lambda: answer.extend(
        [*rows(reader, "select position from chimp.stream_read('s', wait => '60 s')"), time.monotonic()]))
    thread.start()
    time.sleep(0.2)
    assert answer == []
    [position] = appended(database)
    committed = time.monotonic()
    thread.join()
    assert answer[0] == (position,)
    figure("commit to a waiting reader of a stream", (answer[1] - committed) * 1000, "ms", 40)


def test_a_cancelled_reader_leaves_nothing_behind(database):
    slow = database.transaction()
    append(slow)
    rows(slow, "set constraints all immediate")
    appended(database)
    reader = database.connect()
    rows(reader, "set statement_timeout = '100 ms'")
    for statement in ("select 1 from chimp.stream_read('s')", "select 1 from chimp.stream_read('no', wait => '1 min')"):
        with pytest.raises(psycopg2.errors.QueryCanceled):
            rows(reader, statement)
    slow.commit()
    appended(database)
    assert len(read(database)) == 3


# --- many at once ----------------------------------------------------------------------

class Writer(threading.Thread):
    """Transactions of one to five entries, some long, some rolled back."""

    def __init__(self, database, number, seed, end):
        super().__init__()
        self.connection = database.transaction()
        self.number, self.dice, self.end = number, random.Random(f"{seed}/{number}"), end
        self.committed = []

    def run(self):
        n = 0
        while time.monotonic() < self.end:
            entries = []
            for _ in range(self.dice.randint(1, 5)):
                entries.append([self.number, n])
                append(self.connection, f"[{self.number}, {n}]")
                n += 1
                if self.dice.random() < 0.3:
                    time.sleep(self.dice.choice([0.001, 0.01, 0.1, 1 if self.number % 10 == 0 else 0.02]))
            if self.dice.random() < 0.2:
                self.connection.rollback()
            else:
                self.connection.commit()
                self.committed.extend(entries)


def test_readers_beside_a_hundred_writers_miss_nothing(database):
    seed = random.randrange(1 << 30)
    end = time.monotonic() + 6
    writers = [Writer(database, n, seed, end) for n in range(100)]
    writing = threading.Event()

    def follow(max_rows, pause, got):
        connection, since = database.connect(), 0
        while True:
            last = writing.is_set()
            found = rows(connection, READ, since, max_rows)
            got.extend(found)
            since = found[-1][0] if found else since
            if last and not found:
                return
            time.sleep(pause)

    readers = [[], [], []]
    threads = [threading.Thread(target=follow, args=(max_rows, pause, got))
               for (max_rows, pause), got in zip([(3, 0), (50, 0.001), (1000, 0.05)], readers)]
    for thread in writers + threads:
        thread.start()
    for thread in writers:
        thread.join()
    writing.set()
    for thread in threads:
        thread.join()
    wanted = sorted(entry for writer in writers for entry in writer.committed)
    assert len(wanted) > 1000
    whole = database.rows(READ, 0, 1 << 30)
    for got in readers:
        assert sorted(payload for _, _, payload in got) == wanted, f"seed {seed}"
        assert got == whole, f"seed {seed}"
    for writer in writers:      # in the order in which it was written
        mine = [payload for _, _, payload in whole if payload[0] == writer.number]
        assert mine == writer.committed, f"seed {seed}"


# --- trimming --------------------------------------------------------------------------

def test_trimming_by_count_and_age(database):
    positions = appended(database, *map(str, range(10)))
    appended(database, "0", stream="another")
    assert database.value("select chimp.stream_trim('s', max_rows => 10)") == 0
    assert database.value("select chimp.stream_trim('s', max_rows => 7)") == 3
    assert [position for position, _ in read(database)] == positions[3:]
    database.rows("update chimp.stream_entry set created_at = created_at - interval '1 h'"
                  " where position = any (%s)", [positions[3], positions[4], positions[8]])
    # Behind one that is young enough, an old one stays until its turn comes.
    assert database.value("select chimp.stream_trim('s', max_age => '30 min')") == 2
    assert [position for position, _ in read(database)] == positions[5:]
    assert database.value("select chimp.stream_trim('s', 1, '30 min')") == 4
    assert read(database) == [(positions[9], 9)]
    assert database.value("select count(*) from chimp.stream_read('another')") == 1


def test_many_streams_are_looked_at_in_one_step(database):
    database.rows("select chimp.stream_append('s' || n, 'e'), chimp.stream_append('s' || n, 'e'),"
                  " chimp.stream_retention('s' || n, max_rows => 1) from generate_series(1, 130) n")
    assert [database.value("select chimp.stream_retain(1000)") for _ in range(3)] == [1000, 30, 0]
    assert database.value("select count(*) from chimp.stream_entry") == 130
    database.rows("update chimp.stream set look_at = now()")
    assert [database.value("select chimp.stream_retain(1000)") for _ in range(3)] == [1000, 0, 0]
    appended(database, *"123", stream="s7")
    database.rows("update chimp.stream set look_at = now()")
    assert [database.value("select chimp.stream_retain(2)") for _ in range(3)] == [2, 1, 0]


def test_trimming_many_goes_on_in_steps(database):
    database.rows("select chimp.stream_append('s', 'e', to_jsonb(n)) from generate_series(1, 25000) n")
    assert database.value("select chimp.stream_cut('s', 100, null, 300)") == 300
    assert database.value("select chimp.stream_trim('s', 100)") == 24600
    assert [payload for _, payload in read(database)] == list(range(24901, 25001))


def test_workers_keep_streams_to_their_retention(start, app, database):
    start(app("", ""), cron=0, subscriber=0)
    database.rows("select chimp.stream_append('s', 'e', to_jsonb(n)) from generate_series(1, 5000) n")
    appended(database, "1", "2", stream="old")
    appended(database, "1", stream="kept")
    database.rows("update chimp.stream_entry set created_at = created_at - interval '1 d' where stream <> 's'")
    database.rows("select chimp.stream_retention('s', max_rows => 10), chimp.stream_retention('old', max_age => '1 h'),"
                  " chimp.stream_retention('none ' || n, max_rows => 1) from generate_series(1, 50) n")
    until(lambda: database.value("select count(*) from chimp.stream_entry where stream <> 'kept'") == 10,
          "the limits are kept", timeout=60)
    assert len(read(database)) == 10
    assert database.rows("select name, max_rows, max_age::text from chimp.streams order by name") == [
        ("kept", None, None), ("s", 10, None)]
    database.rows("select chimp.stream_retention('s')")
    assert database.rows("select max_rows, max_age from chimp.streams where name = 's'") == [(None, None)]


# --- bad input -------------------------------------------------------------------------

def test_bad_input_is_refused_with_the_reason(database):
    for statement, code, wanted in [
            ("select chimp.stream_append('', 'e')", "22023", "chimp.stream_append: a name has 1 to 255 bytes, not 0"),
            ("select chimp.stream_append(null, 'e')", "22023", "stream_append: a name has 1 to 255 bytes, not 0"),
            ("select chimp.stream_append('s', repeat('é', 128))", "22023", "of an event: a name has 1 to 255 bytes, not 256"),
            ("select chimp.stream_append('s', null)", "22023", "of an event: a name has 1 to 255 bytes, not 0"),
            ("select chimp.stream_read('s', 0, 0)", "22023", "max_rows must be at least 1"),
            ("select chimp.stream_read('s', 0, null)", "22023", "max_rows must be at least 1"),
            ("select chimp.stream_read('s', null)", "22023", "since a position"),
            ("select chimp.stream_read('s', 0, 1, '-1 s')", "22023", "wait 0 or more"),
            ("select chimp.stream_trim('s')", "22023", "to how many entries"),
            ("select chimp.stream_trim('s', -1)", "22023", "Not below 0"),
            ("select chimp.stream_trim('', 1)", "22023", "1 to 255 bytes, not 0"),
            ("select chimp.stream_retention(repeat('x', 256), 1)", "22023", "1 to 255 bytes, not 256"),
            ("select chimp.stream_retention('s', 0)", "22023", "above 0, or NULL"),
            ("select chimp.stream_retention('s', null, '0')", "22023", "above 0, or NULL"),
            ("select chimp.stream_append('s', 'e', '\"\\u0000\"')", "22P05", "Unicode")]:
        got, message = database.refused(statement)
        assert got == code and wanted in message, message
    tx = database.transaction()
    tx.set_session(isolation_level="repeatable read")
    appended(database)
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        rows(tx, READ, 0, 10)


def test_names_are_themselves(database):
    for name in ("a%", "a_", "x'; drop table chimp.stream_entry --", '"', "\\"):
        appended(database, '"' + "x" * 10 + '"', stream=name)
        assert database.value("select count(*) from chimp.stream_read(%s)", name) == 1
    assert database.value("select count(*) from chimp.stream_read('ab')") == 0
    appended(database, '"' + "x" * (10 << 20) + '"')
    assert database.value("select length(payload #>> '{}') from chimp.stream_read('s')") == 10 << 20
