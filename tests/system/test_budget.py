"""The connection budget: the arithmetic of what is refused, and that it holds."""

import signal
import threading
import time

import pytest

from harness.chimpd import configuration, run
from harness.wait import until

# http 1 x (4 + 1), worker 1 x (4 + 2), cron 1 x 2, subscriber 1 x 10.
ARITHMETIC = ("http 1 x 5 + worker/default 1 x 6 + cron 1 x 2 + subscriber 1 x 10"
              " + replacing 16 + short-lived 1 = 40")
TOTAL = 40
RESERVED = 3  # for superusers
STEADY = TOTAL - 16 - 1  # without replacements and short-lived children
WORKER = "worker {} {{ processes = 1  concurrency = {}  max_age = \"{}\" }}"

# All runners of all roles have something to do.
APP = """
  route "POST /nap" { sql = "t.nap" }
  queue "naps" { sql = "t.sleep" }
  subscription "naps" { event = "nap" sql = "t.sleep" lanes = 8 }
"""
SCHEMA = """
create schema t;
create function t.sleep(input jsonb) returns jsonb language sql as $$
    select to_jsonb(pg_sleep(0.05) is null)
$$;
create function t.nap(input jsonb) returns jsonb language sql as $$
    select to_jsonb(chimp.enqueue('naps', '{}'));
    select to_jsonb(chimp.publish('nap', '{}', key => gen_random_uuid()::text));
    select t.sleep(input);
$$;
"""


@pytest.fixture
def tight(make_cluster, start):
    """tight(room, app, **conf) -> a node and its server, with room for so many."""
    def make(room, registrations, **conf):
        cluster = make_cluster(max_connections=room + RESERVED,
                               superuser_reserved_connections=RESERVED,
                               # Its workers use none of them.
                               autovacuum="off")
        made = cluster.create_database()
        daemon = start(registrations, url=made.url, **conf)
        return daemon, cluster
    return make


def reload(daemon, word, **conf):
    """Write another configuration, HUP, and wait for what it came to."""
    configuration(daemon.conf, listen=daemon.listen, **conf)
    seen = daemon.text().count(word)
    daemon.send_signal(signal.SIGHUP)
    until(lambda: daemon.text().count(word) > seen, f"the log says {word!r}", timeout=30)


def test_a_start_beyond_the_budget_is_refused_with_the_arithmetic(
        make_cluster, folder):
    cluster = make_cluster(max_connections=TOTAL - 1 + RESERVED,
                           superuser_reserved_connections=RESERVED)
    database = cluster.create_database("template1")
    conf = folder / "chimpd.conf"
    configuration(conf, url=database.url, listen=f"unix:{folder}/http")
    done = run("-c", conf)
    assert done.status == 1, done
    assert (f"this node may open too many connections: {ARITHMETIC}, "
            f"PostgreSQL allows {TOTAL - 1}") in done.err
    assert "raise max_connections of PostgreSQL by at least 1," in done.err
    # -T says the same.
    assert f"total {TOTAL}" in " ".join(run("-c", conf, "-T").out.split())


def test_an_embedded_server_without_room_is_refused_by_its_own_key(folder):
    conf = folder / "chimpd.conf"
    configuration(conf, data_dir=folder / "data", listen=f"unix:{folder}/http",
                  database="max_connections = 30")
    done = run("-c", conf, timeout=60)
    assert done.status == 1, done
    assert f"{ARITHMETIC}, PostgreSQL allows 27" in done.err
    assert "raise database.max_connections by at least 13," in done.err


def test_a_reload_beyond_the_budget_changes_nothing(tight, orders_conf):
    daemon, cluster = tight(TOTAL, orders_conf)
    url = cluster.url("test_1")
    children = daemon.children()
    more = {"url": url, "include": [orders_conf]}
    refused = "the reload is refused"

    reload(daemon, refused, pool_max=8, **more)
    assert ("this node may open too many connections during the reload: "
            "http 1 x 9 + worker/default 1 x 6 + cron 1 x 2 + subscriber 1 x 10"
            " + replacing 16 + short-lived 1 = 44, PostgreSQL allows 40") in daemon.text()
    # The other class has room alone, not beside the one that it replaces.
    assert "two steps" not in daemon.text()
    reload(daemon, refused, workers=WORKER.format("other", 4, "1h"), **more)
    assert ("http 1 x 5 + worker/other 1 x 6 + cron 1 x 2 + subscriber 1 x 10"
            " + worker/default 1 x 6 + replacing 22 + short-lived 1 = 52") in daemon.text()
    assert "reload in two steps" in daemon.text()
    assert daemon.children() == children
    assert daemon.http.post("/orders", {"customer": "bo", "amount": 3}).status == 201


class Watch:
    """Samples how many connections the node has; a superuser has its own."""

    def __init__(self, cluster):
        self.connection = cluster.connect("postgres")
        self.most = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.over.is_set():
                cursor.execute("select count(*) from pg_stat_activity where usename = 'app'")
                self.most = max(self.most, cursor.fetchone()[0])
                time.sleep(0.002)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.connection.close()


class Load:
    """Clients of the app above."""

    def __init__(self, daemon, clients=12):
        self.daemon = daemon
        self.statuses = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def run(self):
        while not self.over.is_set():
            self.statuses.append(self.daemon.http.post("/nap", {}).status)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_a_node_at_its_budget_never_exceeds_it(tight, app, record_property):
    """Under load, reloads that replace all and that change what a process may open,
    and processes that are recycled in between."""
    def conf(pool_max=4, concurrency=4):
        return {"pool_max": pool_max, "http": 'max_age = "1s"  wait_max = "4s"',
                "workers": WORKER.format("default", concurrency, "1s")}

    registrations = app(APP, SCHEMA)
    daemon, cluster = tight(TOTAL, registrations, **conf())
    url = cluster.url("test_1")
    first = daemon.children()
    with Watch(cluster) as watch, Load(daemon) as load:
        for change in ({}, {"pool_max": 2}, {"pool_max": 4}, {"concurrency": 1},
                       {"concurrency": 4}, {}):
            reload(daemon, " reloaded", url=url, include=[registrations.conf],
                   **conf(**change))
        before = daemon.children()
        until(lambda: daemon.children("http") != {"http/0": before.get("http/0")}
              and daemon.children("worker")
              != {"worker/default/0": before.get("worker/default/0")},
              "processes are recycled", timeout=30)
    record_property("figure", f"connections at a budget of {TOTAL}: {watch.most} at most")
    assert len(load.statuses) > 100
    assert set(load.statuses) == {200}, set(load.statuses)
    assert not set(first.values()) & set(daemon.children().values())
    # There was something to exceed.
    assert STEADY * 3 // 4 < watch.most <= TOTAL
    assert "too many" not in daemon.text() and "slots are reserved" not in daemon.text()
