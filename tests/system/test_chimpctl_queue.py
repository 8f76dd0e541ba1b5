"""chimpctl queue, dead, why, and what it does to jobs."""

import json

import pytest

from harness.chimpd import chimpctl
from harness.wait import until

SCHEMA = """
create schema t;
create function t.run(input jsonb) returns jsonb language plpgsql as $$
begin
    if input ? 'fail' then
        raise exception 'as told';
    end if;
    perform pg_sleep(coalesce((input ->> 'sleep')::float, 0));
    return null;
end $$;
"""
QUEUES = """
  queue "q" { sql = "t.run"  max_attempts = 1  max_ready = 5000 }
  queue "one" { sql = "t.run"  concurrency = 1 }
  queue "rated" { sql = "t.run"  rate = "1/1m" }
  queue "retries" { sql = "t.run"  max_attempts = 5  retry_delay = "1h"  backoff = "constant" }
  queue "unserved" { sql = "t.run" }
"""


@pytest.fixture
def node(start, app):
    """Serves all queues but one."""
    return start(app(QUEUES, SCHEMA), processes=0, cron=0, subscriber=0,
                 workers='worker default { processes = 1  concurrency = 4 '
                         ' queues = { "q", "one", "rated", "retries" } }')


@pytest.fixture
def ctl(node, database):
    def run(*args):
        done = chimpctl("-d", database.url, *args)
        assert done.status == 0 and done.err == "", done
        return done.out
    return run


@pytest.fixture
def refused(node, database):
    """refused(args) -> what it says on stderr, exiting with 1"""
    def run(*args, status=1):
        done = chimpctl("-d", database.url, *args)
        assert done.status == status, done
        return done.err
    return run


@pytest.fixture
def enqueue(ctl):
    return lambda *args: ctl("job", "enqueue", *args).strip()


def state(database, job):
    return database.value("select state from chimp.jobs where id = %s", job)


def reaches(database, job, wanted):
    until(lambda: state(database, job) == wanted, f"job {job} is {wanted}")


def why(ctl, job):
    """[(kind, sentence)] and the whole; the text for people says the same."""
    whole = json.loads(ctl("--json", "why", "job", job))
    text = ctl("why", "job", job)
    for reason in whole["reasons"]:
        assert reason["why"] in text
    return {r["kind"]: r["why"] for r in whole["reasons"]}, whole


def test_queue_list_shows_counts_pauses_and_limits(ctl, enqueue, database):
    enqueue("unserved")
    reaches(database, enqueue("q"), "done")
    ctl("queue", "pause", "one", "rated")
    lines = {line.split()[0]: line for line in ctl("queue", "list").splitlines()}
    assert lines["unserved"].split()[1] == "1" and "no consumer" in lines["unserved"]
    assert lines["q"].split()[4] == "1" and lines["q"].endswith("5000 ready")
    assert "paused by app" in lines["one"] and lines["one"].endswith("1 at once")
    assert lines["rated"].endswith("1 in 60000 ms")
    (row,) = [q for q in json.loads(ctl("--json", "queue", "list")) if q["name"] == "one"]
    assert row["paused_by"] == "app" and row["concurrency"] == 1


def test_queue_pause_and_resume(ctl, enqueue, database, refused):
    ctl("queue", "pause", "q")
    job = enqueue("q")
    assert json.loads(ctl("--json", "queue", "resume", "q")) == {"queue": "q", "paused": False}
    reaches(database, job, "done")
    assert 'unknown queue "none"' in refused("queue", "pause", "none")
    assert refused("queue", "pause", status=2)


def test_queue_drain_cancels_what_waits(ctl, enqueue, database):
    running = enqueue("q", '{"sleep": 60}')
    reaches(database, running, "running")
    ctl("queue", "pause", "q")
    database.rows("select chimp.enqueue_many('q', array_fill('{}'::jsonb, array[2500]))")
    enqueue("--delay", "1h", "q")
    assert ctl("queue", "drain", "q") == "2501 jobs cancelled\n"
    assert json.loads(ctl("--json", "queue", "drain", "q")) == {"cancelled": 0}
    assert state(database, running) == "running"
    assert ctl("job", "cancel", running) == ""


def test_job_enqueue_with_everything(ctl, enqueue, database):
    job = enqueue("--run-at", "9999-12-31T00:00Z", "--max-attempts", "7", "--timeout", "90s", "q")
    assert database.rows("select run_at > '9998-01-01', max_attempts, timeout_ms from chimp.jobs"
                         " where id = %s", job) == [(True, 7, 90000)]


def test_job_cancel_and_retry(ctl, enqueue, database, refused):
    one, two = enqueue("--delay", "1h", "q"), enqueue("--delay", "1h", "q")
    assert ctl("job", "cancel", one, two) == ""
    assert state(database, one) == state(database, two) == "cancelled"
    assert f"job {one} has ended already" in refused("job", "cancel", one)
    assert json.loads(ctl("--json", "job", "retry", one)) == {"id": int(one), "ready": True}
    reaches(database, one, "done")
    said = refused("job", "retry", one, "999999", two)
    assert f"job {one} is neither" in said and "unknown job 999999" in said
    reaches(database, two, "done")      # the others all the same


def test_dead_list_redrive_and_purge(ctl, enqueue, database, refused):
    jobs = [enqueue("q", '{"fail": true}') for _ in range(5)]
    for job in jobs:
        reaches(database, job, "dead")
    assert ctl("dead", "list", "one") == "no dead jobs\n"
    table = ctl("dead", "list")
    assert "P0001" in table and "as told" in table
    assert len(ctl("dead", "list", "-n", "2", "q").splitlines()) == 3
    assert {str(j["id"]) for j in json.loads(ctl("--json", "dead", "list"))} == set(jobs)
    ctl("queue", "pause", "q")
    assert ctl("dead", "redrive", "-n", "2", "q") == "2 jobs redriven\n"
    assert [state(database, job) for job in jobs] == ["ready"] * 2 + ["dead"] * 3
    assert json.loads(ctl("--json", "dead", "purge", "-n", "1", "q")) == {"purged": 1}
    assert ctl("dead", "purge", "q") == "2 jobs purged\n"
    assert [state(database, job) for job in jobs] == ["ready"] * 2 + [None] * 3
    assert "not a number" in refused("dead", "purge", "-n", "many", "q", status=2)
    assert "unknown queue" in refused("dead", "redrive", "none")


# --- why -------------------------------------------------------------------------

def test_why_names_what_holds_a_queue(ctl, enqueue, database):
    ctl("queue", "pause", "q")
    first, second = enqueue("q"), enqueue("q")
    reasons, whole = why(ctl, first)
    assert "paused since" in reasons["paused"] and reasons["paused"].endswith("by app")
    assert "next" in reasons and whole["state"] == "ready"
    assert why(ctl, second)[0]["ahead"].startswith("1 job")
    assert 'no worker on any node serves queue "unserved"' in why(
        ctl, enqueue("unserved"))[0]["no consumer"]


def test_why_names_what_holds_a_limit(ctl, enqueue, database):
    holder = enqueue("one", '{"sleep": 60}')
    reaches(database, holder, "running")
    waiting = enqueue("one")
    reasons, whole = why(ctl, waiting)
    assert "1 of 1 jobs run" in reasons["concurrency"]
    (held,) = [r["jobs"] for r in whole["reasons"] if r["kind"] == "concurrency"]
    assert held == [int(holder)]
    ctl("job", "cancel", holder)
    reaches(database, enqueue("rated"), "done")
    assert "in 60000 ms; the next at" in why(ctl, enqueue("rated"))[0]["rate"]


def test_why_names_keys_instants_and_retries(ctl, enqueue, database):
    holder = enqueue("--ordering-key", "k", "q", '{"sleep": 60}')
    reaches(database, holder, "running")
    held = enqueue("--ordering-key", "k", "q")
    assert why(ctl, held)[0]["ordering key"] == f'its ordering key "k" is held by job {holder}'
    assert "it is for " in why(ctl, enqueue("--delay", "1h", "q"))[0]["future"]
    failing = enqueue("retries", '{"fail": true}')
    reaches(database, failing, "scheduled")
    reasons, whole = why(ctl, failing)
    assert "to be tried again" in reasons["retry"]
    assert [e["error"]["message"] for e in whole["errors"]] == ["as told"]
    assert "as told" in ctl("why", "job", failing)
    ctl("job", "cancel", holder)


def test_why_tells_where_a_job_runs_and_how_it_ended(ctl, enqueue, database, refused):
    running = enqueue("q", '{"sleep": 60}')
    reaches(database, running, "running")
    assert "it runs on node-1 in worker/default/0" in why(ctl, running)[0]["running"]
    ctl("job", "cancel", running)
    assert "it is cancelled since" in why(ctl, running)[0]["ended"]
    dead = enqueue("q", '{"fail": true}')
    reaches(database, dead, "dead")
    assert why(ctl, dead)[0]["ended"].endswith(": as told")
    done = enqueue("q")
    reaches(database, done, "done")
    assert "it is done since" in why(ctl, done)[0]["ended"]
    assert "unknown job 999999" in refused("why", "job", "999999")
    assert refused("why", "job", status=2)
