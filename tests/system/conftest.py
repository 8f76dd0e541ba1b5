"""Fixtures of the system tests. The pieces are in harness/."""

import os
import pathlib
import shutil

import pytest

from harness import procs
from harness.app import App, copy_orders
from harness.batches import Batches
from harness.chimpd import Chimpd, chimpctl
from harness.cluster import Cluster, make_template, temp_dir
from harness.fake import CHIMPD_TEST, FakeNode
from harness.http import Client
from harness.settings import CHIMPD, PATIENCE
from harness.shared import Shared


TEMPLATE = "CHIMP_TEST_TEMPLATE"  # tells xdist's processes where it is


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: has a long form, run by make soak")
    for program in (CHIMPD, CHIMPD_TEST):
        if not program.exists():
            pytest.exit(f"{program} is missing: run scripts/build-in, or set CHIMP_BUILDDIR", 2)
    if not hasattr(config, "workerinput"):
        os.environ[TEMPLATE] = str(make_template(migrate))
    procs.become_subreaper()


def migrate(url):
    done = chimpctl("-d", url, "migrate")
    assert done.status == 0, done


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Batches(config, log)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput") and TEMPLATE in os.environ:
        shutil.rmtree(pathlib.Path(os.environ[TEMPLATE]).parent)


@pytest.fixture(scope="session")
def cluster():
    """A PostgreSQL for all tests of this process. Do not stop it."""
    server = Cluster(os.environ[TEMPLATE])
    server.hold()
    yield server
    server.destroy()


@pytest.fixture
def make_cluster():
    """make_cluster(setting=value, ...) -> a PostgreSQL for one test."""
    made = []

    def make(**settings):
        made.append(Cluster(os.environ[TEMPLATE], **settings))
        return made[-1]

    yield make
    for server in made:
        server.destroy()


@pytest.fixture
def own_cluster(make_cluster):
    """A PostgreSQL for one test, which may stop it."""
    return make_cluster()


@pytest.fixture
def database(cluster):
    """A database for one test, with chimp's schema in it."""
    made = cluster.create_database()
    yield made
    made.drop()


@pytest.fixture
def empty_database(cluster):
    made = cluster.create_database("template1")
    yield made
    made.drop()


@pytest.fixture
def folder():
    """A folder of the unprivileged user, short enough for sockets."""
    path = temp_dir("test")
    yield path
    shutil.rmtree(path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call":
        item.has_failed = report.failed


@pytest.fixture
def start(request, folder, database):
    """start(app or path, name=..., **conf) -> a Chimpd that is ready."""
    started = []

    def start_one(app=None, name="chimpd", env=None, wait=True, sockets=(), **conf):
        conf.setdefault("url", database.url)
        if app is not None:
            conf.setdefault("include", [getattr(app, "conf", app)])
        daemon = Chimpd(folder, name, **conf)
        started.append(daemon)
        return daemon.start(env=env, wait=wait, sockets=sockets)

    yield start_one
    finish_all(started, request.node)


@pytest.fixture
def start_fake(request, folder, database):
    """start_fake(name=..., fakes=2, behaviour="", **conf) -> a FakeNode"""
    started = []

    def start_one(name="fake", wait=True, birth=None, env=None, **conf):
        conf.setdefault("url", database.url)
        node = FakeNode(folder, name, **conf)
        if birth is not None:
            node.birth(birth)
        started.append(node)
        return node.start(env=env, wait=wait)

    yield start_one
    finish_all(started, request.node)


def finish_all(daemons, test):
    """Stop all before looking for what is left: they are siblings.

    What they said is shown when the test has failed.
    """
    show_logs(daemons, test)
    for daemon in daemons:
        if daemon.process is not None:
            daemon.stop()
    for daemon in daemons:
        daemon.finish()


def show_logs(daemons, test):
    if getattr(test, "has_failed", False):
        for daemon in daemons:
            print(f"--- {daemon.conf}", *daemon.text().splitlines()[-100:], sep="\n")


@pytest.fixture(scope="module")
def shared_nodes(cluster):
    nodes = Shared(cluster)
    yield nodes
    nodes.finish()


@pytest.fixture
def shared(request, shared_nodes):
    """shared(app_of(...), **conf) -> a Chimpd of the module, for tests that leave it as it was."""
    used = []

    def get(make_app, **conf):
        used.append(shared_nodes.node(make_app, **conf))
        return used[-1]

    yield get
    show_logs(used, request.node)


@pytest.fixture
def app(folder):
    """app(registrations, migration, ...) -> App"""
    return lambda *args, **more: App(folder, *args, **more)


@pytest.fixture
def orders_conf(folder):
    return copy_orders(folder)


class Orders:
    """A chimpd that runs the example, shared by the tests of a module."""

    def __init__(self, daemon, database):
        self.daemon = daemon
        self.database = database
        self.http = daemon.http

    def create(self, customer="Ada", amount=1250):
        answer = self.http.post("/orders", {"customer": customer, "amount": amount})
        assert answer.status == 201, answer
        return answer.json


@pytest.fixture(scope="module")
def orders(cluster):
    made = cluster.create_database()
    path = temp_dir("orders")
    daemon = Chimpd(path, url=made.url, include=[copy_orders(path)])
    try:
        yield Orders(daemon.start(), made)
    finally:
        try:
            daemon.finish()
        finally:
            made.drop()
            shutil.rmtree(path)


# --- figures -------------------------------------------------------------------

@pytest.fixture
def figure(record_property):
    """figure(what, value, unit, goal): show it, and fail above ten times the goal.

    The goal is what a quiet machine must reach; a test machine is none.
    """
    def check(what, value, unit, goal):
        limit = 10 * goal * PATIENCE
        record_property("figure", f"{what}: {value:.1f} {unit} (goal {goal:g}, limit {limit:g})")
        assert value <= limit, f"{what}: {value:.1f} {unit}, limit {limit:g}"
    return check


def pytest_terminal_summary(terminalreporter):
    """Every figure, also of tests that passed, whoever ran them."""
    lines = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                lines += [v for k, v in report.user_properties if k == "figure"]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.line(line)
