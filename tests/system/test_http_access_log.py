"""The access log: a line per answered request, its fields, its file."""

import json
import os
import re
import signal
import time

import pytest

from harness.http import free_port
from harness.wait import until

SCHEMA = """
create schema t;
create function t.echo(input jsonb) returns jsonb language sql as $$ select input $$;
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep((input ->> 'seconds')::float);
    return '{"slept": true}';
end $$;
"""
APP = """
  route "GET /echo/{id}" { sql = "t.echo"  readonly = true }
  route "POST /nap" { sql = "t.nap" }
"""
TEXT = re.compile(
    r'^\S+Z chimpd\[\d+\] access http/0: (?P<remote>\S+) "(?P<method>\S+) (?P<path>\S*)" '
    r'(?P<status>\d+) (?P<bytes>\d+)(?P<rest>.*)$', re.M)


@pytest.fixture
def serve(start, app):
    return lambda http, **conf: start(app(APP, SCHEMA), workers="", cron=0, subscriber=0,
                                      http=http, **conf)


def lines_of(daemon):
    found = []
    for line in daemon.text().splitlines():
        if line.startswith("{") and '"kind":"access"' in line:
            found.append(json.loads(line))
    return found


def one(daemon, path):
    return until(lambda: [l for l in lines_of(daemon) if l["path"] == path], f"{path} is logged")[0]


def test_it_is_off_unless_asked_for(serve):
    daemon = serve("")
    daemon.http.get("/echo/1")
    time.sleep(0.2)
    assert "access" not in daemon.text()


def test_a_text_line(serve):
    daemon = serve('access_log = "text"')
    answer = daemon.http.get("/echo/1?token=hush", headers={
        "User-Agent": 'odd "agent"', "Referer": "http://from/here", "Cookie": "hush=1",
        "Authorization": "Bearer hush"})
    match = until(lambda: TEXT.search(daemon.text()), "a line")
    assert match["remote"] == "unix" and match["method"] == "GET" and match["path"] == "/echo/1"
    assert match["status"] == "200" and int(match["bytes"]) == len(answer.body)
    rest = match["rest"]
    assert re.match(r" total=\d+\.\d{3} queue=\d+\.\d{3} database=\d+\.\d{3} ", rest)
    assert 'route="GET /echo/{id}"' in rest
    assert f"request={answer.headers['X-Request-Id']} " in rest
    assert f"trace={answer.headers['traceparent'][3:35]} " in rest
    assert r'agent="odd \"agent\""' in rest and 'referer="http://from/here"' in rest
    assert "hush" not in daemon.text()


def test_a_json_line(serve):
    daemon = serve('access_log = "json"')
    answer = daemon.http.get("/echo/2?token=hush", headers={"User-Agent": "me/1"})
    line = one(daemon, "/echo/2")
    assert line["method"] == "GET" and line["status"] == 200 and line["kind"] == "access"
    assert line["bytes"] == len(answer.body) and line["route"] == "GET /echo/{id}"
    assert line["requestId"] == answer.headers["X-Request-Id"]
    assert line["traceId"] == answer.headers["traceparent"][3:35]
    assert line["userAgent"] == "me/1" and "referer" not in line
    assert line["process"] == "http/0" and line["level"] == "info"
    assert 0 <= line["queueMs"] <= line["totalMs"] and 0 < line["databaseMs"] <= line["totalMs"]
    assert "hush" not in daemon.text()


def test_the_remote_address_is_the_peer_s(serve):
    daemon = serve('access_log = "json"', listen=f"127.0.0.1:{free_port()}")
    assert daemon.http.get("/health", headers={"X-Forwarded-For": "10.1.1.1"}).status == 200
    assert one(daemon, "/health")["remote"] == "127.0.0.1"


def test_times_say_where_a_request_was(serve):
    daemon = serve('access_log = "json"  wait_max = "10s"', pool_max=1)
    one_nap = b'POST /nap HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"seconds":0.3}'
    socks = [daemon.http.socket() for _ in range(2)]
    for sock in socks:
        sock.sendall(one_nap)
    for sock in socks:
        assert b"slept" in sock.recv(65536)
        sock.close()
    naps = until(lambda: len(lines_of(daemon)) == 2 and lines_of(daemon), "both are logged")
    first, second = sorted(naps, key=lambda l: l["queueMs"])
    assert first["databaseMs"] >= 300 and second["databaseMs"] >= 300
    assert second["queueMs"] >= 200
    for line in naps:
        assert line["totalMs"] >= line["queueMs"] + line["databaseMs"] - 1


def test_answers_of_every_kind_have_a_line(serve):
    daemon = serve('access_log = "json"  body_max = "10B"')
    daemon.http.get("/health")
    daemon.http.get("/nowhere")
    daemon.http.post("/echo/3", {})
    daemon.http.raw(b"POST /nap HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n" + b"x" * 11)
    assert daemon.http.raw(b"GET /bad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n")
    lines = until(lambda: len(lines_of(daemon)) >= 4 and lines_of(daemon), "lines")
    by_path = {l["path"]: l for l in lines}
    assert by_path["/health"]["route"] == "GET /health" and by_path["/health"]["status"] == 200
    assert "databaseMs" not in by_path["/health"]
    assert by_path["/nowhere"]["status"] == 404 and "route" not in by_path["/nowhere"]
    assert by_path["/echo/3"]["status"] == 405
    assert by_path["/nap"]["status"] == 413
    assert "requestId" not in by_path["/nap"]  # h2o itself has refused it


def test_a_client_that_leaves_is_499(serve):
    daemon = serve('access_log = "json"')
    with daemon.http.socket() as sock:
        sock.sendall(b'POST /nap HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{"seconds":4}')
        time.sleep(0.3)
    assert one(daemon, "/nap")["status"] == 499


def test_odd_bytes_forge_no_line(serve):
    daemon = serve('access_log = "json"')
    for path, agent in [(b"/a\"\\b", b"x\xff\xfe\"}"), (b"/\xc3\xa4\xe4", b"\xc3\xa4"),
                        (b"/" + b"\xff" * 5000, b"\xe2" * 2000)]:
        with daemon.http.socket() as sock:
            sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nUser-Agent: " + agent + b"\r\n\r\n")
            sock.recv(65536)
    lines = until(lambda: len(lines_of(daemon)) == 3 and lines_of(daemon), "all are logged")
    assert [l["path"][:4] for l in lines] == ['/a"\\', "/\xc3\xa4\xe4", "/\xff\xff\xff"]
    assert lines[0]["userAgent"] == 'x\xff\xfe"}' and lines[1]["userAgent"] == "\xe4"
    assert all(len(l) < 4096 for l in daemon.text().splitlines())


def test_a_file_is_opened_anew_at_usr1(serve, folder):
    path = folder / "access.log"
    daemon = serve(f'access_log = "text"  access_log_file = "{path}"', processes=2)
    for n in range(20):
        assert daemon.http.get(f"/echo/{n}").status == 200
    until(lambda: path.read_text().count(" access http/") == 20, "lines in the file")
    assert "GET /echo/" not in daemon.text()
    assert path.stat().st_mode & 0o777 == 0o640
    path.rename(folder / "access.log.1")
    daemon.send_signal(signal.SIGUSR1)
    until(path.exists, "the file is there again")
    time.sleep(0.2)
    for n in range(20, 40):
        assert daemon.http.get(f"/echo/{n}").status == 200
    until(lambda: path.read_text().count(" access http/") == 20, "lines in the new file")
    assert (folder / "access.log.1").read_text().count(" access http/") == 20


def test_a_file_that_cannot_be_opened_is_said(serve, folder):
    daemon = serve(f'access_log = "text"  access_log_file = "{folder}/none/access.log"', wait=False,
                   top='start_timeout = "1s"')
    until(lambda: "http.access_log_file: cannot open" in daemon.text(), "it is said")
    daemon.expected_status = daemon.wait(20)
    assert daemon.expected_status != 0


def test_g40_a_reader_that_stops_holds_nobody_up(serve, folder):
    path = folder / "pipe"
    os.mkfifo(path, 0o666)
    path.chmod(0o666)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    daemon = serve(f'access_log = "text"  access_log_file = "{path}"')
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = 20000
    with daemon.http.socket() as sock:
        for _ in range(requests // 100):
            sock.sendall(one * 100)
            received = b""
            while received.count(b'{"ok":true}') < 100:
                received += sock.recv(1 << 20)

    scrapes = 0

    def dropped():
        nonlocal scrapes
        scrapes += 1
        page = daemon.http.get("/metrics").body.decode()
        return int(re.search(r"^chimpd_http_access_log_dropped_total\S* (\d+)$", page, re.M)[1])

    assert dropped() > 0
    # All that was kept comes, in whole lines, once somebody reads.
    got = b""

    def read():
        nonlocal got
        lost = dropped()
        try:
            got += os.read(reader, 1 << 20)
        except BlockingIOError:
            pass
        # The line of the scrape itself may still be on its way.
        return got.count(b"\n") + lost - requests - scrapes in (-1, 0)

    until(read, "the kept lines are read", interval=0.005)
    assert all(TEXT.match(line) for line in got.decode().splitlines())
    os.close(reader)


def test_nothing_is_lost_at_the_end(serve, folder):
    path = folder / "access.log"
    daemon = serve(f'access_log = "json"  access_log_file = "{path}"')
    with daemon.http.socket() as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        received = b""
        while received.count(b'{"ok":true}') < 500:
            received += sock.recv(65536)
    daemon.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 500
