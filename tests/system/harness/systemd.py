"""What systemd does for a service, without systemd.

Run as a program this file is the last step before exec: descriptors are put
where LISTEN_FDS promises them, by the process that LISTEN_PID names, or rights
are given up as the unit says.
"""

import ctypes
import fcntl
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys

FIRST = 3     # SD_LISTEN_FDS_START
ABOVE = 100   # out of the way of those


def hand_over(command, sockets):
    """The command that starts `command` with [(name, descriptor)] from 3 on."""
    fds = ",".join(str(fd) for _, fd in sockets)
    names = ":".join(name for name, _ in sockets)
    return [sys.executable, __file__, "activate", fds, names, *map(str, command)]


def activate(fds, names, *command):
    high = [_move(int(fd)) for fd in fds.split(",")]
    for i, fd in enumerate(high):
        os.dup2(fd, FIRST + i)  # inheritable
        os.close(fd)
    os.environ.update(LISTEN_FDS=str(len(high)), LISTEN_PID=str(os.getpid()),
                      LISTEN_FDNAMES=names)
    os.execv(command[0], command)


def _move(fd):
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE)
    os.close(fd)
    return moved


# --- rights -------------------------------------------------------------------

PR_CAPBSET_DROP = 24
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
AUDIT_ARCH_X86_64 = 0xC000003E
SYSCALL_NUMBERS = pathlib.Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def syscalls(group):
    """The names in a group like @system-service, other groups resolved."""
    text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", group],
                          check=True, text=True, capture_output=True).stdout
    names = set()
    for line in text.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            names |= syscalls(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return names


def syscall_numbers(group):
    known = dict(re.findall(r"#define __NR_(\w+) (\d+)", SYSCALL_NUMBERS.read_text()))
    return sorted(int(known[name]) for name in syscalls(group) if name in known)


def confine(uid, gid, numbers):
    """A wrap for Chimpd: user, capabilities and calls as in chimpd.service."""
    return [sys.executable, __file__, "confined", str(uid), str(gid),
            ",".join(map(str, numbers))]


def confined(uid, gid, numbers, *command):
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option, *args):
        words = [ctypes.c_ulong(a) for a in args] + [ctypes.c_ulong(0)] * (4 - len(args))
        if libc.prctl(option, *words) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")

    if os.geteuid() == 0:
        for capability in range(int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
            prctl(PR_CAPBSET_DROP, capability)
        os.setgroups([])
        os.setresgid(*3 * [int(gid)])
        os.setresuid(*3 * [int(uid)])
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    try:
        prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN)
    except OSError:  # before Linux 6.3
        print("MemoryDenyWriteExecute is not tested: the kernel is too old", flush=True)
    code = seccomp(map(int, numbers.split(",")))
    buffer = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))
    os.execv(command[0], command)


def seccomp(numbers):
    """A filter that lets these calls through; others get EPERM."""
    load, equal, end = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    allow, eperm, kill = 0x7FFF0000, 0x00050001, 0x80000000

    def step(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)

    code = [step(load, 0, 0, 4), step(equal, 1, 0, AUDIT_ARCH_X86_64),
            step(end, 0, 0, kill), step(load, 0, 0, 0)]
    for number in numbers:
        code += [step(equal, 0, 1, number), step(end, 0, 0, allow)]
    return b"".join(code) + step(end, 0, 0, eperm)


# --- notification -------------------------------------------------------------

class Notified:
    """A NOTIFY_SOCKET and what came in: one dict per datagram."""

    def __init__(self, directory):
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.path.chmod(0o666)  # chimpd gives up root
        self.socket.setblocking(False)
        self._messages = []

    @property
    def environment(self):
        return {"NOTIFY_SOCKET": str(self.path)}

    @property
    def messages(self):
        while True:
            try:
                text = self.socket.recv(65536).decode()
            except BlockingIOError:
                return self._messages
            self._messages.append(
                dict(line.split("=", 1) for line in text.splitlines()))

    def values(self, key):
        return [m[key] for m in self.messages if key in m]

    def close(self):
        self.socket.close()


if __name__ == "__main__":
    {"activate": activate, "confined": confined}[sys.argv[1]](*sys.argv[2:])
