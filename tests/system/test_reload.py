"""G34: HUP brings a new configuration to all processes, or changes nothing."""

import re
import signal
import time

import pytest

from harness.chimpd import configuration
from harness.http import Client
from harness.settings import PATIENCE
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.ran (job bigint, note text);
create function t.note(input jsonb) returns jsonb language sql as $$
	insert into t.ran select (chimp.job() ->> 'id')::bigint, input ->> 'note';
	select '{"ok": true}'::jsonb;
$$;
create function t.hello(input jsonb) returns jsonb language sql as $$
	select '{"hello": true}'::jsonb;
$$;
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input ->> 'seconds')::float);
	insert into t.ran values ((chimp.job() ->> 'id')::bigint, 'nap');
	return '{}';
end $$;
"""
APP = """
  queue "q" { sql = "t.note" }
  queue "nap" { sql = "t.nap" }
  route "GET /hello" { sql = "t.hello" }
"""


class Reloads:
    """A chimpd, and what its master's log says of reloads."""

    def __init__(self, daemon, conf):
        self.daemon = daemon
        self.conf = conf
        self.seen = 0

    def write(self, **changes):
        self.conf.update(changes)
        configuration(self.daemon.conf, **self.conf)

    def hup(self, **changes):
        """Change the file, HUP, and wait for what comes of it."""
        if changes:
            self.write(**changes)
        self.seen = len(self.daemon.text())
        self.daemon.send_signal(signal.SIGHUP)
        return self.outcome()

    def outcome(self, timeout=20):
        return until(lambda: self.find(
            r"(reloaded|the reload is refused|the old configuration is in effect again)"),
            "the reload ends", timeout)

    def find(self, pattern):
        found = re.search(pattern, self.daemon.text()[self.seen:])
        return found and found.group(0)


def reloads(start, app, registrations=APP, **conf):
    made = app(registrations, SCHEMA) if registrations is not None else None
    daemon = start(made, **conf)
    full = dict(conf, listen=daemon.listen, include=[made.conf] if made else [])
    full.setdefault("url", None)
    return Reloads(daemon, full)


def fresh(start, app, database, **conf):
    return reloads(start, app, url=database.url, **conf)


def test_g34_every_process_is_replaced(start, app, database, figure):
    node = fresh(start, app, database, processes=2)
    before = node.daemon.children()
    with Stopwatch() as watch:
        assert node.hup() == "reloaded"
    figure("reload of an idle node", watch.ms, "ms", 1000)

    def replaced():
        now = node.daemon.children()
        return now.keys() == before.keys() and not set(now.values()) & set(before.values())

    until(replaced, "the old ones are gone")
    assert node.daemon.http.get("/hello").status == 200


def test_g34_new_counts_and_classes_take_effect(start, app, database):
    node = fresh(start, app, database)
    two = 'worker default { processes = 2 concurrency = 2 queues = {"q"} } ' \
          'worker slow { processes = 1 concurrency = 1 queues = {"nap"} }'
    assert node.hup(processes=3, workers=two, cron=0) == "reloaded"
    names = {"http/0", "http/1", "http/2", "worker/default/0", "worker/default/1",
             "worker/slow/0", "subscriber/0"}
    until(lambda: set(node.daemon.children()) == names, f"{names} run")
    job = database.value("select chimp.enqueue('nap', '{\"seconds\": 0}')")
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "done",
          "the new class works")
    assert node.hup(processes=1, workers='worker slow { processes = 1 }', cron=1) == "reloaded"
    names = {"http/0", "worker/slow/0", "cron/0", "subscriber/0"}
    until(lambda: set(node.daemon.children()) == names, f"{names} run")


def test_g34_new_registrations_take_effect(start, app, database):
    node = fresh(start, app, database)
    assert node.daemon.http.get("/again").status == 404
    text = node.conf["include"][0].read_text()
    node.conf["include"][0].write_text(text.replace(
        'queue "q"', 'queue "fresh" { sql = "t.note" } route "GET /again" { sql = "t.hello" }\n'
        '  queue "q"'))
    assert node.hup() == "reloaded"
    assert node.daemon.http.get("/again").status == 200
    job = database.value("select chimp.enqueue('fresh', '{\"note\": \"x\"}')")
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "done",
          "the new queue works")


def test_g34_a_listener_that_stays_keeps_its_socket(start, app, database, folder):
    node = fresh(start, app, database)
    inode = (folder / "chimpd.http").stat().st_ino
    other = f"{folder}/other.http"
    assert node.hup(listen=f'{node.daemon.listen}", "unix:{other}') == "reloaded"
    assert Client(other).get("/hello").status == 200
    assert node.daemon.http.get("/hello").status == 200
    assert (folder / "chimpd.http").stat().st_ino == inode
    assert node.hup(listen=node.daemon.listen) == "reloaded"
    until(lambda: not (folder / "other.http").exists(), "the listener that is gone is removed")
    assert node.daemon.http.get("/hello").status == 200


def refused(node, pattern, **changes):
    """A reload that changes nothing, and says why; then all goes on."""
    before = node.daemon.children()
    assert node.hup(**changes) == "the reload is refused"
    assert node.find(pattern), node.daemon.text()[node.seen:]
    until(lambda: node.daemon.children() == before, "the same processes run")
    assert node.daemon.http.get("/hello").status == 200


def test_g34_an_error_changes_nothing_and_names_file_line_and_key(start, app, database):
    node = fresh(start, app, database)
    refused(node, r'chimpd\.conf:\d+: .*"?proceses"?', top='proceses = 2')
    refused(node, r"chimpd\.conf:\d+: http\.processes: must be", top="", processes='"many"')
    node.write(processes=1)
    app_conf = node.conf["include"][0]
    good = app_conf.read_text()
    app_conf.write_text(good.replace('"t.hello"', '"t.nosuch"'))
    refused(node, r"t\.nosuch")
    app_conf.write_text(good.replace('"GET /hello" {', '"GET /hello" { args = "a: inteeger" '))
    refused(node, r"app\.conf:\d+")
    app_conf.write_text(good)
    node.daemon.conf.write_text("")
    refused(node, r"starts no process on this node")
    node.daemon.conf.unlink()
    refused(node, r"cannot read .*chimpd\.conf\": No such file")
    node.write()
    refused(node, r"/nosuch/folder", listen=f'{node.daemon.listen}", "unix:/nosuch/folder/x')
    assert node.hup(listen=node.daemon.listen) == "reloaded"


def test_g34_the_connections_of_a_reload_must_fit(start, app, database):
    node = fresh(start, app, database)
    refused(node, r"PostgreSQL allows \d+",
            workers="worker default { processes = 50  concurrency = 100 }")


def test_g34_keys_that_need_a_restart_are_kept_and_named(start, app, database):
    node = fresh(start, app, database)
    assert node.hup(node="other") == "reloaded"
    assert node.find(r"node has changed; that takes effect when chimpd is started")
    assert database.value("select count(*) from chimp.process where node = 'other'") == 0


def test_g34_hups_during_a_reload_become_one_more(start, app, database):
    node = fresh(start, app, database)
    node.seen = len(node.daemon.text())
    for _ in range(20):
        node.daemon.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    until(lambda: node.find(r"reloaded"), "a reload")
    time.sleep(1)
    until(lambda: len(re.findall(r"info master: reloading", node.daemon.text())) ==
          len(re.findall(r"info master: reloaded", node.daemon.text())), "all of them end")
    assert 2 <= len(re.findall(r"info master: reloading", node.daemon.text())) <= 10


def test_g34_a_running_job_finishes_in_the_old_process(start, app, database):
    node = fresh(start, app, database)
    # Longer than a reload takes on a busy machine.
    job = database.value("select chimp.enqueue('nap', jsonb_build_object('seconds', %s::int))",
                         4 * PATIENCE)
    state = "select state from chimp.jobs where id = %s"
    until(lambda: database.value(state, job) == "running", "the job runs")
    old = node.daemon.child("worker/default/0")
    assert node.hup() == "reloaded"
    assert database.value(state, job) == "running"
    quick = database.value("select chimp.enqueue('q', '{\"note\": \"new\"}')")
    until(lambda: database.value(state, quick) == "done", "the new process works meanwhile")
    assert database.value(state, job) == "running"
    until(lambda: database.value(state, job) == "done", "the old one finishes", timeout=20)
    assert database.value("select attempt from chimp.jobs where id = %s", job) == 1
    assert database.value("select count(*) from t.ran where job = %s", job) == 1
    until(lambda: old not in node.daemon.children().values(), "the old one is gone")


def test_g34_drain_timeout_bounds_the_old_process(start, app, database):
    node = fresh(start, app, database, top='drain_timeout = "1s"')
    job = database.value("select chimp.enqueue('nap', '{\"seconds\": 60}')")
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "running",
          "the job runs")
    old = node.daemon.child("worker/default/0")
    assert node.hup() == "reloaded"
    until(lambda: old not in node.daemon.children().values(), "the old one is gone", 10)
    until(lambda: database.rows("select state, attempt from chimp.jobs where id = %s", job) ==
          [("running", 1)], "the job runs again, uncharged")


def test_g34_level_and_format_of_the_log_take_effect(start, app, database):
    node = fresh(start, app, database)
    assert node.hup(top='log { level = "debug" }') == "reloaded"
    assert node.hup() == "reloaded"
    assert node.find(r"debug master: ")
    assert node.find(r"debug worker/default/0: ")
    assert node.hup(top='log { level = "debug"  format = "json" }') == "reloaded"
    assert node.find(r'"process":"master","message":"reloaded')
    assert node.find(r'"process":"worker/default/0"')


def test_g34_stop_timeout_takes_effect(start, app, database):
    node = fresh(start, app, database, stop_timeout="60s")
    assert node.hup(stop_timeout="500ms") == "reloaded"
    job = database.value("select chimp.enqueue('nap', '{\"seconds\": 60}')")
    until(lambda: database.value("select state from chimp.jobs where id = %s", job) == "running",
          "the job runs")
    assert node.daemon.stop(timeout=15) == 0


def test_g34_a_reload_during_an_outage_changes_nothing(start, app, own_cluster):
    database = own_cluster.create_database()
    node = reloads(start, app, url=database.url, database='start_timeout = "1s"')
    own_cluster.stop()
    assert node.hup() == "the reload is refused"
    own_cluster.start()
    until(lambda: node.daemon.http.get("/hello").status == 200, "it serves again")
    assert node.hup() == "reloaded"


@pytest.mark.parametrize("delay", [0, 0.05, 0.1, 0.2, 0.3])
def test_g34_a_stop_during_a_reload_stops(start, app, database, delay):
    node = fresh(start, app, database)
    node.daemon.send_signal(signal.SIGHUP)
    time.sleep(delay)
    assert node.daemon.stop() == 0


def test_g34_if_a_successor_cannot_start_all_go_back(start_fake, figure):
    """Two have the new configuration already; the third refuses it."""
    node = start_fake(fakes=3, top='restart_delay_max = "200ms"')
    before = node.children("fake")
    node.birth("exit 78", 2)
    with Stopwatch() as watch:
        node.send_signal(signal.SIGHUP)
        node.line("the old configuration is in effect again", 20)
    figure("a reload that fails, there and back", watch.ms, "ms", 3000)
    assert node.line("the reload has failed: fake/2 could not start")
    after = until(lambda: len(node.children("fake")) == 3 and node.children("fake"), "all serve")
    assert after["fake/2"] == before["fake/2"]
    assert node.states() [-4:] == [
        ("running", "checking a new configuration"),
        ("checking a new configuration", "replacing the processes"),
        ("replacing the processes", "going back to the old configuration"),
        ("going back to the old configuration", "running")]
    node.birth("", 2)
    node.send_signal(signal.SIGHUP)
    node.line("info master: reloaded", 20)


def test_g34_a_new_place_that_cannot_start_fails_the_reload(start_fake):
    node = start_fake(fakes=1)
    old = node.child("fake/0")
    node.birth("exit 78", 1)
    text = node.conf.read_text()
    node.conf.write_text(text.replace("fake { processes = 1", "fake { processes = 2"))
    node.send_signal(signal.SIGHUP)
    node.line("the old configuration is in effect again", 20)
    until(lambda: set(node.children("fake")) == {"fake/0"}, "the new place is gone")
    assert old


def test_g34_a_successor_that_is_never_ready_fails_the_reload(start_fake):
    node = start_fake(fakes=2, top='start_timeout = "1s"')
    before = node.children("fake")
    node.birth("never-ready")
    node.send_signal(signal.SIGHUP)
    assert re.search("hangs: not ready in 1.0 s", node.line("fake/. pid .* hangs"))
    node.line("the old configuration is in effect again", 20)
    until(lambda: node.children("fake") == before, "the old ones serve")


def test_g34_a_failed_slot_gets_another_chance(start_fake):
    node = start_fake(fakes=2)
    old = node.child("fake/0")
    node.tell(0, "exit 78")
    node.line("it will not be restarted")
    until(lambda: not node.alive(old), "it is gone")
    node.send_signal(signal.SIGHUP)
    node.line("info master: reloaded", 20)
    until(lambda: len(node.children("fake")) == 2, "both serve")


def test_g34_the_old_registrations_return_with_the_old_configuration(start_fake, app, database):
    made = app(APP, SCHEMA)
    node = start_fake(fakes=1, include=[made.conf])
    node.birth("exit 78")
    made.conf.write_text(made.conf.read_text().replace('queue "nap"', 'queue "doze"'))
    node.send_signal(signal.SIGHUP)
    node.line("the old configuration is in effect again", 20)
    active = "select name from chimp.registration where kind = 'queue' and active order by 1"
    until(lambda: [name for name, in database.rows(active)] == ["nap", "q"],
          "the old queues are registered")
