"""chimpctl cron and why schedule."""

import json
import time

import pytest

from harness.chimpd import chimpctl
from harness.wait import until

SCHEMA = """
create schema t;
create function t.fire(input jsonb) returns jsonb language sql as $$ select input $$;
"""
APP = """
  cron "yearly" { schedule = "0 0 1 1 *"  timezone = "Asia/Kolkata"  sql = "t.fire" }
  cron "secondly" { schedule = "* * * * * *"  sql = "t.fire" }
"""


@pytest.fixture
def node(start, app):
    return start(app(APP, SCHEMA), processes=0, subscriber=0)


@pytest.fixture
def ctl(node, database):
    def run(*args):
        done = chimpctl("-d", database.url, *args)
        assert done.status == 0 and done.err == "", done
        return done.out
    return run


def slots(*args):
    """The slots as --json has them, without a database, and that many lines for people."""
    done = chimpctl("cron", "next", "--json", *args)
    assert done.status == 0 and done.err == "", done
    found = json.loads(done.out)
    lines = chimpctl("cron", "next", *args).out.splitlines()
    assert [line.split()[0] for line in lines] == found or (found, lines) == ([], ["no slots"])
    return found


# --- next ------------------------------------------------------------------------

def test_next_follows_the_wall_clock_over_a_gap():
    args = ["--expression", "30 2 * * *", "--timezone", "Europe/Berlin",
            "--from", "2026-03-28T00:00:00Z", "-n", "3"]
    assert slots(*args) == ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    assert chimpctl("cron", "next", *args).out.splitlines()[1] == (
        "2026-03-29T01:00:00Z  Sun 2026-03-29 03:00:00 +02:00")


def test_next_is_strictly_after_from():
    def first(start):
        return slots("--expression", "* * * * *", "--from", start, "-n", "1")
    assert first("2026-03-28T00:00:00Z") == ["2026-03-28T00:01:00Z"]
    assert first("2026-03-28T00:00:59.999Z") == ["2026-03-28T00:01:00Z"]
    assert first("2026-03-28 01:00+01") == ["2026-03-28T00:01:00Z"]
    assert first("2026-03-27T19:30:00-04:30") == ["2026-03-28T00:01:00Z"]


def test_next_is_five_from_now_in_utc_by_default():
    found = slots("--expression", "* * * * *")
    assert len(found) == 5
    now = time.time()
    assert found[0] in [time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(now + s)) for s in (0, 60)]


def test_next_prints_those_that_there_are():
    assert slots("--expression", "0 0 1 1 *", "--from", "2498-06-01T00:00Z", "-n", "9") == [
        "2499-01-01T00:00:00Z"]
    assert slots("--expression", "0 0 1 1 *", "--from", "2499-06-01T00:00Z") == []


@pytest.mark.parametrize("status, said, args", [
    (1, "minute", ["--expression", "61 * * * *"]),
    (1, "never comes", ["--expression", "0 0 30 2 *"]),
    (1, "Mars/Phobos", ["--expression", "@daily", "--timezone", "Mars/Phobos"]),
    (2, "needs the NAME", []),
    (2, "exclude each other", ["yearly", "--expression", "@daily"]),
    (2, "goes with --expression", ["yearly", "--timezone", "UTC"]),
    (2, "not a number", ["--expression", "@daily", "-n", "0"]),
    (2, "not a number", ["--expression", "@daily", "-n", "2x"]),
    (2, "not an instant", ["--expression", "@daily", "--from", "2026-02-29T00:00Z"]),
    (2, "not an instant", ["--expression", "@daily", "--from", "2026-02-28T00:00"]),
    (2, "not an instant", ["--expression", "@daily", "--from", "2026-02-28T00:00Z "]),
    (2, "not an instant", ["--expression", "@daily", "--from", "2500-01-01T00:00Z"]),
    (2, "unknown option", ["--zone", "UTC"]),
])
def test_next_says_what_is_wrong(status, said, args):
    done = chimpctl("cron", "next", "--json", *args)
    assert done.status == status and said in done.err and done.out == "", done


def test_next_of_a_schedule_is_read_in_its_zone(ctl, database):
    found = json.loads(ctl("--json", "cron", "next", "yearly", "-n", "2"))
    assert [slot[4:] for slot in found] == ["-12-31T18:30:00Z"] * 2
    until(lambda: database.value("select next_at = %s from chimp.schedules where name = 'yearly'",
                                 found[0]), "it is planned for then")
    assert "01-01 00:00:00 +05:30" in ctl("cron", "next", "yearly", "--from",
                                          "2026-11-01T00:00:00Z", "-n", "1")
    done = chimpctl("-d", database.url, "cron", "next", "none")
    assert done.status == 1 and 'unknown schedule "none"' in done.err


# --- list, pause, resume, run, why -----------------------------------------------

def test_list_shows_how_schedules_stand(ctl, database):
    until(lambda: database.value("select count(*) from chimp.firings") > 0, "one has fired")
    ctl("cron", "pause", "yearly")
    lines = {line.split()[0]: line for line in ctl("cron", "list").splitlines()}
    assert lines["yearly"].endswith("paused by app") and "Asia/Kolkata" in lines["yearly"]
    assert "* * * * * *" in lines["secondly"]
    rows = {row["name"]: row for row in json.loads(ctl("--json", "cron", "list"))}
    assert rows["yearly"]["paused_by"] == "app" and rows["yearly"]["app"] == "t"
    assert rows["secondly"]["last_at"] and rows["secondly"]["last_fired_at"]


def test_pause_resume_and_run(ctl, database):
    assert json.loads(ctl("--json", "cron", "pause", "yearly")) == {
        "schedule": "yearly", "paused": True}
    job = ctl("cron", "run", "yearly").strip()
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "done",
          "it runs")
    other = json.loads(ctl("--json", "cron", "run", "yearly"))
    assert other["schedule"] == "yearly" and other["job"] > int(job)
    assert ctl("cron", "resume", "yearly") == ""
    for verb in ("pause", "resume", "run"):
        done = chimpctl("-d", database.url, "cron", verb, "none")
        assert done.status == 1 and 'unknown schedule "none"' in done.err


def why(ctl, name):
    """{kind: sentence}"""
    reasons = json.loads(ctl("--json", "why", "schedule", name))["reasons"]
    return {reason["kind"]: reason["why"] for reason in reasons}


def test_why_says_when_it_fires_and_how_the_last_one_ended(ctl, database):
    until(lambda: why(ctl, "yearly").get("next"), "it is planned")
    assert "has not fired" in why(ctl, "yearly")["not fired"]
    until(lambda: "is done" in why(ctl, "secondly").get("fired", ""), "a job is done")
    text = ctl("why", "schedule", "yearly")
    assert "schedule yearly (0 0 1 1 *, Asia/Kolkata) is waiting\n  its next slot is at" in text


def test_why_says_what_keeps_it_from_firing(node, ctl, database):
    ctl("cron", "pause", "secondly")
    assert why(ctl, "secondly")["paused"].endswith("by app")
    ctl("cron", "resume", "secondly")
    ctl("queue", "pause", "cron:secondly")
    assert "is paused since" in why(ctl, "secondly")["paused"]
    database.rows("update chimp.schedule set planned = true, next_at = null where name = 'yearly'")
    assert "no slot follows" in why(ctl, "yearly")["never"]
    node.stop()
    assert "no live node has a cron process" in why(ctl, "yearly")["no cron process"]
    assert "no worker" in why(ctl, "yearly")["no consumer"]
    database.rows("update chimp.node set registered_at = now() - interval '1 hour'")
    database.rows("select chimp.reap()")
    assert "no live node has schedule" in why(ctl, "yearly")["unregistered"]
    database.rows("select chimp.cron_set('free', '@daily', 't.fire')")
    database.rows("select chimp.cron_unset('free')")
    assert "cron_unset" in why(ctl, "free")["unset"]
