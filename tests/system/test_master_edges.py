"""Where masters are caught unprepared: signals too early, children that hang,
reloads that take back what an earlier one gave up."""

import os
import signal

import psycopg2
import pytest

from harness import procs
from harness.chimpd import Chimpd, chimpctl, configuration
from harness.resolver import Resolver
from harness.settings import AS_ROOT, USER
from harness.systemd import Notified
from harness.wait import until

# --- signals -------------------------------------------------------------------------

@pytest.fixture
def starting(folder, database):
    """A node that cannot get on with its start: the name of its listener hangs."""
    if AS_ROOT:
        os.chown(folder, USER.pw_uid, USER.pw_gid)
    resolver = Resolver(folder)
    resolver.say({"slow.internal": "hang"})
    node = Chimpd(folder, url=database.url, listen="slow.internal:4567",
                  top=f'pid_file = "{folder}/pid"')
    node.start(env=resolver.env, wait=False)
    until(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), "the pid file is there")
    yield node
    if node.process.poll() is None:
        node.process.kill()
        node.process.wait()
    procs.known.pop(node.pid, None)


@pytest.mark.parametrize("verb", ["reload", "reopen-logs"])
def test_a_signal_before_the_handlers_does_not_end_the_start(starting, verb):
    assert chimpctl("node", verb, "-c", starting.conf).status == 0
    with pytest.raises(Exception, match="timed out"):
        starting.process.wait(1)


def test_signals_that_the_parent_had_blocked_are_heard(folder, database):
    blocked = {signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        node = Chimpd(folder, url=database.url).start(wait=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        node.wait_ready()
        assert node.stop() == 0
    finally:
        node.finish()


def test_the_end_of_start_timeout_is_no_matter_of_a_stop(start_fake):
    node = start_fake(fakes=2, behaviour="never-ready; drain-never", wait=False,
                      top='start_timeout = "1s"', stop_timeout="3s")
    until(lambda: node.states("fake/1") and node.states("fake/1")[-1][1] == "starting",
          "it starts")
    node.send_signal(signal.SIGTERM)
    assert node.wait(20) == 0
    assert node.lines("stopping: running work has 3.0 s")
    assert not node.lines("is not ready")


# --- short-lived children ------------------------------------------------------------

IMPATIENT = 'start_timeout = "200ms"  watchdog = "3s"'


def test_a_check_that_hangs_is_ended_and_refused(start_fake, database):
    node = start_fake(fakes=1)
    configuration(node.conf, url=database.url, listen=node.listen, processes=0, workers="",
                  cron=0, subscriber=0, top=f"""{IMPATIENT}
fake {{ processes = 1  control = "{node.control}" }}""")
    node.send_signal(signal.SIGHUP)
    node.line("info master: reloaded")
    connection = psycopg2.connect(database.url)
    connection.cursor().execute("select pg_advisory_lock(hashtext('chimp.migrate'))")
    node.send_signal(signal.SIGHUP)
    node.line("has been checking the configuration for .*it may wait for a migration or a lock")
    node.line("hangs while checking the configuration; killing it", timeout=20)
    node.line("the reload is refused: nothing has changed")
    connection.close()
    reloaded = len(node.lines("info master: reloaded"))
    node.send_signal(signal.SIGHUP)
    until(lambda: len(node.lines("info master: reloaded")) > reloaded, "the next one succeeds")


def test_systemd_is_asked_for_time_while_a_migration_runs(start, app, folder):
    notified = Notified(folder)
    slow = app('queue "q" { sql = "t.x" }', """create schema t;
        create function t.x(input jsonb) returns jsonb language sql as $$ select input $$;
        select pg_sleep(7);""")
    start(slow, env=notified.environment)
    assert notified.values("EXTEND_TIMEOUT_USEC")
    notified.close()


# --- what one reload gave up and the next one wants -----------------------------------

def test_a_class_that_waits_for_its_restart_may_be_given_up(start_fake, database):
    node = start_fake(fakes=3, workers="worker gone { processes = 1 concurrency = 2 }")
    for _ in range(5):
        node.wait_replaced("worker/gone/0", node.kill("worker/gone/0"))
    # The reload is going round when the delay is over.
    node.birth("ready-after 1200")
    node.kill("worker/gone/0")
    node.line("worker/gone/0 pid .*restarting in 1.6 s")
    configuration(node.conf, url=database.url, listen=node.listen, processes=0, workers="",
                  cron=0, subscriber=0, top=f"""log {{ level = "debug" }}
fake {{ processes = 3  control = "{node.control}" }}""")
    node.send_signal(signal.SIGHUP)
    node.line("info master: reloaded", timeout=30)
    assert not node.lines("worker/gone.*signal 6")
    # One that has been replaced may still be on its way out.
    until(lambda: set(node.children()) == {"fake/0", "fake/1", "fake/2"}, "they alone are there")


def test_g34_places_given_up_and_wanted_again_get_no_second_process(start, app, database):
    """However often: what drains there counts."""
    naps = app('queue "nap" { sql = "t.nap" }', """create schema t;
        create function t.nap(input jsonb) returns jsonb language sql as
        $$ select to_jsonb(pg_sleep(4) is null) $$;""")
    more = {"cron": 0, "subscriber": 0, "stop_timeout": "1s"}
    class_ = "worker gone { processes = 2 concurrency = 2 }"
    node = start(naps, workers=class_, **more)

    def reload(workers):
        seen = node.text().count("info master: reloaded")
        configuration(node.conf, listen=node.listen, url=database.url, include=[naps.conf],
                      workers=workers, **more)
        node.send_signal(signal.SIGHUP)
        return lambda: node.text().count("info master: reloaded") > seen

    most = 0
    for _ in range(3):
        for _ in range(4):
            database.rows("select chimp.enqueue('nap', '{}')")
        until(lambda: database.value(
            "select count(*) from chimp.jobs where state = 'running'") >= 4, "jobs run", timeout=20)
        until(reload(""), "the class is given up")
        back = reload(class_)
        until(lambda: back() or most > 4, "the class is back", timeout=30)
        most = max(most, len([n for n in map(procs.title, procs.children(node.pid))
                              if "worker/gone" in n]))
    assert most == 2
    assert set(node.children("worker")) == {"worker/gone/0", "worker/gone/1"}


def test_the_budget_counts_what_drains_since_an_earlier_reload(start, app, make_cluster):
    naps = app('queue "nap" { sql = "t.nap" }', """create schema t;
        create function t.nap(input jsonb) returns jsonb language sql as
        $$ select to_jsonb(pg_sleep(60) is null) $$;""")
    cluster = make_cluster(max_connections=48, superuser_reserved_connections=3)
    url = cluster.create_database().url
    more = {"cron": 0, "subscriber": 0, "stop_timeout": "1s", "processes": 0}
    class_ = "worker {} {{ processes = 1 concurrency = 8 }}"
    node = start(naps, workers=class_.format("one"), url=url, **more)
    with cluster.connect("test_1") as connection, connection.cursor() as cursor:
        cursor.execute("select chimp.enqueue('nap', '{}')")
    until(lambda: _running(cluster), "the job runs")
    words = ["info master: reloaded", "the reload is refused"]
    for name, word in (("two", words[0]), ("three", words[1])):
        seen = node.text().count(word)
        configuration(node.conf, listen=node.listen, url=url, include=[naps.conf],
                      workers=class_.format(name), **more)
        node.send_signal(signal.SIGHUP)
        until(lambda word=word, seen=seen: node.text().count(word) > seen, word, timeout=20)
    assert "worker/three 1 x 10 + worker/two 1 x 10 + draining 10 + replacing 20" in node.text()


def _running(cluster):
    with cluster.connect("test_1") as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from chimp.jobs where state = 'running'")
        return cursor.fetchone()[0] == 1


def test_g34_a_reload_ends_though_a_process_is_always_due(start_fake, database):
    """fake/0 is too old again before its predecessor has drained; of all but
    workers one is replaced at a time."""
    node = start_fake(fakes=1, cron=1, keys='max_age = "1s"', behaviour="drain-for 1500")
    cron = node.child("cron/0")
    node.line("fake/0 pid .* will be replaced: it is")
    node.send_signal(signal.SIGHUP)
    node.line("info master: reloaded", timeout=20)
    assert node.child("cron/0") != cron


# --- draining --------------------------------------------------------------------------

def test_g34_a_drain_that_is_over_is_not_called_a_hang(start_fake):
    node = start_fake(fakes=4, top='drain_timeout = "500ms"', behaviour="drain-never; on-drain deaf")
    for done in range(2):
        node.send_signal(signal.SIGHUP)
        until(lambda done=done: len(node.lines("info master: reloaded")) > done, "reloaded", 60)
    assert len(node.lines("has not finished in drain_timeout")) >= 6
    assert not node.lines("no heartbeat")


# --- capabilities ----------------------------------------------------------------------

@pytest.mark.skipif(not AS_ROOT, reason="needs root to give a capability away")
def test_a_reload_may_open_a_low_port_with_the_capability(start, database):
    node = start(wrap=[
        "unshare", "-n", "sh", "-c",
        'sysctl -qw net.ipv4.ip_unprivileged_port_start=1024; exec "$@"', "-",
        "setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--init-groups",
        "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"])
    configuration(node.conf, url=database.url, listen=f'{node.listen}", "0.0.0.0:88')
    node.send_signal(signal.SIGHUP)
    until(lambda: "refused" in node.text() or "info master: reloaded" in node.text(), "it is over")
    assert "info master: reloaded" in node.text(), node.text()
