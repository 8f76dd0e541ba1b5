"""G37: a process without a heartbeat is aborted, killed, replaced."""

import re
import signal
import time

import pytest

from harness import procs
from harness.wait import Stopwatch, until

WATCHDOG = 'watchdog = "2s"'

# How it hangs: the orders, and what it dies of.
HANGS = {
    "spins": ("spin", "killed by signal 6"),
    "blocks": ("block", "killed by signal 6"),
    "stops": (f"die {signal.SIGSTOP.value}", "killed by signal 6"),
    "ignores ABRT, spins": ("on-abrt ignore; spin", "killed by signal 9"),
    "ignores ABRT, blocks": ("on-abrt ignore; block", "killed by signal 9"),
    "exits on ABRT": ("on-abrt 3; block", "exited with status 3"),
    # It closed the pipe: alive, but nobody hears it.
    "closes its pipe": ("close", "killed by signal 6"),
    # What it says is no heartbeat.
    "sends garbage": ("flood garbage", "killed by signal 6"),
    "sends another's heartbeats": ("flood slot", "killed by signal 6"),
    "sends old heartbeats": ("flood generation", "killed by signal 6"),
}


@pytest.mark.parametrize("hang", HANGS)
def test_g37_one_that_hangs_is_replaced(start_fake, figure, hang):
    orders, end = HANGS[hang]
    node = start_fake(fakes=2, behaviour="say asking the oracle", top=WATCHDOG)
    other = node.child("fake/1")
    with Stopwatch() as watch:
        pid = node.tell(0, orders)
        hangs = node.line(rf"fake/0 pid {pid} hangs")
        obituary = node.obituary(pid)
        node.line(rf"fake/0 pid (?!{pid} )\d+ is ready")
    assert re.search(r"no heartbeat for 2\.0 s.*it last said: asking the oracle", hangs), hangs
    assert end in obituary
    goal = 3200 if "signal 9" in end else 2200  # a second from ABRT to KILL
    figure(f"watchdog = 2s, a process that {hang}: until its successor is ready",
           watch.ms, "ms", goal)
    # The last heartbeat was up to a second earlier.
    assert watch.ms >= 900
    assert node.child("fake/1") == other
    assert ("serving", "hung") in node.states("fake/0")
    assert not procs.alive(pid)


def test_one_that_says_78_when_aborted_is_not_retried(start_fake):
    node = start_fake(fakes=2, top=WATCHDOG)
    pid = node.tell(0, "on-abrt 78; block")
    assert re.search(r"exited with status 78 .*not be restarted", node.obituary(pid))
    assert node.states("fake/0")[-2:] == [("serving", "hung"), ("hung", "failed")]
    time.sleep(0.5)
    assert list(node.children()) == ["fake/1"]


def test_one_that_hangs_again_and_again_is_delayed(start_fake):
    node = start_fake(fakes=2, birth="", top=WATCHDOG)
    node.birth("block", index=0)
    node.tell(0, "block")
    node.line(r"fake/0 .*restarting in 100 ms", timeout=20)
    assert ("starting", "hung") in node.states("fake/0")
    node.birth("", index=0)
    until(lambda: node.states("fake/0")[-1][1] == "serving", "it serves at last", timeout=20)


def test_one_that_works_hard_and_beats_is_left_alone(start_fake):
    # Heartbeats of one a second, and time for a machine that is busy.
    node = start_fake(fakes=2, top='watchdog = "5s"')
    before = node.children()
    node.tell(0, "busy 1; work 1000000")
    node.tell(1, "deaf")
    time.sleep(11)
    assert node.children() == before
    assert not node.lines("hangs")


def test_a_master_that_was_stopped_blames_nobody(start_fake):
    node = start_fake(fakes=2, top=WATCHDOG)
    before = node.children()
    node.send_signal(signal.SIGSTOP)
    time.sleep(6)
    node.send_signal(signal.SIGCONT)
    time.sleep(3)
    assert node.children() == before
    assert not node.lines("hangs")
