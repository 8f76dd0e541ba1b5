"""Workflows of steps, in SQL: G28 to G31."""

import json
import uuid

import pytest

from harness.cluster import rows
from harness.wait import Stopwatch
from harness.workflow import Run, Workflows, action, child, goto, refused, signal, sleep, workflow

DEFINED = []


def define(*args, **more):
    """A workflow of this file, for the tests below it; its name."""
    DEFINED.append(workflow(*args, **more))
    return DEFINED[-1]["name"]


@pytest.fixture(scope="module")
def flows(cluster):
    made = Workflows(cluster.create_database(), *DEFINED)
    yield made
    made.finish()


# --- steps ---

ORDER = define("order", action("first", result="a"), action("second", input={"return": 2}, result="b"),
               action("third"))


def test_steps_run_in_order_and_keep_what_they_return(flows):
    run = flows.run(ORDER, {"x": 1})
    given = {"tag": run.id, "x": 1}
    assert run.results == {"a": given, "b": 2}
    assert run.state == {}
    assert run.log() == [given, given]  # the second got no tag
    assert run.history() == [("first", "action"), ("second", "action"), ("third", "action"), (None, "completed")]
    assert run.current_step is None


def test_a_run_as_its_api_shows_it(flows):
    run = flows.run(ORDER)
    assert run.get() == {
        "workflowId": run.id, "workflowName": "order", "workflowVersion": 1, "status": "completed",
        "input": {"tag": run.id}, "state": {}, "results": {"a": {"tag": run.id}, "b": 2},
        "currentStepId": None, "waitsFor": None, "wakeAtMs": None, "lastError": None}
    assert flows.database.value("select chimp.workflow_get('nobody')") is None


def test_an_id_is_made_when_none_is_given(flows):
    id = flows.database.value("select chimp.workflow_start('order')")
    assert str(uuid.UUID(id)) == id
    assert Run(flows.database, id).completed().input == {}


COUNT = define("count", action("up", state="t.count_up"), action("again", state="t.count_up"),
               action("show", input={"tag": "$.input.tag", "count": "$.state.count"}), initial="t.initial")


def test_the_initial_state_comes_from_the_input_and_expressions_change_it(flows):
    run = flows.run(COUNT, {"count": 5})
    assert run.state == {"count": 7}
    assert run.log()[-1]["count"] == 7


SET_STATE = define("set_state", action("one", input={"return": {"deep": [1, {"x": 2}]}},
                                       state='{"kept": "$.result.deep[1].x", "was": "$.state", "fix": "one"}'))


def test_state_from_a_template_of_the_result(flows):
    assert flows.run(SET_STATE).state == {"kept": 2, "was": {}, "fix": "one"}


TEMPLATE = define("template", action("a", result="r"), action("b", input={
    "tag": "$.input.tag", "nested": {"list": [1, "two", "$.input.x", ["$.results.r.x", {}], []]},
    "nothing": "$.state.not.there", "word": "it's \"quoted\" \\ 100% {x}", "number": 1.50, "yes": True, "null": None,
    "first": "$.input.list[*]", "strange \" key'": "$.input.x"}))


def test_templates(flows):
    run = flows.run(TEMPLATE, {"x": {"y": 1}, "list": [7, 8]})
    assert run.log()[-1] == {
        "tag": run.id, "nested": {"list": [1, "two", {"y": 1}, [{"y": 1}, {}], []]}, "nothing": None,
        "word": "it's \"quoted\" \\ 100% {x}", "number": 1.50, "yes": True, "null": None, "first": 7,
        "strange \" key'": {"y": 1}}


WIDE = define("wide", action("a", input={**{f"k{n}": n for n in range(130)}, "tag": "$.input.tag",
                                         "list": list(range(230))}))


def test_a_template_of_many_members(flows):
    run = flows.run(WIDE)
    assert run.log() == [{**{f"k{n}": n for n in range(130)}, "tag": run.id, "list": list(range(230))}]


PATHS = define("paths", action("path", input="$.input.inner"), action("function", input="t.initial", result="f"),
               action("list", input=["$.input.inner", 2], result="l"), initial="t.initial")


def test_inputs_that_are_a_path_a_function_or_an_array(flows):
    run = flows.start(PATHS, {"inner": {"tag": "inner"}}, "paths")
    run.completed()
    assert Run(flows.database, "inner").log() == [{"tag": "inner"}]
    assert run.results == {"f": {"count": 0}, "l": [{"tag": "inner"}, 2]}


WHEN = define("when", action("a", result="a", when="$.input.n > 1"), action("b", result="b", when="$.input.n <= 1"),
              action("c", result="c", when="$.state.nothing == 1"), action("d", result="d", when="$.input.n"))


@pytest.mark.parametrize("n,taken", [(2, "a"), (1, "b"), ("many", None)])
def test_when(flows, n, taken):
    """What is missing, and what is no predicate, is not true."""
    run = flows.run(WHEN, {"n": n})
    assert set(run.results) == ({taken} if taken else set())
    assert [what for _, what in run.history()].count("passed over") == 4 - len(run.results)


BRANCH = define("branch", goto("jump", "far", when="$.input.far == true"), action("near", result="near"),
                goto("out", "end"), action("far", result="far"), initial="t.initial")


def test_goto_forward_and_to_the_end(flows):
    assert set(flows.run(BRANCH, {"far": True}).results) == {"far"}
    near = flows.run(BRANCH)
    assert set(near.results) == {"near"}
    assert near.history() == [("jump", "passed over"), ("near", "action"), ("out", "goto"), (None, "completed")]


LOOP = define("loop", action("work", state="t.count_up"), goto("more", "work", when="$.state.count < 5"),
              initial="t.initial")


def test_goto_back(flows):
    run = flows.run(LOOP)
    assert run.state == {"count": 5}
    assert len(run.log()) == 5


ENDLESS = define("endless", action("begin"), goto("a", "b"), goto("b", "a"), max_transitions=50)
SPIN = define("spin", action("work", state="t.count_up"), goto("again", "work"), initial="t.initial",
              max_transitions=50)


@pytest.mark.parametrize("name", [ENDLESS, SPIN])
def test_an_endless_loop_is_ended(flows, name):
    run = flows.start(name)
    assert "more than 50 transitions" in run.failed()["message"]
    assert 50 <= len(run.history()) <= 53


def test_an_endless_loop_goes_on_where_it_was_when_retried(flows):
    run = flows.start(ENDLESS)
    run.failed()
    assert run.retry() is True
    run.failed()
    assert len(run.log()) == 1, "what has completed is not run again"


ROUNDS = define("rounds", action("work", state="t.count_up"), sleep("rest", 1),
                goto("more", "work", when="$.state.count < 30"), initial="t.initial", max_transitions=10)


def test_a_loop_that_sleeps_is_none(flows):
    assert flows.run(ROUNDS).state == {"count": 30}


NAP = define("nap", sleep("now", 0), action("a"), sleep("later", 200), action("b"))


def test_sleep(flows):
    run = flows.start(NAP).at("later", "sleeping")
    left = flows.database.value("select extract(epoch from wake_at - clock_timestamp()) * 1000"
                                " from chimp.workflows where id = %s", run.id)
    assert left <= 200
    run.completed()
    assert run.history() == [("now", "sleep"), ("a", "action"), ("later", "sleep"), ("b", "action"),
                             (None, "completed")]
    [slept] = flows.database.rows(
        "select extract(epoch from s.at - a.at) from chimp.workflow_events a join chimp.workflow_events s"
        " on s.id = a.id where a.id = %s and a.step = 'a' and s.step = 'later'", run.id)
    assert slept[0] >= 0.2


EMPTY = define("empty", action("never", when="$.input.x == 1"))


def test_nothing_to_do(flows):
    run = flows.run(EMPTY)
    assert run.history() == [("never", "passed over"), (None, "completed")]


# --- signals ---

TWO = define("two", signal("one", "go", result="one"), signal("other", "go", result="other"),
             signal("last", "stop", result="stop", state='{"last": "$.result"}'))


def test_g29_signals_while_it_waits(flows):
    run = flows.start(TWO).at("one", "waiting_signal")
    assert run.waits_for == "go" and run.wake_at is None
    assert run.signal("go", {"n": 1}) is True
    run.at("other", "waiting_signal")
    run.signal("go", [2])
    run.at("last", "waiting_signal")
    run.signal("stop")
    run.completed()
    assert run.results == {"one": {"n": 1}, "other": [2], "stop": None}
    assert run.state == {"last": None}


def test_g29_signals_before_anyone_waits(flows):
    """In order of arrival for each name, whatever came between."""
    connection = flows.database.connect()
    connection.autocommit = False
    run = flows.start(TWO, connection=connection)
    for name, payload in (("stop", "s"), ("go", 1), ("go", 2), ("go", 3)):
        rows(connection, "select chimp.workflow_signal(%s, %s, %s)", run.id, name, json.dumps(payload))
    connection.commit()
    run.completed()
    assert run.results == {"one": 1, "other": 2, "stop": "s"}
    assert flows.database.rows(
        "select payload, consumed_seq is null from chimp.workflow_signal s join chimp.workflow_run r"
        " on r.id = s.run_id where external_id = %s order by s.id", run.id) == [
            ("s", False), (1, False), (2, False), (3, True)]


def test_g29_each_signal_causes_one_transition(flows):
    runs = [flows.start(TWO) for _ in range(10)]
    for name in ("go", "stop", "go"):
        for run in runs:
            run.signal(name, name)
    for run in runs:
        run.completed()
        assert len(run.history()) == 4


def test_g29_a_dedup_id_is_known_as_long_as_the_run(flows):
    run = flows.start(TWO)
    assert [run.signal("go", n, dedup="x") for n in (1, 2)] == [True, False]
    run.at("other", "waiting_signal")
    assert run.signal("go", 3, dedup="x") is False
    assert run.signal("go", 4, dedup="y") is True
    run.at("last", "waiting_signal")
    assert run.results == {"one": 1, "other": 4}


def test_signals_that_are_refused(flows):
    run = flows.start(TWO)
    assert "go, stop" in refused("CH002", run.signal, "nonsense").message_hint
    refused("22023", run.signal, "")
    refused("22023", run.signal, "chimp.cancel")
    refused("22023", run.signal, "go", 1, "chimp.cancel")
    assert run.cancel() is True
    refused("CH002", Run(flows.database, "nobody").signal, "go")
    ended = flows.run(ORDER)
    assert "has ended: it is completed" in refused("CH002", ended.signal, "go").message_primary
    assert "waits for none" in refused("CH002", flows.start(NAP).signal, "go").message_hint


TIMES = [define(f"time_{name}", signal("wait", "go", timeout_ms=100, on_timeout=what, result="w"),
                action("next", result="n"), action("other", result="o"))
         for name, what in (("fail", "fail"), ("continue", "continue"), ("step", "step:other"))]


def test_g30_a_time_out_fails(flows):
    run = flows.start(TIMES[0])
    error = run.failed()
    assert error == {"message": 'step "wait": no signal "go" in time', "step": "wait"}
    assert run.results == {} and run.current_step == "wait"


def test_g30_a_time_out_goes_on(flows):
    run = flows.run(TIMES[1])
    assert set(run.results) == {"n", "o"}
    assert run.history()[0] == ("wait", "timed out")


def test_g30_a_time_out_goes_to_a_step(flows):
    assert set(flows.run(TIMES[2]).results) == {"o"}


@pytest.mark.parametrize("name", TIMES)
def test_g30_a_signal_in_time(flows, name):
    run = flows.start(name)
    run.signal("go", 1)
    run.completed()
    assert set(run.results) == {"w", "n", "o"}
    job = flows.database.value(
        "select count(*) from chimp.jobs where queue = %s and payload ? 'seq' and state = 'scheduled'"
        " and (payload ->> 'run')::bigint"
        " = (select r.id from chimp.workflow_run r where r.external_id = %s)", "workflow:" + name, run.id)
    assert job == 0, "its time-out is gone"


# --- children ---

define("small", action("work", "pass"), signal("wait", "go", when="$.input.wait == true"), initial="t.initial")
PARENT = define("parent", child("sub", "small", input={
    "tag": "$.input.tag", "count": 3, "wait": "$.input.wait", "fails": "$.input.fails"},
    result="sub", timeout_ms=3600000), action("after"))
HURRY = define("hurry", child("sub", "small", timeout_ms=100, on_timeout="continue"), action("after"))


def child_of(flows, run):
    return Run(flows.database, flows.database.value("select id from chimp.workflows where parent = %s"
                                                    " order by created_at desc limit 1", run.id))


def test_a_child_that_completes(flows):
    run = flows.run(PARENT)
    sub = child_of(flows, run)
    assert run.results["sub"] == {"workflowId": sub.id, "status": "completed", "state": {"count": 3},
                                  "results": {}, "lastError": None}
    assert len(run.log()) == 1


def test_a_child_that_fails(flows):
    run = flows.start(PARENT, {"fails": 9})
    error = run.failed()
    assert error["message"] == f'workflow run "{child_of(flows, run).id}" is failed'
    assert error["cause"]["message"] == "fails 9 times" and error["step"] == "sub"


def test_a_failed_child_is_begun_anew_when_its_parent_is_retried(flows):
    run = flows.start_closed(PARENT)
    run.failed()
    first = child_of(flows, run).id
    flows.open(run)
    assert run.retry() is True
    run.completed()
    assert child_of(flows, run).id != first


def test_a_child_that_is_cancelled(flows):
    run = flows.start(PARENT, {"wait": True}).at("sub", "waiting_signal")
    child_of(flows, run).at("wait", "waiting_signal").cancel()
    assert "is cancelled" in run.failed()["message"]


LATE = define("late", child("sub", "small", timeout_ms=100, on_timeout="fail"))


def test_a_child_that_is_late_fails_its_parent(flows):
    run = flows.start(LATE, {"wait": True})
    assert run.failed() == {"message": 'step "sub": its child has not ended in time', "step": "sub"}
    assert child_of(flows, run).wait().status == "cancelled"


def test_a_child_that_is_late_is_cancelled(flows):
    run = flows.run(HURRY, {"wait": True})
    sub = child_of(flows, run).wait()
    assert (sub.status, sub.error["message"]) == ("cancelled", "it has not ended in time")
    assert run.history() == [("sub", "timed out"), ("after", "action"), (None, "completed")]


def test_a_parent_with_the_longest_id_has_children(flows):
    run = flows.run(PARENT, id="p" * 200)
    assert child_of(flows, run).id.startswith(run.id)


# --- starting ---

def test_starting_again_does_nothing(flows):
    run = flows.start(ORDER)
    again = flows.start(ORDER, {"other": True}, run.id)
    run.completed()
    assert flows.start(ORDER, id=run.id).id == again.id
    assert run.input == {"tag": run.id} and len(run.history()) == 4


def test_ids_that_are_refused(flows):
    run = flows.start(ORDER)
    error = refused("CH003", flows.start, NAP, None, run.id)
    assert f'workflow run "{run.id}" is one of workflow "order"' == error.message_primary
    start = "select chimp.workflow_start('order', '{}', %s)"
    refused("22023", flows.database.rows, start, "")
    refused("22023", flows.database.rows, start, "x" * 201)


def test_what_is_unknown(flows):
    refused("CH002", flows.start, "nonsense")
    for call in ("cancel", "retry", "wait"):
        refused("CH002", flows.database.rows, f"select chimp.workflow_{call}('nobody')")


def test_a_signal_with_a_start(flows):
    id = str(uuid.uuid4())
    call = "select chimp.workflow_signal_with_start('two', %s, %s, 'go', %s, %s)"
    arguments = [(f'{{"n": {n}}}', id, str(n), f"d{n}") for n in (1, 2)]
    assert [flows.database.value(call, *a) for a in arguments] == [True, True]
    assert flows.database.value(call, *arguments[1]) is False
    run = Run(flows.database, id).at("last", "waiting_signal")
    assert run.input == {"n": 1} and run.results == {"one": 1, "other": 2}


def test_a_rollback_leaves_nothing(flows):
    waiting = flows.start(TWO).at("one", "waiting_signal")
    connection = flows.database.connect()
    connection.autocommit = False
    lost = flows.start(ORDER, connection=connection)
    rows(connection, "select chimp.workflow_signal(%s, 'go', '1', 'd')", waiting.id)
    connection.rollback()
    assert lost.get() is None
    assert waiting.signal("go", 2, "d") is True
    assert waiting.at("other", "waiting_signal").results == {"one": 2}


# --- reading ---

LISTED = define("listed", action("a"), signal("wait", "go"), initial="t.initial")


def test_listing(flows):
    runs = [flows.start(LISTED, {"count": n}) for n in range(4)]
    for run in runs:
        run.at("wait", "waiting_signal")
    runs[0].signal("go")
    runs[0].completed()
    runs[1].cancel()
    runs[1].wait()
    ids = [run.id for run in runs]

    def listed(arguments):
        return [ids.index(r["workflowId"]) for r, in flows.database.rows(
            f"select chimp.workflow_list('listed', {arguments})")]

    assert listed("null") == [3, 2, 1, 0]
    assert listed("'waiting_signal'") == [3, 2]
    assert listed("status => 'completed'") == [0]
    assert listed("state_path => '$.count > 1'") == [3, 2]
    assert listed("state_path => '$.nothing > 1'") == []
    assert listed("max_rows => 2") == [3, 2]
    assert listed(f"max_rows => 2, after => '{ids[2]}'") == [1, 0]
    assert listed("min_age => '1 h'") == []
    assert listed("min_age => '0'") == [3, 2, 1, 0]
    assert flows.database.value("select count(*) from chimp.workflow_list('nonsense')") == 0
    shown = flows.database.value("select r from chimp.workflow_list('listed', 'completed') r")
    assert shown == runs[0].get()


def test_waiting_for_the_end(flows):
    wait = "select chimp.workflow_wait(%s, %s)"
    run = flows.start(ORDER)
    assert flows.database.value(wait, run.id, "10 s") == run.get()
    with Stopwatch() as watch:
        error = refused("57014", flows.database.rows, wait, flows.start(TWO).id, "200 ms")
    assert "it is waiting_signal" in error.message_primary
    assert 200 <= watch.ms < 5000


# --- retention ---

BRIEF = define("brief", action("a", "pass"), signal("wait", "go", when="$.input.wait == true"), retention_ms=1000)


def test_steps_of_no_run_stay_until_they_are_forgotten(flows):
    step = "select chimp.step(%s, %s, 't.note', '1')"
    run = flows.start(BRIEF, {"wait": True}).at("wait", "waiting_signal")
    for key in ("a", "b"):
        flows.database.rows(step, "order 17", key)
        flows.database.rows(step, run.id, key)
    kept = "select count(*) from chimp.workflow_memo where workflow_id = %s"
    error = refused("CH003", flows.database.rows, "select chimp.step_forget(%s)", run.id)
    assert "is a run that has not ended" in error.message_primary
    assert flows.database.value("select chimp.step_forget('order 17')") == 2
    assert flows.database.value("select chimp.step_forget('order 17')") == 0
    assert (flows.database.value(kept, "order 17"), flows.database.value(kept, run.id)) == (0, 2)


def test_all_of_an_old_run_is_deleted_and_nothing_else(flows):
    old, young, waiting = (flows.start(BRIEF, {"wait": True}) for _ in range(3))
    other = flows.run(ORDER)
    for run in (old, young, waiting):
        run.at("wait", "waiting_signal")
        flows.database.rows("select chimp.step(%s, 'k', 't.note', '1')", run.id)
    for run in (old, young):
        run.signal("go", dedup="d")
        run.completed()
    waiting.signal("go", dedup="d2")
    waiting.completed()
    waiting = flows.start(BRIEF, {"wait": True}).at("wait", "waiting_signal")
    flows.database.rows("update chimp.workflow_run set created_at = created_at - interval '1 y', ended_at = ended_at"
                        " - interval '1 y' where external_id = any (%s)", [old.id, waiting.id, other.id])
    keys = {id: key for id, key in flows.database.rows("select external_id, id from chimp.workflow_run")}

    def left(run):
        return flows.database.rows(
            "select (select count(*) from chimp.workflow_signal where run_id = %s),"
            " (select count(*) from chimp.workflow_history where run_id = %s),"
            " (select count(*) from chimp.workflow_memo where workflow_id = %s)", keys[run.id], keys[run.id], run.id)[0]

    assert left(old) == (1, 3, 1)
    flows.database.rows("update chimp.workflow_run set ended_at = clock_timestamp() + interval '1 min'"
                        " where external_id = %s", young.id)
    flows.database.rows("update chimp.workflow_definition set retention_ms = 1e12 where definition ->> 'name' = 'order'")
    flows.database.rows("select chimp.workflow_retain(1000)")
    assert old.get() is None and left(old) == (0, 0, 0)
    assert young.status == "completed" and left(young) == (1, 3, 1)
    assert waiting.status == "waiting_signal" and left(waiting)[1] == 1
    assert other.status == "completed" and left(other)[1] == 4
