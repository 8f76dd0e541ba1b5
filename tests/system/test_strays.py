"""No descendant survives (G33, G36): not one that forked twice and left its session."""

import os
import pathlib
import signal
import subprocess

import psycopg2
import pytest

from harness import procs
from harness.wait import Stopwatch, until

# --- of a role's process -------------------------------------------------------------

FORKS = "fork plain deaf; fork setsid deaf; fork double deaf"


def forked(node):
    """The pids of a process's descendants, once it has them."""
    found = until(lambda: len(node.grandchildren()) == 3 and node.grandchildren(), "it forked")
    pids = [pid for _, pid in found]
    assert all(procs.alive(pid) for pid in pids)
    return pids


def all_gone(pids):
    until(lambda: not any(procs.alive(pid) for pid in pids), f"{pids} are gone")


def test_g33_no_descendant_survives_a_stop(start_fake):
    node = start_fake(fakes=1, behaviour="drain-for 300")
    node.tell(0, FORKS)
    pids = forked(node)
    assert node.stop() == 0
    assert [pid for pid in pids if procs.alive(pid)] == []


def test_g33_nor_a_stop_at_which_the_process_is_killed(start_fake, figure):
    node = start_fake(fakes=1, behaviour="drain-never", stop_timeout="500ms")
    node.tell(0, FORKS + "; deaf")
    pids = forked(node)
    with Stopwatch() as watch:
        assert node.stop() == 0
    figure("stop of 500 ms with a deaf process and its descendants", watch.ms, "ms", 1500)
    assert [pid for pid in pids if procs.alive(pid)] == []


@pytest.mark.parametrize("order", ["die 9", "die 6", "exit 0", "exit 1"])
def test_no_descendant_survives_its_process(start_fake, order, figure):
    node = start_fake(fakes=2)
    neighbour = node.child("fake/1")
    node.tell(0, FORKS)
    pids = forked(node)
    with Stopwatch() as watch:
        node.tell(0, order)
        all_gone(pids)
    figure("death of a process to the end of its descendants", watch.ms, "ms", 100)
    assert procs.alive(neighbour)


def test_nor_a_process_that_refuses_its_configuration(start_fake):
    node = start_fake(fakes=1, birth=FORKS + "; dance", wait=False)
    node.expected_status = 1
    assert node.wait(10) == 1
    found = node.grandchildren()
    assert len(found) == 3
    assert [pid for _, pid in found if procs.alive(pid)] == []


def test_g36_no_descendant_survives_the_master(start_fake, figure):
    node = start_fake(fakes=1)
    pids = [node.tell(0, FORKS), *forked(node)]
    node.expected_status = -signal.SIGKILL
    with Stopwatch() as watch:
        node.send_signal(signal.SIGKILL)
        node.wait(5)
        all_gone(pids)
    figure("death of the master to the end of its descendants", watch.ms, "ms", 1000)
    procs.reap()


# --- of the embedded PostgreSQL ------------------------------------------------------

# An orphan in a session of its own, deaf to TERM and HUP; it says its number.
DAEMON = ("cat >/dev/null; setsid sh -c 'trap \"\" TERM HUP; echo $$ > {path};"
          " exec sleep 1000' >/dev/null 2>&1 &")

SMALL = 'max_connections = 60  shared_buffers = "32MiB"'


@pytest.fixture
def embedded(start, folder, orders_conf):
    return lambda **conf: start(orders_conf, url=None, data_dir=folder / "pg",
                                database=SMALL, **conf)


def written(path):
    return until(lambda: path.exists() and path.read_text().strip() and int(path.read_text()),
                 "the daemon runs")


def leave_behind(folder, name="daemon"):
    """Have the embedded PostgreSQL start a daemon; its pid."""
    path = folder / "pg" / name
    connection = psycopg2.connect(host=str(folder / "pg.sock"), dbname="chimp", user="chimp")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("copy (select 1) to program %s", [DAEMON.format(path=path)])
    connection.close()
    return written(path)


def gone(pid, watch=None):
    until(lambda: not procs.alive(pid), f"pid {pid} is gone", timeout=5)


def test_g33_what_was_left_behind_dies_when_a_process_ends(embedded, folder, figure):
    daemon = embedded()
    pid = leave_behind(folder)
    # Nothing but its environment and its parent says whose it is.
    assert procs.parent(pid)[0] == daemon.pid
    assert os.getpgid(pid) == pid
    until(lambda: b"\0CHIMPD_NODE_ID=" in pathlib.Path(f"/proc/{pid}/environ").read_bytes(),
          "its environment says so (it is empty while it runs exec)")
    with Stopwatch() as watch:
        killed = daemon.kill("worker/default/0")
        gone(pid)
    figure("death of a process to the end of what was left behind", watch.ms, "ms", 100)
    daemon.wait_replaced("worker/default/0", killed)
    assert daemon.http.get("/ready").status == 200


def test_g33_what_was_left_behind_dies_with_a_stop(embedded, folder):
    daemon = embedded()
    left = [leave_behind(folder, f"daemon-{n}") for n in range(5)]
    assert daemon.stop() == 0
    assert [pid for pid in left if procs.alive(pid)] == []
    assert procs.strays() == {}


def test_orphans_of_a_killed_postmaster_die_and_nothing_committed_is_lost(
        embedded, folder, figure):
    daemon = embedded()
    order = daemon.http.post("/orders", {"customer": "ada", "amount": 5}).json["id"]
    [postmaster] = [p for p in procs.children(daemon.pid) if "postgres" in procs.title(p)]
    backends = procs.descendants(postmaster)
    assert len(backends) > 5
    with Stopwatch() as watch:
        os.kill(postmaster, signal.SIGKILL)
        until(lambda: not any(procs.alive(p) for p in backends), "the backends are gone")
    figure("death of the postmaster to the end of its orphans", watch.ms, "ms", 100)
    until(lambda: daemon.http.get("/ready").status == 200, "the node is ready again")
    assert daemon.http.get(f"/orders/{order}").json["customer"] == "ada"


# --- strangers -----------------------------------------------------------------------

def test_children_that_were_there_before_the_master_live_on(start, orders_conf, folder):
    path = folder / "stranger"
    daemon = start(orders_conf, wrap=[
        "sh", "-c", f"sh -c 'echo $$ > {path}; exec sleep 1000' & exec \"$@\"", "-"])
    stranger = written(path)
    procs.known[stranger] = "stranger"
    assert procs.parent(stranger)[0] == daemon.pid
    daemon.wait_replaced("cron/0", daemon.kill("cron/0"))
    assert procs.alive(stranger)
    assert daemon.stop() == 0
    assert procs.alive(stranger)
    os.kill(stranger, signal.SIGKILL)
    gone(stranger)
    procs.known.pop(stranger)


def pid_namespaces():
    return subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"],
                          capture_output=True, check=False).returncode == 0


def descendant(pid, words):
    return until(lambda: [p for p in procs.descendants(pid) if procs.title(p) == words],
                 f"{words} runs")[0]


@pytest.mark.skipif(not pid_namespaces(), reason="no right to make a PID namespace")
def test_as_pid_1_only_what_the_node_started_is_killed(embedded, folder):
    daemon = embedded(wrap=["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
    [master] = procs.children(daemon.pid)
    assert "NSpid:" in (status := pathlib.Path(f"/proc/{master}/status").read_text())
    assert status.split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
    leave_behind(folder)
    ours = descendant(master, "sleep 1000")
    # As docker exec does, with what runs there forked into the background.
    subprocess.run(["nsenter", "-t", str(master), "-p", "-m", "sh", "-c",
                    "setsid sleep 1001 >/dev/null 2>&1 &"], check=True, cwd="/")
    stranger = descendant(master, "sleep 1001")
    until(lambda: procs.parent(stranger)[0] == master, "PID 1 has adopted it")
    os.kill(descendant(master, "chimpd: cron/0"), signal.SIGKILL)
    gone(ours)
    descendant(master, "chimpd: cron/0")
    assert procs.alive(stranger)
    os.kill(master, signal.SIGTERM)
    assert daemon.wait(10) == 0
