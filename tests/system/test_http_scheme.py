"""How a client came: by TLS or not."""

import json

import pytest

from harness.http import Client, free_port, read_all
from harness.tls import Certificate, TlsClient, context

SCHEMA = """
create schema t;
create function t.request(input jsonb) returns jsonb language sql as $$ select chimp.request() $$;
"""
APP = """
  route "GET /request" { sql = "t.request" }
  static "/files" { dir = "files" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}
HSTS = "Strict-Transport-Security"


@pytest.fixture
def serve(start, app, folder):
    """serve(http) -> (plain client, TLS client) of one chimpd."""
    def make(more=""):
        ports = free_port(), free_port()
        certificate = Certificate(folder, "a", "a.test")
        made = app(APP, SCHEMA)
        (made.conf.parent / "files").mkdir()
        (made.conf.parent / "files" / "a.txt").write_text("a file")
        start(made, listen=f'127.0.0.1:{ports[0]}", "127.0.0.1:{ports[1]} tls',
              http=f"{more}\n{certificate.section}", **HTTP_ONLY)
        return (Client(("127.0.0.1", ports[0])),
                TlsClient(("127.0.0.1", ports[1]), context(certificate), "a.test"))
    return make


# --- by the socket -------------------------------------------------------------------

def test_hsts_is_said_over_tls_only_and_with_everything(serve):
    plain, tls = serve('hsts = "8760h"')
    for path, status in (("/request", 200), ("/health", 200), ("/files/a.txt", 200),
                         ("/nowhere", 404), ("/%ff", 400)):
        answer = tls.get(path)
        assert answer.status == status, path
        assert answer.headers.get_all(HSTS) == ["max-age=31536000"], path
        answer = plain.get(path)
        assert answer.status == status and answer.headers[HSTS] is None, path


def test_hsts_is_not_said_unless_configured(serve):
    for client in serve():
        answer = client.get("/request")
        assert answer.status == 200 and answer.headers[HSTS] is None


def test_the_target_says_nothing_of_the_scheme(serve):
    """An absolute one is the client's word, and nobody's else."""
    for client, own in zip(serve('hsts = "8760h"'), ("http", "https")):
        for said in ("http", "https"):
            with client.socket() as sock:
                sock.sendall(f"GET {said}://x/request HTTP/1.1\r\nHost: x\r\n"
                             "Connection: close\r\n\r\n".encode())
                received = read_all(sock)
            assert received.startswith(b"HTTP/1.1 200"), received
            assert json.loads(received.split(b"\r\n\r\n", 1)[1])["scheme"] == own
            assert (b"strict-transport-security" in received.lower()) == (own == "https")
