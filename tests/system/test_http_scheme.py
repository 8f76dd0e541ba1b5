"""How a client came: by TLS or not, by the socket or by a trusted proxy's word."""

import http.client
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
TRUSTED = 'hsts = "8760h"  trusted_proxies = { "127.0.0.1", "10.0.0.0/8" }'


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


def seen(client, source="127.0.0.1", **headers):
    """What chimp.request() says, and whether HSTS was said."""
    connection = http.client.HTTPConnection(*client.address, timeout=20,
                                            source_address=(source, 0))
    try:
        return ask(connection, **headers)
    finally:
        connection.close()


def ask(connection, **headers):
    connection.request("GET", "/request",
                       headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 200, body
    return body["scheme"], answer.headers[HSTS] is not None


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


# --- by a proxy's word ---------------------------------------------------------------

@pytest.mark.parametrize("said", [
    {"X_Forwarded_Proto": "https"},
    {"X_Forwarded_Proto": "HTTPS", "X_Forwarded_For": "1.2.3.4"},
    {"Forwarded": "for=1.2.3.4;proto=https"},
    {"X_Forwarded_Proto": "https, http", "X_Forwarded_For": "1.2.3.4, 10.0.0.7"},
    {"X_Forwarded_Proto": "https", "Forwarded": "for=1.2.3.4;proto=http"},
])
def test_a_trusted_proxy_says_that_its_client_came_by_tls(serve, said):
    plain, _ = serve(TRUSTED)
    assert seen(plain, **said) == ("https", True)
    assert seen(plain, source="127.0.0.2", **said) == ("http", False)
    assert seen(plain) == ("http", False)


@pytest.mark.parametrize("said", [
    {"X_Forwarded_Proto": "http"},
    # Its client said https, and it knew better.
    {"X_Forwarded_Proto": "https, http"},
    {"X_Forwarded_Proto": "gopher"},
    {"X_Forwarded_For": "1.2.3.4", "Forwarded": "for=1.2.3.4;proto=https"},
    {"Forwarded": "for=6.6.6.6;proto=https, for=1.2.3.4"},
    {"X_Forwarded_Ssl": "on"},
])
def test_a_client_without_tls_is_none_behind_a_trusted_proxy(serve, said):
    plain, _ = serve(TRUSTED)
    assert seen(plain, **said) == ("http", False)


def test_a_proxy_that_speaks_tls_itself_may_have_a_client_that_did_not(serve):
    _, tls = serve(TRUSTED)
    for headers, scheme in (({}, "https"), ({"X-Forwarded-Proto": "http"}, "http"),
                            ({"X-Forwarded-Proto": "junk"}, "https")):
        answer = tls.get("/request", headers=headers)
        assert answer.json["scheme"] == scheme, headers
        assert (answer.headers[HSTS] is not None) == (scheme == "https"), headers


def test_untrusted_words_change_nothing_over_tls(serve):
    _, tls = serve('hsts = "8760h"')
    answer = tls.get("/request", headers={"X-Forwarded-Proto": "http"})
    assert answer.json["scheme"] == "https" and answer.headers[HSTS] is not None


def test_each_request_of_a_proxys_connection_has_its_own_scheme(serve):
    plain, _ = serve(TRUSTED)
    connection = http.client.HTTPConnection(*plain.address, timeout=20)
    said = [{"X_Forwarded_Proto": "https"}, {}, {"Forwarded": "proto=https"},
            {"X_Forwarded_Proto": "http"}]
    assert [ask(connection, **headers) for headers in said] \
        == [("https", True), ("http", False), ("https", True), ("http", False)]
    connection.close()
