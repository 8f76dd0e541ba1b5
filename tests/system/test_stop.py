"""G33: how chimpd stops."""

import os
import signal
import socket
import threading
import time

import pytest

from harness import procs
from harness.http import free_port, read_all
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.ran (job bigint);
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input ->> 'seconds')::float);
	insert into t.ran values ((chimp.job() ->> 'id')::bigint);
	return '{"slept": true}';
end $$;
"""
APP = """
  queue "q" { sql = "t.nap" }
  action "nap" { sql = "t.nap"  args = "seconds: number" }
  route "GET /nap" { action = "nap" }
"""


def busy(start, app, database, seconds, **conf):
    """A chimpd whose worker runs a job of so many seconds."""
    daemon = start(app(APP, SCHEMA), **conf)
    job = database.value("select chimp.enqueue('q', jsonb_build_object('seconds', %s))", seconds)
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "running",
          "the job runs")
    time.sleep(0.1)
    return daemon, job


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_g33_an_idle_chimpd_stops_at_once(start, app, figure, number):
    daemon = start(app(APP, SCHEMA), processes=2)
    with Stopwatch() as watch:
        assert daemon.stop(number) == 0
    assert procs.strays() == {}
    figure(f"stop by {number.name}", watch.ms, "ms", 300)


def test_g33_running_work_may_finish(start, app, database):
    daemon, job = busy(start, app, database, 1.5)
    assert daemon.stop() == 0
    assert database.value("select state from chimp.jobs where id = %s", job) == "done"


def test_g33_work_that_takes_too_long_is_released_uncharged(start, app, database, figure):
    daemon, job = busy(start, app, database, 60, stop_timeout="1s")
    with Stopwatch() as watch:
        assert daemon.stop() == 0
    assert procs.strays() == {}
    figure("stop with stop_timeout = 1s and a job that ignores it", watch.ms, "ms", 2000)
    assert watch.ms >= 900
    assert database.rows("select state, attempt, interruptions from chimp.jobs"
                         " where id = %s", job) == [("ready", 0, 1)]
    # The backend does not go on either.
    until(lambda: database.value("select count(*) from pg_stat_activity where"
                                 " application_name like 'chimpd/%%' and state = 'active'") == 0,
          "no statement of chimpd runs on")
    assert database.value("select count(*) from t.ran") == 0


def test_g33_quit_waits_for_running_work(start, app, database):
    daemon, job = busy(start, app, database, 2.5, stop_timeout="1s")
    with Stopwatch() as watch:
        assert daemon.stop(signal.SIGQUIT) == 0
    assert database.value("select state from chimp.jobs where id = %s", job) == "done"
    assert watch.ms > 1500


def test_a_second_term_stops_at_once(start, app, database, figure):
    daemon, job = busy(start, app, database, 60, stop_timeout="30s")
    daemon.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    with Stopwatch() as watch:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    figure("stop by a second TERM", watch.ms, "ms", 1000)
    assert database.value("select count(*) from t.ran") == 0


def test_a_request_in_flight_is_answered_before_the_end(start, app):
    daemon = start(app(APP, SCHEMA))
    received = []

    def ask():
        with daemon.http.socket() as sock:
            sock.sendall(b"GET /nap?seconds=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            received.append(read_all(sock))

    client = threading.Thread(target=ask)
    client.start()
    time.sleep(0.3)
    assert daemon.stop() == 0
    client.join()
    assert received[0].startswith(b"HTTP/1.1 200 "), received
    assert b'{"slept": true}' in received[0]


def test_idle_keep_alive_connections_do_not_hold_a_stop_up(start, app, figure):
    daemon = start(app(APP, SCHEMA))
    sockets = [daemon.http.socket() for _ in range(5)]
    for sock in sockets:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    with Stopwatch() as watch:
        assert daemon.stop() == 0
    figure("stop with idle keep-alive connections", watch.ms, "ms", 2200)
    for sock in sockets:
        sock.close()


def test_the_registration_goes_with_the_process(start, app, database):
    daemon = start(app(APP, SCHEMA))
    assert database.value("select count(*) from chimp.processes") == 4
    daemon.stop()
    assert database.value("select count(*) from chimp.processes") == 0


def test_a_hangup_or_a_user_signal_ends_nothing(start, app):
    daemon = start(app(APP, SCHEMA))
    before = daemon.children()
    for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGCHLD):
        daemon.send_signal(number)
        for pid in before.values():
            os.kill(pid, number)
    time.sleep(0.5)
    assert daemon.children() == before
    assert daemon.http.get("/health").status == 200


def test_who_connects_during_a_stop_is_refused_at_once(start, app, database):
    port = free_port()
    daemon, _ = busy(start, app, database, 2, listen=f"127.0.0.1:{port}")
    daemon.send_signal(signal.SIGTERM)

    def refused():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused, "nobody listens any more", 1)
    assert daemon.process.poll() is None, "the job still runs"
    assert daemon.wait(10) == 0
