"""chimpctl, against databases that real chimpd processes serve."""

import json
import subprocess

import pytest

from harness.chimpd import chimpctl, configuration, environment
from harness.settings import CHIMPCTL
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create function t.noop(input jsonb) returns jsonb
language sql as $$ select null::jsonb $$;
create function t.fail(input jsonb) returns jsonb
language plpgsql as $$
begin
	raise exception using message = input ->> 'message', detail = 'for the test';
end $$;
"""

QUEUES = """
  queue "noop" { sql = "t.noop" }
  queue "fail" { sql = "t.fail"  max_attempts = 1 }
"""

NO_WORKER = {"workers": "", "cron": 0, "subscriber": 0}


@pytest.fixture
def ctl(database):
    """ctl(args) -> output of a run that must succeed."""
    def run(*args):
        done = chimpctl("-d", database.url, *args)
        assert done.status == 0, done
        assert done.err == "", done
        return done.out
    return run


@pytest.fixture
def queues(start, app, ctl):
    """ctl on a database with the queues above, which nobody serves."""
    start(app(QUEUES, SCHEMA), **NO_WORKER)
    return ctl


def enqueue(ctl, *args):
    return int(ctl("job", "enqueue", *args))


def show(ctl, job):
    return json.loads(ctl("--json", "job", "show", str(job)))


# --- the command line ------------------------------------------------------------

@pytest.mark.parametrize("args, said", [
    ([], "no command is given"),
    (["--json"], "no command is given"),
    (["jobs"], 'Did you mean "job"?'),
    (["xyzzy"], "chimpctl --help lists them"),
    (["job"], "what to do with a job is not given"),
    (["job", "lsit"], 'Did you mean "list"?'),
    (["job", "show"], "chimpctl job show needs ID"),
    (["job", "show", "1", "2"], 'one argument too many: "2"'),
    (["job", "list", "-x"], "unknown option -x"),
    (["job", "list", "--no-such"], "unknown option --no-such"),
    (["job", "list", "-n"], "option -n needs a value"),
    (["job", "list", "--state", "ended"], 'unknown state "ended"'),
    (["-n", "3", "job", "list"], "unknown option -n"),
    (["-c", "a", "-d", "b", "status"], "-c and -d exclude each other"),
])
def test_usage_errors_end_with_2(args, said):
    done = chimpctl(*args)
    assert done.status == 2, done
    assert done.out == ""
    assert said in done.err


def test_help_knows_every_command():
    every = chimpctl("--help")
    assert every.status == 0 and every.err == ""
    for words in ["status", "migrate", "enqueue QUEUE", "list", "show ID"]:
        assert words in every.out
    assert chimpctl("help").out == every.out
    verb = chimpctl("job", "enqueue", "--help")
    assert verb.status == 0
    assert "--unique-key KEY" in verb.out and "--json" in verb.out
    assert chimpctl("help", "job", "enqueue").out == verb.out


def test_version():
    assert chimpctl("-V").out.startswith("chimpctl ")


# --- which database --------------------------------------------------------------

def test_database_that_cannot_be_reached(folder):
    done = chimpctl("-d", f"host={folder}", "status")
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith("chimpctl: error: cannot connect")
    assert "chimpctl: detail: " in done.err and str(folder) in done.err


def test_database_without_the_schema_says_what_to_do(empty_database):
    for args in ["status"], ["job", "list"]:
        done = chimpctl("-d", empty_database.url, *args)
        assert done.status == 1
        assert "chimpctl: hint:" in done.err and "chimpctl migrate" in done.err


def test_database_url_is_obeyed_and_d_is_stronger(empty_database, folder):
    nowhere = {"DATABASE_URL": f"host={folder}"}
    assert chimpctl("status", env=nowhere).status == 1
    assert chimpctl("migrate", env={"DATABASE_URL": empty_database.url}).status == 0
    done = chimpctl("status", "-d", empty_database.url, env=nowhere)
    assert done.status == 0, done


def test_embedded_database_that_is_not_running(folder):
    conf = folder / "embedded.conf"
    configuration(conf, data_dir=folder / "pg", listen=f"unix:{folder}/http")
    done = chimpctl("-c", conf, "status")
    assert done.status == 1
    assert "is chimpd running" in done.err


def test_wrong_configuration_names_file_and_line(folder):
    conf = folder / "wrong.conf"
    conf.write_text("\n\nnoode = \"x\"\n")
    done = chimpctl("-c", conf, "status")
    assert done.status == 1
    assert f"{conf}:3" in done.err and "node" in done.err


# --- migrate ---------------------------------------------------------------------

def test_migrate_applies_once(empty_database):
    first = chimpctl("-d", empty_database.url, "migrate")
    assert first.status == 0, first
    assert "0001_foundation.sql" in first.out
    again = chimpctl("-d", empty_database.url, "migrate")
    assert again.status == 0 and "nothing to do" in again.out
    as_json = chimpctl("-d", empty_database.url, "migrate", "--json")
    assert json.loads(as_json.out) == []


def test_migrate_eight_at_once(empty_database):
    runs = [subprocess.Popen([CHIMPCTL, "-d", empty_database.url, "migrate"],
                             env=environment(), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) for _ in range(8)]
    for run in runs:
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, (out, err)
    assert empty_database.value(
        "select count(*) from chimp.migration where name like '0001%%'") == 1


def test_migrate_with_a_configuration_migrates_the_apps(empty_database, app, folder):
    conf = folder / "chimpd.conf"
    one = app(QUEUES, SCHEMA)
    configuration(conf, url=empty_database.url, listen=f"unix:{folder}/http",
                  include=[one.conf])
    done = chimpctl("-c", conf, "migrate", "--json")
    assert done.status == 0, done
    assert {"app": "t", "name": "0001_test.sql"}.items() <= \
        json.loads(done.out)[-1].items()
    assert empty_database.value("select t.noop('{}')") is None

    one.migration(2, "create table t.half (id int); select 1/0;")
    done = chimpctl("-c", conf, "migrate")
    assert done.status == 1
    assert "0002_test.sql" in done.err and "division by zero" in done.err
    assert empty_database.value("select to_regclass('t.half')") is None


# --- job -------------------------------------------------------------------------

def test_enqueue_keeps_every_digit(queues):
    job = enqueue(queues, "noop", '{"price": 1.10, "n": 12345678901234567890123}')
    assert '"price": 1.10' in queues("job", "show", str(job))
    as_json = queues("--json", "job", "show", str(job))
    assert '"price": 1.10' in as_json and "12345678901234567890123" in as_json


def test_enqueue_without_payload(queues):
    assert show(queues, enqueue(queues, "noop"))["payload"] == {}


def test_enqueue_reads_standard_input(queues, database):
    done = subprocess.run([CHIMPCTL, "-d", database.url, "job", "enqueue", "noop", "-"],
                          input='{"from": "stdin"}\n', text=True, check=True,
                          env=environment(), stdout=subprocess.PIPE)
    assert show(queues, int(done.stdout))["payload"] == {"from": "stdin"}


def test_enqueue_options(queues):
    later = show(queues, enqueue(queues, "noop", "--delay", "1h30m"))
    assert later["state"] == "scheduled"
    urgent = show(queues, enqueue(queues, "noop", "--priority=-7"))
    assert (urgent["state"], urgent["priority"]) == ("ready", -7)
    first = enqueue(queues, "noop", "--ordering-key", "k")
    second = enqueue(queues, "noop", "--ordering-key", "k")
    assert show(queues, first)["state"] == "ready"
    assert show(queues, second)["state"] == "scheduled"


def test_enqueue_unique_key(queues, database):
    first = enqueue(queues, "noop", "[1]", "--unique-key", "k")
    assert enqueue(queues, "noop", "[1]", "--unique-key", "k") == first
    done = chimpctl("-d", database.url, "job", "enqueue", "noop", "[2]",
                    "--unique-key", "k")
    assert done.status == 1
    assert f"held by job {first} with another payload" in done.err


@pytest.mark.parametrize("args, said", [
    (["nope"], 'unknown queue "nope"'),
    (["noop", "{bad"], "invalid input syntax for type json"),
    (["noop", "--delay", "soon"], 'invalid input syntax for type interval: "soon"'),
    (["noop", "--priority", "high"], 'invalid input syntax for type integer: "high"'),
])
def test_enqueue_errors_are_those_of_postgresql(queues, database, args, said):
    done = chimpctl("-d", database.url, "job", "enqueue", *args)
    assert done.status == 1 and done.out == ""
    assert f"chimpctl: error: {said}" in done.err


def test_list_filters_and_sorts(queues):
    assert queues("job", "list") == "no such jobs\n"
    assert json.loads(queues("job", "list", "--json")) == []
    ids = [enqueue(queues, "noop") for _ in range(3)]
    later = enqueue(queues, "fail", "--delay", "1h")

    def listed(*args):
        return [j["id"] for j in json.loads(queues("job", "list", "--json", *args))]

    assert listed() == [later, *reversed(ids)]
    assert listed("-n", "2") == [later, ids[2]]
    assert listed("-q", "noop") == list(reversed(ids))
    assert listed("-s", "scheduled") == [later]
    assert listed("-q", "noop", "-s", "scheduled") == []
    table = queues("job", "list").splitlines()
    assert table[0].split()[:3] == ["ID", "QUEUE", "STATE"]
    assert [int(line.split()[0]) for line in table[1:]] == [later, *reversed(ids)]


def test_show_of_a_job_that_is_not_there(queues, database):
    done = chimpctl("-d", database.url, "job", "show", "4711")
    assert done.status == 1 and done.out == ""
    assert "there is no job 4711" in done.err


def test_stored_text_cannot_command_the_terminal(queues):
    job = enqueue(queues, "noop", "--unique-key", "a\x1b[31m\x9b31m\nb")
    for out in queues("job", "show", str(job)), queues("job", "list"):
        assert "\x1b" not in out and "\x9b" not in out
    assert show(queues, job)["unique_key"] == "a\x1b[31m\x9b31m\nb"


def test_dead_job_shows_its_error(start, app, ctl):
    start(app(QUEUES, SCHEMA))
    job = enqueue(ctl, "fail", '{"message": "no such luck"}')
    until(lambda: show(ctl, job)["state"] == "dead", "the job is dead")
    assert "no such luck" in ctl("job", "list", "-s", "dead")
    shown = ctl("job", "show", str(job))
    assert "1 of 1" in shown and "no such luck" in shown and "P0001" in shown


# --- status ----------------------------------------------------------------------

def test_status_shows_processes_queues_and_the_rest(orders, figure):
    took_ms = []
    for _ in range(3):
        with Stopwatch() as watch:
            done = chimpctl("-d", orders.database.url, "status", "--json")
        assert done.status == 0, done
        took_ms.append(watch.ms)
    figure("chimpctl status, best of 3", min(took_ms), "ms", 100)
    status = json.loads(done.out)
    (node,) = status["nodes"]
    assert {p["name"] for p in node["processes"]} == {
        "http/0", "worker/default/0", "cron/0", "subscriber/0"}
    assert {p["pid"] for p in node["processes"]} == set(
        orders.daemon.children().values())

    table = chimpctl("-c", orders.daemon.conf, "status").out
    for words in ["node-1", "worker/default/0", "order.completed.notify ",
                  "orders.backlog.snapshot", "*/15 * * * *", "auditOrderCreated"]:
        assert words in table


def test_status_names_queues_that_nobody_serves(queues, database):
    enqueue(queues, "noop")
    database.rows("select chimp.pause('fail')")
    lines = {line.split()[0]: line for line in queues("status").splitlines() if line}
    assert lines["noop"].split()[1] == "1"
    assert lines["noop"].endswith("no consumer")
    assert lines["fail"].endswith("paused")


def test_status_of_an_empty_database(ctl):
    assert ctl("status").split("\n\n") == [
        "no node is running", "no queues", "no schedules", "no subscriptions\n"]
