"""chimpctl event, subscription and why subscription."""

import json
import subprocess
import threading
import time

import pytest

from harness.chimpd import chimpctl, environment
from harness.cluster import rows
from harness.settings import CHIMPCTL
from harness.wait import until

SCHEMA = """
create schema t;
create table t.seen (n bigint generated always as identity, id bigint);
create table t.switch (broken boolean);
insert into t.switch values (true);
create function t.see(input jsonb) returns jsonb language plpgsql as $$
begin
	if input -> 'payload' ? 'bad' and (select broken from t.switch) then
		raise exception 'cannot take event %', input ->> 'id';
	end if;
	insert into t.seen (id) values ((input ->> 'id')::bigint);
	return null;
end $$;
"""
FAST = '  retry_delay = "20ms"  backoff = "constant"'
PARK = f'subscription "park" {{ event = "e"  sql = "t.see"  max_attempts = 1 {FAST} }}\n'
STOP = f'subscription "stop" {{ event = "s.*"  sql = "t.see"  max_attempts = 2  on_failure = "pause" {FAST} }}\n'
SLOW = 'subscription "slow" { event = "r"  sql = "t.see"  retry_delay = "1h"  backoff = "constant" }\n'


@pytest.fixture
def small(app):
    return app(PARK + STOP + SLOW, SCHEMA)


@pytest.fixture
def node(start, small):
    return start(small, workers="", cron=0)


@pytest.fixture
def ctl(node, database):
    def run(*args):
        done = chimpctl("-d", database.url, *args)
        assert done.status == 0 and done.err == "", done
        return done.out
    return run


def refused(database, *args, status=1):
    done = chimpctl("-d", database.url, *args)
    assert done.status == status and done.out == "", done
    return done.err


def publish(ctl, *args):
    return int(ctl("event", "publish", *args))


def seen(database):
    return [i for i, in database.rows("select id from t.seen order by n")]


def wait_seen(database, ids):
    until(lambda: len(seen(database)) >= len(ids), f"{len(ids)} events are seen")
    return seen(database)


# --- event -----------------------------------------------------------------------

def test_publish_and_show(ctl, database):
    plain = publish(ctl, "e")
    keyed = json.loads(ctl("--json", "event", "publish", "e", '{"n": 12345678901234567890}', "--key", "k"))["id"]
    assert wait_seen(database, [plain, keyed]) == [plain, keyed]
    shown = json.loads(ctl("--json", "event", "show", str(keyed)))
    assert (shown["id"], shown["event"], shown["key"], shown["dead"]) == (keyed, "e", "k", [])
    assert shown["payload"] == {"n": 12345678901234567890}
    text = ctl("event", "show", str(keyed))
    assert "12345678901234567890" in text and "key           k\n" in text
    assert "key  " not in ctl("event", "show", str(plain))
    assert "there is no event 999999" in refused(database, "event", "show", "999999")
    assert "invalid input syntax" in refused(database, "event", "show", "x")
    assert "invalid input syntax" in refused(database, "event", "publish", "e", "{")
    assert "an event needs a name" in refused(database, "event", "publish", "")


def test_publish_reads_standard_input(node, database):
    done = subprocess.run([CHIMPCTL, "-d", database.url, "event", "publish", "e", "-"], env=environment(),
                          input='{"from": "stdin"}', text=True, capture_output=True, check=False)
    assert done.returncode == 0, done
    assert database.value("select payload from chimp.events where id = %s", int(done.stdout)) == {"from": "stdin"}


def tailed(ctl, *args):
    return [json.loads(line)["id"] for line in ctl("--json", "event", "tail", *args).splitlines()]


def test_tail_shows_the_last_in_the_order_of_the_stream(ctl, database):
    assert tailed(ctl) == []
    made = [publish(ctl, "e") for _ in range(3)]
    early = database.connect()
    early.autocommit = False
    first = rows(early, "select chimp.publish('x.y', '{\"a\": 1}', 'key')")[0][0]
    made.append(publish(ctl, "x.z"))
    assert tailed(ctl) == made
    early.commit()
    made.append(first)
    assert tailed(ctl) == made
    for n in range(6):
        assert tailed(ctl, "-n", str(n)) == (made[-n:] if n else [])
    assert tailed(ctl, "x.*") == made[3:] and tailed(ctl, "x.y") == [first]
    assert tailed(ctl, "x.*", "-n", "1") == [first] and tailed(ctl, "none") == []
    line = ctl("event", "tail", "x.y").splitlines()
    assert len(line) == 1 and line[0].endswith('  x.y  key key  {"a": 1}')
    ctl("event", "publish", "e", "--key", "a\nb\x1b[31m")
    assert "key a?b?[31m" in ctl("event", "tail", "-n", "1")
    for count in ("x", "-1", ""):
        assert "is not a number of events" in refused(database, "event", "tail", f"--number={count}", status=2)


def test_tail_reads_a_long_stream_in_pieces(ctl, database):
    made = [i for i, in database.rows("select chimp.publish('e') from generate_series(1, 2500)")]
    made += [publish(ctl, "e")]
    assert tailed(ctl, "-n", "2300") == made[-2300:]
    assert tailed(ctl, "-n", "100000") == made


def test_tail_follow_misses_nothing_and_repeats_nothing(ctl, database):
    """Whatever the order in which transactions commit."""
    before = publish(ctl, "e")
    follower = subprocess.Popen(  # pylint: disable=consider-using-with
        [CHIMPCTL, "-d", database.url, "--json", "event", "tail", "e", "-n", "1", "--follow"],
        env=environment(), stdout=subprocess.PIPE, text=True)
    got, made, lock = [], [], threading.Lock()
    reader = threading.Thread(target=lambda: got.extend(json.loads(line)["id"] for line in follower.stdout))
    reader.start()

    def run():
        connection = database.connect()
        connection.autocommit = False
        for n in range(40):
            ids = [rows(connection, "select chimp.publish('e')")[0][0] for _ in range(n % 3 + 1)]
            rows(connection, "select chimp.publish('other'), pg_sleep(random() * 0.03)")
            if n % 5 == 4:
                connection.rollback()
                continue
            connection.commit()
            with lock:
                made.extend(ids)

    try:
        until(lambda: got == [before], "it has begun")
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(got) > len(made), "all are shown")
        time.sleep(0.5)
    finally:
        follower.terminate()
        follower.wait(10)
        reader.join()
    assert got[0] == before and sorted(got[1:]) == sorted(made)
    assert got == tailed(ctl, "e", "-n", "100000"), "the order is that of the stream"


# --- subscription ----------------------------------------------------------------

def listed(ctl):
    return {row["name"]: row for row in json.loads(ctl("--json", "subscription", "list"))}


def test_list_and_show(ctl, database):
    wait_seen(database, [publish(ctl, "e")])
    until(lambda: listed(ctl)["park"]["owned"] == 1, "its lane has an owner")
    lines = {line.split()[0]: line for line in ctl("subscription", "list").splitlines()}
    assert lines["park"].endswith("up to date") and "s.*" in lines["stop"]
    row = listed(ctl)["park"]
    assert (row["state"], row["lag_events"], row["lanes"], row["dead"]) == ("up to date", 0, 1, 0)
    shown = json.loads(ctl("--json", "subscription", "show", "park"))
    [lane] = shown["lane_list"]
    assert shown["handler"] == "t.see" and lane["number"] == 0 and lane["process"] == "subscriber/0"
    assert lane["tick"] > 0 and lane["attempts"] == 0 and lane["node"] == "node-1"
    text = ctl("subscription", "show", "park")
    assert "status        up to date" in text and "node-1 subscriber/0" in text
    assert f"{lane['tick']}/all" in text
    for verb in (["show"], ["pause"], ["resume"], ["seek", "now"], ["replay"]):
        args = ["subscription", verb[0], "none", *verb[1:]]
        assert 'unknown subscription "none"' in refused(database, *args)
    assert 'unknown subscription "none"' in refused(database, "event", "dead", "none")
    assert 'unknown subscription "none"' in refused(database, "why", "subscription", "none")


def test_pause_resume_and_seek(ctl, database):
    ids = [publish(ctl, "e") for _ in range(4)]
    wait_seen(database, ids)
    assert json.loads(ctl("--json", "subscription", "pause", "park")) == {"subscription": "park", "paused": True}
    assert "paused by app" in ctl("subscription", "list")
    assert "paused since  2" in ctl("subscription", "show", "park")
    database.rows("truncate t.seen")
    assert ctl("subscription", "seek", "park", str(ids[2])) == ""
    assert listed(ctl)["park"]["lag_events"] == 2
    ctl("subscription", "resume", "park")
    assert wait_seen(database, ids[2:]) == ids[2:]
    for to, expected in (("beginning", ids), ("2000-01-01", ids), ("now", []), ("2999-01-01", [])):
        until(lambda: listed(ctl)["park"]["lag_events"] == 0, "it is up to date")
        database.rows("truncate t.seen")
        answer = json.loads(ctl("--json", "subscription", "seek", "park", to))
        assert answer["subscription"] == "park" and answer["tick"] >= 0
        until(lambda: listed(ctl)["park"]["lag_events"] == 0, "it is up to date")
        assert seen(database) == expected
    assert "unknown event 99999" in refused(database, "subscription", "seek", "park", "99999")
    assert "invalid input syntax" in refused(database, "subscription", "seek", "park", "tomorow")
    assert "needs" in refused(database, "subscription", "seek", "park", status=2)


def test_dead_events_are_shown_and_replayed(ctl, database):
    assert ctl("event", "dead") == "no dead events\n"
    bad = publish(ctl, "e", '{"bad": 1}', "--key", "k")
    until(lambda: listed(ctl)["park"]["dead"] == 1, "it is parked")
    [row] = json.loads(ctl("--json", "event", "dead"))
    assert (row["subscription"], row["event_id"], row["attempts"]) == ("park", bad, 1)
    assert row["error"]["message"] == f"cannot take event {bad}"
    assert f"cannot take event {bad}" in ctl("event", "dead", "park")
    assert ctl("event", "dead", "stop") == "no dead events\n"
    assert "dead in       park" in ctl("event", "show", str(bad))
    assert [d["subscription"] for d in json.loads(ctl("--json", "event", "show", str(bad)))["dead"]] == ["park"]
    assert "dead events   1" in ctl("subscription", "show", "park")
    assert f"no dead event {bad + 1}" in refused(database, "subscription", "replay", "park", str(bad + 1))
    database.rows("update t.switch set broken = false")
    assert ctl("subscription", "replay", "park", str(bad)) == "1 dead events to be handled again\n"
    assert wait_seen(database, [bad]) == [bad]
    assert json.loads(ctl("--json", "subscription", "replay", "park")) == {"subscription": "park", "events": 0}
    assert ctl("event", "dead") == "no dead events\n"


# --- why -------------------------------------------------------------------------

def why(ctl, name):
    """{kind: reason}"""
    found = json.loads(ctl("--json", "why", "subscription", name))
    assert found["name"] == name
    return {reason["kind"]: reason for reason in found["reasons"]}


def test_why_says_that_all_is_well_or_what_waits(ctl, database):
    assert list(why(ctl, "park")) == ["up to date"]
    assert ctl("why", "subscription", "park").startswith(
        "subscription park (e) is up to date\n  all events that it wants are handled\n")
    ctl("subscription", "pause", "park")
    publish(ctl, "e")
    reasons = why(ctl, "park")
    assert list(reasons) == ["paused", "lag"] and reasons["paused"]["by"] == "app"
    assert reasons["lag"]["events"] == 1 and reasons["lag"]["ms"] > 0
    assert "is paused\n  it is paused since " in ctl("why", "subscription", "park")


def test_why_names_failed_events(ctl, database):
    bad = publish(ctl, "s.x", '{"bad": 1}')
    until(lambda: "lane paused" in why(ctl, "stop"), "its lane stops")
    reason = why(ctl, "stop")["lane paused"]
    assert reason["attempts"] == 2 and reason["error"]["message"] == f"cannot take event {bad}"
    assert "stopped at" in ctl("why", "subscription", "stop")
    assert "1 of 1 lanes stopped" in ctl("subscription", "list")
    assert "stopped" in ctl("status")
    bad = publish(ctl, "r", '{"bad": 1}')
    until(lambda: "retry" in why(ctl, "slow"), "it waits for a retry")
    reason = why(ctl, "slow")["retry"]
    assert reason["attempts"] == 1 and reason["until"] and reason["error"]["message"] == f"cannot take event {bad}"
    assert "cannot take event" in ctl("subscription", "show", "slow")
    publish(ctl, "e", '{"bad": 1}')
    until(lambda: why(ctl, "park").get("dead", {}).get("dead") == 1, "one is dead")


def test_why_names_transactions_that_are_open_for_long(ctl, database):
    held = database.connect()
    held.autocommit = False
    rows(held, "set application_name = 'holder'")
    pid = rows(held, "select chimp.publish('e'), pg_backend_pid()")[0][1]
    assert "open transaction" not in why(ctl, "park")
    reason = until(lambda: why(ctl, "park").get("open transaction"), "it is open for long")
    assert (reason["pid"], reason["application"], reason["published"]) == (pid, "holder", True)
    assert "its events come after its commit" in reason["why"]
    held.commit()
    until(lambda: list(why(ctl, "park")) == ["up to date"], "it is over")


def test_why_names_old_lanes_that_are_still_at_work(ctl, node, small, database):
    ctl("subscription", "pause", "park")
    publish(ctl, "e")
    assert node.stop() == 0
    small.conf.write_text(small.conf.read_text().replace('event = "e"', 'event = "e"  lanes = 3'))
    node.start()
    reason = why(ctl, "park")["lanes change"]
    assert reason["lane"] == 0 and "old lane 0" in reason["why"]
    assert "0 (old)" in ctl("subscription", "show", "park")
    ctl("subscription", "resume", "park")
    until(lambda: list(why(ctl, "park")) == ["up to date"], "the old lane is done with")
    until(lambda: listed(ctl)["park"]["lanes"] == 3 == listed(ctl)["park"]["owned"], "the new ones are in use")
    assert len(seen(database)) == 1


def test_why_says_that_nobody_is_there(ctl, node, database):
    assert node.stop() == 0
    assert "no subscriber process" in why(ctl, "park")
    database.rows("update chimp.node set registered_at = now() - interval '1 hour'")
    database.rows("select chimp.reap()")
    assert "unregistered" in why(ctl, "park")
    assert "unregistered" in ctl("subscription", "list")
