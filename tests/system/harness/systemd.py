"""What systemd does for a service, without systemd.

Run as a program this file is the last step before exec: descriptors are put
where LISTEN_FDS promises them, by the process that LISTEN_PID names.
"""

import fcntl
import os
import socket
import sys

FIRST = 3     # SD_LISTEN_FDS_START
ABOVE = 100   # out of the way of those


def hand_over(command, sockets):
    """The command that starts `command` with [(name, descriptor)] from 3 on."""
    fds = ",".join(str(fd) for _, fd in sockets)
    names = ":".join(name for name, _ in sockets)
    return [sys.executable, __file__, fds, names, *map(str, command)]


def main(fds, names, *command):
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
    main(*sys.argv[1:])
