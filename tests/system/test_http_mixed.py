"""All sorts of clients at once, and what is left of them: nothing. Under the address
sanitizer (build-asan) this is the search for leaks."""

import json
import random
import socket
import threading
import time

import pytest

from harness.http import read_all, status_of
from harness.settings import PATIENCE, long_or_short
from harness.wait import until

# Longer under the sanitizers, which look for leaks.
SECONDS = long_or_short(1800, 60 if PATIENCE > 1 else 8)
CLIENTS = 12
PAUSE_S = long_or_short(0, 0.01)

SCHEMA = """
create schema t;
create table t.wrote (n int, client text);
create function t.item(input jsonb) returns jsonb language sql stable as $$
	select jsonb_build_object('n', (input ->> 'n')::int, 'id', chimp.request() ->> 'requestId')
$$;
create function t.write(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.wrote values ((input ->> 'n')::int, input ->> 'client');
	perform chimp.respond(201, jsonb_build_object('n', input -> 'n'), '{"X-Wrote": "yes"}');
	return null;
end $$;
create function t.fail(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.wrote values (-1, 'rolled back');
	raise exception using errcode = input ->> 'how', message = 'as asked';
end $$;
create function t.nap(input jsonb) returns jsonb language sql as $$
	select to_jsonb(pg_sleep((input ->> 'seconds')::float) is null)
$$;
create function t.big(input jsonb) returns jsonb language sql stable as $$
	select to_jsonb(repeat('x', (input ->> 'size')::int))
$$;
"""
APP = """
  route "GET /item/{n}" { sql = "t.item"  readonly = true  args = "n: integer(0..)" }
  route "POST /write" { sql = "t.write"  args = "n: integer, client: string(1..20)" }
  route "GET /fail/{how}" { sql = "t.fail" }
  route "GET /nap" { sql = "t.nap" }
  route "GET /big" { sql = "t.big"  readonly = true }
"""


class Load:
    """One client's random requests; what it has written for good is counted."""

    def __init__(self, daemon, number):
        self.http = daemon.http
        self.random = random.Random(number)
        self.number = number
        self.wrote = 0
        self.asked = 0
        self.failures = []

    def run(self, until_time):
        kinds = [self.read, self.read, self.read, self.write, self.write, self.form,
                 self.bad, self.fail, self.leave, self.half, self.big, self.pipeline]
        while time.monotonic() < until_time:
            kind = self.random.choice(kinds)
            try:
                kind()
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(f"{kind.__name__}: {error!r}")
            self.asked += 1
            time.sleep(PAUSE_S)

    def read(self):
        n = self.random.randrange(1000)
        answer = self.http.get(f"/item/{n}", headers={"X-Request-Id": f"r{n}"})
        assert answer.status in (200, 503), answer
        if answer.status == 200:
            assert answer.json == {"n": n, "id": f"r{n}"}

    def note(self, answer):
        assert answer.status in (201, 503), answer
        if answer.status == 201:
            assert answer.headers["X-Wrote"] == "yes"
            self.wrote += 1

    def write(self):
        self.note(self.http.post("/write", {"n": 1, "client": f"c{self.number}"}))

    def form(self):
        self.note(self.http.post("/write", f"n=1&client=c{self.number}".encode(), headers={
            "Content-Type": "application/x-www-form-urlencoded"}))

    def bad(self):
        asked, expected = self.random.choice([
            (("POST", "/write", b"{", {}), 400), (("POST", "/write", {"n": "x"}, {}), 400),
            (("GET", "/item/-1", None, {}), 400), (("GET", "/nothing", None, {}), 404),
            (("DELETE", "/write", None, {}), 405), (("OPTIONS", "/write", None, {}), 204),
            (("POST", "/write", b"x", {"Content-Type": "text/plain"}), 415),
            (("HEAD", "/item/1", None, {}), 200)])
        answer = self.http.request(*asked[:3], headers=asked[3])
        assert answer.status in (expected, 503), (asked, answer)

    def fail(self):
        how, status = self.random.choice([("PT409", 409), ("23505", 409), ("P0002", 404)])
        assert self.http.get(f"/fail/{how}").status in (status, 503)

    def leave(self):
        """During the query, the body or the answer."""
        with self.http.socket() as sock:
            sock.sendall(self.random.choice([
                b"GET /nap?seconds=5 HTTP/1.1\r\nHost: x\r\n\r\n",
                b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
                b"GET /big?size=3000000 HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /item/1 HT"]))
            time.sleep(self.random.random() * 0.1)

    def half(self):
        """One that ends its side gets its answer, if that comes soon: to TCP it looks
        like one that has left."""
        raw = self.http.raw(b"GET /item/5 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status_of(raw) in (200, 499, 503), raw[:200]

    def big(self):
        size = self.random.randrange(1, 1000000)
        with self.http.socket() as sock:
            sock.sendall(b"GET /big?size=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % size)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            time.sleep(0.02)
            raw = read_all(sock)
        head, _, body = raw.partition(b"\r\n\r\n")
        if b" 503 " not in head.split(b"\r\n")[0]:
            assert json.loads(body) == "x" * size

    def pipeline(self):
        one = b"GET /item/%d HTTP/1.1\r\nHost: x\r\n\r\n"
        raw = self.http.raw(b"".join(one % n for n in range(5)))
        assert raw.count(b"HTTP/1.1 ") == 5, raw[:200]


def memory(pid):
    """Private bytes of a process."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


@pytest.fixture
def daemon(start, app):
    return start(app(APP, SCHEMA), workers="", cron=0, subscriber=0, processes=2,
                 http='request_timeout = "10s"  wait_max = "5s"')


@pytest.mark.soak
def test_mixed_load_leaves_nothing_behind(daemon, database, figure):
    loads = [Load(daemon, n) for n in range(CLIENTS)]
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=load.run, args=(end,)) for load in loads]
    for thread in threads:
        thread.start()
    kills, before = 0, None
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(SECONDS / 10, 5))
        before = before or {pid: memory(pid) for pid in daemon.children("http").values()}
        kills += len(database.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like 'chimpd/http//%' order by random() limit 1"))
    failures = [failure for load in loads for failure in load.failures]
    assert not failures, failures[:5]
    assert kills > 0
    # All that was said to be written is there. A lost connection may hide a commit.
    said = sum(load.wrote for load in loads)
    assert said <= database.value("select count(*) from t.wrote") <= said + 12 * kills
    assert database.value("select count(*) from t.wrote where n < 0") == 0
    until(lambda: database.value(
        "select count(*) from pg_stat_activity where state <> 'idle'"
        " and application_name like 'chimpd/http//%%'") == 0, "nothing runs any more")
    for _ in range(20):
        text = daemon.http.get("/metrics").body.decode()
        assert "chimpd_http_requests_in_flight" in text
    until(lambda: 'in_flight{process="http/0"} 0' in daemon.http.get("/metrics").body.decode()
          or 'in_flight{process="http/1"} 0' in daemon.http.get("/metrics").body.decode(),
          "no request is at work")
    assert set(daemon.children("http").values()) == set(before)
    grown = max(memory(pid) - before[pid] for pid in before)
    figure(f"growth of an http process in {SECONDS} s, {sum(l.asked for l in loads)} requests",
           grown / 2**20, "MiB", 16)
