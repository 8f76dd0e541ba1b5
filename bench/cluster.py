"""A PostgreSQL cluster and a chimpd on it, for one measurement.

Everything lies in one temporary folder and is gone afterwards. PostgreSQL
refuses root, so as root all of it runs as an unprivileged user. fsync stays on:
a number without it is a number of another system.
"""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

try:
    import psycopg2
except ImportError:
    psycopg2 = None                     # missing_tools tells it in one line

# What differs from PostgreSQL's defaults; printed with every result.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "120",
    "listen_addresses": "",
}

UNPRIVILEGED = ("postgres", "nobody")


class BenchError(Exception):
    """A failure that is told in one line."""


def run_as():
    """The arguments of subprocess that leave root behind."""
    if os.geteuid() != 0:
        return {}
    for name in UNPRIVILEGED:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise BenchError("no unprivileged user to run PostgreSQL as: looked for "
                     + " and ".join(UNPRIVILEGED))


def missing_tools(pg_bindir, chimpd, *packages):
    """What must be there before anything is started."""
    missing = list(packages)
    if not (pathlib.Path(pg_bindir) / "pgbench").exists():
        missing.append("postgresql-15")
    if psycopg2 is None:
        missing.append("python3-psycopg2")
    if missing:
        raise BenchError("missing; on Debian: apt-get install "
                         + " ".join(missing))
    if not os.access(chimpd, os.X_OK):
        raise BenchError(f"{chimpd} is not built: run make first")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster:
    def __init__(self, bindir):
        self.bindir = pathlib.Path(bindir)
        self.who = run_as()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="chimp-bench-"))
        self.url = f"host={self.dir} dbname=bench user=bench"
        self.postgres = self.chimpd = None
        self.log = open(self.dir / "log", "wb")
        if self.who:
            os.chown(self.dir, self.who["user"], self.who["group"])

    def start(self):
        data = self.dir / "data"
        self.call("initdb", "-D", data, "-U", "bench", "-A", "trust", "-E",
                  "UTF8", "--locale=C.UTF-8", "--data-checksums")
        options = [f"--{k}={v}" for k, v in SETTINGS.items()]
        self.postgres = self.spawn(self.bindir / "postgres", "-D", data, "-k",
                                   self.dir, *options)
        pidfile = data / "postmaster.pid"
        self.wait(lambda: pidfile.exists()
                  and "ready" in pidfile.read_text(), "PostgreSQL")
        self.call("createdb", "-h", self.dir, "-U", "bench", "bench")

    def fresh(self):
        """An empty database, in place of what the last contestant left."""
        self.call("dropdb", "-h", self.dir, "-U", "bench", "--force",
                  "--if-exists", "bench")
        self.call("createdb", "-h", self.dir, "-U", "bench", "bench")

    def copy_chimpd(self, binary):
        """The build may lie where `who` cannot look."""
        shutil.copy(binary, self.dir / "chimpd")

    def accepts(self, conf):
        """Does `chimpd -t` take this configuration?"""
        return not self.refuses(conf)

    def refuses(self, conf):
        """'' or what `chimpd -t` has against this configuration."""
        done = subprocess.run(
            [self.dir / "chimpd", "-c", conf, "-t"], cwd=self.dir,
            env=self.env(), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=30, **self.who)
        if done.returncode == 0:
            return ""
        return (done.stderr + done.stdout).strip() or "chimpd -t failed"

    def start_chimpd(self, conf, listen):
        self.chimpd = self.spawn(self.dir / "chimpd", "-c", conf)
        self.wait(lambda: ready(f"http://{listen}/ready"), "chimpd")

    def stop_chimpd(self):
        end(self.chimpd, signal.SIGTERM)
        self.chimpd = None

    def spawn(self, *argv):
        return subprocess.Popen([str(a) for a in argv], cwd=self.dir,
                                stdin=subprocess.DEVNULL, stdout=self.log,
                                stderr=self.log, env=self.env(), **self.who)

    def env(self):
        # No DATABASE_URL or PG* of the shell may lead elsewhere.
        return {"PATH": f"{self.bindir}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

    def call(self, program, *argv):
        done = subprocess.run([str(self.bindir / program), *map(str, argv)],
                              cwd=self.dir, env=self.env(), text=True,
                              capture_output=True, **self.who)
        if done.returncode != 0:
            raise BenchError(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    def sql(self, *statements):
        """Run statements one by one; the last one's value."""
        argv = ["-h", self.dir, "-U", "bench", "-d", "bench", "-XqAt",
                "-v", "ON_ERROR_STOP=1"]
        for statement in statements:
            argv += ["-c", statement]
        lines = self.call("psql", *argv).splitlines()
        return lines[-1] if lines else ""

    def pgbench(self, *argv):
        return self.call("pgbench", "-h", self.dir, "-U", "bench", "-n",
                         "--random-seed=1", *argv, "bench")

    def wait(self, is_ready, what, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for process in (self.postgres, self.chimpd):
                if process and process.poll() is not None:
                    raise BenchError(f"{what} ended with status "
                                     f"{process.returncode}:\n{self.tail()}")
            if is_ready():
                return
            time.sleep(0.05)
        raise BenchError(f"{what} is not ready after {seconds} s:\n"
                         + self.tail())

    def tail(self):
        self.log.flush()
        lines = (self.dir / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def connect(self):
        return Session(self.dir)

    def stop(self):
        self.stop_chimpd()
        end(self.postgres, signal.SIGINT)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Session:
    """A connection that stays open: a poll must not cost a fork."""

    def __init__(self, host):
        self.connection = psycopg2.connect(host=str(host), dbname="bench",
                                           user="bench")
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def run(self, statement, *parameters):
        self.cursor.execute(statement, parameters or None)

    def rows(self, statement, *parameters):
        self.run(statement, *parameters)
        return self.cursor.fetchall()

    def value(self, statement, *parameters):
        return self.rows(statement, *parameters)[0][0]

    def close(self):
        self.connection.close()


def end(process, sig, seconds=40):
    """Ask a child to end; make it."""
    if process and process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ready(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
