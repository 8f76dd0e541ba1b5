"""A crowd of keep-alive connections, and which child serves how many."""

import os
import resource
import socket
import struct
import time

ASK = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
# Closed with a reset: thousands of ports would wait for a minute each.
RESET = struct.pack("ii", 1, 0)


def allow_files(wanted):
    """Let this process open so many files; what it may open at last."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = wanted
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return min(wanted, hard)


def sockets_of(pid):
    """How many sockets a process has open."""
    folder = f"/proc/{pid}/fd"
    found = 0
    for fd in os.listdir(folder):
        try:
            found += os.readlink(f"{folder}/{fd}").startswith("socket:")
        except FileNotFoundError:
            pass
    return found


class Crowd:
    """Connects and asks once by each connection, so that each is accepted.

    with Crowd(client) as crowd: crowd.come(10000); crowd.come(500, rate=100)
    """

    def __init__(self, client):
        self.client = client
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        self.sockets = []

    def come(self, n, rate=None):
        """n more; without a rate as fast as it goes, all before any answer."""
        begun = time.monotonic()
        asked = []
        for i in range(n):
            if rate is not None:
                time.sleep(max(0, begun + i / rate - time.monotonic()))
            sock = self.client.socket()
            self.sockets.append(sock)
            sock.sendall(ASK)
            asked.append(sock)
        for sock in asked:
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


class Spread:
    """What each of some processes got since this was made."""

    def __init__(self, children):
        self.children = children  # name -> pid
        self.before = {n: sockets_of(p) for n, p in children.items()}

    def look(self):
        return {n: sockets_of(p) - self.before[n] for n, p in self.children.items()}

    def ratio(self):
        """The busiest's share, in shares of the mean."""
        counts = self.look().values()
        return max(counts) * len(counts) / sum(counts)
