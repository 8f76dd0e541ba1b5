"""Processes, as /proc shows them.

The test process is a subreaper: whatever a test's processes leave behind
becomes its child, however often it was forked, so that nothing can hide.
"""

import ctypes
import os
import pathlib
import signal

PR_SET_CHILD_SUBREAPER = 36

# pid -> what it is: children that the harness itself started and will end.
known = {}


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def parent(pid):
    """The parent's pid and the state of a process, (0, "") if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:
            # The name in parentheses may contain anything.
            state, ppid, _ = stat.read(4096).rpartition(b")")[2].split(None, 2)
    except (FileNotFoundError, ProcessLookupError):
        return 0, ""
    return int(ppid), state.decode()


def alive(pid):
    return parent(pid)[1] not in ("", "Z")


def title(pid):
    try:
        raw = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            ppid, state = parent(entry)
            if ppid == pid and state != "Z":
                found.append(int(entry))
    return sorted(found)


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def strays():
    """Children of this process that nobody accounts for: what was left."""
    return {pid: title(pid) for pid in children(os.getpid()) if pid not in known}


def reap():
    """Take note of adopted children that have ended."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in known:
            ppid, state = parent(entry)
            if ppid == os.getpid() and state == "Z":
                os.waitpid(int(entry), os.WNOHANG)


def end(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
