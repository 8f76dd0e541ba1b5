"""The guarantees of the SQL itself, with many sessions at once.

No chimpd runs here: the test's threads do what its processes do, kill each
other's claims at random, and commit in any order.
"""

import json
import random
import threading
import time
import uuid

import psycopg2
import pytest

NODE = "11111111-1111-1111-1111-111111111111"
POLICY = {"max_attempts": 50, "retry_delay_ms": 5, "retry_delay_max_ms": 1000,
          "backoff": "constant"}


def register(database, **kinds):
    apps = {"apps": [{"name": "a", **kinds}]}
    database.rows("select chimp.register_apps(%s, 'n', %s)", NODE, json.dumps(apps))


def process_start(cursor, role, queues=None):
    process = str(uuid.uuid4())
    cursor.execute(
        "select chimp.process_start(%s, %s, 'n', %s, null, 0, 1, '0', %s, 3600000)",
        (process, NODE, role, queues))
    return process


def run_all(threads):
    problems = []

    def guarded(target):
        try:
            target()
        except Exception as e:  # pylint: disable=broad-except
            problems.append(e)

    running = [threading.Thread(target=guarded, args=(t,)) for t in threads]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert not problems, problems


def test_g16_no_gap_no_duplicate_in_any_order_of_commits(database):
    database.rows("create schema o")
    database.rows("create table o.seen (id bigint primary key)")
    database.rows("create function o.h(input jsonb) returns jsonb language sql as "
                "$$ insert into o.seen values ((input ->> 'id')::bigint); select input $$")
    register(database, subscriptions=[{
        "name": "s", "event": "order.*", "sql": "o.h", "lanes": 3, "batch": 10,
        "from": "now", "on_failure": "park", **POLICY}])
    stop = time.monotonic() + 4
    committed = set()
    writing = set(range(8))

    def writer(seed):
        dice = random.Random(seed)
        session = database.connect()
        session.autocommit = False
        cursor = session.cursor()
        while time.monotonic() < stop:
            published = []
            for _ in range(dice.randint(1, 4)):
                if dice.random() < 0.3:
                    cursor.execute("savepoint a")
                cursor.execute("select chimp.publish('order.x', '{}', %s)",
                               (str(dice.randint(0, 9)),))
                published.append(cursor.fetchone()[0])
                if dice.random() < 0.2:
                    cursor.execute("savepoint b")
                    cursor.execute("select chimp.publish('order.y')")
                    cursor.execute("rollback to b")
                # The first one holds its transactions open.
                time.sleep(dice.choice([0, 0, 0.001, 0.02] if seed else [0, 0.5]))
            if dice.random() < 0.2:
                session.rollback()
            else:
                session.commit()
                committed.update(published)
        writing.remove(seed)

    def subscriber():
        cursor = database.connect().cursor()
        process = process_start(cursor, "subscriber")
        cursor.execute("select lane, epoch from chimp.lanes_claim(%s, '{}')", (process,))
        lanes = cursor.fetchall()
        while time.monotonic() < stop + 60:
            last = not writing
            cursor.execute("select chimp.tick()")
            found = 0
            for lane in lanes:
                cursor.execute("select from_tick, from_id, tick, id, event "
                               "from chimp.lane_read(%s, %s, 50)", lane)
                for event in cursor.fetchall():
                    cursor.execute("select chimp.lane_advance(%s, %s, %s, %s, %s, %s, o.h(%s))",
                                   (*lane, *event))
                    found += 1
            if last and found == 0:
                return

    run_all([subscriber] + [lambda s=s: writer(s) for s in list(writing)])
    seen = {id for id, in database.rows("select id from o.seen")}
    print(f"{len(committed)} events, {database.value('select max(id) from chimp.tick')} ticks")
    assert len(committed) > 100
    assert committed - seen == set(), "events that were lost"
    assert seen - committed == set(), "events that were rolled back and delivered"
    assert database.value("select lag_events from chimp.subscriptions") == 0


def test_g1_effects_once_while_processes_are_declared_dead_at_random(database):
    database.rows("create schema o")
    database.rows("create table o.effect (job bigint primary key)")
    database.rows("""
        create function o.h(input jsonb) returns jsonb language plpgsql as $$ begin
            insert into o.effect values ((chimp.job() ->> 'id')::bigint);
            perform pg_sleep(random() * 0.01);
            if random() < 0.2 then raise exception 'at times'; end if;
            return input;
        end $$""")
    register(database, queues=[{"name": "q", "sql": "o.h", "timeout_ms": 0,
                              "dead_letter": "", "priority": 0, **POLICY}])
    queues = [database.value("select id from chimp.queue where name = 'q'")]
    jobs = {id for id, in database.rows(
        "select chimp.enqueue('q', ordering_key => case when i %% 4 = 0 then (i %% 7)::text end,"
        " unique_key => case when i %% 3 = 0 then i::text end)"
        " from generate_series(1, %s) i", 1000)}
    alive = {}
    stale = []
    workers = 6

    def attempt(cursor, job, token):
        try:
            cursor.execute("select chimp.job_done(%s, %s, o.h(chimp.job_begin(%s, %s)))",
                           (job, token, job, token))
        except psycopg2.Error as e:
            if e.pgcode == "CH001":
                stale.append(job)
                return
            # Its own exception; or it was declared dead between its begin and
            # its insert, and the next owner has committed: stale as well.
            assert e.pgcode in ("P0001", "23505"), e
            try:
                cursor.execute("select chimp.job_fail(%s, %s, %s, %s, null, null, null)",
                               (job, token, e.pgcode, str(e)))
                assert e.pgcode == "P0001", e
            except psycopg2.Error as late:
                assert late.pgcode == "CH001", late
                stale.append(job)

    def worker(number):
        cursor = database.connect().cursor()
        process = None
        while True:
            if process is None:
                process = alive[number] = process_start(cursor, "worker", ["*"])
            try:
                cursor.execute("select jobs[1], token from chimp.claim(%s, %s, 5)",
                               (process, queues))
            except psycopg2.Error as e:
                assert e.pgcode == "CH001", e
                process = None
                continue
            claimed = cursor.fetchall()
            for job, token in claimed:
                attempt(cursor, job, token)
            if not claimed:
                cursor.execute("select count(*) from chimp.jobs where state = 'done'")
                if cursor.fetchone()[0] == len(jobs):
                    alive.pop(number)
                    return
                time.sleep(0.005)

    def reaper():
        cursor = database.connect().cursor()
        deadline = time.monotonic() + 60
        time.sleep(0.1)
        while alive:
            assert time.monotonic() < deadline, "the jobs are not done within 60 s"
            process = alive.get(random.randrange(workers))
            if process:
                cursor.execute("select chimp.process_end(%s)", (process,))
            time.sleep(0.02)

    run_all([lambda n=n: worker(n) for n in range(workers)] + [reaper])
    print(f"{len(jobs)} jobs, {len(stale)} stale completions refused")
    assert stale, "nothing was declared dead at work: the test proved nothing"
    assert {job for job, in database.rows("select job from o.effect")} == jobs
    assert database.rows("select state, count(*) from chimp.jobs group by 1") == [("done", len(jobs))]
    for table in ("ready", "scheduled", "claim", "held", "key", "unique"):
        assert database.value(f"select count(*) from chimp.job_{table}") == 0, table
