"""Certificates of a test's own, and clients that speak TLS."""

import http.client
import os
import shutil
import socket
import ssl
import subprocess

from .http import Client
from .settings import AS_ROOT, USER


def openssl(*args, **more):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, **more).stdout


class Certificate:
    """Signed by itself: FOLDER/NAME.pem and FOLDER/NAME.key."""

    def __init__(self, folder, name, *names, days=30):
        self.path = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        self.names = names
        self.make(days)

    def make(self, days=30):
        """Anew, with another key; what was there is replaced at once."""
        alt = ",".join(f"DNS:{n}" for n in self.names)
        key, request, made = (f"{self.path}.{end}" for end in ("newkey", "csr", "new"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={self.path.stem}",
                "-addext", f"subjectAltName={alt}")
        openssl("x509", "-req", "-in", request, "-signkey", key, "-days", str(days),
                "-copy_extensions", "copy", "-out", made)
        for path in (key, made):
            os.chmod(path, 0o600)
            if AS_ROOT:
                shutil.chown(path, USER.pw_name)
        os.replace(key, self.key)
        os.replace(made, self.path)
        os.unlink(request)

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.path.read_text())

    @property
    def section(self):
        return f'tls "{self.path.stem}" {{ certificate = "{self.path}"  key = "{self.key}" }}'


def context(*certificates, version=None, level=None):
    """Of a client that trusts these only; version: speaks no other."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for certificate in certificates:
        made.load_verify_locations(certificate.path)
    if not certificates:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if level is not None:
        made.set_ciphers(f"DEFAULT:@SECLEVEL={level}")
    return made


class TlsClient(Client):
    """As Client; name: of the server, which the certificate must have."""

    def __init__(self, address, trust, name, timeout=30):
        super().__init__(address, timeout)
        self.trust = trust
        self.name = name

    def plain(self):
        """The connection below, with nothing said on it."""
        return Client(self.address, self.timeout).socket()

    def socket(self):
        sock = self.plain()
        # Else its last packet waits for what the kernel would join to it.
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.trust.wrap_socket(sock, server_hostname=self.name)

    def connect(self):
        connection = http.client.HTTPConnection(self.name, timeout=self.timeout)
        connection.sock = self.socket()
        return connection
