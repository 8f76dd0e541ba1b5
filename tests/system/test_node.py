"""chimpctl node: signals that reach the right process, and no other."""

import json
import re
import subprocess
import time

import pytest

from harness import procs
from harness.chimpd import chimpctl, configuration
from harness.settings import AS_ROOT, CHIMPCTL
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep(1.5);
	return null;
end $$;
"""


@pytest.fixture
def node(start, folder, orders_conf):
    return start(orders_conf, top=f'pid_file = "{folder}/chimpd.pid"')


def ctl(node, *args):
    return chimpctl("-c", node.conf, *args)


def count(node, pattern):
    return len(re.findall(pattern, node.text(), re.I))


@pytest.mark.parametrize("verb, logged", [("reload", "HUP|reload"), ("reopen-logs", "USR1")])
def test_a_signal_arrives(node, verb, logged):
    before = count(node, logged)
    done = ctl(node, "node", verb)
    assert (done.status, done.err) == (0, ""), done
    assert f"told chimpd, pid {node.pid}, to" in done.out
    until(lambda: count(node, logged) > before, "the log shows that it arrived")


def test_by_its_pid_no_configuration_is_needed(node):
    before = count(node, "USR1")
    done = chimpctl("--json", "node", "reopen-logs", "--pid", str(node.pid))
    assert done.status == 0, done
    assert json.loads(done.out) == {"pid": node.pid, "signal": "USR1", "ended": False}
    until(lambda: count(node, "USR1") > before, "the log shows that it arrived")


def test_stop_waits_for_the_end(node, figure):
    with Stopwatch() as watch:
        done = ctl(node, "node", "stop")
    assert done.status == 0, done
    assert re.search(rf"chimpd, pid {node.pid}, has ended after \d", done.out)
    assert not procs.alive(node.pid)
    assert node.wait(1) == 0
    figure("chimpctl node stop", watch.ms, "ms", 1000)


def test_stop_in_json(node):
    said = json.loads(ctl(node, "--json", "node", "stop").out)
    assert said.pop("took_ms") < 5000
    assert said == {"pid": node.pid, "signal": "TERM", "ended": True}
    assert node.wait(1) == 0


def test_a_graceful_stop_and_one_that_takes_too_long(start, app, database, folder):
    node = start(app('queue "q" { sql = "t.nap" }', SCHEMA), cron=0, subscriber=0,
                 stop_timeout="500ms", top=f'pid_file = "{folder}/chimpd.pid"')
    job = database.value("select chimp.enqueue('q', '{}')")
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "running",
          "the job runs")
    done = ctl(node, "node", "stop", "--graceful", "--timeout", "200ms")
    assert done.status == 1, done
    assert f"pid {node.pid}, still runs after 200 ms" in done.err
    assert done.out == ""
    assert node.wait(10) == 0
    assert database.value("select state from chimp.jobs where id = %s", job) == "done"


def test_stop_need_not_wait(node):
    assert ctl(node, "node", "stop", "--no-wait").status == 0
    assert node.wait(10) == 0


# --- nobody else is signalled -----------------------------------------------------------

@pytest.fixture
def bystander():
    process = subprocess.Popen(["sleep", "1000"])
    procs.known[process.pid] = "bystander"
    yield process
    assert process.poll() is None
    process.kill()
    process.wait()
    procs.known.pop(process.pid)


@pytest.fixture
def conf(folder):
    path = folder / "chimpd.conf"

    def make(**more):
        configuration(path, url="postgresql://x@h/d", listen=f"unix:{folder}/http", **more)
        return path
    return make


def fails(*args):
    done = chimpctl(*args)
    assert (done.status, done.out) == (1, ""), done
    return done.err


def test_a_stale_pid_file_kills_no_stranger(conf, folder, bystander):
    path = conf(top=f'pid_file = "{folder}/pid"')
    assert "there is no " in fails("-c", path, "node", "stop")
    (folder / "pid").write_text(f"{bystander.pid}\n")
    assert "nobody holds" in fails("-c", path, "node", "stop")


def test_a_pid_that_is_no_master_is_refused(node, bystander):
    said = fails("node", "stop", "--pid", str(bystander.pid))
    assert f'pid {bystander.pid} is "sleep", no master of chimpd' in said
    child = node.child("cron/0")
    assert 'is "chimpd: cron/0", no master' in fails("node", "stop", "--pid", str(child))
    time.sleep(0.2)
    assert node.child("cron/0") == child


def test_a_pid_that_nobody_has(bystander):
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert f"no process has the pid {gone.pid}" in fails(
        "node", "stop", "--pid", str(gone.pid))
    assert bystander.poll() is None


def test_a_configuration_without_pid_file(conf):
    said = fails("-c", conf(), "node", "reload")
    assert "sets no pid_file" in said
    assert "--pid N" in said


@pytest.mark.skipif(not AS_ROOT, reason="only root can be somebody else")
def test_somebody_else_may_not(node):
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         CHIMPCTL,
         "node", "stop", "--pid", str(node.pid)],
        capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 1
    assert f"cannot send a signal to chimpd, pid {node.pid}: Operation not permitted" in done.stderr
    assert "or as root" in done.stderr
    assert node.process.poll() is None


@pytest.mark.parametrize("args", [
    ["--pid", "x"], ["--pid", "0"], ["--pid", "-1"], ["--timeout", "3"], ["--timeout", "soon"]])
def test_bad_values_are_errors_of_usage(args):
    done = chimpctl("node", "stop", *args)
    assert (done.status, done.out) == (2, ""), done


def test_a_database_names_no_node():
    assert chimpctl("-d", "postgresql:///x", "node", "stop").status == 2


def test_the_signal_is_the_one_of_the_verb(node):
    """QUIT for a graceful stop: the log says which."""
    assert ctl(node, "node", "stop", "--graceful").status == 0
    assert "stopping when all running work has ended" in node.text()
    assert node.wait(1) == 0
