"""The command: -t, -T, -V, and what is said when it cannot start."""

import os
import socket

import pytest

from harness.app import App, copy_orders
from harness.chimpd import configuration, run
from harness.http import Client, free_port
from harness.settings import AS_ROOT
from harness.wait import Stopwatch

SCHEMA = """
create schema t;
create function t.f(input jsonb) returns jsonb language sql as $$ select input $$;
"""


@pytest.fixture
def conf(folder):
    """conf(**values) -> path of a configuration that need not work."""
    def write(**values):
        values.setdefault("url", "postgresql://someone:hush@db.example/orders")
        values.setdefault("listen", f"unix:{folder}/http")
        path = folder / "chimpd.conf"
        configuration(path, **values)
        path.chmod(0o600)  # it has a password
        return path
    return write


# --- -t, -T, -V -----------------------------------------------------------------

def test_t_accepts_a_good_configuration(conf, folder):
    done = run("-c", conf(include=[copy_orders(folder)]), "-t")
    assert done.status == 0, done
    assert done.err == ""


@pytest.mark.parametrize("line, said", [
    ('stop_timout = "4s"', ["stop_timout", "stop_timeout"]),
    ('stop_timeout = "fast"', ["stop_timeout", "fast"]),
    ('watchdog = "1000y"', ["watchdog"]),
    ('log { level = "loud" }', ["level", "loud"]),
    ('cron { proceses = 1 }', ["proceses", "processes"]),
    ('http { processes = -1 }', ["processes"]),
    ('worker x { queues = { "a.*.b" } }', ["a.*.b"]),
    ('app "x" { action "a" { sql = "no_schema" } }', ["no_schema"]),
    ('app "x" { action "a" { } }', ['"a"']),
    ('app "x" { route "FETCH /a" { sql = "t.f" } }', ["FETCH"]),
    ('app "x" { route "GET /a" { action = "none" } }', ["none"]),
    ('app "x" { route "GET /a" { sql = "t.f" }  route "GET /a" { sql = "t.g" } }', ["GET /a"]),
    ('include("nothing.conf")', ["nothing.conf"]),
    ('{', []),
])
def test_t_refuses_a_bad_configuration_with_file_line_and_reason(folder, line, said):
    path = folder / "chimpd.conf"
    path.write_text(f'node = "n"\n\n{line}\n')
    done = run("-c", path, "-t")
    assert done.status == 1, done
    assert done.err.count("\n") == 1, done
    assert f"{path}:3: " in done.err, done
    for word in said:
        assert word in done.err, done


@pytest.mark.parametrize("app, said", [
    ('action "a" { sql = "t.f"  args = "n: intger" }', ['"a"', "intger"]),
    ('cron "c" { schedule = "61 * * * *"  sql = "t.f" }', ['"c"', "61 * * * *"]),
    ('route "GET /a/{x}" { sql = "t.f" }  route "GET /a/{y}" { sql = "t.g" }', ["GET /a/{y}"]),
])
def test_t_refuses_what_only_a_role_understands(folder, app, said):
    path = folder / "chimpd.conf"
    path.write_text(f'node = "n"\napp "x" {{ {app} }}\n')
    done = run("-c", path, "-t")
    assert done.status == 1, done
    assert done.err.count("\n") == 1, done
    assert f"{path}:2: " in done.err, done
    for word in said:
        assert word in done.err, done


def test_t_names_a_file_that_is_missing_or_a_folder(folder):
    for path in (folder / "missing.conf", folder):
        done = run("-c", path, "-t")
        assert done.status == 1, done
        assert str(path) in done.err and done.err.count("\n") == 1, done


def test_big_t_prints_a_configuration_that_reads_back_the_same(conf, folder):
    path = conf(include=[copy_orders(folder)])
    first = run("-c", path, "-T")
    assert first.status == 0, first
    assert "hush" not in first.out + first.err
    assert 'read_header_timeout = "10s"' in first.out  # a default
    again = folder / "again.conf"
    again.write_text(first.out)
    second = run("-c", again, "-T")
    assert second.status == 0, second
    # The first line names the file.
    assert second.out.splitlines()[1:] == first.out.splitlines()[1:]


def test_big_t_shows_what_the_environment_overrides(conf):
    done = run("-c", conf(listen="127.0.0.1:3000"), "-T", env={
        "DATABASE_URL": "postgresql://env:whisper@elsewhere/db",
        "CHIMPBASE_SERVER_PORT": "4567", "CHIMPBASE_WORKER_CONCURRENCY": "7",
        "CHIMPBASE_WORKER_LEASE_MS": "45000"})
    assert done.status == 0, done
    assert "elsewhere" in done.out and "whisper" not in done.out
    for expected in ("127.0.0.1:4567", "concurrency = 7", 'lease = "45s"'):
        assert expected in done.out, done


def test_big_v_prints_the_version_and_how_it_was_built():
    done = run("-V")
    assert done.status == 0
    assert done.out.startswith("chimpd ") and "libpq" in done.out


def test_an_unknown_option_is_a_usage_error():
    for args in (["-x"], ["extra"], ["--ready-fd", "x"]):
        assert run(*args).status not in (0, None)


# --- bad luck -------------------------------------------------------------------

def refused(path, figure=None, **more):
    """What a start that must fail said: one line, status 1, long before start_timeout."""
    with Stopwatch() as watch:
        done = run("-c", path, **more)
    assert done.status == 1, done
    lines = [l for l in done.err.splitlines() if "error" in l]
    assert len(lines) == 1, done
    assert watch.ms < 20000, done
    return lines[0]


def test_a_port_in_use_is_named(conf, database):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        assert address in refused(conf(url=database.url, listen=address))


def test_a_socket_that_another_chimpd_serves_is_not_taken_over(conf, start, database):
    daemon = start()
    said = refused(conf(url=database.url, listen=daemon.listen))
    assert daemon.listen[len("unix:"):] in said
    assert daemon.http.get("/health").status == 200


def test_a_socket_left_by_a_dead_process_is_replaced(folder, start):
    path = folder / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    daemon = start(listen=f"unix:{path}")
    assert daemon.http.get("/health").status == 200


def test_an_unwritable_folder_is_named(conf, folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o700 if AS_ROOT else 0o500)  # root's own is closed to the user
    said = refused(conf(url=None, data_dir=closed / "postgres"))
    assert str(closed) in said


def test_a_missing_folder_of_a_socket_is_named(conf, database, folder):
    assert f"{folder}/none" in refused(conf(url=database.url, listen=f"unix:{folder}/none/http"))


@pytest.mark.parametrize("url", ["postgres//x", "postgresql://h:port/db", "x=y"])
def test_a_malformed_url_is_named(conf, url):
    said = refused(conf(url=url))
    assert "url" in said


def test_a_refused_password_is_told_without_the_password(conf, cluster, database):
    url = f"postgresql://secretive:wrong@/{database.name}?host={cluster.dir}"
    said = refused(conf(url=url))
    assert "password" in said and "wrong" not in said


def test_a_missing_database_is_named(conf, cluster):
    assert "no_such_database" in refused(conf(url=cluster.url("no_such_database")))


def test_an_unreachable_database_is_an_error_after_start_timeout(conf, folder):
    said = refused(conf(url=f"postgresql://x@/y?host={folder}",
                        database='start_timeout = "1s"'))
    assert str(folder) in said


@pytest.mark.parametrize("registration", [
    'action "broken" { sql = "t.missing" }',
    'queue "broken" { sql = "t.missing" }',
    'subscription "broken" { event = "e"  sql = "t.missing" }',
    'cron "broken" { schedule = "* * * * *"  sql = "t.missing" }',
    'route "GET /broken" { sql = "t.missing" }',
])
def test_a_missing_function_of_the_app_is_named(conf, database, folder, registration):
    app = App(folder, registration, SCHEMA)
    said = refused(conf(url=database.url, include=[app.conf]))
    assert "t.missing" in said and "broken" in said


def test_a_function_of_another_shape_is_refused(conf, database, folder):
    app = App(folder, 'action "a" { sql = "t.g" }',
              SCHEMA + "create function t.g(input jsonb) returns text language sql as"
                       " $$ select 'x' $$;")
    assert "t.g" in refused(conf(url=database.url, include=[app.conf]))


def test_a_pid_file_is_locked_for_life(conf, start, database, folder):
    start(top=f'pid_file = "{folder}/pid"')
    said = refused(conf(url=database.url, top=f'pid_file = "{folder}/pid"'))
    assert f"{folder}/pid" in said


# --- where it listens -----------------------------------------------------------

def test_it_listens_on_every_address_and_titles_its_processes(start, folder):
    ports = [free_port(), free_port()]
    daemon = start(listen=f'127.0.0.1:{ports[0]}", "127.0.0.1:{ports[1]}", "unix:{folder}/also')
    for address in [("127.0.0.1", p) for p in ports] + [folder / "also"]:
        assert Client(address).get("/health").json == {"ok": True}
    assert set(daemon.children()) == {"http/0", "worker/default/0", "cron/0", "subscriber/0"}


def test_disable_background_workers_leaves_http_alone(start):
    daemon = start(env={"DISABLE_BACKGROUND_WORKERS": "true"})
    assert set(daemon.children()) == {"http/0"}


@pytest.mark.skipif(not AS_ROOT, reason="only root can give root up")
def test_roles_give_up_root(start):
    daemon = start()
    for pid in daemon.children().values():
        assert os.stat(f"/proc/{pid}").st_uid != 0


