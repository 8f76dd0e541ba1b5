"""How connections fall on the http processes, which share their listeners."""

import os
import signal
import time

import pytest

from harness.crowd import Crowd, Spread, allow_files
from harness.http import free_port
from harness.settings import PATIENCE
from harness.wait import until

CHILDREN = 4
PEOPLE = 10000


def crowd_size():
    """What the limits of this machine allow; too few would prove nothing."""
    people = min(PEOPLE, allow_files(PEOPLE + 500) - 500)
    assert people >= 400, "raise the limit of open files (ulimit -n)"
    # The sanitizers make every connection several times as expensive.
    return people if PATIENCE == 1 else min(people, 2000)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_busiest_process_has_at_most_twice_the_mean(start, kind, record_property):
    people = crowd_size()
    more = {"listen": f"127.0.0.1:{free_port()}"} if kind == "tcp" else {}
    daemon = start(processes=CHILDREN, cron=0, subscriber=0, pool_max=1, **more)
    with Crowd(daemon.http) as crowd:
        spread = Spread(daemon.children("http"))
        crowd.come(people - 500)
        crowd.come(500, rate=500)
        found = spread.look()
        assert sum(found.values()) == people
        ratio = spread.ratio()
        record_property("figure", f"{people} {kind} connections on {CHILDREN} processes: "
                        f"the busiest has {ratio:.2f} times the mean (limit 2)")
        assert ratio <= 2, found


def test_a_full_process_leaves_the_others_the_rest(start):
    """One that has its max_connections looks at no listener."""
    daemon = start(processes=2, cron=0, subscriber=0, http="max_connections = 50")
    with Crowd(daemon.http) as crowd:
        spread = Spread(daemon.children("http"))
        crowd.come(100, rate=1000)
        assert sorted(spread.look().values()) == [50, 50]
        # One more is let in when another goes.
        late = daemon.http.socket()
        late.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.recv(100)
        crowd.sockets.pop().close()
        late.settimeout(10)
        assert late.recv(100).startswith(b"HTTP/1.1 200 ")
        late.close()


def test_a_stopped_process_keeps_no_connection_from_the_others(start):
    """What one socket per process could not promise."""
    daemon = start(processes=2, cron=0, subscriber=0, top='watchdog = "60s"')

    pid = daemon.child("http/0")
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with Crowd(daemon.http) as crowd:
            crowd.come(200)
        assert time.monotonic() - begun < 40
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: daemon.http.get("/ready").status == 200, "it goes on")
