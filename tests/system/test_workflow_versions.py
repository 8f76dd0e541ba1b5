"""Versions of workflows, nodes that have them, and the step memo: G28, G31."""

import itertools
import json
import threading
import time
import uuid

import pytest

from harness.cluster import rows
from harness.wait import until
from harness.workflow import Node, Workflows, action, child, goto, refused, signal, sleep, workflow


@pytest.fixture(scope="module")
def flows(cluster):
    made = Workflows(cluster.create_database())
    yield made
    made.finish()


@pytest.fixture
def node(flows):
    made = Node(flows.database, "n3")
    yield made
    made.register()


@pytest.fixture
def other_node(flows):
    made = Node(flows.database, "n4")
    yield made
    made.register()


@pytest.fixture(name="name")
def a_name(numbers=itertools.count()):
    return f"flow{next(numbers)}"


# --- versions ---

def test_g31_runs_keep_their_version_and_new_ones_take_the_newest(flows, node, other_node, name):
    node.register(workflow(name, signal("wait", "go"), action("old", result="old")))
    first = flows.start(name).at("wait", "waiting_signal")
    other_node.register(workflow(name, action("new", result="new"), signal("last", "stop"), version=2))
    second = flows.start(name).at("last", "waiting_signal")
    assert (first.version, second.version) == (1, 2)
    refused("CH002", first.signal, "stop")
    first.signal("go")
    second.signal("stop")
    assert set(first.completed().results) == {"old"}
    assert set(second.completed().results) == {"new"}


def test_g31_the_newest_is_that_of_a_live_node(flows, node, other_node, name):
    node.register(workflow(name, action("old")))
    other_node.register(workflow(name, signal("new", "go"), version=7), workflow(name, action("between"), version=3))
    waiting = flows.start(name).at("new", "waiting_signal")
    other_node.register()
    assert flows.run(name).version == 1
    node.register()
    error = refused("CH002", flows.start, name)
    assert f'unknown workflow "{name}"' == error.message_primary
    assert waiting.status == "waiting_signal"
    other_node.register(workflow(name, signal("new", "go"), version=7))
    waiting.signal("go")
    assert waiting.completed().version == 7


def test_g31_a_version_without_a_node_parks_its_runs(flows, node, name):
    """Which go on when it is back; nothing fails."""
    definition = workflow(name, action("begin"), signal("wait", "go", when="$.input.is == \"waits\"", result="w"),
                          sleep("rest", 300, when="$.input.is == \"sleeps\""),
                          signal("late", "go", timeout_ms=300, on_timeout="continue", when="$.input.is == \"late\""),
                          action("work", "pass", when="$.input.is == \"runs\"", max_attempts=100000),
                          action("end"), retry_delay_ms=20)
    node.register(definition)
    waits, sleeps, late, cancelled = (flows.start(name, {"is": what}) for what in ("waits", "sleeps", "late", "waits"))
    runs = flows.start_closed(name, {"is": "runs"}).at("work", "running")
    waits.at("wait", "waiting_signal")
    cancelled.at("wait", "waiting_signal")
    sleeps.at("rest", "sleeping")
    late.at("late", "waiting_signal")
    node.register()
    assert waits.status == "waiting_signal", "until it moves"
    assert waits.signal("go", 1) is True
    assert cancelled.cancel() is True
    for run in (waits, sleeps, late, runs, cancelled):
        run.wait("parked")
    assert [r["workflowId"] for r, in flows.database.rows(
        "select chimp.workflow_list(%s, 'parked')", name)] == [r.id for r in (runs, cancelled, late, sleeps, waits)]
    flows.open(runs)
    node.register(definition)
    for run in (waits, sleeps, late, runs):
        run.completed()
        assert [s for s, what in run.history() if what == "action"].count("end") == 1
        assert len(run.log()) == 2
    assert waits.results == {"w": 1}
    assert ("late", "timed out") in late.history()
    assert cancelled.wait().status == "cancelled"


def test_g31_a_step_that_was_parked_keeps_its_limits(flows, node, name):
    definition = workflow(name, action("work", "pass", timeout_ms=100, max_attempts=1))
    node.register(definition)
    flows.database.rows("select chimp.pause(%s)", "workflow:" + name)
    run = flows.start(name, {"sleep": 30})
    node.register()
    flows.database.rows("select chimp.resume(%s)", "workflow:" + name)
    run.wait("parked")
    node.register(definition)
    assert "100" in json.dumps(run.failed())
    assert flows.database.value("select timeout_ms from chimp.jobs where id = (select max(job_id)"
                                " from chimp.workflow_events where id = %s)", run.id) == 100


def test_g31_a_run_is_parked_when_its_node_has_died(flows, name):
    node = Node(flows.database, "n5")
    definition = workflow(name, signal("wait", "go"), action("end"))
    node.register(definition)
    run = flows.start(name).at("wait", "waiting_signal")
    node.die()
    run.signal("go")
    run.wait("parked")
    node = Node(flows.database, "n6")
    node.register(definition)
    run.completed()
    node.register()


def test_g31_compensation_waits_for_its_version(flows, node, name):
    definition = workflow(name, action("a", compensate="undo"), signal("wait", "go"))
    node.register(definition)
    run = flows.start(name).at("wait", "waiting_signal")
    flows.database.rows("select chimp.pause(%s)", "workflow:" + name)
    run.cancel()
    node.register()
    flows.database.rows("select chimp.resume(%s)", "workflow:" + name)
    run.wait("parked")
    node.register(definition)
    assert run.wait().status == "cancelled"
    assert len(run.log("undo")) == 1


def test_g31_nothing_fails_while_nodes_come_and_go(flows, node, name):
    definition = workflow(name, *[action(f"s{n}", state="t.count_up") for n in range(8)],
                          sleep("rest", 20), signal("wait", "go"), action("end"), initial="t.initial", max_attempts=1)
    node.register(definition)
    runs = [flows.start(name) for _ in range(15)]
    for run in runs:
        run.signal("go")
    for _ in range(6):
        node.register()
        time.sleep(0.03)
        node.register(definition)
        time.sleep(0.03)
    for run in runs:
        run.completed()
        assert run.state == {"count": 8} and len(run.log()) == 9


def test_g31_a_child_waits_for_its_version(flows, node, other_node, name):
    """The steps of its parent are not run again for that."""
    node.register(workflow(name, action("a"), child("sub", name + "sub"), action("b")))
    sub = workflow(name + "sub", action("c"))
    other_node.register(sub)
    other_node.register()
    run = flows.start(name).at("sub", "waiting_signal")
    until(lambda: flows.database.value("select status from chimp.workflows where parent = %s", run.id) == "parked",
          "its child is parked")
    other_node.register(sub)
    run.completed()
    assert len(run.log()) == 3


# --- contracts ---

STEPS = [
    action("one", input={"a": 1}, result="r", compensate="undo"), signal("two", "go", timeout_ms=1000, on_timeout="fail"),
    sleep("three", 10), goto("four", "six", when="$.state.x == 1"), action("five", state="t.count_up"), action("six"),
]


def changed(number, **more):
    """The steps with another one in this place."""
    return [*STEPS[:number], {k: v for k, v in {**STEPS[number], **more}.items() if v is not None}, *STEPS[number + 1:]]


@pytest.mark.parametrize("steps,said", [
    (STEPS[:-1], 'step "six" is gone'),
    ([*STEPS, action("seven")], 'step "seven" is new'),
    (changed(5, name="sixth"), 'step "six" is gone; step "sixth" is new'),
    ([STEPS[1], STEPS[0], *STEPS[2:]], "the steps have another order"),
    (changed(0, action="pass"), 'step "one": action was "note", is "pass"'),
    (changed(0, input='{"a": 2}'), 'step "one": input was "{\\"a\\": 1}", is "{\\"a\\": 2}"'),
    (changed(0, input=None), 'step "one": input was "{\\"a\\": 1}", is not given'),
    (changed(0, result="s"), 'step "one": result was "r", is "s"'),
    (changed(0, compensate=None), 'step "one": compensate was "undo", is not given'),
    (changed(1, signal="stop"), 'step "two": signal was "go", is "stop"'),
    (changed(1, kind="sleep", signal=None, sleep_ms=1), 'step "two": kind was "signal", is "sleep"'),
    (changed(3, goto="one"), 'step "four": goto was "six", is "one"'),
    (changed(3, when=None), 'step "four": when was "$.state.x == 1", is not given'),
    (changed(4, state="t.number"), 'step "five": state was "t.count_up", is "t.number"'),
    ([], "it was of the steps form, and is of the run form"),
])
def test_g31_a_breaking_change_is_refused(flows, node, other_node, name, steps, said):
    node.register(workflow(name, *STEPS))
    new = workflow(name, *steps, **({} if steps else {"sql": "t.note"}))
    for where in (other_node, node):
        error = refused("CH002", where.register, new)
        assert error.message_primary.startswith(f'workflow "{name}" version 1 is not what it was: ')
        assert said in error.message_primary
        assert "make this version 2" in error.message_hint
    assert flows.start(name).at("two", "waiting_signal").cancel()
    node.register(workflow(name, *STEPS), {**new, "version": 2})


@pytest.mark.parametrize("steps,more", [
    (changed(1, timeout_ms=5000), {}), (changed(1, timeout_ms=None), {}), (changed(2, sleep_ms=20), {}),
    (changed(0, max_attempts=7, retry_delay_ms=5, retry_delay_max_ms=9, backoff="linear", timeout_ms=100), {}),
    (STEPS, {"max_attempts": 9, "retention_ms": 5, "concurrency": 3, "max_transitions": 7, "initial": "t.initial"}),
])
def test_g31_a_harmless_change_is_taken(flows, node, name, steps, more):
    node.register(workflow(name, *STEPS))
    run = flows.start(name).at("two", "waiting_signal")
    node.register(workflow(name, *steps, **more))
    run.signal("go")
    flows.start(name).at("two", "waiting_signal").signal("go")
    run.completed()


def test_g31_a_harmless_change_holds_for_runs_that_are_open(flows, node, name):
    node.register(workflow(name, signal("wait", "go"), sleep("rest", 3600000)))
    run = flows.start(name).at("wait", "waiting_signal")
    node.register(workflow(name, signal("wait", "go"), sleep("rest", 0)))
    run.signal("go")
    run.completed()


@pytest.mark.parametrize("steps,more,said", [
    ([action("a", input="t.nothing")], {}, 'step "a": input: function t.nothing(jsonb) does not exist'),
    ([action("a", state="t.nothing")], {}, 'step "a": state: function t.nothing(jsonb) does not exist'),
    ([action("a", compensate="undo", compensate_input="t.nothing")], {}, 'step "a": compensate_input: function t.nothing'),
    ([action("a")], {"initial": "t.nothing"}, "initial: function t.nothing(jsonb) does not exist"),
    ([], {"sql": "t.nothing"}, "sql: function t.nothing(jsonb) does not exist"),
    ([action("a", "nonsense")], {}, 'step "a": unknown action "nonsense"'),
    ([action("a", compensate="nonsense")], {}, 'step "a": unknown action "nonsense"'),
])
def test_what_a_definition_names_must_exist(node, name, steps, more, said):
    error = refused("CH002", node.register, workflow(name, *steps, **more))
    assert name in error.message_primary and said in error.message_primary


@pytest.mark.parametrize("step", [
    action("a", input="$.input."), action("a", input='{"x": ["$.input["]}'), action("a", when="$.input ="),
    action("a", state="$..x."), signal("a", "go", when="$.x =="), signal("a", "go", state="{\"y\": \"$ 5\"}"),
    action("a", compensate="undo", compensate_input="$("),
])
def test_a_path_must_be_one(node, name, step):
    error = refused("CH002", node.register, workflow(name, step))
    assert f'workflow "{name}": step "a": ' in error.message_primary and "JSON path" in error.message_primary


def test_a_step_whose_function_is_gone_fails(flows, node, other_node, name):
    flows.database.rows("create function t.passing(input jsonb) returns jsonb language sql as $$ select input $$")
    node.register(workflow(name, action("a", "passing")), actions=("passing",))
    flows.run(name)
    flows.database.rows("drop function t.passing(jsonb)")
    other_node.register(workflow(name + "other", action("b")))
    assert "function t.passing(jsonb) does not exist" in flows.start(name).failed()["message"]


# --- the memo of steps ---

@pytest.fixture
def memo():
    return str(uuid.uuid4())


STEP = "select chimp.step(%s, %s, %s, %s)"


def effects(flows, tag):
    return flows.database.value("select count(*) from t.log where tag = %s", tag)


def test_g28_a_step_is_run_once(flows, memo):
    given = json.dumps({"tag": memo, "n": 1})
    for _ in range(3):
        assert flows.database.value(STEP, memo, "k", "t.note", given) == {"tag": memo, "n": 1}
    assert flows.database.value(STEP, memo, "k", "t.note", '{"n": 2}') == {"tag": memo, "n": 1}
    assert effects(flows, memo) == 1
    flows.database.value(STEP, memo, "other", "t.note", given)
    flows.database.value(STEP, memo + "x", "k", "t.note", given)
    assert effects(flows, memo) == 3


def test_g28_a_step_that_returns_nothing_is_run_once(flows, memo):
    given = json.dumps({"tag": memo})
    assert [flows.database.value(STEP, memo, "k", "t.undo", given) for _ in range(2)] == [None, None]
    assert effects(flows, memo) == 1


def test_g28_a_step_is_rolled_back_with_its_caller(flows, memo):
    connection = flows.database.connect()
    connection.autocommit = False
    rows(connection, STEP, memo, "k", "t.note", json.dumps({"tag": memo, "n": 1}))
    connection.rollback()
    assert effects(flows, memo) == 0
    assert flows.database.value(STEP, memo, "k", "t.note", json.dumps({"tag": memo, "n": 2}))["n"] == 2
    assert effects(flows, memo) == 1


@pytest.mark.parametrize("commits", [True, False])
def test_g28_callers_at_the_same_time(flows, memo, commits):
    """The second one waits for what becomes of the first."""
    connection = flows.database.connect()
    connection.autocommit = False
    rows(connection, STEP, memo, "k", "t.note", json.dumps({"tag": memo, "n": 1}))
    got = []
    second = flows.database.connect()
    thread = threading.Thread(target=lambda: got.extend(
        rows(second, STEP, memo, "k", "t.note", json.dumps({"tag": memo, "n": 2}))))
    thread.start()
    until(lambda: flows.database.value("select count(*) from pg_locks where locktype = 'advisory' and not granted"
                                       " and pid = %s", second.info.backend_pid), "it waits")
    assert not got
    (connection.commit if commits else connection.rollback)()
    thread.join(10)
    assert got[0][0]["n"] == (1 if commits else 2)
    assert effects(flows, memo) == 1


def test_g28_a_key_belongs_to_one_handler(flows, memo):
    flows.database.value(STEP, memo, "k", "t.note", json.dumps({"tag": memo}))
    error = refused("CH003", flows.database.rows, STEP, memo, "k", "t.undo", "{}")
    assert error.message_primary == f'chimp.step: step "k" of "{memo}" was run by t.note, not by t.undo'


def test_g28_steps_that_are_refused(flows, memo):
    refused("CH002", flows.database.rows, STEP, memo, "k", "t.nothing", "{}")
    refused("22023", flows.database.rows, STEP, "", "k", "t.note", "{}")
    refused("22023", flows.database.rows, STEP, memo, None, "t.note", "{}")
    assert flows.database.value("select chimp.step(%s, 'k', 't.note')", memo) == {}
