"""Who the processes are and what they may, as /proc/PID/status shows it."""

import os
import pathlib
import pwd

import pytest

from harness import procs
from harness.chimpd import configuration, run
from harness.settings import AS_ROOT, USER

CAP_NET_BIND_SERVICE = 1 << 10
SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")

as_root = pytest.mark.skipif(not AS_ROOT, reason="only root can give root up")


def status(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def processes(daemon):
    """{title: status} of the master and all below it."""
    pids = [daemon.pid, *procs.descendants(daemon.pid)]
    return {procs.title(pid): status(pid) for pid in pids}


def caps(entry, name):
    return int(entry[name], 16)


def check_user(entry, user):
    assert entry["Uid"].split() == [str(user.pw_uid)] * 4
    assert entry["Gid"].split() == [str(user.pw_gid)] * 4
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    assert set(map(int, entry["Groups"].split())) == groups


@as_root
def test_started_as_root_everything_runs_as_the_user_without_any_right(
        start, orders_conf, folder):
    daemon = start(orders_conf, url=None, data_dir=folder / "pg",
                   database='max_connections = 60  shared_buffers = "32MiB"')
    found = processes(daemon)
    # Master, four roles, the postmaster and what it has.
    assert len(found) > 8, found.keys()
    for name, entry in found.items():
        check_user(entry, USER)
        assert entry["NoNewPrivs"] == "1", name
        assert [caps(entry, s) for s in SETS] == [0, 0, 0, 0], name
        assert caps(entry, "CapBnd") == 0, name


@as_root
def test_an_ordinary_user_keeps_what_systemd_gave_and_the_roles_have_nothing(
        start, orders_conf, folder):
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    daemon = start(orders_conf, wrap=[
        "setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--init-groups",
        "--inh-caps=+net_bind_service,+kill", "--ambient-caps=+net_bind_service"])
    found = processes(daemon)
    master = found.pop("chimpd: master")
    check_user(master, USER)
    assert master["NoNewPrivs"] == "1"
    assert [caps(master, s) for s in SETS] == [CAP_NET_BIND_SERVICE] * 4
    assert len(found) == 4
    for name, entry in found.items():
        assert entry["NoNewPrivs"] == "1", name
        assert [caps(entry, s) for s in SETS] == [0, 0, 0, 0], name


@as_root
def test_an_ordinary_user_without_rights_gets_none(start, orders_conf):
    daemon = start(orders_conf, wrap=[
        "setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--init-groups"])
    for name, entry in processes(daemon).items():
        check_user(entry, USER)
        assert entry["NoNewPrivs"] == "1", name
        assert [caps(entry, s) for s in SETS] == [0, 0, 0, 0], name


def test_nobody_gains_rights_later(start, orders_conf):
    user = USER if AS_ROOT else pwd.getpwuid(os.geteuid())
    for name, entry in processes(start(orders_conf)).items():
        check_user(entry, user)
        assert entry["NoNewPrivs"] == "1", name
        assert caps(entry, "CapEff") == 0, name


@as_root
def test_a_user_that_does_not_exist_is_an_error(folder):
    conf = folder / "chimpd.conf"
    configuration(conf, url="postgresql://x@h/d", listen=f"unix:{folder}/http")
    text = conf.read_text()
    conf.write_text(text.replace(f'user = "{USER.pw_name}"', 'user = "no-such-user"'))
    assert conf.read_text() != text
    done = run("-c", conf)
    assert done.status == 1
    assert 'user "no-such-user" does not exist' in done.err
