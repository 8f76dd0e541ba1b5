"""The fake role itself: that each order does what the other tests take it for."""

import signal
import time

import pytest

from harness import procs
from harness.wait import until


def test_orders_at_birth_and_while_it_runs(start_fake):
    node = start_fake(behaviour="say by the configuration", birth="@2 say born again")
    pid = node.tell(0, "exit 3")
    assert "exited with status 3 after" in node.obituary(pid)
    again = node.wait_born(0, pid)
    node.tell(again, "work 5; busy 1")
    assert node.alive(again)


def test_an_order_that_is_none_is_an_error(start_fake):
    node = start_fake(behaviour="dance", wait=False, fakes=1)
    node.expected_status = 1
    assert node.wait(10) == 1
    assert '"dance" is no order for a fake process' in node.text()


@pytest.mark.parametrize("orders, end", [
    (f"die {signal.SIGSEGV.value}", "killed by signal 11"),
    (f"die {signal.SIGABRT.value}", "killed by signal 6"),
    ("exit 0", "exited with status 0"),
    ("exit 1", "exited with status 1"),
])
def test_it_ends_as_told(start_fake, orders, end):
    node = start_fake(fakes=1)
    pid = node.tell(0, orders)
    assert end in node.obituary(pid)


def test_readiness_can_be_late(start_fake):
    node = start_fake(fakes=1, behaviour="ready-after 700", wait=False)
    begun = time.monotonic()
    node.wait_ready()
    assert time.monotonic() - begun >= 0.7
    assert node.stop() == 0


def test_one_that_is_never_ready_can_be_stopped(start_fake):
    node = start_fake(fakes=1, behaviour="never-ready", wait=False)
    node.child("fake/0")
    time.sleep(0.5)
    assert node.stop() == 0


def test_a_drain_can_take_its_time(start_fake):
    node = start_fake(fakes=1, behaviour="drain-for 800")
    begun = time.monotonic()
    assert node.stop() == 0
    assert 0.8 <= time.monotonic() - begun < 20


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def test_it_leaks_as_much_as_told(start_fake):
    node = start_fake(fakes=1)
    pid = node.child("fake/0")
    before = private_kib(pid)
    node.tell(0, "leak 32")
    until(lambda: private_kib(pid) >= before + 32 * 1024, "32 MiB are taken")


@pytest.mark.parametrize("kind", ["plain", "setsid", "double"])
def test_it_has_grandchildren(start_fake, kind):
    node = start_fake(fakes=1)
    parent = node.tell(0, f"fork {kind}")
    [(noted, pid)] = until(node.grandchildren, "the grandchild is there")
    assert noted == kind and procs.alive(pid)
    assert pid in procs.descendants(parent)
    procs.end([pid])
    node.stop()
