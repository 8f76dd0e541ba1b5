"""Everything at once: whatever the processes do and whoever signals the master,
it makes no change of state that it must not, and ends well.

CHIMP_CHAOS_SECONDS makes it longer, CHIMP_CHAOS_SEED repeats what one has done
to the node (the times remain the machine's).
"""

import os
import random
import signal
import time

import pytest

from harness import procs
from harness.settings import PATIENCE, long_or_short
from harness.wait import TookTooLong, until

SECONDS = float(os.environ.get("CHIMP_CHAOS_SECONDS", long_or_short(120, 8)))
SEED = os.environ.get("CHIMP_CHAOS_SEED")

ORDERS = [
    "exit 0", "exit 1", "exit 78", "die 9", "die 11", "die 19", "spin", "block",
    "on-abrt ignore; block", "on-abrt 78; block", "close", "deaf", "flood valid",
    "flood garbage", "send ready 5", "send old-ready 5", "send huge 5", "work 100",
    "leak 8", "fork double deaf", "fork setsid deaf", "drain-never", "drain-for 700",
    "on-drain die 9", "on-drain exit 78", "on-drain block", "on-drain deaf", "say anything",
    "on-drain close",
]
BIRTHS = ["", "", "", "", "exit 1", "exit 78", "never-ready", "ready-after 300", "block",
          "die 11", "drain-for 300", "drain-never"]
SIGNALS = [signal.SIGHUP] * 4 + [signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD]
ENDS = [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGQUIT, signal.SIGTERM],
        [signal.SIGHUP, signal.SIGTERM]]


def act(node, dice):
    """One mischief, of those that are more likely to follow each other badly."""
    what = dice.random()
    if what < 0.5:
        pids = list(node.children("fake").values())
        if pids:
            node.order(dice.choice(pids), dice.choice(ORDERS))
    elif what < 0.7:
        node.birth(dice.choice(BIRTHS), index=dice.randrange(6))
    elif what < 0.85:
        node.send_signal(dice.choice(SIGNALS))
    elif what < 0.95:
        text = node.conf.read_text()
        head, _, tail = text.partition("fake { processes = ")
        node.conf.write_text(f"{head}fake {{ processes = {dice.randint(1, 6)}"
                             f"{tail[len(tail.split(' ')[0]):]}")
    else:
        for pid in node.children("fake").values():
            try:
                os.kill(pid, dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]))
            except ProcessLookupError:
                pass


@pytest.mark.soak
@pytest.mark.parametrize("round", range(2))
def test_the_master_survives_it_all(start_fake, round):
    seed = int(SEED) if SEED else random.randrange(1 << 30)
    dice = random.Random(seed)
    print(f"CHIMP_CHAOS_SEED={seed}")
    node = start_fake(fakes=4, stop_timeout="1s", keys='max_jobs = 100  memory_max = "30MiB"',
                      top='watchdog = "2s"  restart_delay_max = "200ms"  start_timeout = "2s"'
                          ' drain_timeout = "1s"')
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        act(node, dice)
        time.sleep(dice.choice([0, 0.01, 0.05, 0.2]))
        assert procs.alive(node.pid), node.text()[-5000:]
    if round == 0:
        calm_down(node)
    begun = time.monotonic()
    for number in dice.choice(ENDS):
        node.send_signal(number)
        time.sleep(0.06)
    assert node.wait(20) == 0
    assert time.monotonic() - begun < 20 * PATIENCE
    assert procs.strays() == {}


def calm_down(node):
    """Left alone, all of them serve again."""
    for index in range(6):
        node.birth("", index=index)
    wanted = int(node.conf.read_text().split("fake { processes = ")[1].split(" ")[0])
    names = {f"fake/{i}" for i in range(wanted)}

    def serve():
        if node.states()[-1][1] == "running":
            # One that was refused, or has only been told to misbehave.
            node.send_signal(signal.SIGHUP)
        time.sleep(1)
        return (node.states()[-1][1] == "running" and set(node.children("fake")) == names
                and all(node.states(name)[-1][1] in ("serving", "empty") for name in names))
    try:
        until(serve, f"{names} serve again", timeout=40)
    except TookTooLong as e:
        raise AssertionError(node.text()[-8000:]) from e
