"""chimpctl workflow and why workflow."""

import json
import re
import subprocess

import psycopg2
import pytest

from harness.chimpd import chimpctl, configuration, environment, run
from harness.cluster import rows
from harness.ctl_workflow import HOUR, LONG, SCHEMA, WAIT, registrations, wait_status, workflow
from harness.settings import CHIMPCTL
from harness.wait import until


@pytest.fixture
def node(start, app):
    return start(app("", SCHEMA), cron=0, subscriber=0)


@pytest.fixture
def define(node, database):
    """define(workflow, ...): the node has these, and no others."""
    def put(*workflows):
        database.rows("select chimp.register_apps(id, name, %s) from chimp.node", registrations(*workflows))
    return put


@pytest.fixture
def ctl(node, database):
    def call(*args):
        done = chimpctl("-d", database.url, *args)
        assert done.status == 0 and done.err == "", done
        return done.out
    return call


@pytest.fixture
def ctl_json(ctl):
    return lambda *args: json.loads(ctl("--json", *args))


def refused(database, *args, status=1):
    done = chimpctl("-d", database.url, *args)
    assert done.status == status and done.out == "", done
    return done.err


def begin(ctl, name, given="{}", *more):
    return ctl("workflow", "start", name, given, *more).strip()


# --- runs ------------------------------------------------------------------------

def test_a_run_from_its_start_to_its_end(define, ctl, ctl_json, database):
    define(WAIT, LONG)
    assert begin(ctl, "long", '{"total": 12345678901234567890, "x": "a"}', "--id", "r/1") == "r/1"
    assert ctl_json("workflow", "start", "long", "--id", "r/1") == {"id": "r/1"}, "idempotent"
    wait_status(database, "r/1", "sleeping")
    shown = ctl_json("workflow", "show", "r/1")
    assert (shown["name"], shown["version"], shown["current_step"]) == ("long", 1, "nap")
    assert shown["state"] == shown["input"] == {"total": 12345678901234567890, "x": "a"}
    assert [(h["seq"], h["step"], h["what"]) for h in shown["history"]] == [
        (0, "create", "action"), (1, "big", "goto")]
    assert shown["history"][0]["result"] == {"id": 7} and shown["history"][0]["attempts"] == 1
    assert shown["signals"] == [] and shown["results"] == {"account": {"id": 7}}
    text = ctl("workflow", "show", "r/1")
    assert "workflow      long\n" in text and "12345678901234567890" in text and "no signals wait" in text
    assert re.search(r"create +action +2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00 +1 ", text), text
    assert re.search(r"^until +2", text, re.M)


def test_signals_are_sent_and_shown_until_they_are_read(define, ctl, ctl_json, database):
    define(WAIT, workflow("two", ("one", {"signal": "a"}), ("two", {"signal": "b", "result": "b"})))
    made = begin(ctl, "two")
    wait_status(database, made, "waiting_signal")
    send = ("workflow", "signal", made, "b", '{"n": 1}', "--dedup-id", "d")
    assert ctl_json(*send) == {"id": made, "signal": "b", "sent": True}
    assert ctl(*send) == "one with this dedup id has been sent before\n"
    assert ctl_json(*send)["sent"] is False
    [waiting] = ctl_json("workflow", "show", made)["signals"]
    assert (waiting["name"], waiting["payload"], waiting["dedup_id"]) == ("b", {"n": 1}, "d")
    assert re.search(r'^b +2.* d +\{"n": 1\}$', ctl("workflow", "show", made), re.M)
    assert ctl("workflow", "signal", made, "a") == ""
    wait_status(database, made, "completed")
    shown = ctl_json("workflow", "show", made)
    assert shown["signals"] == [] and shown["results"] == {"b": {"n": 1}} and shown["ended_at"]
    assert "has ended: it is completed" in refused(database, "workflow", "signal", made, "a")
    made = begin(ctl, "two")
    assert 'knows no signal "c"' in refused(database, "workflow", "signal", made, "c")
    assert "invalid input syntax" in refused(database, "workflow", "signal", made, "a", "{")


def test_input_and_payload_come_from_standard_input(define, ctl, database):
    define(WAIT)

    def piped(text, *args):
        done = subprocess.run([CHIMPCTL, "-d", database.url, "workflow", *args], env=environment(), input=text,
                              text=True, capture_output=True, check=False)
        assert done.returncode == 0, done
        return done.stdout.strip()

    made = piped('{"from": "stdin"}', "start", "wait", "-")
    assert database.value("select input from chimp.workflows where id = %s", made) == {"from": "stdin"}
    piped('{"payload": 1}', "signal", made, "yes", "-")
    wait_status(database, made, "completed")
    [payload] = database.rows("select result from chimp.workflow_events where id = %s and step = 'ask'", made)
    assert payload == ({"payload": 1},)


def test_cancel_and_retry(define, ctl, ctl_json, database):
    define(WAIT, workflow("fail", ("bad", {"action": "boom"})))
    made = begin(ctl, "wait")
    assert ctl_json("workflow", "cancel", made, "no more") == {"id": made, "cancelled": True}
    wait_status(database, made, "cancelled")
    assert "no more" in ctl("workflow", "show", made)
    assert "has ended, fails, or was cancelled before" in refused(database, "workflow", "cancel", made)
    assert "has not failed" in refused(database, "workflow", "retry", made)
    made = begin(ctl, "fail")
    wait_status(database, made, "failed")
    assert re.search(r"bad +step failed .*boom$", ctl("workflow", "show", made), re.M)
    database.rows("update t.switch set broken = false")
    assert ctl_json("workflow", "retry", made) == {"id": made, "retried": True}
    wait_status(database, made, "completed")
    done = chimpctl("-d", database.url, "--json", "workflow", "retry", made)
    assert done.status == 1 and json.loads(done.out) == {"id": made, "retried": False}


def test_list_chooses_runs(define, ctl, ctl_json, database):
    define(WAIT, LONG, workflow("fail", ("bad", {"action": "boom"})))
    assert ctl("workflow", "list") == "no such runs\n" and ctl_json("workflow", "list") == []
    small = begin(ctl, "long", '{"total": 1}')
    large = begin(ctl, "long", '{"total": 101}')
    waits = begin(ctl, "wait", "{}", "--id", "w")
    failed = begin(ctl, "fail")
    for made, status in ((small, "waiting_signal"), (large, "sleeping"), (waits, "waiting_signal"), (failed, "failed")):
        wait_status(database, made, status)

    def listed(*args):
        return [r["id"] for r in ctl_json("workflow", "list", *args)]

    assert listed() == [failed, waits, large, small]
    assert listed("long") == [large, small] and listed("long", "-n", "1") == [large]
    assert listed("--status", "waiting_signal") == [waits, small] and listed("-s", "parked") == []
    assert listed("--where", "$.total > 100") == [large]
    assert listed("--older", "1h") == [] and listed("--older", "0s") == [failed, waits, large, small]
    database.rows("update chimp.workflow_run set created_at = created_at - interval '2 h' where external_id = 'w'")
    assert listed("--older", "1 hour") == [waits]
    assert listed("--after", waits) == [large, small] and listed("--after", small) == []
    assert listed("long", "--after", waits, "-s", "sleeping") == [large]
    lines = {line.split()[0]: line for line in ctl("workflow", "list").splitlines()}
    assert re.search(r"fail +1 +failed +bad +- +- +2\S+ \S+ +boom$", lines[failed])
    assert re.search(r"long +1 +waiting_signal +verify +verified +2", lines[small])


def test_what_does_not_exist_is_said(define, database):
    define(WAIT)
    assert 'unknown workflow "none"' in refused(database, "workflow", "list", "none")
    assert 'unknown workflow run "x"' in refused(database, "workflow", "list", "--after", "x")
    assert 'unknown status "waiting"' in refused(database, "workflow", "list", "--status", "waiting", status=2)
    assert "jsonpath" in refused(database, "workflow", "list", "--where", "$.a >")
    assert "interval" in refused(database, "workflow", "list", "--older", "long")
    assert 'unknown workflow "none"' in refused(database, "workflow", "start", "none")
    assert "invalid input syntax" in refused(database, "workflow", "start", "wait", "{")
    for verb in (["show"], ["signal", "a"], ["cancel"], ["retry"]):
        args = ["workflow", verb[0], "none", *verb[1:]]
        assert 'unknown workflow run "none"' in refused(database, *args)
    assert 'unknown workflow run "none"' in refused(database, "why", "workflow", "none")
    assert "needs" in refused(database, "workflow", "signal", "x", status=2)


# --- graph -----------------------------------------------------------------------

EVERY = workflow(
    "every", ("create", {"action": "createAccount", "compensate": "deleteAccount", "when": "$.state.x == 1"}),
    ("big", {"goto": "nap", "when": '$.state.name == "|#"'}),
    ("verify", {"signal": "verified", "timeout_ms": 90000, "on_timeout": "fail"}),
    ("ask", {"signal": "asked", "timeout_ms": 86400000, "on_timeout": "step:big"}),
    ("more", {"signal": "more", "timeout_ms": 1500, "on_timeout": "continue"}),
    ("child", {"workflow": "other", "timeout_ms": HOUR}),
    ("nap", {"sleep_ms": 600000}),
    ("loop", {"goto": "big", "when": "$.state.again == true"}),
    ("out", {"goto": "end"}),
    ("tail", {"signal": "never"}))

EVERY_GRAPH = """\
flowchart TD
	b(["every, version 1"])
	s1["create<br/>action createAccount<br/>only when $.state.x == 1"]
	s2{"big"}
	s3{{"verify<br/>waits for verified"}}
	s4{{"ask<br/>waits for asked"}}
	s5{{"more<br/>waits for more"}}
	s6[["child<br/>workflow other"]]
	s7("nap<br/>sleeps 10 m")
	s8{"loop"}
	s9{"out"}
	s10{{"tail<br/>waits for never"}}
	c1["deleteAccount"]
	e(["completed"])
	f(["failed"])
	b --> s1
	s1 --> s2
	s1 -.->|"compensates"| c1
	s2 -->|"$.state.name == #34;#124;#35;#34;"| s7
	s2 -->|"otherwise"| s3
	s3 --> s4
	s3 -->|"after 90 s"| f
	s4 --> s5
	s4 -->|"after 1 d"| s2
	s5 --> s6
	s5 -->|"after 1500 ms"| s6
	s6 --> s7
	s6 -->|"after 1 h"| f
	s7 --> s8
	s8 -->|"$.state.again == true"| s2
	s8 -->|"otherwise"| s9
	s9 --> e
	s10 --> e
"""

RUN_GRAPH = """\
flowchart TD
	b(["ful, version 1"])
	s1["t.fulfil<br/>what it waits for, its handler says"]
	e(["completed"])
	b --> s1
	s1 -->|"its next step"| s1
	s1 --> e
"""


def test_graph(define, ctl, ctl_json, database):
    define(EVERY, workflow("ful", sql="t.fulfil"), WAIT)
    assert ctl("workflow", "graph", "every") == EVERY_GRAPH
    assert ctl("workflow", "graph", "ful") == RUN_GRAPH
    assert ctl_json("workflow", "graph", "ful") == {"name": "ful", "version": 1, "mermaid": RUN_GRAPH[:-1]}
    assert 'unknown workflow "none"' in refused(database, "workflow", "graph", "none")
    two = workflow("ful", ("a", {"sleep_ms": 0}), version=2)
    define(two, workflow("ful", sql="t.fulfil"))
    assert "ful, version 2" in ctl("workflow", "graph", "ful") and "sleeps 0 " in ctl("workflow", "graph", "ful")
    assert ctl("workflow", "graph", "ful", "--version", "1") == RUN_GRAPH
    said = refused(database, "workflow", "graph", "ful", "--version", "3")
    assert 'workflow "ful" has no version 3' in said and "its versions are 1, 2" in said
    define(workflow("ful", sql="t.fulfil"))
    assert ctl_json("workflow", "graph", "ful")["version"] == 1, "the one that new runs take"


def test_the_version_of_chimpctl_is_no_verb_s(ctl):
    assert ctl("--version") == ctl("-V") == ctl("workflow", "list", "--version") == ctl("workflow", "graph", "x", "-V")


@pytest.mark.parametrize("text, label", [
    ('a"b', "a#34;b"), ("#35;", "#35;35;"), ("a|b", "a#124;b"), ("<b>&", "#60;b#62;#38;"), ("`x`", "#96;x#96;"),
    ("%%{init", "#37;#37;{init"), ("style a:#b;", "style a#58;#35;b;"), ("a\n\tb", "a b"), ("$.a + $.b", "$.a + $.b"),
    ("$$x$$", "$#36;x$#36;"), ("\\n", "#92;n"), ("ä]})", "ä]})")])
def test_a_label_cannot_leave_its_quotes(database, text, label):
    assert database.value("select chimp.mermaid(%s)", text) == label


# --- check -----------------------------------------------------------------------

def checked(database, *workflows):
    return [tuple(r) for r in database.rows(
        "select name, version, verdict, differences, open_runs from chimp.workflow_check_apps(%s)",
        registrations(*workflows))]


def test_check_compares_definitions(define, ctl, database):
    patient = workflow("patient", ("ask", {"signal": "yes", "timeout_ms": 5}))
    define(WAIT, LONG, patient)
    begin(ctl, "wait")
    begin(ctl, "wait", "{}", "--id", "cancelled")
    ctl("workflow", "cancel", "cancelled")
    wait_status(database, "cancelled", "cancelled")
    assert checked(database, WAIT, LONG, patient) == [
        ("long", 1, "unchanged", [], 0), ("patient", 1, "unchanged", [], 0), ("wait", 1, "unchanged", [], 1)]
    other = workflow("wait", ("ask", {"signal": "no"}), ("more", {"sleep_ms": 1}))
    longer = workflow("patient", ("ask", {"signal": "yes", "timeout_ms": 6}), max_attempts=2)
    assert checked(database, other, longer, dict(WAIT, version=2), workflow("brand", ("a", {"sleep_ms": 1}))) == [
        ("brand", 1, "new", [], 0), ("patient", 1, "changed", [], 0),
        ("wait", 1, "breaking", ['step "more" is new', 'step "ask": signal was "yes", is "no"'], 1),
        ("wait", 2, "new", [], 0)]
    assert checked(database) == [("wait", 1, "parks", [], 1)]
    with pytest.raises(psycopg2.Error) as raised:
        define(other)
    assert raised.value.pgcode == "CH002", "what is breaking is refused"
    define(longer)
    assert checked(database, longer) == [("patient", 1, "unchanged", [], 0), ("wait", 1, "parks", [], 1)]


def check(node, *args):
    return chimpctl("workflow", "check", "-c", node.conf, *args)


def test_check_names_what_would_be_parked(node, define, ctl, database):
    assert check(node).out == "no workflows\n"
    define(WAIT)
    for _ in range(2):
        begin(ctl, "wait")
    done = check(node)
    assert done.status == 0 and done.err == "", done
    assert done.out == "wait version 1: not in this configuration: its open runs are parked (2 open runs)\n"
    assert json.loads(check(node, "--json").out) == [
        {"name": "wait", "version": 1, "verdict": "parks", "differences": [], "open_runs": 2}]
    assert "-d names none" in refused(database, "workflow", "check", status=2)
    assert "cannot" in check(node, "-c", "/nowhere/chimpd.conf").err


def test_check_of_a_configuration(start, app, folder, database):
    """Exit status 1 says that a start would be refused, and it is."""
    def text(signal, timeout):
        return (f'action "a" {{ sql = "t.create_account" }}\n workflow "w" {{\n step "ask" {{ signal = "{signal}"'
                f' timeout = "{timeout}" }}\n step "make" {{ action = "a" }}\n }}')

    made = app(text("yes", "1h"), SCHEMA)
    node = start(made, cron=0, subscriber=0)
    assert check(node).out == "w version 1: unchanged\n" and check(node).status == 0
    database.value("select chimp.workflow_start('w')")
    was = made.conf.read_text()
    made.conf.write_text(was.replace(text("yes", "1h"), text("yes", "2h")))
    done = check(node)
    assert (done.status, done.out) == (0, "w version 1: changed, compatibly (1 open run)\n")
    made.conf.write_text(was.replace(text("yes", "1h"), text("no", "1h")))
    done = check(node)
    assert done.status == 1 and done.out == (
        'w version 1: breaking: a node with it is refused (1 open run)\n  step "ask": signal was "yes", is "no"\n')
    assert node.stop() == 0
    node.expected_status = 1
    node.start(wait=False)
    assert node.wait(20) == 1 and 'workflow "w" version 1 is not what it was' in node.text()


# --- why -------------------------------------------------------------------------

@pytest.fixture
def why(ctl_json):
    """why(id) -> {kind: reason}; the last of a kind."""
    def ask(run_id):
        found = ctl_json("why", "workflow", run_id)
        assert found["id"] == run_id
        return {reason["kind"]: reason for reason in found["reasons"]}
    return ask


def test_why_waits_for_a_signal(define, ctl, why, database):
    define(WAIT, *(workflow(f"w{n}", ("ask", {"signal": "yes", "timeout_ms": HOUR, "on_timeout": to}),
                            ("b", {"signal": "no"}))
                   for n, to in enumerate(("fail", "continue", "step:b"))), workflow("ful", sql="t.fulfil"),
           workflow("strict", sql="t.strict"))
    made = begin(ctl, "wait", "{}", "--id", "r")
    wait_status(database, made, "waiting_signal")
    assert list(why(made)) == ["signal"] and why(made)["signal"]["signal"] == "yes"
    assert re.fullmatch(
        r"run r of workflow wait, version 1, is waiting_signal at step ask\n"
        r'  it waits since 2\S+ \S+ for signal "yes"\n\n', ctl("why", "workflow", made))
    for name, then in (("w0", "then it fails"), ("w1", "then it goes on with the next step"),
                       ("w2", 'then it goes on with step "b"'), ("ful", "then its handler is told"),
                       ("strict", "then it fails")):
        made = begin(ctl, name)
        wait_status(database, made, "waiting_signal")
        reasons = why(made)
        assert list(reasons) == ["signal", "time-out"] and then in reasons["time-out"]["why"]
        assert reasons["time-out"]["until"]
    made = begin(ctl, "w2")
    wait_status(database, made, "waiting_signal")
    for _ in range(2):
        ctl("workflow", "signal", made, "no")
    assert '"no" (2)' in why(made)["other signals"]["why"]


def test_why_says_that_a_queue_is_paused_or_has_no_worker(define, ctl, why, node, database):
    define(WAIT, LONG, workflow("act", ("make", {"action": "createAccount"})))
    waits, sleeps = begin(ctl, "wait"), begin(ctl, "long", '{"total": 101}')
    wait_status(database, waits, "waiting_signal")
    wait_status(database, sleeps, "sleeping")
    assert list(why(sleeps)) == ["sleep"] and why(sleeps)["sleep"]["until"]
    ctl("queue", "pause", "workflow:wait", "workflow:act", "workflow:long")
    assert list(why(waits)) == ["signal", "paused"] and list(why(sleeps)) == ["sleep", "paused"]
    ctl("workflow", "signal", waits, "yes")
    assert list(why(waits)) == ["signal", "signal here", "paused"]
    made = begin(ctl, "act")
    reasons = why(made)
    assert list(reasons) == ["job", "next", "paused"] and reasons["job"]["state"] == "ready"
    assert f"its job {reasons['job']['job']} is ready, attempt 0 of 1" == reasons["job"]["why"]
    assert node.stop() == 0
    ctl("queue", "resume", "workflow:act")
    reasons = why(made)
    assert "no consumer" in reasons and "paused" not in reasons
    assert "no worker on any node serves" in ctl("why", "workflow", made)


def test_why_speaks_of_its_job(define, ctl, why, database):
    define(workflow("hold", ("wait", {"action": "hold"})),
           workflow("again", ("ok", {"action": "createAccount"}),
                    ("bad", {"action": "boom", "max_attempts": 3, "retry_delay_ms": HOUR})))
    held = database.connect()
    rows(held, "select pg_advisory_lock(4711)")
    made = begin(ctl, "hold")
    reasons = until(lambda: (r := why(made)).get("running") and r, "it runs")
    assert reasons["running"]["node"] == "node-1" and reasons["job"]["state"] == "running"
    assert "it runs on node-1 in worker/default/0" in ctl("why", "workflow", made)
    rows(held, "select pg_advisory_unlock(4711)")
    wait_status(database, made, "completed")
    assert list(why(made)) == ["ended"] and "it is completed since" in why(made)["ended"]["why"]
    made = begin(ctl, "again")
    reasons = until(lambda: (r := why(made)).get("retry") and r, "it waits for its retry")
    assert list(reasons) == ["job", "retry", "error"] and reasons["retry"]["until"]
    assert reasons["error"]["error"]["message"] == "boom" and reasons["job"]["why"].endswith("attempt 1 of 3")
    assert re.search(r"  it failed at 2\S+ \S+: boom$", ctl("why", "workflow", made), re.M)
    ctl("workflow", "cancel", made, "enough")
    assert 'enough' in until(lambda: why(made).get("cancel") or why(made).get("ended"), "that is seen")["why"]


def test_why_waits_for_a_child(define, ctl, why, database):
    define(WAIT, workflow("parent", ("sub", {"workflow": "wait", "timeout_ms": HOUR})))
    made = begin(ctl, "parent", "{}", "--id", "p")
    wait_status(database, made, "waiting_signal")
    reason = why(made)["child"]
    assert reason["run"].startswith("p/sub/") and reason["workflow"] == "wait"
    wait_status(database, reason["run"], "waiting_signal")
    assert why(made)["child"]["why"].endswith(' of workflow "wait", which is waiting_signal')
    assert list(why(reason["run"])) == ["signal"] and "it fails" in why(made)["time-out"]["why"]
    ctl("workflow", "signal", reason["run"], "yes")
    wait_status(database, made, "completed")


def test_why_is_parked(define, ctl, why, database):
    define(WAIT, LONG)
    made = begin(ctl, "wait")
    wait_status(database, made, "waiting_signal")
    define(dict(WAIT, version=2), dict(WAIT, version=3), LONG)
    reasons = why(made)
    assert list(reasons) == ["unregistered", "signal"]
    ctl("workflow", "signal", made, "yes")
    wait_status(database, made, "parked")
    reason = why(made)["parked"]
    assert list(why(made)) == ["parked"] and (reason["version"], reason["was"]) == (1, "waiting_signal")
    assert 'no live node has version 1 of workflow "wait"; live nodes have 2, 3.' in reason["why"]
    define(WAIT)
    wait_status(database, made, "completed")
    again = begin(ctl, "wait")
    wait_status(database, again, "waiting_signal")
    define(LONG)
    assert "nor any other" in why(again)["unregistered"]["why"]


def test_why_finds_the_job_of_a_run_that_was_parked(define, ctl, why, database):
    bad = workflow("bad", ("bad", {"action": "boom", "max_attempts": 9, "retry_delay_ms": 300}))
    define(bad)
    made = begin(ctl, "bad")
    define(dict(WAIT, name="bad", version=2))
    wait_status(database, made, "parked")
    ctl("queue", "pause", "workflow:bad")
    define(bad)
    wait_status(database, made, "running")
    reasons = why(made)
    assert list(reasons) == ["job", "next", "paused"] and reasons["job"]["state"] == "ready"


def test_why_failed(define, ctl, why, database):
    steps = (("one", {"action": "createAccount", "compensate": "deleteAccount"}),
             ("two", {"action": "createAccount", "compensate": "deleteAccount"}))
    define(workflow("fail", *steps, ("bad", {"action": "boom"})),
           workflow("stuck", ("one", {"action": "createAccount", "compensate": "boom"}), ("bad", {"action": "boom"})),
           workflow("undo", ("one", {"action": "createAccount", "compensate": "hold"}), ("ask", {"signal": "yes"})),
           workflow("unborn", ("ask", {"signal": "yes"}), initial="t.boom"))
    made = begin(ctl, "unborn")
    wait_status(database, made, "failed")
    assert re.search(r"it is failed since \S+ \S+: boom$", why(made)["ended"]["why"])
    made = begin(ctl, "fail")
    wait_status(database, made, "failed")
    reasons = why(made)
    assert list(reasons) == ["ended", "compensated"] and reasons["compensated"]["steps"] == ["two", "one"]
    assert reasons["ended"]["why"].endswith(', at step "bad": boom') and reasons["ended"]["step"] == "bad"
    made = begin(ctl, "stuck")
    wait_status(database, made, "failed")
    reasons = why(made)
    assert list(reasons) == ["ended", "compensation failed"]
    assert 'what step "one" had done could not be compensated: boom' == reasons["compensation failed"]["why"]
    made = begin(ctl, "undo")
    wait_status(database, made, "waiting_signal")
    held = database.connect()
    rows(held, "select pg_advisory_lock(4711)")
    ctl("workflow", "cancel", made, "no more")
    reasons = until(lambda: (r := why(made)).get("running") and "compensating" in r and r, "it compensates")
    assert list(reasons) == ["failing", "compensating", "job", "running"]
    assert reasons["failing"]["why"] == "it has been cancelled: no more"
    assert 'what step "one" has done' in reasons["compensating"]["why"]
    rows(held, "select pg_advisory_unlock(4711)")
    wait_status(database, made, "cancelled")
    assert re.search(r"it is cancelled since \S+ \S+: no more$", why(made)["ended"]["why"])


def test_a_child_that_no_node_has_parks_its_parent(define, ctl, ctl_json, database):
    """Nothing fails because of a deploy."""
    parent = workflow("parent", ("c", {"workflow": "long", "on_timeout": "fail", "result": "child"}))
    define(parent)
    begin(ctl, "parent", "{}", "--id", "p/1")
    wait_status(database, "p/1", "parked")
    assert 'no live node has a workflow "long"' in ctl("why", "workflow", "p/1")
    define(parent, LONG)
    wait_status(database, "p/1", "waiting_signal")
    assert ctl_json("workflow", "show", "p/1")["error"] is None
