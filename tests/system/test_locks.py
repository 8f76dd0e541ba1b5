"""chimp.lock: one holder, and what one that is too late can still do."""

import threading
import time

import pytest

from harness.cluster import rows
from harness.wait import until


def take(database, name="l", ttl="1 hour"):
    return database.value("select chimp.lock(%s, %s)", name, ttl)


def waiting(database):
    return database.value("select count(*) from pg_locks where not granted")


def test_one_holds_it_until_it_gives_it_back(database):
    token = take(database)
    assert take(database) is None
    assert isinstance(take(database, "another"), int)
    assert database.rows("select name, token from chimp.locks where name = 'l'") == [("l", token)]
    assert database.value("select chimp.unlock('l', %s)", token + 1) is False
    assert database.value("select chimp.unlock('l', %s)", token) is True
    assert database.value("select chimp.unlock('l', %s)", token) is False
    assert take(database) > token


def test_it_expires_to_the_instant_also_within_a_transaction(database):
    tx = database.transaction()
    rows(tx, "select 1")
    token = take(database, ttl="150 ms")
    end = database.value("select expires_at from chimp.lock_entry")
    rows(tx, "select chimp.lock_check('l', %s)", token)
    tx.commit()
    while True:
        [(before, held, after)] = rows(tx, "select clock_timestamp(), exists"
                                           " (select from chimp.locks), clock_timestamp()")
        if not held:
            break
        assert before < end
    assert after >= end
    tx.rollback()
    assert database.value("select chimp.lock_renew('l', %s, '1 h')", token) is False
    assert database.refused("select chimp.lock_check('l', %s)", token)[0] == "CH001"
    assert database.value("select chimp.unlock('l', %s)", token) is False
    assert take(database) > token


def test_it_is_held_while_it_is_renewed(database):
    token = take(database, ttl="200 ms")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert database.value("select chimp.lock_renew('l', %s, '200 ms')", token) is True
        assert take(database) is None
        time.sleep(0.05)


def test_of_many_one_gets_it_each_time(database):
    barrier, tokens, busy, wrong = threading.Barrier(10), [], threading.Lock(), []

    def work():
        connection = database.connect()
        barrier.wait()
        for _ in range(30):
            [(token,)] = rows(connection, "select chimp.lock('l', '1 h')")
            if token is None:
                continue
            if not busy.acquire(blocking=False):
                wrong.append(token)
                continue
            tokens.append(token)
            busy.release()
            rows(connection, "select chimp.unlock('l', %s)", token)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and tokens == sorted(set(tokens)) and len(tokens) > 10


@pytest.mark.parametrize("commits", [True, False])
def test_who_wants_it_waits_for_who_is_just_taking_it(database, commits):
    tx = database.transaction()
    rows(tx, "select chimp.lock('l', '1 h')")
    answer, other = [], database.connect()
    thread = threading.Thread(target=lambda: answer.extend(rows(other, "select chimp.lock('l', '1 h')")))
    thread.start()
    until(lambda: waiting(database) == 1, "it waits")
    drawn = take(database, "another")
    if commits:
        tx.commit()
    else:
        tx.rollback()
    thread.join()
    if commits:
        assert answer == [(None,)]
    else:
        assert answer[0][0] > drawn     # the token is of when it was taken


def test_what_is_checked_is_not_taken_before_the_commit(database):
    """The check succeeds, the lock expires, and the transaction still writes."""
    token = take(database, ttl="100 ms")
    tx = database.transaction()
    rows(tx, "select chimp.lock_check('l', %s)", token)
    time.sleep(0.15)
    answer, other = [], database.connect()
    thread = threading.Thread(target=lambda: answer.extend(rows(other, "select chimp.lock('l', '1 h')")))
    thread.start()
    until(lambda: waiting(database) == 1, "it waits")
    assert answer == []
    tx.commit()
    thread.join()
    assert answer[0][0] > token


def test_a_renewal_that_had_to_wait_counts_from_then_on(database):
    token = take(database, ttl="10 s")
    tx = database.transaction()
    rows(tx, "select chimp.lock_check('l', %s)", token)
    answer, other = [], database.connect()
    thread = threading.Thread(target=lambda: answer.extend(rows(
        other, "select chimp.lock_renew('l', %s, '300 ms'), clock_timestamp()", token)))
    thread.start()
    until(lambda: waiting(database) == 1, "it waits")
    time.sleep(0.5)
    tx.commit()
    thread.join()
    [(renewed, at)] = answer
    end = database.value("select expires_at from chimp.lock_entry")
    assert renewed and (end - at).total_seconds() > 0.28


def test_expired_ones_are_removed_in_bounded_steps(database):
    database.rows("select chimp.lock('l' || n, '1 ms') from generate_series(1, 50) n")
    token = take(database)
    time.sleep(0.02)
    assert [database.value("select chimp.remove_expired('chimp.lock_entry', 30)") for _ in range(3)] == [30, 20, 0]
    assert database.rows("select name, token from chimp.lock_entry") == [("l", token)]


def test_bad_input_is_refused_with_the_reason(database):
    for name, ttl, wanted in [
            ("", "1 s", "has 1 to 1024 bytes, not 0"), (None, "1 s", "has 1 to"),
            ("é" * 513, "1 s", "not 1026"), ("l", "0", 'the ttl of "l" is 00:00:00'),
            ("l", "-1 s", 'the ttl of "l"'), ("l", None, 'the ttl of "l" is 00:00:00')]:
        code, message = database.refused("select chimp.lock(%s, %s)", name, ttl)
        assert code == "22023" and wanted in message
    assert database.refused("select chimp.lock_renew('no', 1, '0')")[0] == "22023"
    token = take(database, "é" * 512)
    assert database.refused("select chimp.lock_renew(%s, %s, '0')", "é" * 512, token)[0] == "22023"
    assert database.refused("select chimp.lock_check('nobody', 1)") == ("CH001", 'lock "nobody": token 1 is stale')
