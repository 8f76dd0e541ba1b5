"""Bad input: a 4xx or a closed connection, never a 5xx, never a dead process."""

import time

import pytest

from harness.http import status_of


@pytest.fixture(autouse=True)
def nothing_dies(orders):
    before = orders.daemon.children("http")
    yield
    assert orders.daemon.children("http") == before
    assert orders.http.get("/health").status == 200


def head(length, path="/orders", more=""):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n{more}Connection: close\r\n\r\n").encode()


def refused(raw):
    """A 4xx, or nothing: the connection was closed."""
    status = status_of(raw)
    assert status is None or 400 <= status < 500, raw[:500]
    return status


def test_half_a_request_is_closed(orders):
    assert refused(orders.http.raw(b"POST /orders HT")) in (None, 400)


def test_half_a_body_is_closed(orders):
    assert refused(orders.http.raw(head(1000) + b'{"customer": "a')) in (None, 400)


def test_half_a_request_holds_nobody_up(orders):
    with orders.http.socket() as sock:
        sock.sendall(head(1000) + b'{"customer"')
        assert orders.http.get("/orders/1").status in (200, 404)


def test_body_of_100_megabytes_is_413_before_it_is_read(orders):
    chunk = b"x" * (1 << 20)
    sent = 0
    with orders.http.socket() as sock:
        sock.sendall(head(100 << 20))
        try:
            for _ in range(100):
                sock.sendall(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            raw = sock.recv(65536)
        except ConnectionResetError:
            raw = b""
    assert refused(raw) in (None, 413)
    rss = max(memory(pid) for pid in orders.daemon.children("http").values())
    assert rss < 400 << 20, f"{rss >> 20} MiB after {sent >> 20} MiB were sent"


def memory(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4096


BODIES = {
    "nothing that is JSON": b"hello",
    "an array": b"[]",
    "a string": b'"x"',
    "half": b'{"customer": "a"',
    "a trailing comma": b'{"customer": "a",}',
    "two values": b"{} {}",
    "invalid UTF-8": b'{"customer": "\xff\xfe", "amount": 1}',
    "overlong UTF-8": b'{"customer": "\xc0\xaf", "amount": 1}',
    "a surrogate in UTF-8": b'{"customer": "\xed\xa0\x80", "amount": 1}',
    "half a surrogate pair": b'{"customer": "\\ud800", "amount": 1}',
    "an escaped NUL": b'{"customer": "a\\u0000b", "amount": 1}',
    "a NUL": b'{"customer": "a\x00b", "amount": 1}',
    "a NUL in a member's name": b'{"cust\\u0000omer": "a", "amount": 1}',
    "a member twice": b'{"customer": "a", "customer": "b", "amount": 1}',
    "100,000 brackets": b'{"customer": ' + b"[" * 100000 + b"]" * 100000 + b"}",
    "100,000 open braces": b'{"a":' * 100000,
    "an amount of 25 digits": b'{"customer": "a", "amount": 1234567890123456789012345}',
    "an amount of 1e400": b'{"customer": "a", "amount": 1e400}',
    "an amount of NaN": b'{"customer": "a", "amount": NaN}',
    "a minus zero": b'{"customer": "a", "amount": -0}',
    "a control character": b'{"customer": "a\x01", "amount": 1}',
}


@pytest.mark.parametrize("name", BODIES)
def test_body_that_is_refused_is_400(orders, name):
    answer = orders.http.post("/orders", BODIES[name])
    assert answer.status == 400, (name, answer)
    assert answer.type == "application/problem+json"
    assert answer.json["status"] == 400


@pytest.mark.parametrize("path, allowed", [
    ("/orders/" + "9" * 30, (400, 404)),
    ("/orders/-" + "9" * 30, (400, 404)),
    ("/orders/%00", (400,)),
    ("/orders/1%00", (400,)),
    ("/orders/%ff%fe", (400,)),
    ("/orders/%zz", (400,)),
    ("/orders/1%2f2", (400, 404)),
    ("/orders?limit=x", (400,)),
    ("/orders?limit=-1", (400,)),
    ("/orders?limit=%00", (400,)),
    ("/orders?limit=" + "9" * 40, (400,)),
    ("/orders/" + "x" * 3000, (400, 404, 414)),
    ("/" + "../" * 50 + "etc/passwd", (400, 404)),
])
def test_path_that_is_refused(orders, path, allowed):
    answer = orders.http.get(path)
    assert answer.status in allowed, answer
    assert answer.type == "application/problem+json"


NO_REQUESTS = {
    "nothing": b"",
    "line noise": bytes(range(256)) * 20,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 500,
    "no version": b"GET /orders\r\n\r\n",
    "a header without a colon": b"GET /orders HTTP/1.1\r\nHost x\r\n\r\n",
    "a header of a megabyte": b"GET /orders HTTP/1.1\r\nHost: x\r\nA: " + b"b" * (1 << 20),
    "200,000 headers": b"GET /orders HTTP/1.1\r\n" + b"A: b\r\n" * 200000 + b"\r\n",
    "a negative length": head(-1),
    "a length that is no number": head("1x"),
    "a length of 30 digits": head("9" * 30) + b"{}",
    "two lengths": head(2, more="Content-Length: 3\r\n") + b"{}x",
    "both length headers": head(2, more="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
    "a broken chunk": b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                      b"\r\nzz\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_bytes_that_are_no_request_are_refused(orders, name):
    received = orders.http.raw(NO_REQUESTS[name])
    status = status_of(received)
    assert status is None or 400 <= status < 500, (name, received[:300])


def test_many_broken_clients_at_once_leave_room_for_a_proper_one(orders):
    sockets = [orders.http.socket() for _ in range(200)]
    try:
        for sock in sockets:
            sock.sendall(head(1000) + b"{")
        begun = time.monotonic()
        assert orders.create()["status"] == "pending"
        assert time.monotonic() - begun < 20
    finally:
        for sock in sockets:
            sock.close()
