"""G35: a process that ends is replaced, and the log has its obituary."""

import re
import signal
import time

import pytest

from harness import procs
from harness.wait import Stopwatch, until

SEGV, ABRT, KILL, TERM = (int(n) for n in (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGTERM))


# What ends it; how the log calls that.
ENDS = {
    "segv": (f"die {SEGV}", r"killed by signal 11 \(Segmentation fault\)"),
    "abrt": (f"die {ABRT}", r"killed by signal 6 \(Aborted\)"),
    "kill": (f"die {KILL}", r"killed by signal 9 \(Killed\)"),
    "exit 0": ("exit 0", "exited with status 0"),
    "exit 1": ("exit 1", "exited with status 1"),
    "exit 255": ("exit 255", "exited with status 255"),
}


@pytest.mark.parametrize("end", ENDS)
def test_one_that_ends_is_replaced_and_remembered(start_fake, figure, end):
    orders, words = ENDS[end]
    node = start_fake(fakes=2, behaviour="say counting sheep")
    other = node.child("fake/1")
    with Stopwatch() as watch:
        pid = node.tell(0, orders)
        obituary = node.obituary(pid)
        node.line(r"fake/0 pid (?!%d)\d+ is ready" % pid)
    figure(f"end of a process ({end}) until its successor is ready", watch.ms, "ms", 100)
    # Role, slot, pid, cause in words, age, what comes next, last words.
    last = "" if end == "exit 0" else "; it last said: counting sheep"
    assert re.search(
        rf"fake/0 pid {pid} {words}.* after [\d.]+ (ms|s), restarting at once{last}$",
        obituary), obituary
    assert node.child("fake/1") == other


def delays(node, index):
    """What the obituaries of a slot say of the delay, in milliseconds."""
    found = []
    for line in node.lines(rf"fake/{index} pid \d+ (exited|killed)"):
        after = re.search(r"restarting (at once|in (\d+) ms|in ([\d.]+) s)", line)
        assert after, line
        found.append(int(after[2] or 0) or int(float(after[3] or 0) * 1000))
    return found


def test_g35_delays_double_per_slot_up_to_the_maximum(start_fake):
    node = start_fake(fakes=3, top='restart_delay_max = "400ms"')
    others = [node.child("fake/1"), node.child("fake/2")]
    node.birth("exit 1", index=0)
    begun = time.monotonic()
    node.tell(0, "exit 1")
    expected = [0, 100, 200, 400, 400, 400]
    until(lambda: len(delays(node, 0)) >= len(expected), "it keeps dying", timeout=20)
    assert time.monotonic() - begun >= sum(expected[:-1]) / 1000
    assert delays(node, 0)[:len(expected)] == expected
    # Another slot's first death is still its first.
    node.tell(1, "exit 1")
    until(lambda: delays(node, 1), "the other one's obituary")
    assert delays(node, 1) == [0]
    assert node.child("fake/2") == others[1]
    node.birth("", index=0)
    until(lambda: node.states("fake/0")[-1][1] == "serving", "it serves at last", timeout=20)
    assert procs.alive(others[1])


def test_78_is_not_retried_and_ends_nobody_else(start_fake):
    node = start_fake(fakes=2)
    other = node.child("fake/1")
    pid = node.tell(0, "exit 78")
    assert re.search(r"exited with status 78 .*not be restarted", node.obituary(pid))
    time.sleep(1)
    assert node.children() == {"fake/1": other}
    assert node.states("fake/0")[-1] == ("serving", "failed")
    # It is no crash: the node stops as ever.
    assert node.stop() == 0


def test_78_at_a_later_birth_is_not_retried(start_fake):
    node = start_fake(fakes=2, birth="@2 exit 78")
    other = node.child("fake/1")
    node.tell(0, "exit 1")
    node.line(r"fake/0 .* status 78 .*not be restarted")
    time.sleep(0.5)
    assert node.children() == {"fake/1": other}


def test_all_at_once_are_replaced(start_fake, figure):
    node = start_fake(fakes=8)
    before = node.children()
    node.birth("")
    with Stopwatch() as watch:
        for pid in before.values():
            node.order(pid, f"die {SEGV}")
        until(lambda: len([s for i in range(8) for s in node.states(f"fake/{i}")
                           if s == ("starting", "serving")]) == 16, "all serve again")
    figure("end of all of 8 processes until all serve again", watch.ms, "ms", 300)
    after = node.children()
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
