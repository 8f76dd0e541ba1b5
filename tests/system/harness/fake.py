"""A chimpd whose processes misbehave on order: see tests/fake/fake.h."""

import os
import re

from . import procs
from .chimpd import Chimpd
from .settings import AS_ROOT, BUILDDIR, USER
from .wait import until

CHIMPD_TEST = BUILDDIR / "tests" / "chimpd-test"

CHANGE = re.compile(r"debug (\S+): (?:(\S+): )?([a-z ]+), was ([a-z ]+)$", re.M)


class FakeNode(Chimpd):
    """It runs fake processes only, unless the configuration says more.

    behaviour: orders at birth, by the configuration; birth() gives those that
    can change between two births, tell() those for a process that runs.
    """

    program = CHIMPD_TEST

    def __init__(self, directory, name="fake", fakes=2, behaviour="", keys="", top="",
                 level="debug", **conf):
        self.control = directory / f"{name}.control"
        self.control.mkdir()
        if AS_ROOT:
            os.chown(self.control, USER.pw_uid, USER.pw_gid)
        for role in ("processes", "cron", "subscriber"):
            conf.setdefault(role, 0)
        conf.setdefault("workers", "")
        top += f"""
log {{ level = "{level}" }}
fake {{ processes = {fakes}  behaviour = "{behaviour}"  control = "{self.control}"  {keys} }}"""
        super().__init__(directory, name, top=top, **conf)

    # --- orders ---

    def _write(self, name, text):
        """Whole or not at all: a process may look at any time."""
        path = self.control / f"new-{name}"
        path.write_text(text)
        os.chmod(path, 0o644)
        path.rename(self.control / name)

    def birth(self, orders, index=None):
        """Orders of all processes born from now on, or of one slot's."""
        self._write("birth" if index is None else f"birth-{index}", orders)

    def order(self, pid, orders):
        """For a process that may not live to take them."""
        self._write(str(pid), orders)

    def tell(self, index_or_pid, orders, timeout=10):
        """Orders for a process that runs; returns its pid when it has them."""
        pid = index_or_pid
        if pid < 1000 and f"fake/{pid}" in self.children("fake"):
            pid = self.child(f"fake/{pid}")
        self.order(pid, orders)
        until(lambda: not (self.control / str(pid)).exists(), f"{pid} takes orders", timeout)
        return pid

    def grandchildren(self):
        """[(kind, pid)] in the order of their births, dead ones too."""
        path = self.control / "grandchildren"
        if not path.exists():
            return []
        return [(kind, int(pid)) for kind, pid in map(str.split, path.read_text().splitlines())]

    # --- looking at it ---

    def lines(self, pattern):
        """The master's log lines that match, without their time."""
        found = []
        for line in self.text().splitlines():
            _, _, rest = line.partition(f" chimpd[{self.pid}] ")
            if rest and re.search(pattern, rest):
                found.append(rest)
        return found

    def line(self, pattern, timeout=10):
        """The first line that matches, waiting for it."""
        return until(lambda: self.lines(pattern), f"the master logs {pattern!r}", timeout)[0]

    def obituary(self, pid, timeout=10):
        """What the master says of the end of a process."""
        return self.line(rf"\bpid {pid} (killed by|exited with|stopped)", timeout)

    def states(self, name=None):
        """The states that a slot (None: the master itself) went through."""
        changes = [m for m in map(CHANGE.search, self.lines(", was ")) if m]
        return [(m[4], m[3]) for m in changes if m[2] == name]

    def wait_born(self, index, born, timeout=10):
        """Until the slot's process is another than `born`; its pid."""
        return self.wait_replaced(f"fake/{index}", born, timeout)

    def alive(self, pid):
        return procs.alive(pid)
