"""The systemd units: that systemd understands them, how much they allow, and
that chimpd lives with what they forbid."""

import os
import pathlib
import platform
import re
import shutil
import subprocess

import pytest

from harness import procs, systemd
from harness.settings import AS_ROOT, BUILDDIR, CHIMPD, SRCDIR, USER
from harness.wait import until

EXPOSURE = 3.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is missing; on Debian: apt-get install systemd")


@pytest.fixture
def units(folder):
    """The units of this build, with its chimpd."""
    built = BUILDDIR / "deploy" / "systemd"
    for path in [*built.glob("*.service"), SRCDIR / "deploy/systemd/chimpd.socket"]:
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={CHIMPD}", path.read_text())
        (folder / path.name).write_text(text)
    return folder


def analyze(*args):
    return subprocess.run(["systemd-analyze", "--no-pager", *map(str, args)],
                          text=True, capture_output=True, check=False, timeout=60)


def verify(*paths):
    done = analyze("verify", "--man=no", "--recursive-errors=no", *paths)
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze verify does not run here: {done.stderr}")
    return done


@needs_systemd
@pytest.mark.parametrize("name", ["chimpd.service", "chimpd@.service", "chimpd.socket"])
def test_a_unit_is_valid(units, name):
    done = verify(units / name)
    # A key that is unknown is only a warning.
    assert done.returncode == 0 and name not in done.stderr, done.stderr


@needs_systemd
def test_an_invalid_unit_would_be_found(units):
    path = units / "chimpd.service"
    path.write_text(path.read_text().replace("WatchdogSec=", "WatchdogSeconds="))
    assert "WatchdogSeconds" in verify(path).stderr


def exposure(path):
    done = analyze("security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", path)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1]), done.returncode


@needs_systemd
@pytest.mark.parametrize("name", ["chimpd.service", "chimpd@.service"])
def test_a_service_is_exposed_little(units, name, record_property):
    level, status = exposure(units / name)
    record_property("figure", f"{name}: exposure {level} (limit {EXPOSURE})")
    assert level < EXPOSURE and status == 0


@needs_systemd
def test_an_exposed_service_would_be_found(units):
    path = units / "chimpd.service"
    path.write_text(re.sub(r"(?m)^(Protect|System|Capab|Restrict|Private).*", "",
                           path.read_text()))
    level, status = exposure(path)
    assert level > EXPOSURE and status != 0


def test_paths_of_an_instance_are_its_own():
    text = (BUILDDIR / "deploy/systemd/chimpd@.service").read_text()
    assert re.search(r"(?m)^ExecStart=\S+/chimpd -c \S+/chimpd/%i\.conf$", text)
    assert "\nStateDirectory=chimpd/%i\n" in text
    assert "\nRuntimeDirectory=chimpd/%i\n" in text
    for name in ["chimpd.service", "chimpd@.service"]:
        text = (BUILDDIR / "deploy/systemd" / name).read_text()
        assert not re.search(r"@[a-z]+@", text), text


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None,
                    reason="systemd-sysusers is missing; on Debian: apt-get install systemd")
def test_the_user_is_made(folder):
    (folder / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={folder}",
                    BUILDDIR / "deploy/systemd/chimpd.conf"], check=True, timeout=60)
    assert re.search(r"(?m)^chimp:x:\d+:\d+:chimpd:/var/lib/chimpd:.*nologin$",
                     (folder / "etc/passwd").read_text())
    assert re.search(r"(?m)^chimp:x:\d+:", (folder / "etc/group").read_text())


SQL = """
create schema t;
create function t.work(input jsonb) returns jsonb language sql as
$$ select '{"worked": true}'::jsonb $$;
"""
APP = """
  queue "q" { sql = "t.work" }
  action "work" { sql = "t.work" }
  route "GET /work" { action = "work" }
"""


@needs_systemd
@pytest.mark.skipif(platform.machine() != "x86_64" or not systemd.SYSCALL_NUMBERS.exists(),
                    reason="the numbers of system calls are known for x86_64 only")
def test_runs_with_what_the_unit_allows(start, app, folder):
    text = (BUILDDIR / "deploy/systemd/chimpd.service").read_text()
    allowed = re.findall(r"(?m)^SystemCallFilter=(.*)", text)
    assert allowed == ["@system-service"]
    wrap = systemd.confine(USER.pw_uid, USER.pw_gid,
                           systemd.syscall_numbers(allowed[0]))
    path = f"{folder}/open.sock"
    # A check for leaks needs ptrace, which the unit does not allow.
    sanitizers = f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0".lstrip(":")
    daemon = start(app(APP, SQL), wrap=wrap, env={"ASAN_OPTIONS": sanitizers},
                   url=None, data_dir=folder / "data",
                   listen=f"unix:{path} mode=0660 group={USER.pw_gid}")
    status = pathlib.Path(f"/proc/{daemon.child('http/0')}/status").read_text()
    assert re.search(r"Seccomp:\s+2\n", status) and re.search(r"NoNewPrivs:\s+1\n", status)
    if AS_ROOT:
        assert re.search(r"CapBnd:\s+0+\n", status)
    assert daemon.http.get("/work").json == {"worked": True}
    # A crash, and a reload: what the master does when it is not idle.
    daemon.wait_replaced("worker/default/0", daemon.kill("worker/default/0"))
    daemon.send_signal(1)
    until(lambda: "reloaded" in daemon.text(), "the reload ends")
    assert daemon.http.get("/work").status == 200
    assert "Operation not permitted" not in daemon.text()
    assert any("postgres" in procs.title(p) for p in procs.descendants(daemon.pid))
