"""A loop that is full of clients looks at the database's answers all the same."""

import re
import selectors
import socket
import statistics
import threading
import time

from harness.http import Client, free_port

SCHEMA = """
create schema t;
create function t.read(input jsonb) returns jsonb language sql as $$ select '{"read": 1}'::jsonb $$;
"""
APP = 'route "GET /read" { sql = "t.read"  readonly = true }'
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
CONNECTIONS = 16
BATCH = 2000


class Crowd(threading.Thread):
    """Connections with thousands of requests under way at all times: the loop works them
    all off before it asks the kernel who else has sent something."""

    def __init__(self, address):
        super().__init__()
        self.socks = [socket.create_connection(address, timeout=30) for _ in range(CONNECTIONS)]
        self.over = threading.Event()
        self.batches = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        # All answers to it have one length.
        length = BATCH * answer_bytes(self.socks[0])
        left = {}
        with selectors.DefaultSelector() as ready:
            for sock in self.socks:
                ready.register(sock, selectors.EVENT_READ)
                left[sock] = length
                sock.sendall(HEALTH * BATCH)
            while not self.over.is_set():
                for key, _ in ready.select(1):
                    sock = key.fileobj
                    left[sock] -= len(sock.recv(1 << 20))
                    if left[sock] == 0:
                        left[sock] = length
                        self.batches += 1
                        sock.sendall(HEALTH * BATCH)
        for sock in self.socks:
            sock.close()


def answer_bytes(sock):
    sock.sendall(HEALTH)
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    head, body = received.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"^content-length: (\d+)", head, re.M | re.I)[1])
    while len(body) < length:
        body += sock.recv(65536)
    return len(head) + 4 + len(body)


def spent(client):
    """Seconds that requests to /read took inside of the process, and their number."""
    text = client.get("/metrics").body.decode()
    found = [re.search(r'^chimpd_http_request_duration_seconds_%s{[^}]*"GET /read"[^}]*} (.*)$'
                       % what, text, re.M) for what in ("sum", "count")]
    return [float(f[1]) if f else 0 for f in found]


def test_answers_of_the_database_do_not_wait_for_all_clients(start, app, figure):
    """The loop looks between requests. Otherwise they would wait for the rest of its turn."""
    address = ("127.0.0.1", free_port())
    start(app(APP, SCHEMA), listen="{}:{}".format(*address), processes=1,
          workers="", cron=0, subscriber=0)
    client = Client(address)
    assert client.get("/read").status == 200  # prepared
    took = []
    with Crowd(address) as crowd:
        over = time.monotonic() + 3
        before = spent(client)
        while time.monotonic() < over:
            begun = time.monotonic()
            assert client.get("/read").status == 200
            took.append((time.monotonic() - begun) * 1000)
        after = spent(client)
    assert crowd.batches > CONNECTIONS and len(took) >= 5
    inside = (after[0] - before[0]) / (after[1] - before[1]) * 1000
    # A request waits for the loop's turn to be read at all.
    turn = statistics.median(took)
    assert turn > 20, "the loop was not full"
    # Without looks it is a third; the limit is at 15 %.
    figure(f"a read inside of a loop whose turn takes {turn:.0f} ms", inside / turn * 100, "%", 1.5)
