"""How runs end: snooze, fail, cancel, progress; and what people do to jobs."""

import psycopg2
import pytest

from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.wrote (job bigint);
create function t.say(input jsonb) returns jsonb language plpgsql as $$
begin
    insert into t.wrote values ((chimp.job() ->> 'id')::bigint);
    case input ->> 'say'
        when 'snooze' then
            if not exists (select from t.snoozed) then
                perform chimp.snooze('300 ms');
            end if;
        when 'fail' then perform chimp.fail('no hope');
        when 'cancel' then perform chimp.cancel();
        when 'raise' then raise 'at once';
        when 'steps' then
            for i in 1..4 loop
                perform chimp.progress(to_jsonb(i));
            end loop;
            if input ? 'end' then
                perform chimp.fail('after four');
            end if;
        when 'progress' then
            perform chimp.progress('{"percent": 40}');
            perform pg_sleep(2);
        when 'much' then
            for i in 1..20000 loop
                perform chimp.progress(jsonb_build_object('n', i));
            end loop;
            perform pg_sleep(2);
        else perform pg_sleep(coalesce((input ->> 'sleep')::float, 0));
    end case;
    return input;
end $$;
create table t.snoozed (n int);
"""


@pytest.fixture
def node(start, app):
    return start(app('queue "q" { sql = "t.say"  max_attempts = 3  retry_delay = "100ms" }'
                     ' queue "q.dlq" { sql = "t.say" }', SCHEMA),
                 cron=0, subscriber=0, workers="worker default { processes = 1  concurrency = 4 }")


def enqueue(database, payload="{}"):
    return database.value("select chimp.enqueue('q', %s)", payload)


def job(database, id):
    return database.rows("select state, attempt, error ->> 'message' from chimp.jobs"
                         " where id = %s", id)[0]


def ended(database, id):
    until(lambda: job(database, id)[0] in ("done", "dead", "cancelled"), f"job {id} ends")
    return job(database, id)


def test_g08_snooze_charges_nothing_and_keeps_nothing(node, database):
    id = enqueue(database, '{"say": "snooze"}')
    until(lambda: job(database, id)[:2] == ("scheduled", 0), "it sleeps")
    assert database.value("select count(*) from t.wrote") == 0
    database.rows("insert into t.snoozed values (1)")
    assert ended(database, id)[:2] == ("done", 1)
    assert database.value("select count(*) from chimp.job_error") == 0


def test_g08_fail_is_for_good(node, database):
    id = enqueue(database, '{"say": "fail"}')
    assert ended(database, id) == ("dead", 1, "no hope")
    until(lambda: database.value("select count(*) from chimp.jobs where queue = 'q.dlq'") == 1,
          "its letter is there")


def test_g08_cancel_from_within(node, database):
    id = enqueue(database, '{"say": "cancel"}')
    assert ended(database, id)[:2] == ("cancelled", 0)
    assert database.value("select count(*) from t.wrote where job = %s", id) == 0


def test_progress_is_seen_while_the_job_runs(node, database):
    id = enqueue(database, '{"say": "progress"}')
    until(lambda: database.value("select progress from chimp.jobs where id = %s and"
                                 " state = 'running'", id) == {"percent": 40}, "it says how far")
    assert ended(database, id)[0] == "done"
    assert database.value("select progress from chimp.jobs where id = %s", id) == {"percent": 40}


@pytest.mark.parametrize("end, state", [("", "done"), (', "end": "fail"', "dead")])
def test_the_last_progress_stays_when_the_run_ends_right_after(node, database, end, state):
    # Others follow each other in one transaction: a group is no exception.
    ids = [enqueue(database, f'{{"say": "steps"{end}}}') for _ in range(40)]
    until(lambda: database.value("select count(*) from chimp.jobs where queue = 'q' and state = %s",
                                 state) == 40, "they end")
    assert {job(database, id)[0] for id in ids} == {state}
    until(lambda: database.rows("select progress, count(*) from chimp.jobs where queue = 'q'"
                                " group by 1") == [(4, 40)], "all have said 4")


def test_g14_cancel_ends_the_query_of_a_running_job(node, database, figure):
    id = enqueue(database, '{"sleep": 60}')
    until(lambda: database.value("select count(*) from pg_stat_activity where state = 'active'"
                                 " and query like '%%\"say\"%%' and pid <> pg_backend_pid()") == 1,
          "it runs")
    with Stopwatch() as watch:
        assert database.value("select chimp.cancel(%s)", id) is True
        until(lambda: database.value(
            "select count(*) from pg_stat_activity where state = 'active'"
            " and query like '%%\"say\"%%' and pid <> pg_backend_pid()") == 0, "its query ends")
    figure("cancel of a running job to the end of its query", watch.ms, "ms", 100)
    assert job(database, id)[:1] == ("cancelled",)
    assert database.value("select chimp.cancel(%s)", id) is False
    assert database.value("select count(*) from t.wrote") == 0
    # The connection is as good as before.
    assert ended(database, enqueue(database))[0] == "done"


def test_g09_redrive_and_purge(node, database):
    ids = [enqueue(database, '{"say": "fail"}') for _ in range(3)]
    for id in ids:
        ended(database, id)
    database.rows("select chimp.pause('q')")
    assert database.value("select chimp.redrive('q', 2)") == 2
    assert [job(database, id)[:2] for id in ids] == [("ready", 0), ("ready", 0), ("dead", 1)]
    assert database.value("select chimp.purge('q')") == 1
    with pytest.raises(psycopg2.Error) as raised:
        database.value("select chimp.retry(%s)", ids[2])
    assert raised.value.pgcode == "CH002"
    assert database.value("select chimp.drain('q')") == 2
    assert [job(database, id)[0] for id in ids[:2]] == ["cancelled"] * 2


def test_g12_a_retried_job_queues_behind_its_key(node, database):
    first = database.value("select chimp.enqueue('q', '{\"say\": \"fail\"}', ordering_key => 'k')")
    assert ended(database, first)[0] == "dead"
    second = database.value("select chimp.enqueue('q', '{\"sleep\": 0.5}', ordering_key => 'k')")
    until(lambda: job(database, second)[0] == "running", "the second runs")
    assert database.value("select chimp.retry(%s)", first) is True
    assert job(database, first)[0] == "scheduled"
    assert ended(database, second)[0] == "done"
    until(lambda: job(database, first)[0] == "dead", "the first runs again")


def test_g11_retry_gives_back_a_unique_key_only_when_it_is_free(node, database):
    first = database.value("select chimp.enqueue('q', '{\"say\": \"fail\"}', unique_key => 'u')")
    assert ended(database, first)[0] == "dead"
    database.rows("select chimp.pause('q')")
    second = database.value("select chimp.enqueue('q', '{\"say\": \"fail\"}', unique_key => 'u')")
    assert second != first
    with pytest.raises(psycopg2.Error) as raised:
        database.value("select chimp.retry(%s)", first)
    assert raised.value.pgcode == "CH003"
    assert job(database, first)[0] == "dead"


def test_redrive_leaves_out_whose_unique_key_is_another_s(node, database):
    ids = [database.value("select chimp.enqueue('q', '{\"say\": \"fail\"}', unique_key => %s)", key)
           for key in ("a", "b")]
    for id in ids:
        ended(database, id)
    database.rows("select chimp.pause('q')")
    database.value("select chimp.enqueue('q', '{}', unique_key => 'a')")
    assert database.value("select chimp.redrive('q')") == 1
    assert [job(database, id)[0] for id in ids] == ["dead", "ready"]


def test_progress_said_without_a_pause_ends_with_the_last(node, database):
    """And is bounded: one statement at a time tells it."""
    id = enqueue(database, '{"say": "much"}')
    until(lambda: database.value("select progress from chimp.jobs where id = %s and"
                                 " state = 'running'", id) == {"n": 20000}, "it says how far",
          timeout=30)
    assert ended(database, id)[0] == "done"
    # Outside of a job nobody hears it, and nothing breaks.
    assert database.value("select chimp.progress('1') is null") is False


def test_a_paused_queue_wakes_nobody(node, database):
    listener = database.connect()
    listener.cursor().execute("listen chimp_work")
    database.rows("select chimp.pause('q')")
    # The workers sleep, and want to be woken.
    until(lambda: database.value("select pg_sequence_last_value(wake) from chimp.queue"
                                 " where name = 'q'") == 2, "they sleep")
    enqueue(database)
    database.rows("select chimp.enqueue_many('q', array['{}'::jsonb])")
    database.rows("select chimp.resume('q')")

    def heard():
        listener.poll()
        return [n.payload for n in listener.notifies]

    until(heard, "the listener hears of it")
    # In the order of their commits: of the enqueues there was none.
    assert heard() == ["q"]
