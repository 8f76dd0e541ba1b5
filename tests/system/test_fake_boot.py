"""G35: a master that cannot start a role says so and exits with 1."""

import re
import signal
import time

from harness.wait import Stopwatch

START_TIMEOUT = 'start_timeout = "1500ms"'


def failed(node, limit):
    """It ends with 1 by itself; how long that took, and the log."""
    node.expected_status = 1
    with Stopwatch() as watch:
        assert node.wait(limit) == 1
    return watch.ms, node.text()


def test_bad_configuration_ends_a_start_at_once(start_fake, figure):
    node = start_fake(fakes=2, behaviour="exit 78", wait=False, top='start_timeout = "60s"')
    took, text = failed(node, 20)
    assert "exited with status 78" in text
    figure("a start that a process's configuration ends", took, "ms", 1000)
    assert "stopped, because the start failed" in text


def test_a_role_that_never_gets_ready_ends_the_start(start_fake, figure):
    node = start_fake(fakes=2, behaviour="say still warming up; never-ready", wait=False,
                      top=START_TIMEOUT)
    took, text = failed(node, 20)
    assert took >= 1500
    figure("start_timeout = 1500ms of a role that is never ready", took, "ms", 2500)
    for name in ("fake/0", "fake/1"):
        assert re.search(rf"{name} is not ready 1\.5 s after the start: starting"
                         r".*it last said: still warming up", text), text


def test_a_role_that_always_crashes_ends_the_start(start_fake, figure):
    node = start_fake(fakes=2, behaviour=f"die {signal.SIGSEGV.value}", wait=False,
                      top=START_TIMEOUT)
    took, text = failed(node, 20)
    assert took >= 1500
    figure("start_timeout = 1500ms of a role that always crashes", took, "ms", 2500)
    assert re.search(r"fake/0 is not ready .*: (waiting to restart|starting)", text), text
    assert len(node.lines("fake/0 .*killed by signal 11")) >= 3


def test_one_that_hangs_at_its_birth_is_replaced_during_the_start(start_fake):
    node = start_fake(fakes=1, birth="@1 block", wait=False, top='watchdog = "2s"')
    node.wait_ready()
    assert node.lines("fake/0 pid .* hangs: no heartbeat")


def test_a_start_survives_a_few_crashes(start_fake):
    node = start_fake(fakes=2, birth="@1 exit 1; @2 die 9; @3 exit 0")
    assert len(node.lines(r"fake/0 .*restarting")) == 3
    assert len(node.children()) == 2


def test_another_role_that_is_ready_does_not_help(start_fake):
    node = start_fake(fakes=1, behaviour="never-ready", cron=1, wait=False, top=START_TIMEOUT)
    _, text = failed(node, 20)
    assert "fake/0 is not ready" in text
    assert "cron/0 is not ready" not in text


def test_a_role_with_one_process_ready_is_started(start_fake):
    """The start is over at start_timeout; the rest goes on trying."""
    node = start_fake(fakes=3, wait=False, top=START_TIMEOUT)
    node.birth("never-ready", index=1)
    with Stopwatch() as watch:
        node.wait_ready()
    assert watch.ms >= 1000
    node.line("fake/1 pid .* hangs: not ready in ")
    node.birth("", index=1)
    node.line("fake/1 pid .* is ready")


def test_one_process_with_a_bad_configuration_of_several(start_fake):
    """It says bad configuration for all of its role: a start believes it."""
    node = start_fake(fakes=2, wait=False, birth="ready-after 300", top=START_TIMEOUT)
    node.birth("exit 78", index=1)
    _, text = failed(node, 20)
    assert "exited with status 78" in text
