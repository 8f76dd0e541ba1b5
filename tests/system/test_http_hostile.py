"""Clients that mean harm: too slow, too much, or one request that is to be read as two."""

import pathlib
import re
import socket
import threading
import time

import pytest

from harness import procs
from harness.crowd import Crowd, allow_files
from harness.http import Client, free_port, read_all, status_of
from harness.tls import Certificate, TlsClient, context
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.ran (what text);
create function t.mark(input jsonb) returns jsonb language sql as $$
	insert into t.ran values (coalesce(input ->> 'what', 'nothing'));
	select '{"ran": true}'::jsonb;
$$;
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input ->> 'seconds')::float);
	return '{"slept": true}';
end $$;
create function t.big(input jsonb) returns jsonb language sql as $$
	select to_jsonb(repeat('x', (input ->> 'size')::int))
$$;
"""
APP = """
  route "POST /mark" { sql = "t.mark" }
  route "GET /evil" { sql = "t.mark" }
  route "GET /nap" { sql = "t.nap" }
  route "GET /big" { sql = "t.big" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}
ASK = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["plain", "tls"])
def serve(request, start, app, folder):
    """serve(http) -> (Chimpd, client), over TCP or TLS."""
    def make(http="", **conf):
        port = free_port()
        address = f"127.0.0.1:{port}"
        client = Client(("127.0.0.1", port))
        if request.param == "tls":
            certificate = Certificate(folder, "a", "a.test")
            address += " tls"
            http += "\n" + certificate.section
            client = TlsClient(client.address, context(certificate), "a.test")
        return start(app(APP, SCHEMA), listen=address, http=http, **HTTP_ONLY, **conf), client
    return make


@pytest.fixture
def name(request):
    return request.node.callspec.params["serve"]


def answers(received):
    """The statuses in raw bytes, in order."""
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


def answer(sock):
    """One, with its body, however many records it came in."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536) or b"\r\n\r\n"
    length = re.search(rb"^content-length: (\d+)", received, re.M | re.I)
    end = received.index(b"\r\n\r\n") + 4 + int(length[1] if length else 0)
    while len(received) < end and (more := sock.recv(65536)):
        received += more
    return received


def drip(sock, pieces, every=0.1):
    """Send one after the other until the other side ends it; seconds."""
    begun = time.monotonic()
    sock.settimeout(every)
    for piece in pieces:
        try:
            sock.sendall(piece)
            if sock.recv(65536) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begun


# --- slow ones --------------------------------------------------------------------------

def test_a_slow_head_is_ended(serve, name, figure):
    daemon, client = serve('read_header_timeout = "1s"  idle_timeout = "60s"')
    for what, first in (("first", b""), ("second", ASK)):
        with client.socket() as sock:
            if first:
                sock.sendall(first)
                assert answer(sock).startswith(b"HTTP/1.1 200 ")
            sock.sendall(b"GET /health HTTP/1.1\r\n")
            took = drip(sock, (b"X-%d: y\r\n" % n for n in range(600)))
        assert took > 0.9
        figure(f"{name}: slow head of the {what} request, read_header_timeout = 1s",
               took * 1000, "ms", 3000)
    assert daemon.http.address and client.get("/health").status == 200


def test_silence_from_the_beginning_is_ended(serve, name, figure):
    _, client = serve('read_header_timeout = "1s"  idle_timeout = "60s"')
    with client.socket() as sock, Stopwatch() as watch:
        sock.settimeout(60)
        assert read_all(sock) == b""
    assert watch.ms > 900
    figure(f"{name}: nothing said, read_header_timeout = 1s", watch.ms, "ms", 3000)


@pytest.mark.parametrize("sizes", [(1,), (1, 2, 3)], ids=["the same", "growing and shrinking"])
def test_a_slow_body_is_ended(serve, name, sizes, figure):
    _, client = serve('read_timeout = "1s"  read_header_timeout = "60s"')
    with client.socket() as sock:
        sock.sendall(b"POST /mark HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        took = drip(sock, (b" " * sizes[n % len(sizes)] for n in range(600)))
    assert took > 0.9
    figure(f"{name}: slow body of {len(sizes)} sizes, read_timeout = 1s", took * 1000, "ms", 3000)


def test_a_slow_chunk_is_ended(serve, name, figure):
    """Bytes of an extension: h2o throws them away, so that nothing grows."""
    _, client = serve('read_timeout = "1s"  read_header_timeout = "60s"')
    with client.socket() as sock:
        sock.sendall(b"POST /mark HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        took = drip(sock, (b"x" * (n % 3 + 1) for n in range(600)))
    assert took > 0.9
    figure(f"{name}: slow chunk, read_timeout = 1s", took * 1000, "ms", 3000)


def test_who_does_not_read_the_answer_is_ended(serve, name, figure):
    daemon, client = serve('write_timeout = "1s"  request_timeout = "30s"')
    with client.socket() as sock, Stopwatch() as watch:
        sock.sendall(b"GET /big?size=50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: connections(client) == 2, "it is written", timeout=20)
        until(lambda: connections(client) == 1, "the connection is ended")
    assert watch.ms > 900
    figure(f"{name}: answer not read, write_timeout = 1s", watch.ms, "ms", 5000)
    assert daemon.children("http")


def test_who_reads_the_answer_a_little_at_a_time_is_ended(serve, name, figure):
    _, client = serve('write_timeout = "1s"  request_timeout = "30s"')
    with client.socket() as sock:
        sock.sendall(b"GET /big?size=50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: connections(client) == 2, "it is written", timeout=20)
        begun = time.monotonic()
        while connections(client) == 2:
            sock.recv(1000)
            time.sleep(0.1)
            assert time.monotonic() - begun < 60
        took = time.monotonic() - begun
    assert took > 0.9
    figure(f"{name}: answer read at 10 kB/s, write_timeout = 1s", took * 1000, "ms", 5000)


def test_who_reads_the_answer_slowly_but_steadily_gets_it_all(serve):
    _, client = serve('write_timeout = "1s"  request_timeout = "30s"')
    with client.socket() as sock:
        sock.sendall(b"GET /big?size=20000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        begun, received = time.monotonic(), 0
        while more := sock.recv(65536):
            received += len(more)
            # 5 MB a second, in pieces of no more than the kernel holds.
            time.sleep(max(0, begun + received / 5e6 - time.monotonic()))
    assert received > 20000000
    assert time.monotonic() - begun > 3


def connections(client):
    """As the process counts them, this one included."""
    text = client.get("/metrics").body.decode()
    return int(re.search(r"^chimpd_http_connections\S* (\d+)$", text, re.M)[1])


def test_an_idle_connection_is_ended(serve, name, figure):
    _, client = serve('idle_timeout = "1s"')
    with client.socket() as sock:
        sock.sendall(ASK)
        assert answer(sock).startswith(b"HTTP/1.1 200 ")
        with Stopwatch() as watch:
            assert read_all(sock) == b""
    assert watch.ms > 900
    figure(f"{name}: idle, idle_timeout = 1s", watch.ms, "ms", 3000)


HELLO = (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 32 + b"\x00\x00\x04\x13\x01"
         b"\x13\x02\x01\x00\x01\xcf" + b"\x00\x15\x01\xcb" + b"\x00" * 0x1cb)


@pytest.mark.parametrize("serve", ["tls"], indirect=True)
@pytest.mark.parametrize("said", ["nothing", "half a hello", "a byte now and then"])
def test_a_slow_handshake_is_ended(serve, name, said, figure):
    daemon, client = serve('read_header_timeout = "1s"')
    with client.plain() as sock:
        pieces = {"nothing": [], "half a hello": [HELLO[:100]],
                  "a byte now and then": [bytes([b]) for b in HELLO]}[said]
        begun = time.monotonic()
        drip(sock, pieces)
        sock.settimeout(60)
        assert b"HTTP" not in read_all(sock)
        took = time.monotonic() - begun
    assert took > 0.9
    figure(f"{name}: handshake with {said}, read_header_timeout = 1s", took * 1000, "ms", 2500)
    until(lambda: connections(client) == 1, "the process has let it go")
    assert daemon.stop() == 0


@pytest.mark.parametrize("serve", ["tls"], indirect=True)
def test_a_silent_handshake_does_not_hold_up_a_stop(serve, figure):
    daemon, client = serve('read_header_timeout = "60s"', stop_timeout="50s")
    with client.plain() as sock:
        until(lambda: connections(client) == 2, "it is accepted")
        with Stopwatch() as watch:
            assert daemon.stop(timeout=60) == 0
        assert read_all(sock) == b""
    figure("stop with a silent TLS handshake", watch.ms, "ms", 2500)


# --- one request that is to be read as two ----------------------------------------------

EVIL = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*lines, body=b"{}"):
    return b"\r\n".join([b"POST /mark HTTP/1.1", *lines, b"", body])


HOST = b"Host: x"
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
SMUGGLED = {
    "both lengths": post(HOST, b"Content-Length: 2", CHUNKED, body=CHUNKS),
    "both, the other way round": post(HOST, CHUNKED, b"Content-Length: 12", body=CHUNKS),
    "two lengths": post(HOST, b"Content-Length: 2", b"Content-Length: 50"),
    "two lengths, the second shorter": post(HOST, b"Content-Length: 2", b"Content-Length: 0"),
    "the same length twice": post(HOST, b"Content-Length: 2", b"Content-Length: 2"),
    "a list of lengths": post(HOST, b"Content-Length: 2, 2"),
    "a length with a sign": post(HOST, b"Content-Length: +2"),
    "a negative length": post(HOST, b"Content-Length: -2"),
    "a length in hexadecimal": post(HOST, b"Content-Length: 0x2"),
    "an empty length": post(HOST, b"Content-Length: "),
    "a length of 30 digits": post(HOST, b"Content-Length: " + b"9" * 30),
    "a length of 2^64 + 2": post(HOST, b"Content-Length: 18446744073709551618"),
    "two encodings": post(HOST, CHUNKED, b"Transfer-Encoding: identity", body=CHUNKS),
    "chunked twice": post(HOST, CHUNKED, CHUNKED, body=CHUNKS),
    "another encoding": post(HOST, b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "identity": post(HOST, b"Transfer-Encoding: identity", b"Content-Length: 2"),
    "an unknown encoding": post(HOST, b"Transfer-Encoding: xchunked", body=CHUNKS),
    "chunked in HTTP/1.0": post(HOST, CHUNKED, body=CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "a chunk size that is none": post(HOST, CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk size of 17 digits": post(HOST, CHUNKED, body=b"1" + b"0" * 16 + b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk size with a sign": post(HOST, CHUNKED, body=b"+2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size behind a blank": post(HOST, CHUNKED, body=b" 2\r\n{}\r\n0\r\n\r\n"),
    "no chunk size": post(HOST, CHUNKED, body=b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk that is longer than it says": post(HOST, CHUNKED, body=b"2\r\n{}x\r\n0\r\n\r\n"),
    "a negative chunk size": post(HOST, CHUNKED, body=b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size of 17 digits that are small": post(
        HOST, CHUNKED, body=b"0" * 16 + b"2\r\n{}\r\n0\r\n\r\n"),
    "an extension without a size": post(HOST, CHUNKED, body=b";a=b\r\n{}\r\n0\r\n\r\n"),
    "an extension with a line break in quotes": post(
        HOST, CHUNKED, body=b'2;a="\r\n"\r\n{}\r\n0\r\n\r\n'),
    "a chunk without its CR LF": post(HOST, CHUNKED, body=b"2\r\n{}0\r\n\r\n"),
    "a chunk size of 2^64 - 1": post(
        HOST, CHUNKED, body=b"f" * 16 + b"\r\n" + b"x" * (5 << 20)),
    "a folded header": post(HOST, b"X: a", b" b", b"Content-Length: 2"),
    "a folded encoding": post(HOST, b"Content-Length: 2", b"Transfer-Encoding:", b" chunked"),
    "a folded line that is a header": post(HOST, b"Content-Length: 2", b" Content-Length: 30"),
    "a tab before a header": post(HOST, b"\tContent-Length: 2"),
    "a bare LF behind a header": post(HOST, b"X: a\nContent-Length: 2"),
    "a bare LF behind the request line": post(HOST, b"Content-Length: 2").replace(b"\r\n", b"\n", 1),
    "bare LFs only": post(HOST, b"Content-Length: 2").replace(b"\r\n", b"\n"),
    "a bare LF ends the head": b"POST /mark HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\n{}",
    "a bare CR in a header": post(HOST, b"X: a\rContent-Length: 2"),
    "a blank before the colon": post(HOST, b"Content-Length : 2"),
    "a tab before the colon": post(HOST, b"Transfer-Encoding\t: chunked", body=CHUNKS),
    "a NUL in a value": post(HOST, b"X: a\0b", b"Content-Length: 2"),
    "a NUL in a name": post(HOST, b"Content-Length\0: 2"),
    "a vertical tab in a value": post(HOST, b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "a header without a name": post(HOST, b": 2", b"Content-Length: 2"),
    "a header without a colon": post(HOST, b"Content-Length 2"),
    "no host": post(b"Content-Length: 2"),
    "two hosts": post(HOST, b"Host: y", b"Content-Length: 2"),
    "the target of another host": b"GET http://y/evil HTTP/1.1\r\nHost: x\r\n\r\n",
    "an authority as target": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without a slash": b"GET evil HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in the target": b"GET /evil HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab in the request line": b"GET\t/evil\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/1.2": b"GET /evil HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /evil\r\n",
}


def test_smuggled_requests_are_refused_and_nothing_behind_them_is_read(serve, name, database):
    """Each is followed by a proper request, which must have no answer."""
    daemon, client = serve()
    children = daemon.children("http")
    wrong = {}
    for what, said in SMUGGLED.items():
        with client.socket() as sock:
            sock.sendall(said + EVIL)
            received = read_all(sock)
        # 413: h2o knows a number that is too large from one that is none.
        if len(answers(received)) != 1 or status_of(received) not in (400, 413) or \
                b"connection: close" not in received.lower():
            wrong[what] = received
    assert not wrong, f"{name}: {wrong}"
    assert database.rows("select * from t.ran") == []
    assert daemon.children("http") == children


FRAMED = {
    "a length": (post(HOST, b"content-LENGTH: \t 2"), 200, True),
    "a length of leading zeros": (post(HOST, b"Content-Length: 0002"), 200, True),
    "an empty line before it": (b"\r\n" + post(HOST, b"Content-Length: 2"), 200, True),
    "HTTP/1.0 without a host": (
        post(b"Content-Length: 2").replace(b"HTTP/1.1", b"HTTP/1.0", 1), 200, False),
    # h2o reads these more kindly than others, so nothing is read behind them.
    "chunks": (post(HOST, CHUNKED, body=CHUNKS), 200, False),
    "a trailer": (post(HOST, CHUNKED, body=b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n"), 200, False),
    "an extension": (post(HOST, CHUNKED, body=b"2;a=b\r\n{}\r\n0\r\n\r\n"), 200, False),
    "bare LFs around chunks": (post(HOST, CHUNKED, body=b"2\n{}\n0\n\n"), 200, False),
    "a blank behind a chunk size": (post(HOST, CHUNKED, body=b"2 \r\n{}\r\n0\r\n\r\n"), 200, False),
    "an extension in quotes": (
        post(HOST, CHUNKED, body=b'2;a="b;c 0"\r\n{}\r\n0;d\r\n\r\n'), 200, False),
    "an extension that ends with LF": (post(HOST, CHUNKED, body=b"2;a\n{}\r\n0\r\n\r\n"), 200, False),
    "an extension of 1 MiB": (
        post(HOST, CHUNKED, body=b"2;" + b"a" * (1 << 20) + b"\r\n{}\r\n0\r\n\r\n"), 200, False),
    "anything behind a chunk size": (post(HOST, CHUNKED, body=b"2xyz\r\n{}\r\n0\r\n\r\n"), 200, False),
    "leading zeros": (post(HOST, CHUNKED, body=b"0" * 15 + b"2\r\n{}\r\n00000\r\n\r\n"), 200, False),
    "a trailer that frames": (post(HOST, CHUNKED, body=b"2\r\n{}\r\n0\r\nTransfer-Encoding: "
                                   b"chunked\r\nHost: y\r\n\r\n"), 200, False),
    "a trailer of no header": (post(HOST, CHUNKED, body=b"2\r\n{}\r\n0\r\nGET /evil HTTP/1.1\r\n"
                                    b" folded\r\n\r\n"), 200, False),
    "a trailer of 1 MiB": (post(HOST, CHUNKED, body=b"2\r\n{}\r\n0\r\nX: " + b"a" * (1 << 20) +
                                b"\r\n\r\n"), 200, False),
}


def test_a_second_request_is_read_only_behind_a_clear_end(serve, database):
    _, client = serve()
    for what, (said, status, goes_on) in FRAMED.items():
        database.rows("delete from t.ran")
        with client.socket() as sock:
            sock.sendall(said + EVIL.replace(b"/evil", b"/evil?what=evil"))
            sock.settimeout(2 if goes_on else 30)
            received = b""
            try:
                while received.count(b'"ran"') < 2 and (more := sock.recv(65536)):
                    received += more
            except ConnectionResetError:
                pass
        assert status_of(received[:20]) == status, (what, received)
        assert answers(received) == ([200, 200] if goes_on else [200]), (what, received)
        ran = [w for w, in database.rows("select what from t.ran order by what")]
        assert ran == (["evil", "nothing"] if goes_on else ["nothing"]), what


def chunked(*pieces, size=b"%x", extension=b"", trailer=b""):
    """A body in pieces."""
    lines = [size % len(piece) + extension + b"\r\n" + piece + b"\r\n" for piece in pieces]
    return b"".join(lines) + b"0" + extension + b"\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize("serve", ["plain"], indirect=True)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "byte by byte"])
def test_a_chunked_body_is_the_same_however_it_is_cut(serve, database, at_once):
    """Nothing of sizes, extensions and trailers gets into it, nor into the headers."""
    _, client = serve()
    wanted = b"twelve bytes"
    body = b'{"what": "' + wanted + b'"}'
    ways = [chunked(body), chunked(*(body[i:i + 1] for i in range(len(body)))),
            chunked(body[:9], body[9:], size=b"%08X", extension=b';what="evil"'),
            chunked(body[:9], body[9:], extension=b" ; a",
                    trailer=b"Content-Type: text/evil\r\nIdempotency-Key: evil\r\n")]
    for way in ways:
        said = post(HOST, CHUNKED, body=way)
        with client.socket() as sock:
            for piece in [said] if at_once else (said[i:i + 1] for i in range(len(said))):
                sock.sendall(piece)
            received = read_all(sock)
        assert answers(received) == [200], (way, received)
        assert b"connection: close" in received.lower(), way
    assert database.rows("select distinct what from t.ran") == [(wanted.decode(),)]
    assert database.value("select count(*) from t.ran") == len(ways)


@pytest.mark.parametrize("serve", ["plain"], indirect=True)
@pytest.mark.parametrize("begun", [b"2;", b"2\r\n{}\r\n0\r\nX: "], ids=["extension", "trailer"])
def test_an_endless_line_of_a_chunked_body_is_ended(serve, begun, figure):
    """However fast it comes: nothing of it is kept, and read_timeout ends it."""
    daemon, client = serve('read_timeout = "1s"', processes=1)
    [pid] = daemon.children("http").values()
    assert client.get("/health").status == 200
    before = worst = pss_mib(pid)
    over = time.monotonic() + 30
    with client.socket() as sock, Stopwatch() as watch:
        sock.sendall(post(HOST, CHUNKED, body=begun))
        sock.settimeout(30)
        try:
            while time.monotonic() < over:
                sock.sendall(b"x" * (1 << 16))
                worst = max(worst, pss_mib(pid))
        except OSError:
            pass
    figure("an endless line of a chunked body, read_timeout = 1s", watch.ms, "ms", 3000)
    figure("PSS that it added", worst - before, "MiB", 10)


def test_pipelined_requests_end_at_the_first_that_is_refused(serve, database):
    _, client = serve()
    good = EVIL.replace(b"/evil", b"/evil?what=good")
    with client.socket() as sock:
        sock.sendall(good * 3 + SMUGGLED["both lengths"] + good * 3)
        received = read_all(sock)
    assert answers(received) == [200] * 3 + [400]
    assert database.value("select count(*) from t.ran") == 3


# --- floods -------------------------------------------------------------------------------

def pss_mib(*pids):
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return total / 1024


FLOODS = {
    "101 headers": b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 101 + b"\r\n",
    "a header of 1 MiB": b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"b" * (1 << 20) + b"\r\n\r\n",
    "a target of 1 MiB": b"GET /" + b"b" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method of 1 MiB": b"G" * (1 << 20),
    "headers without an end": b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 300000,
    "line breaks": b"\r\n" * (1 << 19),
}


def test_floods_of_headers_are_refused_and_memory_stays_bounded(serve, name, figure):
    daemon, client = serve()
    children = daemon.children("http")
    [pid] = children.values()
    assert client.get("/health").status == 200
    before = worst = pss_mib(pid)
    for what, said in FLOODS.items():
        for _ in range(5):
            received = flood(client, said)
            assert status_of(received) in (None, 400, 414, 431), (what, received[:200])
        worst = max(worst, pss_mib(pid))
    assert daemon.children("http") == children
    assert client.get("/health").status == 200
    figure(f"{name}: PSS of a process that header floods added", worst - before, "MiB", 5)


def flood(client, said):
    with client.socket() as sock:
        try:
            sock.sendall(said)
        except OSError:
            pass
        try:
            return read_all(sock)
        except OSError:
            return b""


def test_sixty_endless_senders_do_not_fill_the_memory(serve, name, figure):
    """Gigabytes where a head or the next request should end."""
    daemon, client = serve(processes=1)
    [pid] = daemon.children("http").values()
    assert client.get("/health").status == 200
    before = worst = pss_mib(pid)
    over = threading.Event()

    def send(first):
        while not over.is_set():
            try:
                with client.socket() as sock:
                    sock.sendall(first)
                    while not over.is_set():
                        sock.sendall(b"x" * (1 << 20))
            except OSError:
                pass

    firsts = [b"GET /health HTTP/1.1\r\nA: ", b"GET /nap?seconds=1 HTTP/1.1\r\nHost: x\r\n\r\n",
              b"POST /mark HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"]
    threads = [threading.Thread(target=send, args=(f,)) for f in firsts * 20]
    for thread in threads:
        thread.start()
    for _ in range(20):
        time.sleep(0.1)
        worst = max(worst, pss_mib(pid))
    over.set()
    for thread in threads:
        thread.join()
    assert client.get("/health").status == 200
    figure(f"{name}: PSS of a process that 60 endless senders added", worst - before, "MiB", 60)


@pytest.mark.parametrize("serve, wanted", [("plain", 10000), ("tls", 2000)],
                         indirect=["serve"], ids=["plain", "tls"])
def test_idle_connections_cost_little(serve, name, wanted, figure):
    """In all: the master, its processes, and what the clients cost them."""
    room = (allow_files(11000) - 1000) // 100 * 100
    n = min(wanted, room)
    daemon, client = serve('max_connections = 20000  idle_timeout = "600s"'
                           '  read_header_timeout = "600s"', processes=2)
    with Crowd(client) as crowd:
        while len(crowd.sockets) < n:
            crowd.come(min(500, n - len(crowd.sockets)))
        time.sleep(0.5)
        pids = [daemon.pid, *procs.descendants(daemon.pid)]
        figure(f"{name}: PSS of chimpd with {n} idle connections in 2 processes",
               pss_mib(*pids), "MiB", 100)
        assert client.get("/health").status == 200
        for sock in crowd.sockets[::100]:
            sock.sendall(ASK)
            assert b"HTTP/1.1 200 " in answer(sock)


# --- half-closed ----------------------------------------------------------------------------

@pytest.mark.parametrize("seconds", [0, 0.1])
def test_a_client_that_has_ended_its_side_gets_its_answer(serve, seconds):
    _, client = serve()
    assert client.get("/nap?seconds=0").status == 200  # the pool is warm
    for _ in range(10):
        with client.socket() as sock:
            sock.sendall(b"GET /nap?seconds=%g HTTP/1.1\r\nHost: x\r\n\r\n" % seconds)
            socket.socket.shutdown(sock, socket.SHUT_WR)
            assert b'{"slept": true}' in answer(sock)


def test_on_a_unix_socket_it_gets_it_however_long_that_takes(start, app):
    daemon = start(app(APP, SCHEMA), **HTTP_ONLY)
    received = daemon.http.raw(b"GET /nap?seconds=2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answers(received) == [200] and b'{"slept": true}' in received
