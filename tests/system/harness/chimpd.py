"""One chimpd: its configuration, its processes, its end."""

import fcntl
import os
import pathlib
import re
import select
import signal
import subprocess

from . import procs, systemd
from .http import Client
from .settings import AS_ROOT, CHIMPCTL, CHIMPD, PATIENCE, USER
from .wait import until

SANITIZER_REPORT = re.compile(
    "AddressSanitizer|LeakSanitizer|runtime error:|DEADLYSIGNAL")

# What a developer's shell may hold and chimpd would obey.
FOREIGN = re.compile("^(CHIMPBASE_|PG|DATABASE_URL$|PORT$|DISABLE_BACKGROUND)")


def environment(more=None):
    env = {k: v for k, v in os.environ.items() if not FOREIGN.match(k)}
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(more or {})
    return env


def configuration(path, *, url=None, listen=None, data_dir=None, node="node-1",
                  processes=1, pool_max=4, workers=None, cron=1, subscriber=1,
                  http="", database="", include=(), stop_timeout="5s", top=""):
    """Text of a chimpd.conf. Small by default: many of them run at once."""
    if workers is None:
        workers = 'worker default { processes = 1  concurrency = 4 }'
    mode = f'mode = "postgres"  url = "{url}"'
    if url is None:
        mode = f'mode = "embedded"  data_dir = "{data_dir}"'
    user = f'user = "{USER.pw_name}"' if AS_ROOT else ""
    parts = [
        f'node = "{node}"', user, f'stop_timeout = "{stop_timeout}"', top,
        f'database {{ {mode}  pool_max = {pool_max}  {database} }}',
        f'http {{ processes = {processes}  listen = {{ "{listen}" }}  {http} }}',
        workers,
        f"cron {{ processes = {cron} }}",
        f"subscriber {{ processes = {subscriber} }}",
        *(f'include("{i}")' for i in include),
    ]
    pathlib.Path(path).write_text("\n".join(p for p in parts if p) + "\n")


class Result:
    """How a chimpd that was not meant to stay ended."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err

    def __repr__(self):
        return f"<exit {self.status}: {self.out}{self.err}>"


def run(*args, env=None, timeout=20, program=CHIMPD):
    done = subprocess.run([program, *args], env=environment(env), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=timeout * PATIENCE, check=False)
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def chimpctl(*args, **more):
    return run(*args, program=CHIMPCTL, **more)


class Chimpd:
    """Everything that a test starts ends with it; Chimpd.finish looks back."""

    program = CHIMPD

    def __init__(self, directory, name="chimpd", wrap=(), **conf):
        """wrap: a command that runs what follows it, as env(1) does."""
        self.wrap = wrap
        self.dir = pathlib.Path(directory)
        self.conf = self.dir / f"{name}.conf"
        self.log = self.dir / f"{name}.log"
        self.listen = conf.setdefault("listen", f"unix:{self.dir}/{name}.http")
        self.expected_status = 0
        self.process = None
        configuration(self.conf, **conf)
        self.http = Client(self._address())

    def _address(self):
        """The first of those that it listens on."""
        first = self.listen.split('"')[0]
        if first.startswith("unix:"):
            return first[len("unix:"):].split()[0]  # then options
        host, port = first.rsplit(":", 1)
        return host, int(port.split()[0])  # then options

    # --- life ---

    def start(self, env=None, wait=True, timeout=20, sockets=()):
        """sockets: [(name, descriptor)], handed over as systemd does."""
        ready, child_end = os.pipe()
        # Above the numbers that sockets get.
        number = fcntl.fcntl(child_end, fcntl.F_DUPFD_CLOEXEC, systemd.ABOVE)
        os.close(child_end)
        child_end = number
        command = [*self.wrap, self.program, "-c", self.conf, "--ready-fd", str(child_end)]
        if sockets:
            command = systemd.hand_over(command, sockets)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, env=environment(env), cwd="/",
                pass_fds=[child_end, *(fd for _, fd in sockets)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        procs.known[self.process.pid] = "chimpd"
        os.close(child_end)
        self._ready = ready
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=20):
        readable, _, _ = select.select([self._ready], [], [], timeout * PATIENCE)
        said = os.read(self._ready, 100) if readable else b"nothing"
        os.close(self._ready)
        assert said == b"READY\n", f"said {said!r} instead of READY:\n{self.text()}"

    @property
    def pid(self):
        return self.process.pid

    def wait(self, timeout):
        """Until the master has ended; its status."""
        try:
            status = self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"chimpd still runs after {timeout * PATIENCE:g} s:\n{self.text()}"
            ) from None
        procs.known.pop(self.pid, None)
        return status

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout=10):
        if self.process is None or self.process.returncode is not None:
            return self.process and self.process.returncode
        self.send_signal(number)
        return self.wait(timeout)

    def finish(self):
        """Stop, and see that nothing was left or went wrong on the way."""
        if self.process is None:
            return
        try:
            status = self.stop()
            left = procs.strays()
        finally:
            procs.end([self.pid, *procs.descendants(self.pid), *procs.strays()])
            self.process.wait()
            procs.known.pop(self.pid, None)
            procs.reap()
        text = self.text()
        self.process = None
        assert not left, f"processes left behind: {left}\n{text}"
        assert status == self.expected_status, f"exit status {status}:\n{text}"
        assert not SANITIZER_REPORT.search(text), text

    # --- looking at it ---

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def children(self, role=None):
        """{title: pid} of the direct children, "worker/default/0" and so on."""
        found = {}
        for pid in procs.children(self.pid):
            name = procs.title(pid)
            name = name[len("chimpd: "):] if name.startswith("chimpd: ") else name
            if role is None or name.split("/")[0] == role:
                found[name] = pid
        return found

    def child(self, name):
        return until(lambda: self.children().get(name), f"child {name} runs")

    def kill(self, name, number=signal.SIGKILL):
        """Kill one child; returns the pid that it had."""
        pid = self.child(name)
        os.kill(pid, number)
        return pid

    def wait_replaced(self, name, pid, timeout=10):
        return until(
            lambda: self.children().get(name, pid) != pid and self.children()[name],
            f"{name} (pid {pid}) is replaced", timeout)
