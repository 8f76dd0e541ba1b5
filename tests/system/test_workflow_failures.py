"""Runs that fail, are compensated, cancelled and retried: G32."""

import threading

import psycopg2
import pytest

from harness.wait import Stopwatch, until
from harness.workflow import ACTIONS, SCHEMA, Run, Workflows, action, child, goto, refused, signal, sleep, workflow

SAY = """
create function t.say(input jsonb) returns jsonb language plpgsql as $$
begin
	perform t.log(input ->> 'say', input);
	case input ->> 'say'
		when 'snooze' then
			if (select clock_timestamp() < r.created_at + interval '100 ms' from chimp.workflow_run r
				where r.external_id = $1 ->> 'tag') then
				perform chimp.snooze('50 ms');
			end if;
			return '{}';
		when 'fail' then perform chimp.fail('no hope');
		when 'cancel' then perform chimp.cancel();
		when 'wait' then
			while not exists (select from t.closed c where c.gate = $1 ->> 'tag') loop
				perform pg_sleep(0.01);
			end loop;
	end case;
	return null;
end $$;
"""
DEFINED = []


def define(*args, **more):
    """A workflow of this file, for the tests below it; its name."""
    DEFINED.append(workflow(*args, **more))
    return DEFINED[-1]["name"]


@pytest.fixture(scope="module")
def flows(cluster):
    made = Workflows(cluster.create_database(), *DEFINED, schema=SCHEMA + SAY, actions=(*ACTIONS, "say"))
    yield made
    made.finish()


# --- attempts ---

ONCE = define("once", action("work", "pass", result="r"), action("after"))
OFTEN = define("often", action("work", "pass", max_attempts=4, retry_delay_ms=50, retry_delay_max_ms=100,
                               backoff="linear"), action("after", "pass", input={"tag": "$.input.tag"}))


def test_g32_the_last_attempt_fails_the_run(flows):
    run = flows.start(ONCE, {"fails": 2})
    error = run.failed()
    assert (error["message"], error["step"], error["sqlstate"]) == ("fails 2 times", "work", "P0001")
    assert run.current_step == "work" and run.results == {}
    assert run.get()["lastError"] == error
    assert run.log("pass") == run.log() == [], "what a failed attempt wrote is rolled back"
    assert flows.database.rows(
        "select what, attempts, error ->> 'message' from chimp.workflow_events where id = %s and step = 'work'"
        " order by seq limit 1", run.id) == [("step failed", 2, "fails 2 times")]


def test_g32_a_step_has_attempts_of_its_own(flows):
    run = flows.run(OFTEN, {"fails": 3})
    assert flows.database.rows(
        "select step, what, attempts from chimp.workflow_events where id = %s order by seq", run.id) == [
            ("work", "action", 4), ("after", "action", 1), (None, "completed", 1)]
    assert flows.database.value("select attempt from t.log where tag = %s order by n limit 1", run.id) == 4
    errors = flows.database.rows(
        "select e.failed_at from chimp.job_error e join chimp.workflow_events v on v.job_id = e.job_id"
        " where v.id = %s and v.step = 'work' order by e.attempt", run.id)
    waits = [(b - a).total_seconds() for (a,), (b,) in zip(errors, errors[1:])]
    assert len(waits) == 2 and min(waits) >= 0.04 and sum(waits) >= 0.1, "by its own policy"


def test_g32_the_step_after_it_has_those_of_the_workflow(flows):
    run = flows.start_closed(ONCE)
    run.failed()
    assert flows.database.value("select max(attempts) from chimp.workflow_events where id = %s", run.id) == 2


# --- states ---

NO_OBJECT = define("no_object", action("number", state="t.number"), action("after"))
NO_INITIAL = define("no_initial", action("first"), initial="t.number")
BIG = define("big", action("before", result="kept"), action("big", "big", result="much"), action("after"))
BIG_INITIAL = define("big_initial", action("first", result="r"), initial="t.big")


@pytest.mark.parametrize("name", [NO_OBJECT, NO_INITIAL])
def test_a_state_is_an_object(flows, name):
    run = flows.start(name)
    assert "its state must be a JSON object, not number" in run.failed()["message"]
    assert run.state == {} and run.log() == []


def test_what_is_too_large_fails_the_run_and_is_retried_when_it_is_not(flows):
    run = flows.start_closed(BIG)
    error = run.failed()
    assert "bytes of state" in error["message"] and "1048576 are allowed" in error["message"]
    assert error["step"] == "big" and "keep large things in a table" in error["hint"]
    assert run.results == {"kept": {"tag": run.id}}
    assert run.history()[0] == ("before", "action")
    flows.open(run)
    assert run.retry() is True
    run.completed()
    assert run.results == {"kept": {"tag": run.id}, "much": {"big": "no"}}
    assert run.error is None


def test_an_initial_state_that_is_too_large(flows):
    """Which is made again when the run is retried: it has not begun."""
    run = flows.start_closed(BIG_INITIAL)
    assert "bytes of state" in run.failed()["message"]
    assert run.state == {} and run.log() == []
    flows.open(run)
    assert run.retry() is True
    run.completed()
    assert run.state == {"big": "no"} and run.results == {"r": {"tag": run.id}}


LARGE_SIGNAL = define("large_signal", signal("wait", "go", result="got", timeout_ms=3600000), action("after"))


def test_a_signal_that_is_too_large_for_the_results(flows):
    run = flows.start(LARGE_SIGNAL).at("wait", "waiting_signal")
    run.signal("go", "x" * 2000000)
    assert "bytes of state" in run.failed()["message"]
    assert run.results == {} and run.current_step == "wait"


# --- retries of runs ---

FIRST = define("first", action("work", "pass"), action("after", input={"tag": "$.input.tag", "s": "$.state"}),
               initial="t.initial")
WHEN_FIRST = define("when_first", action("work", "pass", when="$.input.tag != null"),
                    action("after", input={"tag": "$.input.tag", "s": "$.state"}), initial="t.initial")
BROKEN = define("broken", signal("wait", "go", when="$.input.wait == true"), action("after"), initial="t.pass")


@pytest.mark.parametrize("name", [FIRST, WHEN_FIRST])
def test_a_failed_first_step_is_retried_with_the_initial_state(flows, name):
    run = flows.start_closed(name, {"count": 3})
    assert "is closed" in run.failed()["message"]
    assert run.retry() is True
    run.failed()
    flows.open(run)
    assert run.retry() is True
    run.completed()
    assert run.log()[0]["s"] == {"count": 3}


def test_a_run_that_could_not_begin_is_retried(flows):
    run = flows.start_closed(BROKEN, {"wait": True})
    assert "is closed" in run.failed()["message"] and run.current_step is None
    flows.open(run)
    assert run.retry() is True
    run.at("wait", "waiting_signal").signal("go")
    run.completed()
    assert run.state == {"passed": True} and len(run.log()) == 1


MIDDLE = define("middle", action("before", result="b"), action("work", "pass", result="w"), action("after"))


def test_a_failed_step_is_retried_with_all_its_attempts(flows):
    run = flows.start_closed(MIDDLE, {"fails": 1})
    assert "is closed" in run.failed()["message"]
    assert run.get()["status"] == "failed" and run.get()["results"].keys() == {"b"}
    flows.open(run)
    assert run.retry() is True
    run.completed()
    assert run.retry() is False
    assert [h for h in run.history() if h[0] != "x"] == [
        ("before", "action"), ("work", "step failed"), ("work", "failed"), ("work", "retried"), ("work", "action"),
        ("after", "action"), (None, "completed")]
    assert len(run.log()) == 2


TIMED = define("timed", signal("wait", "go", timeout_ms=100, on_timeout="fail", result="w"), action("after"))


def test_a_wait_that_has_timed_out_is_retried(flows):
    run = flows.start(TIMED)
    run.failed()
    refused("CH002", run.signal, "go")
    assert run.retry() is True
    assert "no signal" in run.failed()["message"], "with its time-out"
    assert run.retry() is True
    run.signal("go", 1)
    run.completed()
    assert run.results == {"w": 1}


def test_only_failed_runs_are_retried(flows):
    run = flows.start(LARGE_SIGNAL).at("wait", "waiting_signal")
    assert run.retry() is False
    run.cancel()
    assert run.wait().status == "cancelled"
    assert run.retry() is False


# --- compensation ---

UNDO = define("undo", action("a", input={"tag": "$.input.tag", "name": "a"}, compensate="undo"),
              action("no"),
              action("b", input={"tag": "$.input.tag", "name": "$.input.b"}, compensate="undo", result="b"),
              action("c", input={"tag": "$.input.tag", "name": "c", "return": 7}, compensate="undo",
                     compensate_input={"tag": "$.input.tag", "was": "$.result", "of": "$.stepInput.name",
                                       "b": "$.results.b.name"}),
              action("work", "pass", compensate="undo"),
              signal("wait", "go", when="$.input.wait == true"),
              sleep("rest", 3600000, when="$.input.rest == true"),
              child("sub", "once", input={"tag": "$.input.sub", "sleep": "$.input.long"}, when="$.input.sub != null"),
              action("last", "pass", input={"tag": "never", "fails": 9}))
COMPENSATED = [("c", "compensated"), ("b", "compensated"), ("a", "compensated")]


def undone(run):
    """Inputs of compensations, without the tag."""
    return [{k: v for k, v in i.items() if k != "tag"} for i in run.log("undo")]


def undos(run, *more):
    return [*more, {"was": 7, "of": "c", "b": "b"},
            {"input": {"tag": run.id, "name": "b"}, "result": {"tag": run.id, "name": "b"}},
            {"input": {"tag": run.id, "name": "a"}, "result": {"tag": run.id, "name": "a"}}]


def test_g32_completed_steps_are_compensated_the_latest_first(flows):
    run = flows.start(UNDO, {"b": "b", "fails": 2})
    error = run.failed()
    assert error["message"] == "fails 2 times" and error["step"] == run.current_step == "work"
    assert undone(run) == undos(run)
    assert run.history() == [("a", "action"), ("no", "action"), ("b", "action"), ("c", "action"),
                             ("work", "step failed"), *COMPENSATED, ("work", "failed")]


def test_g32_a_compensation_that_fails_is_said_and_the_others_are_made(flows):
    run = flows.start(UNDO, {"b": "stuck", "fails": 2})
    error = run.failed()
    assert error["message"] == "fails 2 times"
    assert (error["compensation"]["message"], error["compensation"]["step"]) == ("cannot undo", "b")
    assert [name for name, what in run.history() if what == "compensated"] == ["c", "a"]
    assert ("b", "compensation failed") in run.history()
    assert flows.database.value("select attempts from chimp.workflow_events where id = %s"
                                " and what = 'compensation failed'", run.id) == 2


LOOP = define("loop", action("add", input={"n": "$.state.count", "tag": "$.input.tag"}, state="t.count_up", compensate="undo"),
              goto("more", "add", when="$.state.count < 3"), action("last", "pass"), initial="t.initial")


def test_g32_each_round_of_a_loop_is_compensated(flows):
    run = flows.start_closed(LOOP)
    run.failed()
    assert [i["input"]["n"] for i in run.log("undo")] == [2, 1, 0]


def test_what_has_been_compensated_cannot_be_retried(flows):
    run = flows.start(UNDO, {"b": "b", "fails": 2})
    run.failed()
    assert "have been compensated" in refused("CH003", run.retry).message_primary
    assert run.status == "failed"


# --- cancel ---

def test_g32_cancel_before_it_begins(flows):
    flows.database.rows("select chimp.pause('workflow:first')")
    run = flows.start(FIRST)
    assert run.cancel() is True
    flows.database.rows("select chimp.resume('workflow:first')")
    assert run.wait().status == "cancelled"
    assert run.log("pass") == run.log() == []


def test_g32_cancel_while_it_waits(flows):
    run = flows.start(UNDO, {"b": "b", "wait": True}).at("wait", "waiting_signal")
    assert run.cancel("not wanted") is True
    run.wait()
    assert (run.status, run.error["message"], run.waits_for) == ("cancelled", "not wanted", None)
    assert undone(run)[1:] == undos(run)
    assert run.cancel() is False
    assert run.history()[5:] == [("wait", "cancelled"), ("work", "compensated"), *COMPENSATED, ("wait", "cancelled")]


def test_g32_cancel_while_it_sleeps(flows):
    run = flows.start(UNDO, {"b": "b", "rest": True}).at("rest", "sleeping")
    timer = run.job()
    assert run.cancel() is True
    run.wait()
    assert (run.status, run.error["message"], run.wake_at) == ("cancelled", "cancelled", None)
    assert undone(run)[1:] == undos(run)
    assert flows.database.value("select state from chimp.jobs where id = %s", timer) is None


def test_g32_cancel_while_a_child_runs(flows):
    run = flows.start(UNDO, {"b": "b", "sub": "sub", "long": 0.5}).at("sub", "waiting_signal")
    assert run.cancel() is True
    run.wait()
    assert run.status == "cancelled" and undone(run)[1:] == undos(run)
    sub = Run(flows.database, flows.database.value("select id from chimp.workflows where parent = %s", run.id))
    assert sub.wait().error["message"] == "its parent was cancelled"
    assert sub.status == "cancelled"


def test_g32_cancel_while_a_step_runs(flows):
    """At the next step: what runs is completed, and compensated."""
    run = flows.start(UNDO, {"b": "b", "sleep": 0.5}).at("work", "running")
    running(flows, run)
    assert [run.cancel(), run.cancel()] == [True, False]
    run.wait()
    assert run.status == "cancelled"
    assert [name for name, what in run.history() if what == "compensated"] == ["work", "c", "b", "a"]


def running(flows, run):
    """The job of its step, when that has been begun."""
    return until(lambda: flows.database.value("select id from chimp.jobs where id = %s and state = 'running'",
                                              run.job()), "its job runs")


def test_an_operator_cancels_the_job_of_a_step(flows):
    run = flows.start(UNDO, {"b": "b", "sleep": 30}).at("work", "running")
    job = running(flows, run)
    with Stopwatch() as watch:
        assert flows.database.value("select chimp.cancel(%s)", job) is True
    error = run.failed()
    assert watch.ms < 5000, "it does not wait for the handler"
    assert (error["message"], error["step"]) == ("its job was cancelled", "work")
    assert undone(run) == undos(run)


@pytest.mark.parametrize("name,status", [("timed_long", "waiting_signal"), ("rest_long", "sleeping")])
def test_an_operator_cancels_the_job_of_a_wait(flows, name, status):
    run = flows.start(name)
    run.wait(status)
    assert flows.database.value("select chimp.cancel(%s)", run.job()) is True
    assert run.failed()["message"] == "its job was cancelled"
    assert run.retry() is True
    run.wait(status)
    run.cancel()
    run.wait()


define("timed_long", signal("wait", "go", timeout_ms=3600000))
define("rest_long", sleep("wait", 3600000))


def test_an_operator_cancels_the_job_of_a_signal(flows):
    """The signal is there: the next job finds it."""
    flows.database.rows("select chimp.pause('workflow:timed_long')")
    run = flows.start("timed_long")
    run.signal("go", 1)
    flows.database.rows("select chimp.cancel(j.id) from chimp.jobs j where j.queue = 'workflow:timed_long'"
                        " and j.state = 'ready' and j.payload ? 'signal'")
    flows.database.rows("select chimp.resume('workflow:timed_long')")
    run.completed()


# --- what handlers say, and how they end ---

SAYS = define("says", action("a", "say"), action("b"), max_attempts=3)


def test_a_step_that_snoozes(flows):
    run = flows.run(SAYS, {"say": "snooze"})
    assert run.history()[0] == ("a", "action")
    assert len(run.log("snooze")) == 1, "what it has written before is rolled back"


@pytest.mark.parametrize("says,message", [("fail", "no hope"), ("cancel", "cancelled by its handler")])
def test_a_step_that_gives_up(flows, says, message):
    run = flows.start(SAYS, {"say": says})
    assert run.failed()["message"] == message
    assert flows.database.value("select max(attempts) from chimp.workflow_events where id = %s", run.id) == 1


def test_a_step_whose_worker_dies_is_run_again(flows):
    run = flows.start(SAYS, {"say": "wait"})
    running(flows, run)
    pid = flows.daemon.kill("worker/default/0")
    flows.database.rows("insert into t.closed values (%s)", run.id)
    flows.daemon.wait_replaced("worker/default/0", pid)
    run.completed()
    assert len(run.log("wait")) == 1 and len(run.log()) == 1


def test_a_retry_is_not_cancelled_by_what_came_before_it(flows):
    run = flows.start("timed_long").at("wait", "waiting_signal")
    timer = run.job()
    flows.database.rows("select chimp.pause('workflow:timed_long')")
    assert run.cancel() is True
    assert flows.database.value("select chimp.cancel(%s)", timer) is True
    assert run.failed()["message"] == "its job was cancelled"
    flows.database.rows("select chimp.resume('workflow:timed_long')")
    assert run.retry() is True
    run.at("wait", "waiting_signal").signal("go")
    run.completed()
    other = flows.start("timed_long").at("wait", "waiting_signal")
    assert other.cancel() is True


def test_signals_to_a_run_that_is_busy_cost_little(flows):
    """Their jobs look again, ever more seldom, while its step runs."""
    run = flows.start(UNDO, {"b": "b", "sleep": 1.5, "wait": True}).at("work", "running")
    running(flows, run)
    for _ in range(10):
        run.signal("go")
    before = flows.database.value("select last_value from chimp.token")
    flows.database.rows("select pg_sleep(1)")
    assert flows.database.value("select last_value from chimp.token") - before < 150
    run.failed()
    assert ("wait", "signal") in run.history()


# --- many hands ---

RACE = define("race", signal("wait", "go", timeout_ms=100, on_timeout="continue", result="r"), action("end"))


def test_g30_a_signal_or_a_time_out_but_not_both(flows):
    for n in range(8):
        run = flows.start(RACE).wait("waiting_signal", "completed")
        try:
            flows.database.rows("select pg_sleep(extract(epoch from wake_at - clock_timestamp()) + %s)"
                                " from chimp.workflows where id = %s", (n - 4) / 1000, run.id)
            run.signal("go", 1)
        except psycopg2.Error as e:
            assert e.pgcode == "CH002", e  # it has ended
        run.completed()
        assert [what for step, what in run.history() if step == "wait"] in (["signal"], ["timed out"])
        assert len(run.log()) == 1


def test_many_hands_on_one_run(flows):
    """Signals, cancels and retries at once: it ends once, and nobody hangs."""
    errors = []

    def hand(run, call):
        connection = flows.database.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(call, (run.id,))
        except psycopg2.Error as e:
            if e.pgcode != "CH002":  # has ended
                errors.append(e)
        finally:
            connection.close()

    for _ in range(5):
        run = flows.start(UNDO, {"b": "b", "wait": True})
        hands = [threading.Thread(target=hand, args=(run, call)) for call in (
            "select chimp.workflow_signal(%s, 'go')", "select chimp.workflow_cancel(%s)",
            "select chimp.workflow_signal(%s, 'go')", "select chimp.workflow_retry(%s)") * 2]
        for thread in hands:
            thread.start()
        for thread in hands:
            thread.join()
        run.wait()
        done = [n for n, w in run.history() if w == "action" and n in ("a", "b", "c", "work")]
        assert [n for n, w in run.history() if w == "compensated"] == done[::-1]
        ends = [w for n, w in run.history() if w in ("failed", "completed")]
        assert len(ends) == (run.status == "failed")
    assert not errors
