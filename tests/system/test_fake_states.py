"""Every row of the state tables in src/supervisor/states.c happens.

Each scenario drives a real master and names the rows that it is there for; a
row that no scenario names fails the test of the tables, and so does a scenario
in which its rows are not seen in the log.
"""

import re
import resource
import signal
import subprocess

import pytest

from harness.settings import AS_ROOT, SRCDIR, USER
from harness.wait import until


def tables():
    """The rows of both tables, as "master: running -> stopping"."""
    source = (SRCDIR / "src" / "supervisor" / "states.c").read_text()
    names = dict(re.findall(r'case (\w+):\n\t\treturn "([^"]+)";', source))
    rows = re.findall(r'\{ ((MASTER|SLOT)_\w+),\s+(\w+),\s+"', source)
    return {f"{what.lower()}: {names[a]} -> {names[b]}" for a, what, b in rows}


def seen(node):
    """The changes that the log has, of all slots and of the master."""
    slots = {f"fake/{i}" for i in range(10)}
    return ({f"master: {a} -> {b}" for a, b in node.states()} |
            {f"slot: {a} -> {b}" for name in slots for a, b in node.states(name)})


SCENARIOS = {}


def drives(*rows):
    """What follows is a scenario: it returns a node that has been stopped."""
    def register(scenario):
        SCENARIOS[scenario.__name__] = (set(rows), scenario)
        return scenario
    return register


def test_no_row_is_unreachable():
    named = set().union(*(rows for rows, _ in SCENARIOS.values()))
    assert len(named) >= 30
    assert named == tables()


@pytest.mark.parametrize("name", SCENARIOS)
def test_rows_of(start_fake, folder, name):
    rows, scenario = SCENARIOS[name]
    node = scenario(start_fake, folder)
    assert node.process.returncode is not None
    changes = seen(node)
    assert rows <= changes, f"not seen: {rows - changes}\n{node.text()}"
    assert changes <= tables()


def stopped(node, status=0):
    node.expected_status = status
    assert node.stop() == status
    return node


def state(node, name, wanted):
    until(lambda: node.states(name)[-1][1] == wanted, f"{name} is {wanted}", 20)


def last_forked(node, name):
    return int(re.search(r"pid (\d+)", node.lines(rf"{name} pid \d+ was forked")[-1])[1])


# --- a life ---

@drives("master: starting -> starting the database",
        "master: starting the database -> preparing the database",
        "master: preparing the database -> starting the processes",
        "master: starting the processes -> running",
        "master: running -> stopping",
        "master: stopping -> stopping the database",
        "master: stopping the database -> ended",
        "slot: empty -> starting",
        "slot: starting -> serving",
        "slot: serving -> draining",
        "slot: draining -> empty")
def start_and_stop(start_fake, _folder):
    return stopped(start_fake())


# --- stops before it runs ---

@drives("master: starting the database -> stopping")
def stop_while_postgresql_starts(start_fake, folder):
    node = start_fake(url=None, data_dir=folder / "data", wait=False)
    node.line("starting the database, was")
    return stopped(node)


@drives("master: preparing the database -> stopping")
def stop_while_the_database_is_awaited(start_fake, folder):
    node = start_fake(url=f"host={folder} dbname=none", wait=False)
    node.line("preparing the database, was")
    return stopped(node)


@drives("master: starting the processes -> stopping",
        "slot: starting -> draining")
def stop_while_processes_start(start_fake, _folder):
    node = start_fake(behaviour="never-ready", wait=False)
    state(node, "fake/1", "starting")
    return stopped(node)


# --- deaths ---

@drives("slot: serving -> waiting to restart",
        "slot: waiting to restart -> starting",
        "slot: starting -> waiting to restart",
        "slot: waiting to restart -> empty")
def crashes(start_fake, _folder):
    node = start_fake()
    node.birth("exit 1", index=0)
    node.tell(0, "exit 1")
    # Time enough to stop before the next.
    node.line(r"fake/0 .* restarting in 800 ms")
    return stopped(node)


@drives("slot: serving -> failed",
        "slot: starting -> failed",
        "slot: failed -> empty")
def refusals(start_fake, _folder):
    node = start_fake()
    node.tell(0, "exit 78")
    node.birth("exit 78", index=1)
    node.tell(1, "exit 1")
    state(node, "fake/0", "failed")
    state(node, "fake/1", "failed")
    return stopped(node)


@drives("slot: serving -> hung",
        "slot: starting -> hung",
        "slot: hung -> waiting to restart",
        "slot: hung -> failed")
def hangs(start_fake, _folder):
    node = start_fake(fakes=3, top='watchdog = "2s"')
    node.birth("@2 block", index=1)
    node.tell(0, "block")
    node.tell(1, "exit 1")
    node.tell(2, "on-abrt 78; block")
    until(lambda: ("hung", "waiting to restart") in node.states("fake/0"), "it was hung")
    until(lambda: ("starting", "hung") in node.states("fake/1"), "it hung at birth")
    state(node, "fake/2", "failed")
    return stopped(node)


# --- replacements ---

@drives("slot: draining -> hung",
        "slot: hung -> empty")
def one_that_does_not_drain(start_fake, _folder):
    node = start_fake(fakes=1, behaviour="@1 drain-never", keys="max_jobs = 10",
                      top='drain_timeout = "500ms"')
    node.tell(0, "work 10; on-drain deaf")
    until(lambda: ("hung", "empty") in node.states("fake/0"), "it is killed")
    return stopped(node)


@drives("slot: starting -> empty")
def a_successor_that_dies(start_fake, _folder):
    node = start_fake(fakes=1, keys="max_jobs = 10")
    old = node.child("fake/0")
    node.birth("exit 1")
    node.tell(0, "work 10")
    until(lambda: ("starting", "empty") in node.states("fake/0"), "the successor dies")
    assert node.alive(old)
    return stopped(node)


@drives("slot: serving -> empty")
def a_predecessor_that_dies(start_fake, _folder):
    node = start_fake(fakes=1, keys="max_jobs = 10")
    node.birth("never-ready")
    old = node.tell(0, "work 10")
    until(lambda: last_forked(node, "fake/0") != old, "the successor starts")
    node.tell(old, "exit 1")
    until(lambda: ("serving", "empty") in node.states("fake/0"), "the old one is gone")
    node.tell(last_forked(node, "fake/0"), "ready")
    state(node, "fake/0", "serving")
    return stopped(node)


def limit_processes(node, number):
    """Only a process of the same user may do that to another one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    soft = number or ("unlimited" if hard == resource.RLIM_INFINITY else str(hard))
    user = {"user": USER.pw_uid, "group": USER.pw_gid} if AS_ROOT else {}
    subprocess.run(["prlimit", "--pid", str(node.pid), f"--nproc={soft}:"], check=True, **user)


@drives("slot: empty -> waiting to restart",
        "slot: waiting to restart -> empty")
def a_successor_that_cannot_be_forked(start_fake, _folder):
    node = start_fake(fakes=1, keys="max_jobs = 10")
    limit_processes(node, "1")
    old = node.tell(0, "work 10")
    node.line("fake/0 cannot be started: Resource temporarily unavailable")
    node.line("serves on, since its successor did not start")
    limit_processes(node, "")
    node.wait_born(0, old)
    return stopped(node)


# --- reloads ---

@drives("master: running -> checking a new configuration",
        "master: checking a new configuration -> replacing the processes",
        "master: replacing the processes -> running")
def reload(start_fake, _folder):
    node = start_fake()
    node.send_signal(signal.SIGHUP)
    node.line("reloaded ")
    return stopped(node)


@drives("master: checking a new configuration -> running")
def reload_refused(start_fake, _folder):
    node = start_fake()
    node.conf.write_text("nonsense = 1\n")
    node.send_signal(signal.SIGHUP)
    node.line("the reload is refused")
    return stopped(node)


@drives("master: replacing the processes -> going back to the old configuration",
        "master: going back to the old configuration -> running")
def reload_reverted(start_fake, _folder):
    node = start_fake()
    node.birth("exit 1", index=1)
    node.send_signal(signal.SIGHUP)
    node.line("the old configuration is in effect again", 20)
    return stopped(node)


@drives("master: checking a new configuration -> stopping")
def stop_while_checking(start_fake, folder):
    node = start_fake()
    # It waits for a database that does not come.
    node.conf.write_text(re.sub('url = "[^"]*"', f'url = "host={folder} dbname=none"',
                                node.conf.read_text()))
    node.send_signal(signal.SIGHUP)
    node.line("checking a new configuration, was")
    return stopped(node)


@drives("master: replacing the processes -> stopping")
def stop_while_replacing(start_fake, _folder):
    node = start_fake(birth="@1 say first")
    node.birth("never-ready")
    node.send_signal(signal.SIGHUP)
    node.line("replacing the processes, was")
    state(node, "fake/0", "starting")
    return stopped(node)


@drives("master: going back to the old configuration -> stopping")
def stop_while_going_back(start_fake, _folder):
    node = start_fake()
    second = node.child("fake/1")
    node.birth("never-ready", index=1)
    node.send_signal(signal.SIGHUP)
    # fake/0 has the new configuration, and cannot go back.
    until(lambda: last_forked(node, "fake/1") != second, "the other's successor starts", 20)
    node.birth("never-ready", index=0)
    node.tell(last_forked(node, "fake/1"), "exit 1")
    node.line("going back to the old configuration, was")
    state(node, "fake/0", "starting")
    return stopped(node)
