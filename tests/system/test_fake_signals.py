"""Signals to the master: in any order, and several at once."""

import os
import random
import signal
import time

import pytest

from harness import procs
from harness.wait import Stopwatch

TERM, INT, QUIT, HUP, USR1, USR2 = (getattr(signal, f"SIG{n}") for n in (
    "TERM", "INT", "QUIT", "HUP", "USR1", "USR2"))
WINCH, CONT, CHLD = signal.SIGWINCH, signal.SIGCONT, signal.SIGCHLD

NEVER = "drain-never"

# What the processes do; what is sent, a number is a pause in seconds; from when
# to when it is over, in seconds from the first. stop_timeout is 1 s, and
# processes that never finish are gone 0.4 to 0.95 s later; where something ends
# it "now", it is 60 s.
STOPS = {
    "TERM": ("", [TERM], 0, 1),
    "INT": ("", [INT], 0, 1),
    "QUIT": ("", [QUIT], 0, 1),
    "TERM lets work finish": ("drain-for 600", [TERM], 0.6, 1.6),
    "TERM has an end": (NEVER, [TERM], 1, 2),
    "QUIT has none": ("drain-for 2500", [QUIT], 2.5, 3.5),
    "a second TERM stops now": (NEVER, [TERM, 0.2, TERM], 0.2, 0.8),
    "TERM then INT stops now": (NEVER, [TERM, 0.2, INT], 0.2, 0.8),
    "INT then TERM stops now": (NEVER, [INT, 0.2, TERM], 0.2, 0.8),
    "a third does nothing more": (NEVER, [TERM, 0.2, TERM, TERM, TERM], 0.2, 0.8),
    "TERM twice at once is one wish": ("drain-for 600", [TERM, TERM], 0.6, 1.6),
    "TERM and INT at once are one wish": ("drain-for 600", [TERM, INT], 0.6, 1.6),
    "QUIT then TERM is fast": (NEVER, [QUIT, 0.5, TERM], 1.5, 2.5),
    "QUIT, TERM, TERM is now": (NEVER, [QUIT, 0.3, TERM, 0.3, TERM], 0.6, 1.2),
    "QUIT and TERM at once are fast": (NEVER, [QUIT, TERM], 1, 2),
    "TERM and QUIT at once are fast": (NEVER, [TERM, QUIT], 1, 2),
    "TERM then QUIT stays fast": (NEVER, [TERM, 0.3, QUIT], 1, 2),
    "QUIT twice is QUIT": ("drain-for 1500", [QUIT, 0.2, QUIT], 1.5, 2.5),
    "HUP during TERM": (NEVER, [TERM, 0.2, HUP, HUP], 1, 2),
    "HUP during QUIT": ("drain-for 1500", [QUIT, 0.2, HUP], 1.5, 2.5),
    "HUP and TERM at once": ("drain-for 300", [HUP, TERM], 0.3, 1.3),
    "TERM and HUP at once": ("drain-for 300", [TERM, HUP], 0.3, 1.3),
    "all the others during TERM": (
        "drain-for 600", [TERM, 0.1] + [USR1, USR2, HUP, WINCH, CHLD, CONT] * 20, 0.6, 1.6),
    "all the others before TERM": (
        "drain-for 300", [USR1, USR2, HUP, WINCH, CHLD, CONT] * 20 + [TERM], 0.3, 1.8),
}


def send(node, signals):
    for number in signals:
        if isinstance(number, float):
            time.sleep(number)
            continue
        try:
            os.kill(node.pid, number)
        except ProcessLookupError:
            return


def at_once(node, signals):
    """All are there before the master looks."""
    os.kill(node.pid, signal.SIGSTOP)
    send(node, signals)
    os.kill(node.pid, signal.SIGCONT)


@pytest.mark.parametrize("what", STOPS)
def test_stopped_by(start_fake, what, figure):
    behaviour, signals, earliest, latest = STOPS[what]
    node = start_fake(fakes=2, behaviour=behaviour,
                      stop_timeout="60s" if latest < 1.3 else "1s")
    with Stopwatch() as watch:
        (at_once if "at once" in what else send)(node, signals)
        assert node.wait(40) == 0
    assert earliest * 1000 - 20 <= watch.ms, node.text()
    figure(f"stop, {what}", watch.ms, "ms", latest * 1000)
    assert procs.strays() == {}


@pytest.mark.parametrize("signals", [
    [HUP, USR1, USR2, TERM], [TERM, QUIT, INT], [CHLD, WINCH, QUIT], [HUP, QUIT, TERM]],
    ids=lambda signals: "+".join(s.name for s in signals))
def test_pending_all_at_once(start_fake, signals):
    """A master that was stopped finds them together when it goes on."""
    node = start_fake(fakes=2, stop_timeout="1s")
    node.send_signal(signal.SIGSTOP)
    send(node, signals)
    node.send_signal(CONT)
    assert node.wait(5) == 0
    assert procs.strays() == {}


def storm(node, seconds, numbers):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    order = random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        send(node, [order.choice(numbers)])
        time.sleep(0.005)


def test_a_storm_during_the_start_ends_nothing(start_fake):
    node = start_fake(fakes=2, behaviour="ready-after 700", wait=False)
    node.line("starts the processes|starting the processes, was")
    storm(node, 1.5, [USR1, USR2, WINCH, CHLD, HUP])
    node.wait_ready()
    assert node.stop() == 0


def test_a_storm_while_it_runs_ends_nothing(start_fake):
    node = start_fake(fakes=2)
    storm(node, 2, [USR1, USR2, WINCH, CHLD, HUP])
    node.line("fake/0 pid .* is ready")
    time.sleep(0.5)
    assert len(node.children("fake")) >= 2
    assert node.stop() == 0


# When; what the log says then.
MOMENTS = {
    "preparing": "preparing the database, was",
    "booting": "fake/0: starting, was empty",
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("signals", [[TERM], [INT], [QUIT], [HUP, TERM], [USR1, QUIT],
                                     [TERM, 0.1, TERM]],
                         ids=lambda signals: "+".join(getattr(s, "name", "") for s in signals))
def test_stopped_while_it_starts(start_fake, moment, signals, figure):
    node = start_fake(fakes=2, behaviour="ready-after 5000", wait=False, stop_timeout="1s")
    node.line(MOMENTS[moment])
    with Stopwatch() as watch:
        send(node, signals)
        assert node.wait(30) == 0
    figure("stop of 1 s while it starts", watch.ms, "ms", 2000)
    assert procs.strays() == {}
