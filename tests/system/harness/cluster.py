"""A PostgreSQL of the tests' own: in a temporary folder, on a Unix socket."""

import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import psycopg2

from . import procs
from .settings import AS_ROOT, PG_BINDIR, USER
from .wait import until

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "jit": "off",  # as chimpd has it; loading LLVM costs more than a test's statement
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "timezone": "UTC",
}

# chimpd needs no superuser: its databases belong to a plain user.
HBA = """\
local all secretive scram-sha-256
local all all trust
host all all 127.0.0.1/32 trust
"""


# A database is a thousand files, and each test has its own: most file systems
# are slow at that. Set by tests/system/run if there is room.
MEMORY = os.environ.get("CHIMP_TEST_MEMORY") or "/tmp"


def temp_dir(name, where="/tmp"):
    """A folder that the unprivileged user owns."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"chimp-{name}-", dir=where))
    if AS_ROOT:
        os.chown(path, USER.pw_uid, USER.pw_gid)
    path.chmod(0o755)
    return path


def as_user(**options):
    """Options of subprocess for a program that runs unprivileged."""
    if AS_ROOT:
        options.update(user=USER.pw_uid, group=USER.pw_gid, extra_groups=[])
    return options


MIGRATED = "migrated"  # a database with chimp's schema; copying it is cheap


def initdb(data):
    subprocess.run(
        [PG_BINDIR / "initdb", "-D", data, "-U", "postgres", "-A", "trust",
         "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        cwd="/", **as_user())
    (data / "pg_hba.conf").write_text(HBA)


def make_template(migrate):
    """A folder for Cluster(), with a database on which migrate(url) was run."""
    top = temp_dir("template", MEMORY)
    initdb(top / "initdb")
    server = Cluster(top / "initdb")
    server.create_database("template1", MIGRATED)
    migrate(server.url(MIGRATED))
    server.stop()
    server.data.rename(top / "data")
    server.destroy()
    shutil.rmtree(top / "initdb")
    return top / "data"


class Cluster:
    def __init__(self, template, **settings):
        """template: a folder in which initdb has run; copying it is cheap.

        settings: of postgresql.conf, besides those of every test.
        """
        self.settings = {**SETTINGS, **settings}
        # Where fsync is to do something, that is on a disk.
        self.dir = temp_dir("pg", MEMORY if self.settings["fsync"] == "off" else "/tmp")
        self.port = self.settings.get("port", 5432)
        self.data = self.dir / "data"
        self.numbers = itertools.count(1)
        self.process = None
        self.held = None
        subprocess.run(["cp", "-a", template, self.data], check=True)
        self.start()
        if not self.admin("select 1 from pg_roles where rolname = 'app'"):
            self.admin("create role app login")
            self.admin("create role secretive login password 'right'")

    def start(self):
        options = [f"-c{k}={v}" for k, v in self.settings.items()]
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [PG_BINDIR / "postgres", "-D", self.data, "-k", self.dir, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                start_new_session=True, **as_user())
        procs.known[self.process.pid] = "PostgreSQL"
        until(lambda: self.admin("select 1"), "PostgreSQL answers", timeout=30)

    def stop(self, number=signal.SIGINT):
        """INT is fast, as an operator's restart; QUIT is immediate."""
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(60)
        procs.known.pop(self.process.pid)
        self.process = None

    def destroy(self):
        self.stop()
        shutil.rmtree(self.dir)

    def url(self, dbname, user="app"):
        return f"postgresql://{user}@/{dbname}?host={self.dir}&port={self.port}"

    def tcp_url(self, dbname, host, user="app"):
        return f"postgresql://{user}@{host}:{self.port}/{dbname}"

    def connect(self, dbname, user="postgres"):
        connection = psycopg2.connect(self.url(dbname, user))
        connection.autocommit = True
        return connection

    def admin(self, statement):
        if self.held is not None:
            return rows(self.held, statement)
        connection = self.connect("postgres")
        try:
            return rows(connection, statement)
        finally:
            connection.close()

    def hold(self):
        """Keep a connection for admin(), of a server that nobody stops."""
        self.held = self.connect("postgres")

    def create_database(self, template=MIGRATED, name=None):
        name = name or f"test_{next(self.numbers)}"
        self.admin(f"create database {name} owner app template {template} strategy file_copy")
        return Database(self, name)


class Database:
    """One database, and a connection to look into it with."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.url = cluster.url(name)
        self.opened = []
        self._own = None

    def connect(self):
        """Another connection, in autocommit mode, closed with the test."""
        connection = self.cluster.connect(self.name, user="app")
        self.opened.append(connection)
        return connection

    def rows(self, statement, *args):
        if self._own is None or self._own.closed:
            self._own = self.connect()
        return rows(self._own, statement, *args)

    def value(self, statement, *args):
        found = self.rows(statement, *args)
        return found[0][0] if found else None

    def transaction(self):
        """Another connection, whose first statement begins one."""
        connection = self.connect()
        connection.autocommit = False
        return connection

    def refused(self, statement, *args):
        """SQLSTATE and message of a statement that must fail."""
        try:
            self.rows(statement, *args)
        except psycopg2.Error as error:
            return error.pgcode, error.diag.message_primary
        raise AssertionError(f"not refused: {statement} {args}")

    def drop(self):
        for connection in self.opened:
            connection.close()
        self.cluster.admin(f"drop database {self.name} with (force)")


def rows(connection, statement, *args):
    with connection.cursor() as cursor:
        cursor.execute(statement, args or None)
        return cursor.fetchall() if cursor.description else []
