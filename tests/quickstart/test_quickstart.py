"""./quickstart in a copy of the tree, under a clean environment.

The tests build on each other: the first builds, the later ones reuse build
and data as a user's second run does.
"""

import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from harness import procs
from harness.http import Client, free_port
from harness.settings import AS_ROOT, PATIENCE, SRCDIR, USER
from harness.wait import Stopwatch, until

procs.become_subreaper()

CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def files_of_tree():
    """What git knows; without git, all that nothing here has made."""
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"],
                                cwd=SRCDIR, capture_output=True, check=True).stdout
        return [pathlib.Path(name) for name in listed.decode().split("\0") if name]
    except (FileNotFoundError, subprocess.CalledProcessError):
        made = re.compile(r"(build.*|var|auto.*\.cache|aclocal\.m4|config(ure|\.h\.in)~?"
                          r"|Makefile\.in)$")
        return [path.relative_to(SRCDIR) for path in SRCDIR.rglob("*")
                if not made.match(path.relative_to(SRCDIR).parts[0])]


def copy_tree(target):
    for name in files_of_tree():
        if (SRCDIR / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SRCDIR / name, target / name)


@pytest.fixture(scope="module")
def clone():
    top = pathlib.Path(tempfile.mkdtemp(prefix="chimp-quickstart-", dir="/tmp"))
    top.chmod(0o755)
    tree = top / "clone"
    tree.mkdir()
    copy_tree(tree)
    yield tree
    shutil.rmtree(top)


class Quickstart:
    """One run on a terminal of its own, so that Ctrl-C is the terminal's."""

    def __init__(self, clone, *args, env=None, **options):
        self.port = free_port()
        self.http = Client(("127.0.0.1", self.port))
        self.output = ""
        self.begun = time.monotonic()
        master, slave = pty.openpty()
        self.terminal = master
        os.set_blocking(master, False)
        self.process = subprocess.Popen(
            [clone / "quickstart", *args], stdin=slave, stdout=slave, stderr=slave,
            cwd="/", env={**CLEAN, "CHIMPBASE_SERVER_PORT": str(self.port), **(env or {})},
            preexec_fn=self.own_terminal, **options)
        procs.known[self.process.pid] = "quickstart"
        os.close(slave)

    @staticmethod
    def own_terminal():
        os.setsid()
        import fcntl  # pylint: disable=import-outside-toplevel
        import termios  # pylint: disable=import-outside-toplevel
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read(self):
        try:
            while chunk := os.read(self.terminal, 65536):
                self.output += chunk.decode(errors="replace").replace("\r\n", "\n")
        except (BlockingIOError, OSError):
            pass
        return self.output

    def wait_ready(self, timeout):
        until(lambda: "Ctrl-C ends" in self.read() or self.process.poll() is not None,
              "the banner", timeout)
        self.ready_after = time.monotonic() - self.begun
        assert "Ctrl-C ends" in self.read(), self.output
        return self

    def reload(self):
        [master] = [p for p in procs.descendants(self.process.pid) + [self.process.pid]
                    if "chimpd: master" in procs.title(p)]
        os.kill(master, 1)
        until(lambda: "master: reloaded" in self.read(), "the reload", 20)

    def ctrl_c(self):
        """The seconds that it took to end, and everything with it."""
        with Stopwatch() as watch:
            os.write(self.terminal, b"\x03")
            until(lambda: self.read() is not None and self.process.poll() is not None,
                  "it ends", 20)
        procs.known.pop(self.process.pid, None)
        until(lambda: procs.reap() or not procs.strays(), "no process is left", 1)
        os.close(self.terminal)
        assert self.process.returncode == 0, self.output
        return watch.ms / 1000

    def kill(self):
        if self.process.poll() is None:
            procs.end([self.process.pid, *procs.descendants(self.process.pid)])
            self.process.wait()
        procs.known.pop(self.process.pid, None)


@pytest.fixture
def quickstart(clone):
    runs = []

    def run(*args, timeout=3, **options):
        runs.append(Quickstart(clone, *args, **options))
        return runs[-1].wait_ready(timeout)

    yield run
    for one in runs:
        one.kill()


def owner_of_roles(run):
    return {os.stat(f"/proc/{p}").st_uid for p in procs.children(run.process.pid)}


def test_first_run_builds_and_serves(quickstart, clone):
    run = quickstart(timeout=300, env={"DATABASE_URL": "postgresql://nobody@nowhere/none"})
    print(f"first run: ready after {run.ready_after:.1f} s")
    assert "ignoring DATABASE_URL" in run.output
    assert f"http://127.0.0.1:{run.port}" in run.output
    for process in ("http/0", "worker/default/0", "cron/0", "subscriber/0", "postgres"):
        assert re.search(rf"^ +\d+ .*{process}", run.output, re.M), run.output
    assert len(re.findall(r"^  curl ", run.output, re.M)) == 3
    # The lines are there to be pasted.
    for line in re.findall(r"^  (curl .*)$", run.output, re.M):
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(("{", "["))
    assert [o["customer"] for o in run.http.get("/orders").json] == ["ada"]
    if AS_ROOT:
        assert 0 not in owner_of_roles(run)
    # Also as root, whose files the master can no longer read.
    run.reload()
    seconds = run.ctrl_c()
    print(f"Ctrl-C: everything ended after {seconds:.1f} s")
    assert seconds < 5 * PATIENCE
    assert (clone / "var" / "postgres").is_dir()


def test_second_run_reuses_build_and_data_and_is_ready_within_3_s(quickstart):
    run = quickstart()
    print(f"second run: ready after {run.ready_after:.1f} s")
    assert "building" not in run.output
    assert [o["customer"] for o in run.http.get("/orders").json] == ["ada"]
    run.ctrl_c()


def test_ctrl_c_ends_it_within_5_s_though_a_client_and_a_job_hang(quickstart, clone):
    run = quickstart()
    with run.http.socket() as client:
        client.sendall(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        seconds = run.ctrl_c()
    print(f"Ctrl-C with a hanging client: ended after {seconds:.1f} s")
    assert seconds < 5 * PATIENCE
    assert not (clone / "var" / "postgres" / "postmaster.pid").exists()


def test_term_reaches_chimpd(quickstart):
    """It ends in exec: the pid that was started is the master's."""
    run = quickstart()
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(10) == 0


def test_failure_of_chimpd_ends_the_banner_s_helper(clone):
    run = Quickstart(clone, "--database", "postgresql://h:port/db")
    assert run.process.wait(20) == 1
    procs.known.pop(run.process.pid)
    assert "\"port\"" in run.read(), run.output
    until(lambda: procs.reap() or not [p for p in procs.strays() if procs.alive(p)],
          "no process is left", 2)


def test_a_folder_that_autotools_cannot_build_in_is_told(clone):
    odd = clone.parent / "a folder"
    odd.mkdir()
    for name in ("quickstart", "scripts/build-in", "configure.ac"):
        (odd / name).parent.mkdir(exist_ok=True)
        shutil.copy2(clone / name, odd / name)
    done = subprocess.run([odd / "quickstart"], env=CLEAN, capture_output=True, text=True,
                          timeout=20, check=False)
    assert done.returncode == 1
    assert "a folder" in done.stderr and "space" in done.stderr


def test_bad_port_and_bad_usage_are_told(clone):
    for args, env in (([], {"CHIMPBASE_SERVER_PORT": "http"}), (["--help", "me"], {}),
                      (["frob"], {}), (["--database"], {})):
        done = subprocess.run([clone / "quickstart", *args], env={**CLEAN, **env},
                              capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode in (1, 2), done
        assert done.stderr, done


@pytest.mark.skipif(not AS_ROOT, reason="only root can become somebody else")
def test_it_works_as_an_ordinary_user(quickstart, clone):
    shutil.rmtree(clone / "var")
    for path in [clone, *clone.rglob("*")]:
        os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)
    run = quickstart(user=USER.pw_uid, group=USER.pw_gid, extra_groups=[], timeout=60)
    assert owner_of_roles(run) == {USER.pw_uid}
    assert run.http.get("/health").status == 200
    run.ctrl_c()
    shutil.rmtree(clone / "var")


@pytest.mark.skipif(not AS_ROOT, reason="root's folders are closed to its helper user")
def test_state_goes_elsewhere_when_the_clone_is_closed(quickstart, clone):
    clone.parent.chmod(0o700)
    os.chown(clone.parent, 0, 0)
    run = quickstart(timeout=60)
    [state] = re.findall(r"the state is in (/var/lib/chimpd-quickstart/\w+)", run.output)
    try:
        assert run.http.post("/orders", {"customer": "ada", "amount": 1}).status == 201
        run.ctrl_c()
        assert not (clone / "var").exists()
    finally:
        shutil.rmtree(state)
        clone.parent.chmod(0o755)
