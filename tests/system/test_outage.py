"""G38: PostgreSQL stops and returns; chimpd waits, answers, and resumes."""

import re
import signal
import time

from harness.wait import Stopwatch, until

OUTAGE_S = 10


def test_g38_an_outage_ends_no_child_and_everything_resumes(
        start, orders_conf, own_cluster, figure):
    database = own_cluster.create_database()
    daemon = start(orders_conf, url=database.url)
    made = daemon.http.post("/orders", {"customer": "ada", "amount": 3}).json["id"]
    job = database.value("select chimp.enqueue('order.completed.notify', jsonb_build_object("
                         "'order_id', %s::bigint, 'customer', 'x', 'amount', 1),"
                         " delay => '2 s')", made)
    children = daemon.children()

    own_cluster.stop()
    begun = time.monotonic()
    answers = []
    while time.monotonic() < begun + OUTAGE_S:
        with Stopwatch() as watch:
            answer = daemon.http.get("/orders")
        answers.append((watch.ms, answer))
        time.sleep(0.1)
    # What was under way when it went may have been told so in other words.
    for ms, answer in answers[2:]:
        assert answer.status == 503, answer
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.type == "application/problem+json"
    figure("answer while PostgreSQL is down", max(ms for ms, _ in answers[2:]), "ms", 100)
    ready = daemon.http.get("/ready")
    assert ready.status == 503 and "database" in ready.body.decode()
    assert daemon.http.get("/health").status == 200
    metrics = daemon.http.get("/metrics")
    assert metrics.status == 200
    assert re.search(r"^chimpd_database_up\S* 0$", metrics.body.decode(), re.M)

    own_cluster.start()
    with Stopwatch() as watch:
        until(lambda: daemon.http.get("/ready").status == 200, "/ready is 200 again")
        until(lambda: daemon.http.post("/orders", {"customer": "bo", "amount": 3}).status == 201,
              "orders are taken again")
    figure("return of PostgreSQL to the first order", watch.ms, "ms", 2000)
    with Stopwatch() as watch:
        until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "done",
              "the job is done")
        until(lambda: database.value("select count(*) from orders.audit_trail") == 2,
              "the events are audited", timeout=20)
    figure("return of PostgreSQL to the last of the work", watch.ms, "ms", 2000)
    assert daemon.children() == children
    assert database.value("select count(*) from orders.notifications") == 1
    # Said once per change of state, not once per try: a few lines per child.
    lost = [l for l in daemon.text().splitlines() if "onnect" in l]
    assert len(lost) < 10 * len(children), "\n".join(lost)


def test_requests_in_flight_when_postgresql_stops_are_answered(start, app, own_cluster):
    database = own_cluster.create_database()
    daemon = start(app('action "nap" { sql = "t.nap" }  route "POST /nap" { action = "nap" }', """
        create schema t;
        create function t.nap(input jsonb) returns jsonb language sql as $$
            select to_jsonb(pg_sleep(30) is null)
        $$;"""), url=database.url, http='request_timeout = "20s"', workers="", cron=0,
        subscriber=0)
    with daemon.http.socket() as sock:
        sock.sendall(b"POST /nap HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        time.sleep(0.3)
        own_cluster.stop()
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 "), answer
    own_cluster.start()
    until(lambda: daemon.http.get("/ready").status == 200, "/ready is 200 again")


def test_an_outage_is_no_hole_in_a_stop(start, orders_conf, own_cluster, figure):
    """TERM while PostgreSQL is away: status 0, in time."""
    database = own_cluster.create_database()
    daemon = start(orders_conf, url=database.url)
    own_cluster.stop()
    time.sleep(0.5)
    with Stopwatch() as watch:
        assert daemon.stop() == 0
    figure("stop while PostgreSQL is away", watch.ms, "ms", 2000)
    own_cluster.start()


def test_a_start_goes_on_when_postgresql_restarts_meanwhile(start, app, own_cluster):
    database = own_cluster.create_database("template1")
    daemon = start(app("", "create schema t; select pg_sleep(1);"), url=database.url, wait=False)
    until(lambda: database.value(
        "select true from pg_stat_activity where application_name = 'chimpd/prepare'"
        " and wait_event = 'PgSleep'"), "the migration runs", interval=0.01)
    own_cluster.stop(signal.SIGQUIT)
    own_cluster.start()
    daemon.wait_ready()
    assert "beginning again" in daemon.text()
    until(lambda: database.value("select true from pg_namespace where nspname = 't'"),
          "the migration is there")
