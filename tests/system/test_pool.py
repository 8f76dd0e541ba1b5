"""The five knobs of the pool, seen from PostgreSQL: pool_min, pool_max, pool_idle,
pool_life and connect_timeout of database { }."""

import socket
import threading
import time

import pytest

from harness.http import free_port
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create function t.nap(input jsonb) returns jsonb language sql as $$
    select to_jsonb(pg_sleep(0.1) is null)
$$;
"""
APP = """
  action "nap" { sql = "t.nap" }
  route "POST /nap" { action = "nap" }
  queue "naps" { sql = "t.nap" }
"""
# Longer than two of the sweeps that close what is idle or old.
WHILE_S = 3


@pytest.fixture
def serve(start, app):
    return lambda pool="", **conf: start(
        app(APP, SCHEMA), **{"workers": "", "cron": 0, "subscriber": 0,
                             "http": 'wait_max = "5s"', "database": pool, **conf})


def backends(database, role="http//"):
    """The server's processes that serve a role; http// is its pool alone."""
    return {pid for pid, in database.rows(
        "select pid from pg_stat_activity where application_name like %s",
        f"chimpd/{role}%")}


def stays(condition, seconds=WHILE_S):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition()
        time.sleep(0.05)


def crowd(daemon, database, clients=20, calls=3):
    """More requests at once than connections; the most connections seen."""
    answers = []

    def call():
        for _ in range(calls):
            answers.append(daemon.http.post("/nap", {}).status)

    threads = [threading.Thread(target=call) for _ in range(clients)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(backends(database)))
        time.sleep(0.01)
    assert 200 in answers
    return most


@pytest.mark.parametrize("pool_min", [0, 3])
def test_pool_min_is_open_without_a_request_and_comes_back(serve, database, pool_min):
    daemon = serve(f"pool_min = {pool_min}")
    until(lambda: len(backends(database)) == pool_min, "pool_min is open")
    stays(lambda: len(backends(database)) == pool_min, 1)
    assert daemon.http.post("/nap", {}).status == 200
    before = backends(database)
    assert len(before) == max(pool_min, 1)
    database.rows("select pg_terminate_backend(pid) from unnest(%s) as pid", list(before))
    until(lambda: not before & backends(database), "they are gone")
    until(lambda: len(backends(database)) == pool_min, "pool_min is open again")


@pytest.mark.parametrize("pool_max", [1, 6])
def test_pool_max_is_reached_and_never_exceeded(serve, database, pool_max):
    daemon = serve(pool_max=pool_max)
    # The line keeps slow calls from the last two: a mix of calls takes all.
    most = max(crowd(daemon, database, clients=12) for _ in range(2))
    assert pool_max - 2 <= most <= pool_max and most > 0


def test_pool_idle_closes_what_is_above_pool_min(serve, database, figure):
    daemon = serve('pool_min = 1  pool_idle = "1s"')
    assert crowd(daemon, database) > 1
    with Stopwatch() as watch:
        until(lambda: len(backends(database)) == 1, "one connection is left", timeout=20)
    figure("pool_idle of 1 s to the close", watch.ms, "ms", 2000)
    left = backends(database)
    stays(lambda: backends(database) == left)


def test_pool_idle_keeps_what_is_not_idle_for_long(serve, database):
    daemon = serve('pool_min = 1  pool_idle = "1h"')
    crowd(daemon, database)
    opened = backends(database)
    assert len(opened) > 1
    stays(lambda: backends(database) == opened)


def test_pool_life_replaces_connections(serve, database, figure):
    serve('pool_min = 2  pool_life = "1s"')
    until(lambda: len(backends(database)) == 2, "pool_min is open")
    first = backends(database)
    with Stopwatch() as watch:
        until(lambda: len(backends(database)) == 2 and not first & backends(database),
              "both are others", timeout=20)
    figure("pool_life of 1 s to other connections", watch.ms, "ms", 2000)


def test_pool_life_is_not_shorter_than_it_says(serve, database):
    serve('pool_min = 2  pool_life = "1h"')
    until(lambda: len(backends(database)) == 2, "pool_min is open")
    first = backends(database)
    stays(lambda: backends(database) == first)


def nap_in_jobs(database, jobs=8):
    """Run jobs. -> the worker's backends that were seen until the last was done."""
    seen = set()

    def done():
        seen.update(backends(database, "worker"))
        return not database.value("select count(*) from chimp.jobs where state <> 'done'")

    database.rows("select chimp.enqueue('naps', '{}') from generate_series(1, %s)", jobs)
    until(done, "the jobs are done")
    return seen


WORKER = {"processes": 0, "workers": "worker default { processes = 1  concurrency = 4 }"}
# Besides the connections that run handlers: its lease, its claims.
WORKER_KEEPS = 2
SWEEP_S = 5  # of a worker that has nothing to do


@pytest.mark.parametrize("knobs, left", [
    ('pool_idle = "1s"  pool_life = "1h"', WORKER_KEEPS + 1),
    ('pool_idle = "1h"  pool_life = "1s"', WORKER_KEEPS),
])
def test_pool_idle_and_pool_life_hold_for_workers(serve, database, figure, knobs, left):
    serve(knobs, **WORKER)
    seen = nap_in_jobs(database)
    assert len(seen) > left
    with Stopwatch() as watch:
        until(lambda: len(seen & backends(database, "worker")) <= left,
              "those of handlers are closed", timeout=20)
    figure(f"{knobs} to the close in a worker", watch.ms, "ms", 1000 * (SWEEP_S + 1))


def test_pool_idle_and_pool_life_keep_what_a_worker_needs(serve, database):
    serve('pool_idle = "1h"  pool_life = "1h"', **WORKER)
    after = nap_in_jobs(database)
    stays(lambda: backends(database, "worker") == after, SWEEP_S + 2)


class Mute:
    """A server that accepts and never answers."""

    def __init__(self, port):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(100)

    def patience_ms(self):
        """How long a client waits before it hangs up."""
        self.sock.settimeout(20)
        client, _ = self.sock.accept()
        with client, Stopwatch() as watch:
            client.settimeout(60)
            while client.recv(1000):
                pass
        return watch.ms

    def close(self):
        self.sock.close()


def test_connect_timeout_ends_an_attempt_that_nobody_answers(serve, make_cluster, figure):
    cluster = make_cluster(listen_addresses="127.0.0.1", port=free_port())
    made = cluster.create_database()
    daemon = serve('connect_timeout = "300ms"', url=cluster.tcp_url(made.name, "127.0.0.1"))
    children = daemon.children()
    cluster.stop()
    mute = Mute(cluster.port)
    try:
        # The first may have waited in the queue of the socket.
        waited = sorted(mute.patience_ms() for _ in range(5))
    finally:
        mute.close()
    assert waited[-1] > 250
    figure("connect_timeout of 300 ms", waited[2], "ms", 300)
    assert waited[2] < 5000, "the default, not what the file says"
    cluster.start()
    until(lambda: daemon.http.post("/nap", {}).status == 200, "requests are served again")
    assert daemon.children() == children
