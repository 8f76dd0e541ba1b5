"""G34: how an http process that is to end lets its clients go.

A process drains when it gets a TERM, as it does when the master says so; with
two of them the other one serves meanwhile.
"""

import re
import signal
import threading
import time

import pytest

from harness.http import Client, free_port
from harness.wait import until

SCHEMA = """
create schema t;
create function t.nap(input jsonb) returns jsonb language sql as $$
	select '{"slept": true}'::jsonb from pg_sleep((input ->> 'seconds')::float)
$$;
"""
APP = """
  action "nap" { sql = "t.nap"  args = "seconds: number" }
  route "GET /nap" { action = "nap" }
"""
ASK = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["tcp", "unix"])
def node(request, start, app):
    """One chimpd with two http processes; the first of them will be drained."""
    more = {"listen": f"127.0.0.1:{free_port()}"} if request.param == "tcp" else {}
    return start(app(APP, SCHEMA), cron=0, subscriber=0, processes=2,
                 stop_timeout="20s", **more)


def server_of(connection):
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return re.search('process="(http/[0-9]+)"', text).group(1)


def connect_to(daemon, name):
    """A keep-alive connection that this process serves."""
    while True:
        connection = daemon.http.connect()
        if server_of(connection) == name:
            return connection
        connection.close()


def read_all(sock):
    """To the end of file; a reset is a failure here."""
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


def drain(daemon):
    return daemon.kill("http/0", signal.SIGTERM)


def wait_draining(connection):
    """Until the process behind it has got the message; the last answer."""
    def told():
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
        return answer.headers["Connection"] == "close" and answer
    return until(told, "an answer says Connection: close", interval=0)


class Busy(threading.Thread):
    """Asks, reads, asks, and connects anew when it is told to."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection
        self.closes = self.answers = 0
        self.failures = []
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                self.connection.request("GET", "/health")
                answer = self.connection.getresponse()
                assert answer.status == 200 and answer.read()
                self.answers += 1
                # http.client closes after this one, and connects anew.
                self.closes += answer.headers["Connection"] == "close"
            except Exception as e:  # pylint: disable=broad-except
                self.failures.append(repr(e))
                self.connection.close()
        self.connection.close()


def test_g34_a_busy_client_is_told_to_close_and_loses_nothing(node):
    clients = [Busy(connect_to(node, "http/0")) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.2)
    pid = drain(node)
    node.wait_replaced("http/0", pid)
    time.sleep(0.2)
    for client in clients:
        client.over.set()
        client.join()
    assert [c.failures for c in clients] == [[]] * 4
    assert [c.closes for c in clients] == [1] * 4
    assert min(c.answers for c in clients) > 20


def test_g34_an_idle_connection_is_shut_after_a_second_and_not_before(node, figure):
    connection = connect_to(node, "http/0")
    begun = time.monotonic()
    time.sleep(0.1)
    drain(node)
    assert connection.sock.recv(100) == b""
    took = time.monotonic() - begun
    assert took >= 1
    figure("last answer to the end of an idle connection, draining", took * 1000, "ms", 2100)


def test_g34_a_request_whose_first_bytes_came_is_answered(node):
    busy = connect_to(node, "http/0")
    head, body = connect_to(node, "http/0"), connect_to(node, "http/0")
    head.sock.sendall(ASK[:10])
    body.sock.sendall(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{")
    drain(node)
    wait_draining(busy)
    time.sleep(2.5)  # as long as an idle one cannot live
    head.sock.sendall(ASK[10:])
    body.sock.sendall(b"}\n\n")
    received = read_all(head.sock)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in received.lower()
    assert read_all(body.sock).startswith(b"HTTP/1.1 405 ")


def test_g34_a_new_connection_that_has_not_asked_yet_is_answered(start, app):
    """Alone, so that it is surely this process that has accepted it."""
    daemon = start(app(APP, SCHEMA), cron=0, subscriber=0, stop_timeout="20s")
    busy = connect_to(daemon, "http/0")
    fresh, silent = daemon.http.socket(), daemon.http.socket()
    begun = time.monotonic()
    time.sleep(0.1)
    drain(daemon)
    wait_draining(busy)
    time.sleep(0.5)
    fresh.sendall(ASK)
    received = read_all(fresh)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in received.lower()
    # One that says nothing holds the process up no longer than an idle one.
    assert silent.recv(100) == b""
    assert 1 <= time.monotonic() - begun < 19
    silent.close()


def test_g34_pipelined_requests_end_with_a_whole_answer(node):
    connection = connect_to(node, "http/0")
    busy = connect_to(node, "http/0")
    connection.sock.sendall(
        b"GET /nap?seconds=1 HTTP/1.1\r\nHost: x\r\n\r\n" + 4 * ASK)
    time.sleep(0.2)
    drain(node)
    wait_draining(busy)
    received = read_all(connection.sock)
    answers = received.split(b"HTTP/1.1 ")[1:]
    assert b'{"slept": true}' in answers[0]
    # Those after the one that said so are the client's to repeat: RFC 9112, 9.6.
    assert [b"\r\nconnection: close\r\n" in a.lower() for a in answers] == [True]


def test_g34_a_slow_request_is_answered_by_the_process_that_has_it(node):
    slow = connect_to(node, "http/0")
    busy = connect_to(node, "http/0")
    slow.request("GET", "/nap?seconds=2")
    time.sleep(0.2)
    drain(node)
    wait_draining(busy)
    answer = slow.getresponse()
    assert answer.status == 200 and answer.read() == b'{"slept": true}'
    assert answer.headers["Connection"] == "close"


def ready(connection):
    connection.request("GET", "/ready")
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers["Connection"]


def test_g34_only_a_node_that_stops_is_not_ready(node):
    """Whoever asks a process that will be replaced asks for the whole node."""
    slow, busy, asking = (connect_to(node, "http/0") for _ in range(3))
    slow.request("GET", "/nap?seconds=1")
    time.sleep(0.2)
    pid = drain(node)
    wait_draining(busy)
    assert ready(asking) == (200, "close")
    assert slow.getresponse().status == 200
    node.wait_replaced("http/0", pid)
    slow, busy, asking = (connect_to(node, "http/0") for _ in range(3))
    slow.request("GET", "/nap?seconds=1")
    time.sleep(0.2)
    node.send_signal(signal.SIGTERM)
    wait_draining(busy)
    assert ready(asking) == (503, "close")
    assert slow.getresponse().status == 200
    assert node.wait(10) == 0


def test_g34_connections_that_come_during_a_drain_are_served(node):
    """Those also that were in the queue that the processes share."""
    answered, failures = [], []
    over = threading.Event()

    def come():
        while not over.is_set():
            try:
                answered.append(Client(node.http.address).get("/health").status)
            except OSError as e:
                failures.append(repr(e))

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.2)
        node.wait_replaced("http/0", drain(node))
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(answered) > 100 and set(answered) == {200}
