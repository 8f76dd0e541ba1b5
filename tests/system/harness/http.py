"""HTTP as a client speaks it, over TCP or a Unix socket."""

import http.client
import json
import socket
import struct


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        # A full queue is waited for only while the socket blocks.
        wait = struct.pack("ll", int(self.timeout or 0), 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        self.sock.connect(str(self.path))
        self.sock.settimeout(self.timeout)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def type(self):
        return self.headers.get_content_type()

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Client:
    """address: a (host, port), or the path of a Unix socket."""

    def __init__(self, address, timeout=30):
        self.address = address
        self.timeout = timeout

    def connect(self):
        if isinstance(self.address, tuple):
            return http.client.HTTPConnection(*self.address, timeout=self.timeout)
        return UnixConnection(self.address, self.timeout)

    def socket(self):
        """For bytes that no proper client would send."""
        if isinstance(self.address, tuple):
            return socket.create_connection(self.address, timeout=self.timeout)
        connection = self.connect()
        connection.connect()
        return connection.sock

    def request(self, method, path, body=None, headers=None):
        """body: bytes as they are, anything else as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection = self.connect()
        try:
            try:
                connection.request(method, path, body=body, headers=headers)
            except BrokenPipeError:
                pass                # answered before all of the body was sent
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body=body, **more)

    def raw(self, data):
        """Send bytes, end our side, return all that comes back.

        A server that closes while we still send is an answer too.
        """
        with self.socket() as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(sock)


def read_all(sock):
    received = b""
    try:
        while chunk := sock.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def status_of(raw):
    """The status of the last answer in raw bytes; None if there is none."""
    lines = [l for l in raw.split(b"\r\n") if l.startswith(b"HTTP/1.")]
    return int(lines[-1].split()[1]) if lines else None


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
