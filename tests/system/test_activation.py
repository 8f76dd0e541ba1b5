"""Socket activation: systemd holds the sockets, chimpd comes and goes."""

import contextlib
import os
import re
import signal
import socket
import threading
import time

import pytest

from harness import procs
from harness.http import Client
from harness.wait import until


@contextlib.contextmanager
def listening_tcp():
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as sock:
        yield sock, sock.getsockname()


@contextlib.contextmanager
def listening_unix(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        path.chmod(0o666)
        sock.listen(4096)
        yield sock


def inode(fd):
    return os.stat(f"/proc/self/fd/{fd}").st_ino


def holders(daemon, sock):
    """The titles of chimpd's processes that have the socket open."""
    wanted = f"socket:[{inode(sock.fileno())}]"
    found = []
    for pid in [daemon.pid, *procs.descendants(daemon.pid)]:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == wanted:
                    found.append(procs.title(pid))
    return sorted(found)


def test_serves_what_systemd_hands_over(start):
    with listening_tcp() as (sock, address):
        # The same address in the configuration: it is not opened again.
        daemon = start(listen=f"127.0.0.1:{address[1]}",
                       sockets=[("http", sock.fileno())])
        assert Client(address).get("/health").status == 200
        assert holders(daemon, sock) == ["chimpd: http/0", "chimpd: master"]
        assert f"http on 127.0.0.1:{address[1]};" in daemon.text()


def test_others_are_added_and_unix_sockets_stay(start, folder):
    path = folder / "systemd.sock"
    with listening_unix(path) as sock:
        daemon = start(sockets=[("chimpd.socket", sock.fileno())])
        assert Client(path).get("/health").status == 200
        assert daemon.http.get("/health").status == 200
        assert daemon.stop() == 0
        assert path.exists() and not os.path.exists(daemon.http.address)


def test_unknown_sockets_are_closed_with_a_warning(start):
    with listening_tcp() as (sock, address), \
            socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        daemon = start(sockets=[("admin", sock.fileno()),
                                ("http", datagrams.fileno())])
        assert holders(daemon, sock) == []
        assert holders(daemon, datagrams) == []
        assert re.search('warn .*"admin" from systemd.*chimpd knows the names http', daemon.text())
        assert re.search("warn .*no stream socket.*use ListenStream=", daemon.text())
        assert daemon.http.get("/health").status == 200


def test_embedded_postgresql_does_not_get_the_sockets(start, folder):
    with listening_tcp() as (sock, address):
        daemon = start(url=None, data_dir=folder / "data",
                       sockets=[("http", sock.fileno())])
        assert Client(address).get("/health").status == 200
        postgres = [p for p in procs.children(daemon.pid) if "postgres" in procs.title(p)]
        assert len(postgres) == 1
        with open(f"/proc/{postgres[0]}/environ", "rb") as f:
            assert b"LISTEN_" not in f.read()
        assert holders(daemon, sock) == ["chimpd: http/0", "chimpd: master"]


class Load:
    """Threads that ask over a new connection each, all the time."""

    def __init__(self, address, path, threads=4):
        self.client = Client(address)
        self.path = path
        self.done = []      # (begun, ended) of each request
        self.problems = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                answer = self.client.get(self.path)
                if answer.status != 200:
                    self.problems.append(repr(answer))
            except Exception as e:  # pylint: disable=broad-except
                self.problems.append(repr(e))
            self.done.append((began, time.monotonic()))

    def wait(self, more):
        before = len(self.done)
        until(lambda: len(self.done) >= before + more, "requests are answered")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


SQL = """
create schema t;
create function t.answer(input jsonb) returns jsonb language sql as
$$ select pg_sleep(0.005); select '{"answer": 42}'::jsonb $$;
"""
ROUTE = """
  action "answer" { sql = "t.answer" }
  route "GET /answer" { action = "answer" }
"""
RESTARTS = 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_restart_under_load_refuses_and_fails_nothing(
        start, app, figure, number):
    with listening_tcp() as (sock, address):
        sockets = [("http", sock.fileno())]
        # Not what a busy machine makes of wait_max is asked here.
        daemon = start(app(ROUTE, SQL), sockets=sockets, processes=2,
                       http='wait_max = "5s"  request_timeout = "20s"')
        down = []
        with Load(address, "/answer") as load:
            for _ in range(RESTARTS):
                load.wait(50)
                assert daemon.stop(number) == 0
                gone = time.monotonic()
                daemon.start(sockets=sockets)
                down.append((gone, time.monotonic()))
            load.wait(50)
        assert not load.problems, load.problems[:10]
        # It would prove nothing if nobody had come meanwhile.
        for gone, back in down:
            assert any(begun < back and ended > gone for begun, ended in load.done)
        figure(f"{RESTARTS} restarts by {number.name} on systemd's socket, "
               f"{len(load.done)} requests, refused or failed",
               len(load.problems), "", 0)
        slowest = max(ended - begun for begun, ended in load.done)
        figure("slowest request over a restart", slowest * 1000, "ms", 1500)
