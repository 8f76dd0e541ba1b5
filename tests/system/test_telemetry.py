"""Counters that nobody waits for, and what handlers log and measure."""

import threading

from harness.cluster import rows
from harness.wait import until


def count(database, name="c"):
    return database.value("select chimp.counter_get(%s)", name)


def fold(database, step=100):
    return database.value("select chimp.counters_fold(%s)", step)


# --- counters --------------------------------------------------------------------------

def test_a_counter_has_what_is_committed(database):
    assert count(database) == 0
    tx = database.transaction()
    rows(tx, "select chimp.counter_add('c'), chimp.counter_add('c', 2.5), chimp.counter_add('other', -1)")
    assert rows(tx, "select chimp.counter_get('c')") == [(3.5,)]
    assert count(database) == 0
    tx.commit()
    rows(tx, "select chimp.counter_add('c', 100)")
    tx.rollback()
    for _ in range(2):
        assert database.rows("select name, value from chimp.counters order by name") == [("c", 3.5), ("other", -1)]
        fold(database)
    assert database.value("select count(*) from chimp.counter_change") == 0
    assert database.value("select chimp.counter_delete('c')") is True
    assert database.value("select chimp.counter_delete('c')") is False
    assert count(database) == 0


def test_nobody_waits_and_nothing_is_lost_while_it_is_folded(database):
    slow = database.transaction()
    rows(slow, "select chimp.counter_add('c')")     # another in front of all others
    done = threading.Event()

    def add():
        connection = database.connect()
        for n in range(200):
            rows(connection, "select chimp.counter_add('c', %s)", n % 3)

    seen = []

    def look():
        connection = database.connect()
        while not done.is_set():
            seen.append(rows(connection, "select chimp.counter_get('c')")[0][0])
            rows(connection, "select chimp.counters_fold(37)")

    adders = [threading.Thread(target=add) for _ in range(10)]
    watcher = threading.Thread(target=look)
    for thread in [*adders, watcher]:
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    watcher.join()
    assert count(database) == 10 * sum(n % 3 for n in range(200))
    assert seen == sorted(seen) and len(set(seen)) > 2
    slow.commit()
    while fold(database):
        pass
    assert count(database) == 10 * sum(n % 3 for n in range(200)) + 1
    assert database.value("select value from chimp.counter_value where name = 'c'") == count(database)


def test_a_counter_is_deleted_while_it_is_folded(database):
    database.rows("select chimp.counter_add('c', 5)")
    tx = database.transaction()
    rows(tx, "select chimp.counters_fold(100)")
    answer, other = [], database.connect()
    thread = threading.Thread(target=lambda: answer.extend(rows(other, "select chimp.counter_delete('c')")))
    thread.start()
    until(lambda: database.value("select count(*) from pg_locks where not granted"), "it waits")
    tx.commit()
    thread.join()
    assert answer == [(True,)] and count(database) == 0


def test_what_is_wrong_with_state_does_not_stop_the_maintenance_of_jobs(database):
    database.rows("insert into chimp.counter_value values ('big', 9e131071)")
    database.rows("insert into chimp.counter_change values ('big', 9e131071)")
    connection = database.connect()
    database.rows("update chimp.maintenance set kept_at = now() - interval '1 h'")
    assert rows(connection, "select chimp.maintain()") == [(False,)]
    assert any("maintenance of state failed: value overflows" in notice for notice in connection.notices)
    assert database.value("select kept_at > now() - interval '1 min' from chimp.maintenance") is True


# --- handlers --------------------------------------------------------------------------

HANDLER = """
create schema t;
create function t.run(p jsonb) returns jsonb language plpgsql as $$ begin
	perform chimp.log(p ->> 'level', p ->> 'message', p -> 'attrs');
	if p ? 'metric' then
		perform chimp.metric('m', (p ->> 'metric')::float8, '{"a": 1}');
	end if;
	if p ? 'fails' then
		raise exception 'it fails';
	end if;
	return 'true';
end $$;
"""
APP = """
	action "run" { sql = "t.run" }
	action "look" { sql = "t.run"  readonly = true }
	route "POST /run" { action = "run" }
	route "POST /look" { action = "look" }
	queue "work" { sql = "t.run"  max_attempts = 1 }
"""


def logs(database):
    return database.rows("select level, message, attrs, queue, request_id from chimp.logs order by id")


def said(node, line):
    until(lambda: line in node.text(), f"it says {line!r}")


def test_what_handlers_log_and_measure(start, app, database):
    node = start(app(APP, HANDLER), database='telemetry_retention = "1m"')
    answer = node.http.post("/run", {"level": "warn", "message": "hm", "attrs": {"b": 2}, "metric": 1.5})
    assert answer.status == 200
    request = answer.headers["x-request-id"]
    assert logs(database) == [("warn", "hm", {"b": 2}, None, request)]
    said(node, f': hm {{"b": 2}} (request {request})')
    [(at, sample)] = database.rows("select at, row_to_json(s) from chimp.metric_samples s")
    assert (sample["name"], sample["value"], sample["labels"]) == ("m", 1.5, {"a": 1})

    # A job's: its rows go with what it wrote, the line in the log stays.
    job = database.value("select chimp.enqueue('work', %s)",
                         '{"level": "error", "message": "a\\nb", "attrs": {}, "metric": 1, "fails": 1}')
    said(node, f'error worker/default/0: a b (job {job} of work)')
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "dead", "it fails")
    assert len(logs(database)) == 1 == database.value("select count(*) from chimp.metric_samples")
    job = database.value("select chimp.enqueue('work', %s)", '{"level": "info", "message": "done", "attrs": {}}')
    until(lambda: len(logs(database)) == 2, "the job has logged")
    assert logs(database)[1] == ("info", "done", {}, "work", None)
    assert database.value("select job_id from chimp.logs where message = 'done'") == job

    # A readonly one writes nothing, and says it nevertheless.
    assert node.http.post("/look", {"level": "info", "message": "looked", "attrs": {}}).status == 200
    said(node, ": looked (request ")
    assert node.http.post("/look", {"level": "debug", "message": "unseen", "attrs": {}}).status == 200
    assert "unseen" not in node.text() and len(logs(database)) == 2

    # And goes with its time.
    database.rows("update chimp.log_entry set at = at - interval '59 s' where message = 'hm'")
    database.rows("update chimp.metric_sample set at = at - interval '61 s'")
    until(lambda: database.value("select count(*) from chimp.metric_samples") == 0, "the sample is gone", timeout=60)
    assert database.value("select count(*) from chimp.logs where message = 'done'") == 1
    database.rows("select chimp.counter_add('c', n) from generate_series(1, 100) n")
    until(lambda: database.value("select value from chimp.counter_value") == 5050, "the counter is folded", timeout=60)


def test_old_rows_go_in_steps(database):
    database.rows("select chimp.log('info', n::text), chimp.metric('m', n) from generate_series(1, 50) n")
    database.rows("update chimp.telemetry_store set retention_ms = 3600000")
    assert database.value("select chimp.telemetry_retain(30)") == 0
    database.rows("update chimp.log_entry set at = at - interval '2 h' where id <= 40")
    assert [database.value("select chimp.telemetry_retain(30)") for _ in range(3)] == [30, 10, 0]
    assert database.rows("select min(id), count(*) from chimp.logs") == [(41, 10)]
    assert database.value("select count(*) from chimp.metric_samples") == 50


def test_bad_input_is_refused_with_the_reason(database):
    for statement, wanted in [
            ("select chimp.counter_add('')", "a name has 1 to 255 bytes, not 0"),
            ("select chimp.counter_add(null)", "not 0"),
            ("select chimp.counter_add(repeat('é', 128))", "not 256"),
            ("select chimp.counter_add('c', 'NaN')", 'cannot add NaN to "c"'),
            ("select chimp.counter_add('c', null)", "cannot add NULL"),
            ("select chimp.counter_add('c', 2e100)", "cannot add 2000"),
            ("select chimp.counter_add('c', '-Infinity')", "cannot add -Infinity"),
            ("select chimp.log('fatal', 'x')", "error, warn, info or debug, not fatal"),
            ("select chimp.log(null, 'x')", "not NULL"),
            ("select chimp.log('info', null)", "a message"),
            ("select chimp.log('info', 'x', '[]')", "attrs as an object"),
            ("select chimp.metric('m', 'Infinity')", '"m" needs a number'),
            ("select chimp.metric('m', null)", '"m" needs a number'),
            ("select chimp.metric('m', 1, '1')", "labels as an object"),
            ("select chimp.metric('', 1)", "1 to 255 bytes")]:
        code, message = database.refused(statement)
        assert code == "22023" and wanted in message, message
    assert database.rows("select chimp.log('info', 'x', null)") and logs(database) == [("info", "x", {}, None, None)]
