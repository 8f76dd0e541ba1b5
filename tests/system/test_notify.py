"""What systemd is told, and what the journal gets."""

import re
import signal
import socket
import time

import pytest

from harness.systemd import Notified
from harness.wait import Stopwatch, until


@pytest.fixture
def notified(folder):
    listener = Notified(folder)
    yield listener
    listener.close()


def states(notified):
    """READY, RELOADING and STOPPING in their order."""
    return [key for message in notified.messages for key in message
            if key in ("READY", "RELOADING", "STOPPING")]


def test_start_reload_and_stop_are_told(start, notified, figure):
    daemon = start(env=notified.environment)
    until(lambda: states(notified) == ["READY"], "READY is told")
    until(lambda: notified.values("STATUS")[-1].startswith("http 1/1 worker 1/1"),
          "the status is told")
    before = time.monotonic_ns() // 1000
    with Stopwatch() as watch:
        daemon.send_signal(signal.SIGHUP)
        until(lambda: states(notified)[1:] == ["RELOADING", "READY"], "the reload is told")
    figure("from HUP to READY=1", watch.ms, "ms", 2000)
    at = int(notified.values("MONOTONIC_USEC")[0])
    assert before <= at <= time.monotonic_ns() // 1000
    assert daemon.stop() == 0
    assert states(notified) == ["READY", "RELOADING", "READY", "STOPPING"]
    # As long as it lasts, whatever TimeoutStopSec says.
    assert int(notified.values("EXTEND_TIMEOUT_USEC")[-1]) > 5e6
    assert notified.values("STATUS")[-1] == "Stopped"


def test_the_status_says_who_waits_and_how_long(start_fake, notified):
    node = start_fake(fakes=2, env=notified.environment, top='restart_delay_max = "60s"')
    node.birth("exit 1", index=1)
    node.kill("fake/1")
    # "fake 1/2, 1 waiting 800 ms", and then twice as long.
    wanted = re.compile(r"\bfake 1/2, 1 waiting (\d+\.\d s|\d+ ms)$")
    until(lambda: len({m[1] for m in map(wanted.search, notified.values("STATUS")) if m}) > 2,
          "the status says so", timeout=20)


def test_a_refused_reload_is_over_too(start, notified):
    daemon = start(env=notified.environment)
    daemon.conf.write_text("nonsense")
    daemon.send_signal(signal.SIGHUP)
    until(lambda: states(notified) == ["READY", "RELOADING", "READY"], "the reload is told")
    assert "refused" in daemon.text()


def test_ready_is_told_once_and_not_by_postgresql(start, notified, folder):
    # Debian's postgres tells it too, where it finds NOTIFY_SOCKET.
    daemon = start(url=None, data_dir=folder / "data", env=notified.environment)
    assert states(notified) == ["READY"]
    assert daemon.stop() == 0
    assert states(notified) == ["READY", "STOPPING"]


@pytest.mark.parametrize("pid, pings", [(None, True), ("1", False)])
def test_the_watchdog_is_fed_at_half_its_time(start, notified, pid, pings):
    env = {**notified.environment, "WATCHDOG_USEC": "400000"}
    if pid is not None:
        env["WATCHDOG_PID"] = pid
    start(env=env)
    before, begun = len(notified.values("WATCHDOG")), time.monotonic()
    time.sleep(1.5)
    count = len(notified.values("WATCHDOG")) - before
    # Five a second; a busy machine may be slow.
    most = 5 * (time.monotonic() - begun) + 1
    assert 2 <= count <= most if pings else count == 0


def test_a_full_queue_does_not_lose_ready(start, notified):
    """As when a whole machine starts: systemd has no time for us."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                other.sendto(b"X=1", str(notified.path))
    daemon = start(env=notified.environment)  # --ready-fd says so
    until(lambda: states(notified) == ["READY"], "READY is told")
    until(lambda: notified.values("STATUS"), "and what it does")
    daemon.stop()


def test_lives_without_whoever_listened(start, notified):
    notified.path.unlink()
    daemon = start(env=notified.environment)
    assert daemon.http.get("/health").status == 200


def test_an_abstract_socket(start):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel finds a name
        sock.settimeout(10)
        name = sock.getsockname()
        start(env={"NOTIFY_SOCKET": "@" + name[1:].decode()})
        said = b""
        while b"READY=1" not in said:
            said = sock.recv(4096)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_journal_gets_priorities(start, folder, log_format):
    log = folder / "chimpd.log"
    log.touch()
    at = log.stat()
    daemon = start(env={"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"},
                   top=f'log {{ format = "{log_format}" }}')
    daemon.kill("worker/default/0")
    until(lambda: "killed by signal 9" in daemon.text(), "the end is logged")
    lines = daemon.text().splitlines()
    pattern = {"text": r"<[3467]>(master|prepare|[a-z]+/[a-z0-9/]+): ",
               "json": r'<[3467]>\{"time":"20'}[log_format]
    first = "chimpd .* starts node"  # before the configuration is read
    for line in lines:
        assert re.match(pattern, line) or re.search(first, line), line
    assert any(line.startswith("<4>") for line in lines), lines
