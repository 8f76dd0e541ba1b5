"""Idempotency-Key: one effect, and the same answer byte by byte."""

import os
import signal
import threading
import time

import pytest

from harness.procs import children
from harness.wait import until

SCHEMA = """
create schema t;
create table t.made (id int primary key generated always as identity, input jsonb);
create table t.broken (yes boolean);
create function t.make(input jsonb) returns jsonb language plpgsql as $$
declare
	made int;
begin
	insert into t.made (input) values (input) returning id into made;
	perform pg_sleep(coalesce((input ->> 'seconds')::float, 0));
	if exists (select from t.broken) then
		raise exception using errcode = 'PT418', message = 'broken';
	end if;
	return jsonb_build_object('id', made, 'input', input, 'at', clock_timestamp(), 'n', 1.50);
end $$;
create function t.answer(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.made (input) values (input);
	perform chimp.respond(202, to_jsonb(format(E'%s\\u00e9\\n', clock_timestamp())),
		'{"Content-Type": "text/plain; charset=utf-8", "X-Pot": "tea", "Set-Cookie": ["a=1", "b=2"]}');
	return null;
end $$;
create function t.nothing(input jsonb) returns jsonb language sql as $$
	insert into t.made (input) values (input);
	select null::jsonb
$$;
create function t.json_null(input jsonb) returns jsonb language sql as $$ select 'null'::jsonb $$;
"""
APP = """
  route "POST /make" { sql = "t.make"  status = 201 }
  route "POST /make/{id}" { sql = "t.make" }
  route "PUT /other" { sql = "t.make" }
  route "GET /make" { sql = "t.make" }
  route "POST /readonly" { sql = "t.json_null"  readonly = true }
  route "POST /answer" { sql = "t.answer" }
  route "DELETE /nothing" { sql = "t.nothing" }
  route "POST /null" { sql = "t.json_null" }
  route "POST /must" { sql = "t.make"  idempotency = "required" }
  route "POST /off" { sql = "t.make"  idempotency = "off" }
  route "POST /rated" { sql = "t.make"  rate = "2/1h" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}
MADE = "select count(*) from t.made"


@pytest.fixture
def serve(start, app):
    return lambda **conf: start(app(APP, SCHEMA), **HTTP_ONLY, **conf)


def send(http, method, path, key, body=None, **headers):
    return http.request(method, path, body={} if body is None else body,
                        headers={"Idempotency-Key": key, **headers})


def post(http, path, key, body=None, **headers):
    return send(http, "POST", path, key, body, **headers)


def parts(answer):
    """All of an answer but what belongs to the message."""
    own = ("date", "x-request-id", "traceparent", "connection", "idempotency-replayed")
    return (answer.status, answer.body,
            sorted((k.lower(), v) for k, v in answer.headers.items() if k.lower() not in own))


@pytest.mark.parametrize("method, path, status", [
    ("POST", "/make", 201), ("POST", "/make/7?q=1", 200), ("PUT", "/other", 200),
    ("POST", "/answer", 202), ("DELETE", "/nothing", 204), ("POST", "/null", 200),
])
def test_the_same_request_gets_the_same_answer(serve, database, method, path, status):
    http = serve(processes=2).http
    first = send(http, method, path, "k")
    assert first.status == status and "Idempotency-Replayed" not in first.headers, first
    made = database.value(MADE)
    for _ in range(3):
        again = send(http, method, path, "k")
        assert again.headers["Idempotency-Replayed"] == "true"
        assert parts(again) == parts(first)
    assert database.value(MADE) == made
    other = send(http, method, path, "l")
    assert other.status == status and "Idempotency-Replayed" not in other.headers


def test_headers_set_by_the_handler_are_kept(serve):
    http = serve().http
    first, again = (post(http, "/answer", "k") for _ in range(2))
    assert again.headers["X-Pot"] == "tea"
    assert again.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert again.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert again.body == first.body and again.body.endswith("\u00e9\n".encode())


def test_a_key_with_another_request_is_409(serve, database):
    http = serve().http
    assert post(http, "/make/1?q=1", "k", {"a": 1}).status == 200
    for path, body in (("/make/1?q=1", {"a": 2}), ("/make/2?q=1", {"a": 1}), ("/make/1", {"a": 1})):
        answer = post(http, path, "k", body)
        assert answer.status == 409 and answer.type == "application/problem+json", answer
        assert "Idempotency-Key" in answer.json["detail"]
    assert database.value(MADE) == 1
    assert post(http, "/make/1?q=1", "k", {"a": 1}).headers["Idempotency-Replayed"] == "true"


def test_keys_belong_to_a_route_and_to_an_authorization(serve, database):
    http = serve().http
    seen = set()
    for path, headers in (("/make", {}), ("/must", {}), ("/make", {"Authorization": "Bearer a"}),
                          ("/make", {"Authorization": "Bearer b"}), ("/make", {"Authorization": ""})):
        answer = post(http, path, "k", {"n": 1}, **headers)
        assert "Idempotency-Replayed" not in answer.headers
        seen.add(answer.json["id"])
    assert len(seen) == database.value(MADE) == 5
    # Nothing of the secret, nor the key itself, is in the table.
    kept = database.rows("select o::text from chimp.http_answer o")
    assert len(kept) == 5 and not any("Bearer" in text for text, in kept)


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"])
def test_a_malformed_key_is_400(serve, database, key):
    answer = post(serve().http, "/make", key.encode("latin-1"))
    assert answer.status == 400 and "Idempotency-Key" in answer.json["detail"], answer
    assert database.value(MADE) == 0


def test_the_longest_key_is_good_and_two_are_400(serve, database):
    daemon = serve()
    assert post(daemon.http, "/make", "x" * 255).status == 201
    raw = daemon.http.raw(b"POST /make HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\r\n"
                          b"Idempotency-Key: a\r\nContent-Length: 2\r\n\r\n{}")
    assert raw.startswith(b"HTTP/1.1 400 ") and b"more than one" in raw
    assert database.value(MADE) == 1


def test_a_route_may_want_a_key_or_none(serve, database):
    http = serve().http
    answer = http.post("/must", {})
    assert answer.status == 400 and "wants an Idempotency-Key" in answer.json["detail"]
    assert post(http, "/must", "k").status == post(http, "/must", "k").status == 200
    assert database.value(MADE) == 1
    for path in ("/off", "/make"):
        http.post(path, {})
        http.post(path, {})
    post(http, "/off", "k")
    post(http, "/off", "k")
    assert database.value(MADE) == 1 + 6
    assert "Idempotency-Replayed" not in post(http, "/readonly", "k").headers
    for _ in range(2):
        assert http.get("/make", headers={"Idempotency-Key": ""}).status == 200


def test_twenty_clients_with_one_key_have_one_effect(serve, start, database):
    one = serve(processes=2, name="one", pool_max=8, http='wait_max = "5s"')
    two = start(one.dir / "app-t" / "app.conf", name="two", node="node-2", pool_max=8,
                http='wait_max = "5s"', **HTTP_ONLY)
    for round_ in range(5):
        answers, refused = [], []

        def client(n):
            http = (one, two)[n % 2].http
            while True:
                answer = post(http, "/make", f"k{round_}", {"seconds": 0.2})
                if answer.status != 503:
                    answers.append(answer)
                    return
                refused.append(answer)
                time.sleep(0.05)

        clients = [threading.Thread(target=client, args=(n,)) for n in range(20)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        assert len({parts(a)[:2] for a in answers}) == 1
        assert [a.headers["Idempotency-Replayed"] for a in answers].count(None) == 1
        assert all(int(a.headers["Retry-After"]) > 0 for a in refused)
        assert database.value(MADE) == round_ + 1


def test_a_bounded_number_waits_for_the_first(serve, database):
    http = serve(pool_max=8).http
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(
        post(http, "/make", "k", {"seconds": 1}))) for _ in range(8)]
    for thread in clients:
        thread.start()
    until(lambda: len(answers) == 4, "four are refused at once")
    assert [a.status for a in answers] == [503] * 4
    assert "first one's outcome" in answers[0].json["detail"]
    # Others have room.
    assert post(http, "/make", "other").status == 201
    for thread in clients:
        thread.join()
    assert sorted(a.status for a in answers) == [201] * 4 + [503] * 4
    assert database.value(MADE) == 2


def test_what_fails_is_not_kept_and_the_next_one_runs(serve, database):
    http = serve(pool_max=8).http
    database.rows("insert into t.broken values (true)")
    assert post(http, "/make", "k").status == 418
    assert database.value("select count(*) from chimp.http_answer") == 0
    statuses = []
    first = threading.Thread(target=lambda: statuses.append(
        post(http, "/make", "k", {"seconds": 1}).status))
    first.start()
    until(lambda: database.value("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == 1,
          "the first one runs")
    second = threading.Thread(target=lambda: statuses.append(
        post(http, "/make", "k", {"seconds": 1}).status))
    second.start()
    until(lambda: database.value("select count(*) from pg_stat_activity where wait_event = 'transactionid'") == 1,
          "the second one waits for it")
    first.join()
    # It fails; what waited finds no answer, and runs itself.
    database.rows("truncate t.broken")
    second.join()
    assert statuses == [418, 201]
    assert database.value(MADE) == 1


def test_a_process_killed_between_commit_and_answer_leaves_one_effect(serve, database):
    daemon = serve()
    pid = daemon.child("http/0") if "http/0" in daemon.children() else list(daemon.children("http").values())[0]
    failed = []

    def client():
        try:
            failed.append(post(daemon.http, "/make", "k", {"seconds": 1}))
        except Exception as e:  # pylint: disable=broad-except
            failed.append(e)

    thread = threading.Thread(target=client)
    thread.start()
    until(lambda: database.value("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == 1,
          "it runs")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: database.value(MADE) == 1, "it is committed")
    os.kill(pid, signal.SIGKILL)
    thread.join()
    assert isinstance(failed[0], Exception), failed
    until(lambda: pid not in children(daemon.pid), "it is gone")
    answer = until(lambda: post(daemon.http, "/make", "k", {"seconds": 1}), "it serves again")
    assert answer.status == 201 and answer.headers["Idempotency-Replayed"] == "true"
    assert answer.json["id"] == 1
    assert database.value(MADE) == 1


def test_a_backend_that_dies_under_a_keyed_request_is_no_failure(serve, database):
    """It is sent again: the key makes that safe."""
    http = serve(pool_max=2).http
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(http, "/make", "k", {"seconds": 1})))
    thread.start()
    sleeping = "select pid from pg_stat_activity where wait_event = 'PgSleep'"
    pid = until(lambda: database.value(sleeping), "it runs")
    database.rows("select pg_terminate_backend(%s)", pid)
    thread.join()
    assert answers[0].status == 201, answers
    assert post(http, "/make", "k", {"seconds": 1}).status == 201
    assert database.value(MADE) == 1


def test_answers_are_forgotten_after_their_retention(serve, database):
    http = serve(http='idempotency_retention = "1s"').http
    first = post(http, "/make", "k")
    time.sleep(1.1)
    again = post(http, "/make", "k")
    assert "Idempotency-Replayed" not in again.headers
    assert again.json["id"] != first.json["id"]
    # Another request may have it then.
    time.sleep(1.1)
    assert post(http, "/make", "k", {"a": 1}).status == 201
    assert database.value(MADE) == 3
    until(lambda: database.value("select count(*) from chimp.http_answer") == 0, "it is swept", 30)


def test_a_replay_counts_for_the_rate(serve, database):
    http = serve().http
    statuses = [post(http, "/rated", "k") for _ in range(3)]
    assert [a.status for a in statuses] == [200, 200, 429]
    assert [a.headers["RateLimit-Remaining"] for a in statuses] == ["1", "0", "0"]
    assert statuses[1].headers["Idempotency-Replayed"] == "true"
    assert database.value(MADE) == 1
