"""Processes that have done much, are old or have grown are replaced: the
successor serves before the old one drains, so that capacity never dips."""

import re
import time

from harness.wait import until

SCHEMA = """
create schema t;
create table t.ran (job bigint);
create function t.note(input jsonb) returns jsonb language sql as $$
	insert into t.ran values ((chimp.job() ->> 'id')::bigint);
	select '{}'::jsonb;
$$;
create function t.hello(input jsonb) returns jsonb language sql as $$
	select '{"hello": true}'::jsonb;
$$;
"""
APP = """
  queue "q" { sql = "t.note" }
  route "GET /hello" { sql = "t.hello" }
"""


def capacity(node, name):
    """The least number of processes of a class that served at once, after all
    did, by the changes of state in the log."""
    serving, least, full = 0, None, 0
    for slot, to, was in re.findall(r"debug \w+: (\S+): ([a-z ]+), was ([a-z ]+)$",
                                    node.text(), re.M):
        if not slot.startswith(name):
            continue
        serving += (to == "serving") - (was == "serving")
        full = max(full, serving)
        if full >= 2:
            least = serving if least is None else min(least, serving)
    return least


def replaced(node, name, old, timeout=15):
    return until(lambda: node.children().get(name) not in (None, old), f"{name} is replaced",
                 timeout)


def test_max_age_replaces_every_role(start, app, database):
    keys = 'max_age = "2s"'
    node = start(app(APP, SCHEMA), processes=2, http=keys, top='log { level = "debug" }',
                 workers=f"worker default {{ processes = 2  concurrency = 4  {keys} }}")
    before = node.children()
    until(lambda: not {"http/0", "http/1", "worker/default/0", "worker/default/1"} &
          {n for n, p in node.children().items() if before.get(n) == p}, "all are replaced", 20)
    assert capacity(node, "http/") == 2
    assert capacity(node, "worker/") == 2
    assert re.search(r"will be replaced: it is 1\.\d s old|it is 2\.\d s old", node.text())
    assert node.http.get("/hello").status == 200


def test_max_requests_replaces_http(start, app, database):
    node = start(app(APP, SCHEMA), http="max_requests = 50")
    old = node.child("http/0")
    for _ in range(60):
        assert node.http.get("/hello").status == 200
    until(lambda: re.search(rf"http/0 pid {old} will be replaced: it has done \d\d", node.text()),
          "it is noticed")
    while node.child("http/0") == old:
        assert node.http.get("/hello").status == 200
        time.sleep(0.01)


def test_max_jobs_replaces_workers_and_loses_none(start, app, database):
    node = start(app(APP, SCHEMA), workers="worker default { processes = 2 concurrency = 4 "
                 "max_jobs = 100 }", top='log { level = "debug" }')
    old = node.child("worker/default/0")
    until(lambda: database.rows("select count(*) from (select chimp.enqueue('q') "
                                "from generate_series(1, 200)) x") and
          node.child("worker/default/0") != old, "it is replaced", 20)
    until(lambda: not database.value("select count(*) from chimp.jobs where state <> 'done'"),
          "all jobs are done", 20)
    assert database.rows("select count(*), count(distinct job) from t.ran") == \
        database.rows("select count(*), count(*) from chimp.jobs")
    assert capacity(node, "worker/") == 2


def test_memory_max_replaces_what_has_grown(start_fake):
    node = start_fake(fakes=2, keys='memory_max = "60MiB"')
    old = node.tell(0, "leak 100")
    other = node.child("fake/1")
    node.wait_born(0, old)
    assert re.search(r"it has 1\d\d MiB of memory",
                     node.line(rf"fake/0 pid {old} will be replaced"))
    assert node.child("fake/1") == other
    assert capacity(node, "fake/") == 2


def test_a_successor_that_cannot_start_leaves_the_old_one(start_fake):
    node = start_fake(fakes=1, keys='max_age = "1s"', top='restart_delay_max = "200ms"')
    old = node.child("fake/0")
    node.birth("exit 78")
    until(lambda: len(node.lines(rf"fake/0 pid {old} serves on, since its successor")) >= 3,
          "three successors have failed")
    assert node.child("fake/0") == old
    assert not node.lines("failed, was")
    node.birth("")
    node.wait_born(0, old)
