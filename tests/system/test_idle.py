"""What a master costs that has nothing to do."""

import pathlib
import re
import time

import pytest

from harness.settings import PATIENCE, long_or_short

PRIVATE_MAX_KIB = 3 * 1024


def kib(pid, *kinds):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(re.search(rf"\n{kind}:\s+(\d+) kB", text).group(1)) for kind in kinds)


def private_kib(pid):
    """Its own pages, those included that its children share until they write."""
    return kib(pid, "Private_Clean", "Anonymous")


def allocated_kib(pid):
    """What it has written; a file's page is its own or not as others come and go."""
    return kib(pid, "Anonymous")


def wakeups(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", text).group(1))


@pytest.mark.soak
def test_an_idle_master_is_small_and_sleeps(start, orders_conf, record_property):
    daemon = start(orders_conf, processes=2)
    children = len(daemon.children())
    seconds = long_or_short(60, 5)
    time.sleep(1)
    before, begun = wakeups(daemon.pid), time.monotonic()
    time.sleep(seconds)
    per_child = (wakeups(daemon.pid) - before) / (time.monotonic() - begun) / children
    private = private_kib(daemon.pid)
    record_property("figure", f"idle master of {children} children: {private} KiB private "
                    f"(goal {PRIVATE_MAX_KIB}), {per_child:.2f} wake-ups per child and second")
    # A heartbeat wakes it, and nothing else does.
    assert 0.5 <= per_child <= 3
    # The sanitizers keep books of their own.
    assert private < PRIVATE_MAX_KIB or PATIENCE > 1


@pytest.mark.soak
def test_a_master_does_not_grow(start, orders_conf, record_property):
    """Restarts and reloads leave nothing behind in it."""
    daemon = start(orders_conf)
    rounds = long_or_short(200, 10)

    def reload(n):
        daemon.send_signal(1)
        end = time.monotonic() + 30 * PATIENCE
        while daemon.text().count(" reloaded") < n:
            assert time.monotonic() < end, daemon.text()
            time.sleep(0.02)

    for n in range(1, 6):
        reload(n)
    before = allocated_kib(daemon.pid)
    for n in range(6, 6 + rounds):
        reload(n)
    grown = allocated_kib(daemon.pid) - before
    record_property("figure", f"the master after {rounds} reloads: {grown} KiB more")
    assert grown < 512 or PATIENCE > 1
