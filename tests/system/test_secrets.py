"""Secrets, and who else may read or write what the configuration is made of."""

import os
import re
import signal

import pytest

from harness.chimpd import chimpctl, configuration, run
from harness.settings import AS_ROOT, USER
from harness.wait import until

# Found in no output: what is looked for is the value, not a word of ours.
PASSWORD = "hush-tqzvk"
URL = f"postgresql://app:{PASSWORD}@db.example/orders"

as_root = pytest.mark.skipif(not AS_ROOT, reason="only root can give files away")


@pytest.fixture
def conf(folder):
    """conf(url, mode) -> path of a configuration that need not work."""
    def write(url="postgresql://app@db.example/orders", mode=0o600, name="chimpd.conf", **more):
        path = folder / name
        configuration(path, url=url, listen=f"unix:{folder}/http", **more)
        path.chmod(mode)
        return path
    return write


@pytest.fixture
def secret(folder):
    """secret(text, mode) -> the file; its folder is folder/secrets."""
    def write(text=URL + "\n", mode=0o600, name="db-url"):
        (folder / "secrets").mkdir(exist_ok=True)
        path = folder / "secrets" / name
        path.write_text(text)
        path.chmod(mode)
        return path
    return write


def check(path, env=None, *, status=0):
    """-t, -T and a start agree; what -t says on stderr."""
    done = run("-c", path, "-t", env=env)
    assert done.status == status, done
    printed = run("-c", path, "-T", env=env)
    assert (printed.status, printed.err) == (status, done.err)
    assert PASSWORD not in done.out + done.err + printed.out
    if status != 0:
        started = run("-c", path, env=env)
        assert started.status == status
        assert done.err.removeprefix("chimpd: ") in started.err
    return done.err


# --- who may write ----------------------------------------------------------------------

def test_a_file_that_everybody_may_write_to_is_refused(conf):
    path = conf(mode=0o602)
    said = check(path, status=1)
    assert f'"{path}" is not safe: everybody may write to it; run: chmod o-w {path}' in said
    path.chmod(0o600)
    assert check(path) == ""


def test_so_is_an_included_one(conf, folder):
    app = folder / "app.conf"
    app.write_text('app "x" { }\n')
    app.chmod(0o646)
    path = conf(include=[app])
    said = check(path, status=1)
    assert re.search(rf'{path}:\d+: include: "{app}" is not safe: everybody may write', said)
    assert f"run: chmod o-w {app}" in said


def test_so_is_one_in_a_folder_that_everybody_may_write_to(conf, folder):
    path = conf()
    folder.chmod(0o777)
    said = check(path, status=1)
    assert f'everybody may write to its folder "{folder}"; run: chmod o-w {folder}' in said
    folder.chmod(0o1777)
    assert check(path) == ""


def test_a_link_is_as_safe_as_both_of_its_folders(conf, folder):
    bad, good = folder / "bad", folder / "good"
    bad.mkdir()
    good.mkdir()
    path = conf(name="good/chimpd.conf")
    bad.chmod(0o777)
    (bad / "link").symlink_to(path)
    assert f'its folder "{bad}"' in check(bad / "link", status=1)
    conf(name="bad/chimpd.conf")
    (good / "link").symlink_to(bad / "chimpd.conf")
    assert f'its folder "{bad}"' in check(good / "link", status=1)


# --- who may read -----------------------------------------------------------------------

def test_a_password_in_a_file_that_everybody_may_read_is_warned_about(conf):
    path = conf(URL, mode=0o644)
    said = check(path)
    assert re.match(rf'chimpd: warning: {path}:\d+: database.url has a password, and everybody'
                    rf' may read the file; run: chmod o-r {path}', said)
    assert said.count("\n") == 1
    assert PASSWORD not in chimpctl("-c", path, "node", "stop").err


@pytest.mark.parametrize("url, mode, env", [
    (URL, 0o640, {}),
    ("postgresql://app@db.example/orders", 0o644, {}),
    ("${SOME_URL}", 0o644, {"SOME_URL": URL}),
    ("postgresql://app:${SOME_WORD}@db.example/orders", 0o644, {"SOME_WORD": PASSWORD}),
])
def test_nothing_else_is(conf, url, mode, env):
    assert check(conf(url, mode=mode), env=env) == ""


# --- the files of secrets -----------------------------------------------------------------

def by_secret(folder):
    return {"url": "secret:db-url", "top": f'secrets_dir = "{folder}/secrets"'}


def test_a_secret_is_read_and_masked(conf, secret, folder):
    secret()
    path = conf(**by_secret(folder), mode=0o644)
    assert check(path) == ""
    assert 'url = "postgresql://app:***@db.example/orders"' in run("-c", path, "-T").out


def test_a_variable_says_where_the_secrets_are(conf, secret, folder):
    secret()
    path = conf("secret:db-url", top='secrets_dir = "/nowhere"')
    assert check(path, env={"CHIMPBASE_SECRETS_DIR": f"{folder}/secrets"}) == ""
    said = check(path, env={"CREDENTIALS_DIRECTORY": "/none"}, status=1)
    assert ('no secret "db-url": looked for "/nowhere/db-url", "/none/db-url", the environment'
            ' variable db-url') in said


def test_a_secret_that_everybody_may_read_is_warned_about(conf, secret, folder):
    file = secret(mode=0o604)
    assert check(conf(**by_secret(folder))) == (
        f'chimpd: warning: "{file}" holds a secret, and everybody may read it; run: chmod o-r'
        f" {file}\n")


def test_a_secret_that_everybody_may_write_to_is_refused(conf, secret, folder):
    file = secret(mode=0o602)
    said = check(conf(**by_secret(folder)), status=1)
    assert f'database.url: "{file}" is not safe: everybody may write to it' in said
    assert f"run: chmod o-w {file}" in said
    file.chmod(0o600)
    file.parent.chmod(0o777)
    said = check(conf(**by_secret(folder)), status=1)
    assert f'everybody may write to its folder "{file.parent}"' in said


@as_root
def test_a_secret_s_group_may_write_only_if_it_is_root_s_or_ours(conf, secret, folder):
    file = secret(mode=0o660)
    os.chown(file, 0, 0)
    assert check(conf(**by_secret(folder))) == ""
    os.chown(file, 0, USER.pw_gid)
    said = check(conf(**by_secret(folder)), status=1)
    assert f'"{file}" is not safe: its group {USER.pw_gid} may write to it' in said
    assert f"run: chmod g-w {file}" in said


def test_a_pipe_is_no_secret_and_holds_nobody_up(conf, folder):
    (folder / "secrets").mkdir()
    os.mkfifo(folder / "secrets" / "db-url", 0o600)
    said = check(conf(**by_secret(folder)), status=1)
    assert f'"{folder}/secrets/db-url" is no regular file' in said


def test_a_zero_byte_is_refused(conf, secret, folder):
    secret("postgresql://a\0b")
    assert "has a zero byte" in check(conf(**by_secret(folder)), status=1)


# --- with a server ------------------------------------------------------------------------

def test_it_starts_and_reloads_with_a_secret(start, cluster, database, folder, orders_conf):
    """As root and later as the user: the group that both have may read it."""
    url = cluster.url(database.name, user="secretive").replace("@", ":right@")
    cluster.admin("grant app to secretive")
    cluster.admin(f"alter database {database.name} owner to secretive")
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "db-url").write_text(url + "\n")
    (secrets / "db-url").chmod(0o640)
    if AS_ROOT:
        os.chown(secrets / "db-url", 0, USER.pw_gid)
    daemon = start(orders_conf, **by_secret(folder))
    assert daemon.http.get("/orders").status == 200
    before = daemon.children()
    daemon.send_signal(signal.SIGHUP)
    until(lambda: not set(before.values()) & set(daemon.children().values()),
          "every process is replaced")
    assert daemon.http.get("/orders").status == 200
    # Too many may write to it now: the reload is refused, and says so.
    (secrets / "db-url").chmod(0o646)
    daemon.send_signal(signal.SIGHUP)
    until(lambda: "is not safe: everybody may write to it" in daemon.text(), "the reload fails")
    assert daemon.http.get("/orders").status == 200
    assert ":right@" not in daemon.text()
