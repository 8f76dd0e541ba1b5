"""database.mode = embedded: chimpd brings its PostgreSQL."""

import os
import signal
import stat
import time

import pytest

from harness import procs
from harness.wait import Stopwatch, until

SMALL = 'max_connections = 60  shared_buffers = "32MiB"  settings = { "work_mem=3MB" }'


@pytest.fixture
def embedded(start, folder, orders_conf):
    """embedded() starts, or starts again, the same data folder."""
    def make(**conf):
        conf.setdefault("database", SMALL)
        return start(orders_conf, url=None, data_dir=folder / "pg", **conf)
    return make


def postmaster(daemon):
    [pid] = [pid for pid in procs.children(daemon.pid) if "postgres" in procs.title(pid)]
    return pid


def test_the_first_start_makes_the_database_and_the_second_keeps_it(embedded, folder, figure):
    daemon = embedded()
    assert daemon.http.post("/orders", {"customer": "ada", "amount": 5}).status == 201
    with Stopwatch() as watch:
        assert daemon.stop() == 0
    figure("stop with the embedded PostgreSQL", watch.ms, "ms", 1000)
    assert procs.strays() == {}
    assert not (folder / "pg" / "postmaster.pid").exists()
    with Stopwatch() as watch:
        daemon.start()
    figure("second start with the embedded PostgreSQL", watch.ms, "ms", 1500)
    assert [o["customer"] for o in daemon.http.get("/orders").json] == ["ada"]


def test_the_whole_of_an_order_s_life(embedded):
    http = embedded().http
    order = http.post("/orders", {"customer": "ada", "amount": 5}).json["id"]
    http.post(f"/orders/{order}/assign", {"assignee": "bo"})
    http.post(f"/orders/{order}/start")
    assert http.post(f"/orders/{order}/complete").json["status"] == "completed"
    until(lambda: len(http.get(f"/orders/{order}/events").json) == 4, "the audit trail")
    until(lambda: len(http.get("/notifications").json) == 1, "the notification")


def open_files(pid):
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            pass  # closed meanwhile


def test_it_listens_on_a_private_socket_and_on_no_port(embedded, folder):
    daemon = embedded()
    sockets = folder / "pg.sock"
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert (sockets / ".s.PGSQL.5432").exists()
    lines = (folder / "pg" / "postmaster.pid").read_text().splitlines()
    assert lines[5].strip() == ""  # listen_addresses
    inodes = set(open_files(postmaster(daemon)))
    assert any(i.startswith("socket:") for i in inodes)
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in inodes


def test_settings_of_the_file_reach_it_and_checksums_and_utf8_are_on(embedded, folder):
    daemon = embedded()
    import psycopg2  # pylint: disable=import-outside-toplevel
    connection = psycopg2.connect(host=str(folder / "pg.sock"), dbname="chimp", user="chimp")
    with connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('max_connections'),"
                       " current_setting('shared_buffers'), current_setting('work_mem'),"
                       " current_setting('data_checksums'), current_setting('server_encoding'),"
                       " current_setting('fsync')")
        assert cursor.fetchone() == ("60", "32MB", "3MB", "on", "UTF8", "on")
    connection.close()
    assert daemon.http.get("/ready").status == 200


def roles(daemon):
    return {n: p for n, p in daemon.children().items() if "postgres" not in n}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
def test_a_postgresql_that_dies_is_restarted_and_nothing_is_lost(embedded, figure, number):
    daemon = embedded()
    http = daemon.http
    order = http.post("/orders", {"customer": "ada", "amount": 5}).json
    children = roles(daemon)
    pid = postmaster(daemon)
    os.kill(pid, number)
    with Stopwatch() as watch:
        until(lambda: postmaster(daemon) != pid, "PostgreSQL is restarted", timeout=20)
        until(lambda: http.get("/ready").status == 200, "/ready is 200 again", timeout=20)
    figure(f"{number.name} of PostgreSQL to /ready", watch.ms, "ms", 3000)
    assert http.get(f"/orders/{order['id']}").json == order
    assert roles(daemon) == children, daemon.text()
    assert http.post("/orders", {"customer": "bo", "amount": 5}).status == 201


def test_it_starts_after_everything_was_killed(embedded, figure):
    """As after a crash of the machine: postmaster.pid and socket are left."""
    daemon = embedded()
    order = daemon.http.post("/orders", {"customer": "ada", "amount": 5}).json
    everything = [daemon.pid, *procs.descendants(daemon.pid)]
    daemon.expected_status = -signal.SIGKILL
    procs.end(everything)
    daemon.wait(5)
    until(lambda: not any(procs.alive(p) for p in everything), "all are gone")
    procs.reap()
    daemon.expected_status = 0
    with Stopwatch() as watch:
        daemon.start()
    figure("start after a crash", watch.ms, "ms", 3000)
    assert daemon.http.get(f"/orders/{order['id']}").json == order


def test_g36_postgresql_ends_when_the_master_is_killed(embedded):
    daemon = embedded()
    everything = procs.descendants(daemon.pid)
    daemon.expected_status = -signal.SIGKILL
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(5)
    until(lambda: not any(procs.alive(p) for p in everything), "its descendants end", timeout=15)
    procs.reap()


def test_ctrl_c_on_a_terminal_reaches_only_the_master(embedded):
    """PostgreSQL and the children have process groups of their own."""
    daemon = embedded()
    master = os.getpgid(daemon.pid)
    assert all(os.getpgid(pid) != master for pid in procs.children(daemon.pid))
    os.killpg(master, signal.SIGINT)
    assert daemon.wait(10) == 0
    assert "database system is shut down" in daemon.text() or procs.strays() == {}


def test_a_second_chimpd_on_the_same_folder_is_refused(embedded):
    embedded()
    second = embedded(name="second", wait=False)
    second.expected_status = 1
    assert second.wait(10) == 1
    assert "pg" in second.text()
    time.sleep(0.2)
