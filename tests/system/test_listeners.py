"""Listeners: rights of Unix sockets, and what a reload may do to them all."""

import os
import re
import signal
import socket
import stat

import pytest

from harness.chimpd import configuration, run
from harness.http import Client, free_port
from harness.settings import AS_ROOT, USER
from harness.wait import until


def rights(path):
    at = os.stat(path)
    return stat.S_IMODE(at.st_mode), at.st_uid, at.st_gid


def reload(daemon, listen, wanted, **conf):
    """Change http.listen, HUP, and see the wanted words in the log."""
    seen = len(daemon.text())
    configuration(daemon.conf, listen=listen, **conf)
    daemon.send_signal(signal.SIGHUP)
    until(lambda: re.search("reloaded|reload is refused", daemon.text()[seen:]),
          "the reload ends")
    assert re.search(wanted, daemon.text()[seen:]), daemon.text()[seen:]


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6(start):
    daemon = start(listen=f"[::1]:{free_port()}")
    port = int(re.search(r"http on \[::1\]:(\d+)", daemon.text())[1])
    assert Client(("::1", port)).get("/health").status == 200
    # Not a v4 port by the way.
    with pytest.raises(OSError):
        Client(("127.0.0.1", port)).get("/health")


def test_mode_owner_and_group(start, folder):
    plain, closed = f"{folder}/plain", f"{folder}/closed"
    owner = f"owner={USER.pw_name} group={USER.pw_gid}"
    start(listen=f'unix:{plain}", "unix:{closed} mode=0660 {owner}')
    mine = (os.geteuid(), os.getegid())
    assert rights(plain) == (0o666, *mine)
    assert rights(closed) == (0o660, USER.pw_uid, USER.pw_gid)
    for path in plain, closed:
        assert Client(path).get("/health").status == 200


@pytest.mark.skipif(not AS_ROOT, reason="only root can be another user")
def test_the_mode_keeps_others_out(start, folder):
    daemon = start(listen=f"unix:{folder}/s mode=0600")  # root's
    pid = os.fork()
    if pid == 0:
        os.setgid(USER.pw_gid)
        os.setuid(USER.pw_uid)
        with socket.socket(socket.AF_UNIX) as sock:
            os._exit(sock.connect_ex(f"{folder}/s") & 0xFF)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 13  # EACCES
    assert daemon.http.get("/health").status == 200


@pytest.mark.parametrize("option, said", [
    ("owner=nobody-of-that-name", 'there is no user "nobody-of-that-name"'),
    ("group=nobody-of-that-name", 'there is no group "nobody-of-that-name"'),
])
def test_an_unknown_owner_is_named(folder, option, said):
    path = folder / "chimpd.conf"
    configuration(path, url="postgresql:///x", listen=f"unix:{folder}/s {option}")
    done = run("-c", path)
    assert done.status == 1 and said in done.err, done
    assert not (folder / "s").exists()


def test_t_refuses_an_unknown_option(folder):
    path = folder / "chimpd.conf"
    configuration(path, url="postgresql:///x", listen=f"unix:{folder}/s user=x")
    done = run("-c", path, "-t")
    assert done.status == 1, done
    assert re.search(r'chimpd\.conf:\d+: http\.listen: .*"user=x" is no option', done.err), done
    assert "mode=0660, owner=NAME and group=NAME" in done.err


def test_a_reload_changes_the_mode_of_a_socket_that_stays(start, folder, database):
    # What root made, the user of the roles cannot change.
    wrap = ["setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--clear-groups"]
    daemon = start(wrap=wrap if AS_ROOT else ())
    inode = os.stat(daemon.http.address).st_ino
    reload(daemon, f"{daemon.listen} mode=0600", "reloaded", url=database.url)
    assert rights(daemon.http.address)[0] == 0o600
    assert os.stat(daemon.http.address).st_ino == inode
    assert daemon.http.get("/health").status == 200


def test_a_reload_that_cannot_listen_changes_nothing(start, folder, database):
    daemon = start()
    other = f"unix:{folder}/other"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        reload(daemon, f'{other}", "127.0.0.1:{port}',
               f"error .*cannot listen on 127.0.0.1:{port}: Address already in use",
               url=database.url)
    assert not (folder / "other").exists()
    assert daemon.http.get("/health").status == 200


def test_a_socket_of_systemd_stays_over_reloads(start, folder, database):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        daemon = start(sockets=[("http", sock.fileno())])
        for listen in f"unix:{folder}/other", f"127.0.0.1:{sock.getsockname()[1]}":
            reload(daemon, listen, "reloaded", url=database.url)
            assert Client(sock.getsockname()).get("/health").status == 200
        assert not os.path.exists(daemon.http.address)
        assert not (folder / "other").exists()
