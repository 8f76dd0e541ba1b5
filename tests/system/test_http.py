"""The http role: commits, concurrency, statuses and bounds."""

import json
import re
import threading
import time

import pytest

from harness.shared import app_of
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.parent (id int primary key);
create table t.child (parent int references t.parent deferrable initially deferred);
create table t.wrote (n int);
create function t.echo(input jsonb) returns jsonb language sql as $$ select input $$;
create function t.deferred(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.child values ((input ->> 'parent')::int);
	return '{"inserted": true}';
end $$;
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input ->> 'seconds')::float);
	insert into t.wrote values (1);
	return '{"slept": true}';
end $$;
create function t.fail(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.wrote values (2);
	if input ->> 'how' = 'assert' then
		raise exception using errcode = 'XX000', message = 'the secret detail';
	end if;
	raise exception using errcode = input ->> 'how', message = 'as asked: ' || (input ->> 'how');
end $$;
create function t.nothing(input jsonb) returns jsonb language sql as $$ select null::jsonb $$;
create function t.writes(input jsonb) returns jsonb language sql as $$
	insert into t.wrote values (3) returning to_jsonb(n)
$$;
create function t.respond(input jsonb) returns jsonb language sql as $$
	select chimp.respond(418, '{"short": "and stout"}', '{"X-Pot": "tea"}');
	select null::jsonb
$$;
create function t.request(input jsonb) returns jsonb language sql as $$ select chimp.request() $$;
create function t.big(input jsonb) returns jsonb language sql as $$
	select to_jsonb(repeat('x', (input ->> 'size')::int))
$$;
"""
APP = """
  action "echo" { sql = "t.echo" }
  action "typed" { sql = "t.echo"  args = "id: integer, n: integer(1..10)?, on: boolean = true, tags: string[]?" }
  route "POST /echo/{id}" { action = "echo" }
  route "GET /typed/{id}" { action = "typed" }
  route "POST /typed/{id}" { action = "typed" }
  route "POST /deferred" { sql = "t.deferred"  status = 201 }
  route "POST /nap" { sql = "t.nap" }
  route "GET /fail/{how}" { sql = "t.fail" }
  route "GET /nothing" { sql = "t.nothing"  status = 201 }
  route "GET /readonly" { sql = "t.writes"  readonly = true }
  route "GET /respond" { sql = "t.respond" }
  route "GET /request" { sql = "t.request" }
  route "GET /big" { sql = "t.big" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}


ALL = app_of(APP, SCHEMA)


@pytest.fixture
def serve(start, app):
    return lambda **conf: start(app(APP, SCHEMA), **HTTP_ONLY, **conf)


@pytest.fixture
def daemon(shared):
    """Of all tests that write nothing."""
    return shared(ALL, **HTTP_ONLY)


def test_the_answer_leaves_after_the_commit(serve, database):
    """The result is there before a deferred constraint fails the COMMIT."""
    daemon = serve()
    answer = daemon.http.post("/deferred", {"parent": 7})
    assert answer.status == 409, answer
    assert answer.type == "application/problem+json"
    assert database.value("select count(*) from t.child") == 0
    database.rows("insert into t.parent values (7)")
    answer = daemon.http.post("/deferred", {"parent": 7})
    assert (answer.status, answer.json) == (201, {"inserted": True})
    assert database.value("select count(*) from t.child") == 1


def test_a_slow_query_delays_nobody_else(serve, figure):
    daemon = serve(pool_max=4, http='request_timeout = "10s"')
    naps = [threading.Thread(target=daemon.http.post, args=("/nap", {"seconds": 6}))
            for _ in range(2)]
    for nap in naps:
        nap.start()
    time.sleep(0.2)
    worst = 0
    for n in range(50):
        with Stopwatch() as watch:
            assert daemon.http.post(f"/echo/{n}", {}).status == 200
        worst = max(worst, watch.ms)
    assert all(nap.is_alive() for nap in naps)
    for nap in naps:
        nap.join()
    figure("slowest of 50 fast requests beside two slow ones", worst, "ms", 20)


def test_many_requests_are_in_flight_in_one_process(serve):
    # The first ones open the connections: not in 100 ms under a sanitizer.
    daemon = serve(pool_max=8, http='wait_max = "4s"')
    answers = []
    clients = [threading.Thread(target=lambda n=n: answers.append(
        (n, daemon.http.post(f"/echo/{n}", {"n": n})))) for n in range(100)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(answers) == 100
    for n, answer in answers:
        assert answer.status == 200 and answer.json == {"n": n, "id": str(n)}, answer


def test_pipelined_requests_are_answered_in_order(serve):
    daemon = serve()
    one = b"POST /echo/%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with daemon.http.socket() as sock:
        sock.sendall(b"".join(one % n for n in range(20)))
        received = b""
        while received.count(b'{"id"') < 20:
            received += sock.recv(65536)
    assert [int(n) for n in re.findall(rb'"id": "(\d+)"', received)] == list(range(20))


def test_g40_requests_beyond_the_bound_are_503_with_retry_after(serve, figure):
    daemon = serve(pool_max=3, http='wait_max = "200ms"  request_timeout = "10s"')
    answers = []

    def nap():
        with Stopwatch() as watch:
            answer = daemon.http.post("/nap", {"seconds": 2})
        answers.append((answer, watch.ms))

    clients = [threading.Thread(target=nap) for _ in range(20)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    served = [a for a, _ in answers if a.status == 200]
    refused = [(a, ms) for a, ms in answers if a.status == 503]
    assert len(served) + len(refused) == 20
    assert 1 <= len(served) <= 3
    for answer, _ in refused:
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.type == "application/problem+json"
    figure("503 at wait_max = 200ms, the slowest", max(ms for _, ms in refused), "ms", 250)
    assert daemon.http.post("/echo/1", {}).status == 200


def test_g40_clients_beyond_max_connections_wait_or_are_refused(serve):
    daemon = serve(http="max_connections = 5")
    sockets = [daemon.http.socket() for _ in range(30)]
    time.sleep(0.3)
    for sock in sockets:
        sock.close()
    until(lambda: daemon.http.get("/health").status == 200, "it serves again")


def test_a_request_over_its_time_is_504_and_rolled_back(serve, database, figure):
    daemon = serve(http='request_timeout = "500ms"')
    with Stopwatch() as watch:
        answer = daemon.http.post("/nap", {"seconds": 30})
    assert answer.status == 504, answer
    assert watch.ms > 400
    figure("504 at request_timeout = 500ms", watch.ms, "ms", 550)
    until(lambda: database.value("select count(*) from pg_stat_activity where state = 'active'"
                                 " and application_name like 'chimpd/http%%'") == 0,
          "its query is cancelled")
    assert database.value("select count(*) from t.wrote") == 0


def test_a_client_that_goes_away_cancels_its_query(serve, database):
    daemon = serve(http='request_timeout = "30s"')
    running = ("select count(*) from pg_stat_activity where state = 'active'"
               " and application_name like 'chimpd/http%%' and wait_event = 'PgSleep'")
    with daemon.http.socket() as sock:
        sock.sendall(b"POST /nap HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n"
                     b'{"seconds": 20}')
        until(lambda: database.value(running) == 1, "it runs")
    until(lambda: database.value(running) == 0, "it is cancelled")
    assert database.value("select count(*) from t.wrote") == 0


@pytest.mark.parametrize("sqlstate, status", [
    ("PT409", 409), ("PT418", 418), ("P0001", 400), ("P0002", 404), ("22023", 400),
    ("23502", 400), ("23514", 400), ("23503", 409), ("23505", 409), ("23P01", 409),
    ("28000", 401), ("42501", 403), ("53300", 503), ("57P03", 503),
])
def test_sqlstates_become_statuses(daemon, sqlstate, status):
    answer = daemon.http.get(f"/fail/{sqlstate}")
    assert answer.status == status, answer
    assert answer.type == "application/problem+json"
    assert answer.json["status"] == status
    if status in (400, 404, 409, 418):
        assert "as asked" in answer.json["detail"]
    if status == 503:
        assert "Retry-After" in answer.headers
    assert daemon.database.value("select count(*) from t.wrote") == 0


def test_serialization_failures_are_retried_then_503(daemon):
    answer = daemon.http.get("/fail/40001")
    assert answer.status == 503, answer


def test_an_unexpected_error_is_500_with_an_incident_id_and_no_detail(daemon):
    answer = daemon.http.get("/fail/assert")
    assert answer.status == 500
    assert "secret" not in answer.body.decode()
    [incident] = [v for k, v in answer.json.items() if "incident" in k]
    line = until(lambda: [l for l in daemon.text().splitlines() if incident in l],
                 "the incident is in the log")[0]
    assert "the secret detail" in line


def test_sql_null_is_204(daemon):
    answer = daemon.http.get("/nothing")
    assert (answer.status, answer.body) == (204, b"")


def test_a_readonly_route_cannot_write(daemon):
    assert daemon.http.get("/readonly").status >= 400
    assert daemon.database.value("select count(*) from t.wrote") == 0


def test_respond_sets_status_headers_and_body(daemon):
    answer = daemon.http.get("/respond")
    assert answer.status == 418
    assert answer.headers["X-Pot"] == "tea"
    assert answer.json == {"short": "and stout"}


def test_request_is_known_to_the_handler(daemon):
    answer = daemon.http.get("/request?a=1&b=2", headers={"X-Test": "yes"})
    request = answer.json
    assert (request["method"], request["path"]) == ("GET", "/request")
    assert request["headers"]["x-test"] == "yes"


def test_input_is_body_then_query_then_path_the_later_winning(daemon):
    answer = daemon.http.post("/echo/path?id=query&q=2", {"id": "body", "b": 1})
    assert answer.json == {"id": "path", "q": "2", "b": 1}


def test_arguments_are_converted_checked_and_completed(daemon):
    assert daemon.http.get("/typed/12?n=3&on=false").json == {"id": 12, "n": 3, "on": False}
    assert daemon.http.get("/typed/12").json == {"id": 12, "on": True}
    answer = daemon.http.post("/typed/1", {"n": 11, "tags": ["a", 2]})
    assert answer.status == 400
    assert "args.n" in answer.body.decode() and "args.tags[1]" in answer.body.decode()


def test_numbers_survive_as_the_client_wrote_them(daemon):
    body = b'{"big": 12345678901234567890, "decimal": 0.10000000000000000001}'
    answer = daemon.http.post("/echo/1", body)
    numbers = json.loads(answer.body, parse_float=str, parse_int=str)
    assert (numbers["big"], numbers["decimal"]) == (
        "12345678901234567890", "0.10000000000000000001")


def test_head_and_options_follow_the_table(daemon):
    answer = daemon.http.request("HEAD", "/typed/12")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0
    answer = daemon.http.request("OPTIONS", "/typed/12")
    assert answer.status in (200, 204)
    assert {m.strip() for m in answer.headers["Allow"].split(",")} == {
        "GET", "HEAD", "OPTIONS", "POST"}


def test_a_large_answer_arrives_whole(daemon):
    answer = daemon.http.get("/big?size=5000000")
    assert answer.status == 200
    assert len(answer.json) == 5000000


def test_a_client_that_reads_slowly_holds_nobody_up(serve):
    daemon = serve()
    with daemon.http.socket() as sock:
        sock.sendall(b"GET /big?size=20000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        # The answer is there, and nobody reads the rest of it.
        sock.settimeout(60)
        assert sock.recv(1) == b"H"
        for n in range(20):
            assert daemon.http.post(f"/echo/{n}", {}).status == 200


def test_an_empty_body_counts_as_an_empty_object(daemon):
    for body in (None, b"", b"{}", b" \n"):
        assert daemon.http.post("/echo/1", body).json == {"id": "1"}


def test_health_and_ready_and_metrics_answer(daemon):
    assert daemon.http.get("/health").json == {"ok": True}
    assert daemon.http.get("/ready").status == 200
    metrics = daemon.http.get("/metrics")
    assert metrics.status == 200 and metrics.type == "text/plain"
    assert re.search(r"^chimpd_database_up\S* 1$", metrics.body.decode(), re.M)
