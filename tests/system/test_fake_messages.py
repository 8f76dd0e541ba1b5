"""The master trusts no child: what it says wrongly is ignored."""

import os
import signal
import time

import pytest

from harness.wait import Stopwatch, until

WRONG = ["garbage", "short", "long", "version", "type", "order", "slot", "generation",
         "old-ready"]


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_messages_are_ignored_and_mentioned_once(start_fake, kind):
    node = start_fake(fakes=2)
    before = node.children()
    node.tell(0, f"send {kind} 100; say well again")
    node.line("fake/0 pid .* message that is not understood")
    time.sleep(0.3)
    assert len(node.lines("not understood")) == 1
    assert node.children() == before
    assert node.states("fake/0")[-1] == ("starting", "serving")
    assert node.states("fake/1")[-1] == ("starting", "serving")


def test_ready_said_often_is_ready_once(start_fake):
    node = start_fake(fakes=1)
    before = node.children()
    node.tell(0, "send ready 50")
    time.sleep(0.3)
    assert len(node.lines("fake/0 pid .* is ready after")) == 1
    assert node.states("fake/0")[-1] == ("starting", "serving")
    assert node.children() == before


def test_the_last_process_cannot_say_ready_for_the_next(start_fake):
    """A message that was under way when the slot got another process."""
    node = start_fake(fakes=2, birth="@2 never-ready; @2 send old-ready 3")
    node.tell(0, "exit 1")
    node.line("fake/0 pid .* message that is not understood")
    time.sleep(0.3)
    assert node.states("fake/0")[-1][1] == "starting"
    node.tell(0, "ready")
    until(lambda: node.states("fake/0")[-1][1] == "serving", "now it serves")


def test_ready_while_draining_changes_nothing(start_fake):
    node = start_fake(fakes=1, behaviour="on-drain send ready 5; drain-for 500")
    assert node.stop() == 0
    assert node.states("fake/0")[-2:] == [("serving", "draining"), ("draining", "empty")]


def test_the_largest_numbers_and_texts_do_no_harm(start_fake):
    node = start_fake(fakes=1)
    pid = node.tell(0, "send huge 10; exit 1")
    assert "x" * 100 in node.obituary(pid)
    node.wait_born(0, pid)


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


@pytest.mark.parametrize("kind", ["valid", "garbage", "short"])
def test_a_flood_starves_nobody_and_takes_no_memory(start_fake, figure, kind):
    node = start_fake(fakes=3, top='watchdog = "2s"', level="info", stop_timeout="1s")
    others = {n: p for n, p in node.children().items() if n != "fake/0"}
    before = private_kib(node.pid)
    flooder = node.child("fake/0")
    node.tell(0, f"flood {kind}")
    time.sleep(4)
    # The others' heartbeats were heard through it all.
    assert {n: node.children()[n] for n in others} == others
    assert not node.lines("fake/[12] pid .* hangs")
    figure(f"private memory of the master more after 4 s of a flood ({kind})",
           private_kib(node.pid) - before, "KiB", 100)
    # So are signals, and the ends of others.
    with Stopwatch() as watch:
        os.kill(others["fake/1"], signal.SIGKILL)
        node.line(r"fake/1 pid (?!%d )\d+ is ready" % others["fake/1"])
    figure(f"kill -9 until a successor is ready, in a flood ({kind})", watch.ms, "ms", 100)
    if kind == "valid":  # it is as alive as one can be
        assert node.child("fake/0") == flooder
    with Stopwatch() as watch:
        assert node.stop() == 0
    figure(f"stop of 1 s in a flood ({kind})", watch.ms, "ms", 2000)
