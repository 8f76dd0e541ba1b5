"""G33: a stop is over in time, whatever the processes do about it."""

import pytest

from harness import procs
from harness.wait import Stopwatch, until

# What the processes do when they are told to finish.
STUBBORN = {
    "never finish": "drain-never",
    "hear nothing": "on-drain deaf",
    "spin": "on-drain spin",
    "block": "on-drain block",
    "close the pipe": "on-drain close; drain-never",
    "flood": "on-drain flood valid",
    "flood with garbage": "on-drain flood garbage",
    "leave a child": "on-drain fork plain deaf; drain-never",
}


@pytest.mark.parametrize("how", STUBBORN)
def test_g33_a_stop_ends_in_time(start_fake, how, figure):
    node = start_fake(fakes=3, behaviour=STUBBORN[how], stop_timeout="1s")
    with Stopwatch() as watch:
        assert node.stop() == 0
    assert watch.ms >= 900
    figure(f"stop_timeout = 1s, processes that {how}", watch.ms, "ms", 2000)
    assert procs.strays() == {}


def test_g33_a_stop_while_processes_are_in_every_state(start_fake, figure):
    node = start_fake(fakes=6, stop_timeout="1s",
                      top='watchdog = "2s"  restart_delay_max = "60s"')
    node.birth("exit 1", index=0)
    node.birth("never-ready", index=1)
    node.tell(5, "exit 78")                   # failed
    node.tell(4, "on-abrt ignore; block")     # hung
    node.tell(3, "drain-never")               # does not drain
    node.tell(1, "exit 1")                    # starting
    node.tell(0, "exit 1")                    # waiting
    until(lambda: node.states("fake/4")[-1][1] == "hung", "it hangs")
    until(lambda: node.states("fake/0")[-1][1] == "waiting to restart", "it waits")
    with Stopwatch() as watch:
        assert node.stop() == 0
    figure("stop of 1 s, a process in every state", watch.ms, "ms", 2000)
    for i in range(6):
        assert node.states(f"fake/{i}")[-1][1] == "empty", i


# --- what processes leave behind ---

KINDS = ["plain", "setsid", "double"]


@pytest.mark.parametrize("deaf", ["", "deaf"])
@pytest.mark.parametrize("end", ["stop", "exit 0", "exit 1", "die 9", "on-abrt ignore; block"])
def test_no_descendant_survives(start_fake, deaf, end):
    node = start_fake(fakes=2, stop_timeout="1s", top='watchdog = "2s"')
    other = node.child("fake/1")
    parent = node.tell(0, "; ".join(f"fork {kind} {deaf}" for kind in KINDS * 2))
    until(lambda: len(node.grandchildren()) == 6, "the grandchildren are there")
    pids = [pid for _, pid in node.grandchildren()]
    if end == "stop":
        assert node.stop() == 0
    else:
        node.tell(parent, end)
        node.wait_born(0, parent)
        assert node.child("fake/1") == other
    until(lambda: not any(map(procs.alive, pids)), "the grandchildren are gone", timeout=2)


def test_grandchildren_of_a_killed_process_do_not_outlive_the_stop(start_fake):
    node = start_fake(fakes=1, birth="fork setsid deaf; fork double deaf; fork plain deaf")
    for births in range(1, 5):
        until(lambda births=births: len(node.grandchildren()) == 3 * births, "all have been born")
        if births < 4:
            node.wait_born(0, node.kill("fake/0"))
    assert node.stop() == 0
    assert procs.strays() == {}
    assert not any(procs.alive(pid) for _, pid in node.grandchildren())
