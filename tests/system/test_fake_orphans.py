"""G36: when the master dies, its processes go, also those that hang."""

import signal
import time

import pytest

from harness import procs
from harness.wait import until

# What a process does when the master is killed.
STATES = {
    "serves": "say nothing",
    "works on": "drain-never",
    "hangs when told to drain": "on-drain block",
    "hears nothing": "deaf",
    "spins": "spin",
    "blocks": "block",
    "is stopped": f"die {signal.SIGSTOP.value}",
    "floods": "flood valid",
    "has closed its pipe": "close",
    "is not ready": None,
}


@pytest.mark.parametrize("what", STATES)
def test_g36_no_process_outlives_the_master_by_much(start_fake, figure, what):
    orders = STATES[what]
    node = start_fake(fakes=2)
    if orders is None:
        node.birth("never-ready", index=0)
        node.tell(0, "exit 1")
        until(lambda: node.states("fake/0")[-1][1] == "starting", "it is not ready")
    else:
        node.tell(0, "fork plain deaf; fork setsid deaf")
        node.tell(0, orders)
    time.sleep(0.2)
    pids = list(node.children().values()) + [pid for _, pid in node.grandchildren()]
    assert len(pids) == (2 if orders is None else 4)
    node.expected_status = -signal.SIGKILL
    begun = time.monotonic()
    node.send_signal(signal.SIGKILL)
    node.wait(5)
    until(lambda: not any(map(procs.alive, pids)), "all of them are gone")
    figure(f"death of the master until all are gone, one that {what}",
           (time.monotonic() - begun) * 1000, "ms", 2000)
    procs.reap()
