"""Workflows of one handler, which says by directives what comes next."""

import datetime
import uuid

import pytest

from harness.wait import Stopwatch
from harness.workflow import ACTIONS, SCHEMA, Node, Run, Workflows, refused, workflow

# Returns the directives of its input's script, one at each call.
SCRIPT = """
create function t.play(input jsonb) returns jsonb language plpgsql as $$
declare
	calls constant int := count(*) from t.log l where l.tag = $1 #>> '{input,tag}' and l.what = 'play';
	script constant jsonb := input #> '{input,script}';
	next constant jsonb := script -> least(calls, jsonb_array_length(script) - 1);
begin
	insert into t.log (tag, what, input, attempt)
	values (input #>> '{input,tag}', 'play', input, (chimp.job() ->> 'attempt')::int);
	if (next ->> 'fails')::int >= (chimp.job() ->> 'attempt')::int or exists (
		select from t.closed c where c.gate = input #>> '{input,tag}') then
		raise exception 'not now';
	end if;
	return nullif(next, 'null');
end $$;
"""
DEFINED = [
    workflow("play", sql="t.play", max_attempts=3),
    workflow("begun", sql="t.play", initial="t.initial"),
    workflow("endless", sql="t.play", max_transitions=50),
]


@pytest.fixture(scope="module")
def flows(cluster):
    made = Workflows(cluster.create_database(), *DEFINED, schema=SCHEMA + SCRIPT, actions=ACTIONS)
    yield made
    made.finish()


def does(what, **more):
    return {"directive": what, **more}


def wait_for(name, **more):
    return does("waitForSignal", signal=name, **more)


COMPLETE = does("complete")


def play(flows, *script, workflow="play", **more):
    return flows.start(workflow, {"script": script, **more})


def calls(run):
    """What its handler has got, without the input and the time."""
    return [{k: v for k, v in i.items() if k not in ("input", "now", "workflowId")} for i in run.log("play")]


def call(step=None, state=None, signal=None, timed_out=False):
    return {"step": step, "state": state or {}, "signal": signal, "timedOut": timed_out}


def got(payload, name="go"):
    return {"name": name, "payload": payload}


# --- what it gets ---

def test_what_the_handler_gets(flows):
    before = flows.database.value("select clock_timestamp()")
    run = play(flows, COMPLETE, x=1).completed()
    [given] = run.log("play")
    assert set(given) == {"input", "state", "workflowId", "step", "signal", "timedOut", "now"}
    assert given["input"] == {"tag": run.id, "script": [COMPLETE], "x": 1}
    assert given["workflowId"] == run.id
    assert calls(run) == [call()]
    now = datetime.datetime.fromisoformat(given["now"].replace("Z", "+00:00"))
    assert -0.001 <= (now - before).total_seconds() < 10
    assert run.history() == [(None, "complete"), (None, "completed")]


def test_the_initial_state(flows):
    run = play(flows, does("transition", stepId="next"), COMPLETE, workflow="begun", count=2).completed()
    assert calls(run) == [call(state={"count": 2}), call("next", {"count": 2})]


def test_a_run_that_could_not_begin_is_retried_with_its_initial_state(flows):
    id = str(uuid.uuid4())
    flows.close(id)
    run = flows.start("begun", {"script": [COMPLETE], "count": 2}, id)
    assert run.failed()["message"] == "not now"
    flows.open(run)
    assert run.retry() is True
    run.completed()
    assert calls(run) == [call(state={"count": 2})]


# --- directives ---

def test_complete(flows):
    run = play(flows, does("complete", state={"end": True})).completed()
    assert run.state == {"end": True} and run.current_step is None and run.error is None


@pytest.mark.parametrize("error,kept", [
    ({"code": 7}, {"code": 7}), ("late", {"message": "late"}), (None, {"message": "its handler said so"})])
def test_fail(flows, error, kept):
    run = play(flows, does("transition", stepId="here"), does("fail", state={"a": 1}, **({"error": error} if error else {})))
    assert run.failed() == {**kept, "step": "here"}
    assert run.state == {"a": 1}
    assert len(run.log("play")) == 2, "it is not tried again"


def test_a_failed_run_is_called_again_at_its_step_when_retried(flows):
    run = play(flows, does("transition", stepId="here", state={"n": 1}), does("fail", error="no"), COMPLETE)
    run.failed()
    assert run.retry() is True
    run.completed()
    assert calls(run)[1:] == [call("here", {"n": 1})] * 2
    assert run.error is None


def test_transition(flows):
    run = play(flows, does("transition", stepId="a"), does("transition", stepId="b", state={"n": 1}),
               does("transition", stepId="c"), COMPLETE).completed()
    assert calls(run) == [call(), call("a"), call("b", {"n": 1}), call("c", {"n": 1})]
    assert [what for _, what in run.history()] == ["transition"] * 3 + ["complete", "completed"]


def test_sleep(flows):
    with Stopwatch() as watch:
        run = play(flows, does("sleep", delayMs=200, stepId="awake"), COMPLETE).at("awake", "sleeping")
        run.completed()
    assert watch.ms >= 200
    assert calls(run) == [call(), call("awake")]


def test_a_sleep_of_nothing_is_none(flows):
    run = play(flows, *[does("sleep", delayMs=0)] * 20, COMPLETE)
    with Stopwatch() as watch:
        run.completed()
    assert watch.ms < 5000 and len(calls(run)) == 21


def test_the_state_is_replaced_only_when_it_is_given(flows):
    run = play(flows, does("sleep", delayMs=0, state={"a": 1, "b": {"c": 2}}), does("sleep", delayMs=0),
               does("sleep", delayMs=0, state=None), does("sleep", delayMs=0, state={"b": {}}), COMPLETE).completed()
    assert [c["state"] for c in calls(run)] == [{}, *[{"a": 1, "b": {"c": 2}}] * 3, {"b": {}}]


# --- signals ---

def test_g29_a_signal_after_the_wait(flows):
    run = play(flows, wait_for("go", stepId="waited", state={"s": 1}), COMPLETE).at("waited", "waiting_signal")
    assert (run.waits_for, run.wake_at) == ("go", None)
    run.signal("other", 0)
    run.signal("go", {"n": 1})
    run.completed()
    assert calls(run)[1] == call("waited", {"s": 1}, got({"n": 1}))


def test_g29_signals_before_the_wait(flows):
    id = str(uuid.uuid4())
    for n, name in enumerate(("b", "go", "go")):
        flows.database.rows(
            "select chimp.workflow_signal_with_start('play', %s, %s, %s, %s)",
            '{"tag": "%s", "script": [{"directive": "sleep", "delayMs": 100}, '
            '{"directive": "waitForSignal", "signal": "go", "timeoutMs": 60000}, '
            '{"directive": "waitForSignal", "signal": "go"}, '
            '{"directive": "waitForSignal", "signal": "b"}, {"directive": "complete"}]}' % id, id, name, str(n))
    run = Run(flows.database, id).completed()
    assert [c["signal"] for c in calls(run)] == [None, None, got(1), got(2), got(0, "b")]


TIMES = {"timeoutMs": 100, "stepId": "waited"}


def test_g30_a_time_out_goes_on(flows):
    for more in ({}, {"onTimeout": "continue"}, {"onTimeout": None}):
        run = play(flows, wait_for("go", **TIMES, **more), COMPLETE).completed()
        assert calls(run)[1] == call("waited", timed_out=True)
        assert run.history()[1] == ("waited", "timed out, complete")


def test_g30_a_time_out_fails(flows):
    run = play(flows, wait_for("go", onTimeout="fail", **TIMES), COMPLETE)
    assert run.failed() == {"message": 'step "waited": no signal "go" in time', "step": "waited"}
    assert len(calls(run)) == 1


def test_g30_a_time_out_goes_to_a_step(flows):
    run = play(flows, wait_for("go", onTimeout="step:late", **TIMES), does("transition", stepId="x"), COMPLETE).completed()
    assert calls(run)[1:] == [call("late", timed_out=True), call("x")]


@pytest.mark.parametrize("what", ["fail", "continue", "step:late"])
def test_g30_a_signal_in_time(flows, what):
    run = play(flows, wait_for("go", onTimeout=what, timeoutMs=60000, stepId="waited"), COMPLETE)
    run.at("waited", "waiting_signal").signal("go")
    run.completed()
    assert calls(run)[1:] == [call("waited", signal=got(None))]


def test_a_wait_of_no_time_takes_what_is_there(flows):
    poll = wait_for("go", timeoutMs=0)
    run = play(flows, wait_for("begin"), poll, poll, COMPLETE)
    for name in ("go", "begin"):
        run.signal(name)
    run.completed()
    assert calls(run)[2:] == [call(signal=got(None)), call(timed_out=True)]


def test_a_wait_that_has_timed_out_is_retried_with_its_time_out(flows):
    run = play(flows, wait_for("go", onTimeout="fail", **TIMES), COMPLETE)
    run.failed()
    with Stopwatch() as watch:
        assert run.retry() is True
        assert "no signal" in run.failed()["message"]
    assert watch.ms >= 100
    assert run.retry() is True
    run.signal("go", 5)
    run.completed()
    assert calls(run)[1:] == [call("waited", signal=got(5))]


# --- actions ---

def test_the_result_of_an_action_comes_as_a_signal(flows):
    run = play(flows, does("action", action="note", input={"return": {"n": 1}, "tag": "x"}, stepId="acted", state={"s": 1}),
               does("action", action="note"), COMPLETE).completed()
    assert calls(run)[1:] == [call("acted", {"s": 1}, got({"n": 1}, "action")), call("acted", {"s": 1}, got({}, "action"))]
    assert [what for _, what in run.history()] == ["action", "action", "action", "action", "complete", "completed"]


def test_an_action_that_fails(flows):
    """With the attempts of the workflow; retried, it is called again."""
    gate = str(uuid.uuid4())
    flows.close(gate)
    run = play(flows, does("action", action="pass", input={"tag": gate}, stepId="acted"), COMPLETE)
    assert run.failed()["message"] == f"the gate of {gate} is closed"
    assert flows.database.value("select max(attempts) from chimp.workflow_events where id = %s", run.id) == 3
    flows.database.rows("delete from t.closed where gate = %s", gate)
    assert run.retry() is True
    run.completed()
    assert calls(run)[1] == call("acted", signal=got({"passed": True}, "action"))


def test_an_action_whose_node_is_away(flows):
    """As for a step: nothing fails because of a deploy."""
    node = Node(flows.database, "n3")
    node.register(actions=("number",))
    node.register(actions=())
    run = play(flows, does("action", action="number"), COMPLETE).completed()
    assert calls(run)[1]["signal"] == got(42, "action")


def test_an_unknown_action(flows):
    run = play(flows, does("action", action="nonsense", stepId="here"), COMPLETE)
    error = run.failed()
    assert 'unknown action "nonsense"' in error["message"] and error["step"] == "here"
    assert flows.database.value("select max(attempts) from chimp.workflow_events where id = %s", run.id) == 1


# --- what is wrong ---

@pytest.mark.parametrize("junk,says", [
    ("complete", "must return a directive"), (None, "must return a directive"), ([], "must return a directive"),
    ({}, "must return a directive"), (7, "must return a directive"), (does("explode"), "must return a directive"),
    (does(None), "must return a directive"), (does({}), "must return a directive"),
    (does("sleep"), "delayMs must be"), (does("sleep", delayMs=-1), "delayMs must be"),
    (does("sleep", delayMs=1e300), "delayMs must be"), (does("sleep", delayMs="1"), "delayMs must be"),
    (does("sleep", delayMs=None), "delayMs must be"), (does("sleep", delayMs=[]), "delayMs must be"),
    (does("transition"), "stepId must be"), (does("transition", stepId=""), "stepId must be"),
    (does("transition", stepId=7), "stepId must be"), (does("sleep", delayMs=0, stepId={}), "stepId must be"),
    (wait_for(None), "signal must be"), (wait_for(""), "signal must be"), (wait_for({}), "signal must be"),
    (wait_for("go", timeoutMs=-1), "timeoutMs must be"), (wait_for("go", timeoutMs="soon"), "timeoutMs must be"),
    (wait_for("go", timeoutMs=1e18), "timeoutMs must be"),
    (wait_for("go", onTimeout="explode"), "onTimeout must be"), (wait_for("go", onTimeout="step:"), "onTimeout must be"),
    (wait_for("go", onTimeout={}), "onTimeout must be"),
    (wait_for("chimp.cancel"), "signal must not begin"),
    (does("action"), "action must be"), (does("action", action={}), "action must be"),
    (does("complete", state=[]), "state must be a JSON object"), (does("fail", state="x"), "state must be a JSON object"),
])
def test_junk_fails_the_run_at_once(flows, junk, says):
    run = play(flows, does("transition", stepId="here", state={"kept": 1}), junk)
    error = run.failed()
    assert says in error["message"] and run.id in error["message"]
    assert error["step"] == "here" and run.state == {"kept": 1}
    assert len(run.log("play")) == 1, "it is not tried again"


def test_an_endless_loop_is_ended(flows):
    for again in (does("transition", stepId="again"), does("sleep", delayMs=0)):
        run = play(flows, again, workflow="endless")
        assert "more than 50 transitions" in run.failed()["message"]
        assert 50 <= len(calls(run)) <= 51


def test_a_handler_that_fails_twice(flows):
    run = play(flows, does("transition", stepId="here"), does("complete", fails=2)).completed()
    assert flows.database.rows("select attempts from chimp.workflow_events where id = %s order by seq limit 2",
                               run.id) == [(1,), (3,)]
    assert len(calls(run)) == 2, "what failed is rolled back"


def test_a_handler_that_fails_keeps_the_signal(flows):
    run = play(flows, wait_for("go", stepId="waited"), does("complete", fails=3), COMPLETE).at("waited", "waiting_signal")
    run.signal("go", 1)
    assert run.failed()["message"] == "not now"
    assert run.log("play")[1:] == []
    flows.database.rows("update chimp.workflow_run set input = jsonb_set(input, '{script,1}', '{\"directive\": \"complete\"}')"
                        " where external_id = %s", run.id)
    assert run.retry() is True
    run.completed()
    assert calls(run)[1:] == [call("waited", signal=got(1))]


def test_cancel_and_its_state(flows):
    run = play(flows, wait_for("go", stepId="waited", state={"s": 1}), COMPLETE).at("waited", "waiting_signal")
    assert run.cancel("enough") is True
    run.wait()
    assert (run.status, run.current_step, run.state) == ("cancelled", "waited", {"s": 1})
    assert run.error["message"] == "enough"
    refused("CH002", run.signal, "go")
