"""G38: names of hosts are looked up off the loop. See tests/preload/resolver.c."""

import pathlib
import time

import pytest

from harness.http import free_port
from harness.resolver import Resolver
from harness.wait import Stopwatch, until

NAME = "db.internal"
WATCHDOG_S = 2
HANG_S = 3 * WATCHDOG_S


@pytest.fixture
def named(start, orders_conf, folder, make_cluster):
    """A chimpd whose database is known by a name: daemon, cluster, resolver."""
    cluster = make_cluster(listen_addresses="127.0.0.1", port=free_port())
    resolver = Resolver(folder)
    resolver.say({NAME: "127.0.0.1"})
    made = cluster.create_database()
    daemon = start(orders_conf, env=resolver.env, url=cluster.tcp_url(made.name, NAME),
                   database='pool_min = 3  connect_timeout = "1s"',
                   top=f'watchdog = "{WATCHDOG_S}s"')
    daemon.database = made
    return daemon, cluster, resolver


def cut(cluster):
    """End all sessions of the roles."""
    return cluster.admin("select count(pg_terminate_backend(pid)) from pg_stat_activity"
                         " where application_name like 'chimpd/%%'")[0][0]


def threads(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))


def orders_are_taken(daemon):
    return daemon.http.post("/orders", {"customer": "bo", "amount": 3}).status == 201


def wait_resumed(daemon, figure, what):
    with Stopwatch() as watch:
        until(lambda: daemon.http.get("/ready").status == 200, "/ready is 200 again")
        until(lambda: orders_are_taken(daemon), "orders are taken again")
    figure(f"return of {what} to the first order", watch.ms, "ms", 2000)
    taken = daemon.database.value("select count(*) from orders.orders")
    with Stopwatch() as watch:
        until(lambda: daemon.database.value("select count(*) from orders.audit_trail") >= taken,
              "the events are audited", timeout=20)
    figure(f"return of {what} to the last of the work", watch.ms, "ms", 2000)


def test_g38_a_resolver_that_hangs_ends_no_child(named, figure):
    daemon, cluster, resolver = named
    assert orders_are_taken(daemon)
    children = daemon.children()

    resolver.say({NAME: "hang"})
    assert cut(cluster) >= len(children)
    until(lambda: daemon.http.get("/ready").status == 503, "/ready is 503")
    begun = time.monotonic()
    slowest = most = 0
    while time.monotonic() < begun + HANG_S:
        with Stopwatch() as watch:
            assert daemon.http.get("/health").status == 200
        slowest = max(slowest, watch.ms)
        most = max(most, *(threads(pid) for pid in children.values()))
        time.sleep(0.05)
    figure("/health while the resolver hangs", slowest, "ms", 20)
    ready = daemon.http.get("/ready")
    assert ready.status == 503 and "database" in ready.body.decode()
    with Stopwatch() as watch:
        assert daemon.http.get("/orders").status == 503
    figure("503 while the resolver hangs", watch.ms, "ms", 100)
    # All connections of a process wait for the same answer.
    assert most == 2, "one more thread in each process that looks up a name"
    assert f'cannot resolve "{NAME}": no answer for' in daemon.text()

    resolver.say({NAME: "127.0.0.1"})
    wait_resumed(daemon, figure, "the resolver")
    assert daemon.children() == children
    until(lambda: all(threads(pid) == 1 for pid in children.values()),
          "the threads have ended")


def test_g38_a_name_that_is_unknown_for_a_while_is_waited_for(named, figure):
    daemon, cluster, resolver = named
    children = daemon.children()
    resolver.say({NAME: "fail"})
    cut(cluster)
    until(lambda: daemon.http.get("/ready").status == 503, "/ready is 503")
    until(lambda: f'cannot resolve "{NAME}": Name or service not known' in daemon.text(),
          "the log says why")
    resolver.say({NAME: "127.0.0.1"})
    wait_resumed(daemon, figure, "the name")
    assert daemon.children() == children


def test_g38_a_name_that_moves_is_followed(named):
    """The first address is nobody's: the next one of the name is tried."""
    daemon, cluster, resolver = named
    children = daemon.children()
    resolver.say({NAME: "127.0.0.9,127.0.0.1"})
    cut(cluster)
    until(lambda: orders_are_taken(daemon), "orders are taken again")
    assert daemon.children() == children


def test_g38_a_stop_does_not_wait_for_a_resolver(named, figure):
    daemon, cluster, resolver = named
    resolver.say({NAME: "hang"})
    cut(cluster)
    until(lambda: f'cannot resolve "{NAME}"' in daemon.text(), "the log says why")
    with Stopwatch() as watch:
        assert daemon.stop() == 0
    figure("stop while the resolver hangs", watch.ms, "ms", 2000)
