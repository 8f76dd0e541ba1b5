"""TLS: certificates by name, what is spoken and what is not, renewal by HUP."""

import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness.chimpd import configuration, run
from harness.http import Client, free_port, read_all
from harness.tls import Certificate, TlsClient, context, openssl
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.wrote (n int);
create function t.request(input jsonb) returns jsonb language sql as $$ select chimp.request() $$;
create function t.echo(input jsonb) returns jsonb language sql as $$ select input $$;
create function t.big(input jsonb) returns jsonb language sql as $$
	select to_jsonb(repeat('x', (input ->> 'size')::int))
$$;
create function t.nap(input jsonb) returns jsonb language plpgsql as $$
begin
	perform pg_sleep((input ->> 'seconds')::float);
	insert into t.wrote values (1);
	return '{"slept": true}';
end $$;
"""
APP = """
  route "GET /request" { sql = "t.request" }
  route "POST /echo" { sql = "t.echo" }
  route "GET /big" { sql = "t.big" }
  route "GET /nap" { sql = "t.nap" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}
ASK = b"GET /request HTTP/1.1\r\nHost: x\r\n\r\n"


class Node:
    """A chimpd on a TLS port and on a plain Unix socket."""

    def __init__(self, start, app, folder, certificates, more="", **conf):
        self.port = free_port()
        self.certificates = certificates
        self.conf = dict(HTTP_ONLY, include=[app(APP, SCHEMA).conf],
                         listen=f'127.0.0.1:{self.port} tls", "unix:{folder}/plain',
                         http="\n".join([more, *(c.section for c in certificates)]), **conf)
        self.daemon = start(**self.conf)
        self.url = re.search('url = "([^"]*)"', self.daemon.conf.read_text())[1]
        self.plain = Client(f"{folder}/plain")

    def client(self, name="a.test", trust=None, timeout=30):
        trust = trust or context(*self.certificates)
        return TlsClient(("127.0.0.1", self.port), trust, name, timeout)

    def served(self, name):
        """The certificate that comes for a name, whoever is to trust it."""
        with self.client(name, context()).socket() as sock:
            return sock.getpeercert(binary_form=True)

    def hup(self):
        seen = len(self.daemon.text())
        self.daemon.send_signal(signal.SIGHUP)
        return until(lambda: [l for l in self.daemon.text()[seen:].splitlines()
                              if " reloaded" in l or "the reload is refused" in l],
                     "the reload has ended")[0]


@pytest.fixture
def node(start, app, folder):
    """node(certificate, ..., more="", **conf) -> Node"""
    def make(*certificates, **more):
        return Node(start, app, folder, certificates or (Certificate(folder, "a", "a.test"),),
                    **more)
    return make


# --- what is served -----------------------------------------------------------------

def test_the_certificate_is_chosen_by_name(node, folder):
    first = Certificate(folder, "first", "a.test", "x.w.test")
    wild = Certificate(folder, "wild", "*.w.test", "w.test")
    exact = Certificate(folder, "exact", "y.w.test")
    made = node(first, wild, exact)
    assert made.served("a.test") == first.der
    assert made.served("A.Test") == first.der
    assert made.served("w.test") == wild.der
    assert made.served("z.w.test") == wild.der
    assert made.served("y.w.test") == exact.der  # though the wildcard stands before it
    # Of one label only; and who is not known, or says no name, gets the first.
    for name in ("1.z.w.test", "other.test", None):
        assert made.served(name) == first.der, name
    answer = made.client("z.w.test").get("/request")
    assert answer.status == 200 and answer.json["scheme"] == "https"
    assert made.plain.get("/request").json["scheme"] == "http"


def test_curl_is_served(node):
    made = node()
    [certificate] = made.certificates
    for more in ((), ("--http2",), ("--tls-max", "1.2")):
        done = subprocess.run(
            ["curl", "-sS", "--cacert", certificate.path, *more, "-w", " %{http_version}",
             "--resolve", f"a.test:{made.port}:127.0.0.1",
             f"https://a.test:{made.port}/health"],
            capture_output=True, text=True, timeout=60, check=False)
        # HTTP/2 is asked for and not given.
        assert done.stdout == '{"ok":true}\n 1.1', done


def test_large_bodies_go_both_ways(node):
    client = node().client()
    assert len(client.get("/big?size=5000000").json) == 5000000
    assert client.post("/echo", {"a": "x" * 3000000}).json == {"a": "x" * 3000000}


@pytest.mark.parametrize("version, least, spoken", [
    ("TLSv1_1", "1.2", False), ("TLSv1_2", "1.2", True), ("TLSv1_3", "1.2", True),
    ("TLSv1_2", "1.3", False), ("TLSv1_3", "1.3", True),
])
def test_versions(node, version, least, spoken):
    made = node(more=f'tls_min = "{least}"')
    trust = context(version=ssl.TLSVersion[version], level=0)
    try:
        with made.client(trust=trust).socket() as sock:
            assert spoken and sock.version() == version.replace("_", ".")
    except ssl.SSLError as e:
        assert not spoken, e
    assert made.client().get("/health").status == 200


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_every_handshake_is_a_new_one_with_forward_secrecy(node, version):
    trust = context(version=ssl.TLSVersion[version])
    client = node().client(trust=trust)
    session = None
    for _ in range(3):
        plain = client.plain()
        with trust.wrap_socket(plain, server_hostname="a.test", session=session) as sock:
            sock.sendall(ASK)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert not sock.session_reused and not sock.session.has_ticket
            session = sock.session
            assert sock.compression() is None and sock.selected_alpn_protocol() is None
            name = sock.cipher()[0]
            assert name.startswith("TLS_" if version == "TLSv1_3" else "ECDHE-"), name
            assert "GCM" in name or "CHACHA20" in name, name


def test_ciphers_without_forward_secrecy_or_authentication_are_refused(node):
    made = node()
    for ciphers in ("AES128-GCM-SHA256", "ECDHE+AES:!AESGCM", "aNULL:eNULL"):
        trust = context(version=ssl.TLSVersion.TLSv1_2)
        trust.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):
            made.client(trust=trust).socket()


def test_renegotiation_is_refused(node):
    made = node()
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-tls1_2"],
        input="R\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        capture_output=True, text=True, timeout=60, check=False)
    assert "RENEGOTIATING" in done.stdout + done.stderr, done
    assert '{"ok":true}' not in done.stdout, done
    assert made.client().get("/health").status == 200


def test_a_socket_of_systemd_speaks_tls_if_its_address_does(start, folder):
    certificate = Certificate(folder, "a", "a.test")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        start(listen=f"127.0.0.1:{address[1]} tls", http=certificate.section, **HTTP_ONLY,
              sockets=[("http", sock.fileno())])
        assert TlsClient(address, context(certificate), "a.test").get("/health").status == 200


def test_a_unix_socket_speaks_tls(start, folder):
    certificate = Certificate(folder, "a", "a.test")
    start(listen=f"unix:{folder}/s mode=0600 tls", http=certificate.section, **HTTP_ONLY)
    client = TlsClient(f"{folder}/s", context(certificate), "a.test")
    assert client.get("/health").status == 200


def test_g34_hup_brings_tls_to_a_socket_and_takes_it_away(node):
    made = node()
    http = Client(("127.0.0.1", made.port))
    for listen, client in ((made.conf["listen"].replace(" tls", ""), http),
                           (made.conf["listen"], made.client())):
        configuration(made.daemon.conf, **dict(made.conf, url=made.url, listen=listen))
        assert " reloaded" in made.hup()
        assert client.get("/health").status == 200


# --- clients that do not speak it ------------------------------------------------------

@pytest.mark.parametrize("said", [
    ASK, b"\x15\x03\x03\x00\x02\x02\x28", b"\x00" * 100, b"SSH-2.0-x\r\n",
], ids=["plain HTTP", "an alert", "zeros", "SSH"])
def test_who_does_not_speak_tls_is_closed_at_once(node, said, figure):
    made = node(more='read_header_timeout = "20s"')
    with made.client().plain() as sock, Stopwatch() as watch:
        sock.sendall(said)
        received = read_all(sock)
    assert b"HTTP" not in received
    figure("not TLS on a TLS port, to its end", watch.ms, "ms", 50)
    assert made.client().get("/health").status == 200


# --- clients that leave, or half ---------------------------------------------------------

RUNNING = ("select count(*) from pg_stat_activity where state = 'active'"
           " and application_name like 'chimpd/http%%' and wait_event = 'PgSleep'")


@pytest.mark.parametrize("how", ["close", "unwrap", "reset"])
def test_a_client_that_leaves_cancels_its_query(node, database, how, figure):
    made = node(more='request_timeout = "30s"')
    sock = made.client().socket()
    sock.sendall(b"GET /nap?seconds=20 HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: database.value(RUNNING) == 1, "it runs")
    with Stopwatch() as watch:
        if how == "unwrap":  # close_notify, and no wait for the other
            sock.settimeout(0)
            with pytest.raises(ssl.SSLWantReadError):
                sock.unwrap()
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        until(lambda: database.value(RUNNING) == 0, "it is cancelled")
    figure(f"TLS client gone ({how}) to the end of its query", watch.ms, "ms", 1100)
    assert database.value("select count(*) from t.wrote") == 0


# --- renewal ----------------------------------------------------------------------------

class Visitors:
    """Connect anew all the time; what went wrong is in failures."""

    def __init__(self, made, n=3):
        self.made = made
        self.over = threading.Event()
        self.failures = []
        self.seen = []
        self.threads = [threading.Thread(target=self.run) for _ in range(n)]

    def run(self):
        client = self.made.client(trust=context())
        while not self.over.is_set():
            try:
                with client.socket() as sock:
                    self.seen.append(sock.getpeercert(binary_form=True))
                    sock.sendall(ASK)
                    assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            except Exception as e:  # pylint: disable=broad-except
                self.failures.append(repr(e))
            time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_g34_renewed_certificates_are_served_after_hup_and_nobody_is_refused(node, figure):
    made = node(processes=2)
    [certificate] = made.certificates
    ders = [certificate.der]
    with Visitors(made) as visitors:
        for _ in range(3):
            certificate.make()
            ders.append(certificate.der)
            assert made.served("a.test") == ders[-2]  # not before HUP
            with Stopwatch() as watch:
                assert " reloaded" in made.hup()
            figure("HUP to renewed certificates in 2 processes", watch.ms, "ms", 1000)
            n = len(visitors.seen)
            until(lambda n=n: len(visitors.seen) > n + 20, "more have come")
            assert set(visitors.seen[n + 3:]) == {ders[-1]}
    assert not visitors.failures, visitors.failures[:5]
    assert set(visitors.seen) == set(ders)
    assert made.client().get("/health").status == 200


@pytest.mark.parametrize("broken", ["key of another", "no PEM", "gone"])
def test_g34_a_broken_certificate_leaves_the_old_one_serving(node, folder, broken):
    made = node()
    [certificate] = made.certificates
    good = certificate.der
    children = made.daemon.children("http")
    with Visitors(made) as visitors:
        if broken == "key of another":
            certificate.key.write_bytes(Certificate(folder, "other", "a.test").key.read_bytes())
        elif broken == "no PEM":
            certificate.path.write_text("certainly no certificate\n")
        else:
            certificate.key.unlink()
        assert "refused" in made.hup()
        assert made.daemon.children("http") == children
        # One that takes a dead one's place serves what the others serve.
        pid = made.daemon.kill("http/0")
        made.daemon.wait_replaced("http/0", pid)
        until(lambda: made.served("a.test") == good, "it serves again")
    assert set(visitors.seen) == {good}
    said = made.daemon.text()
    assert str(certificate.path if broken == "no PEM" else certificate.key) in said


# --- the configuration --------------------------------------------------------------------

@pytest.fixture
def conf(folder):
    """conf(http) -> path of a configuration with a TLS listener."""
    def write(http, listen=f"unix:{folder}/http tls"):
        path = folder / "chimpd.conf"
        configuration(path, url="postgresql://app@db.example/x", listen=listen, http=http)
        return path
    return write


def key_lines(certificate):
    return [l for l in certificate.key.read_text().splitlines() if len(l) > 20 and "-" not in l]


def both(path, *keys):
    """What -t says; -T says nothing of the keys either."""
    done, printed = run("-c", path, "-t"), run("-c", path, "-T")
    everything = done.out + done.err + printed.out + printed.err
    for key in keys:
        for line in key_lines(key):
            assert line not in everything
    return done


def refused(path, *words, keys=()):
    done = both(path, *keys)
    assert done.status == 1, done
    for word in words:
        assert str(word) in done.err, (word, done)


def test_a_good_certificate_is_fine(conf, folder):
    certificate = Certificate(folder, "a", "a.test")
    done = both(conf(certificate.section), certificate)
    assert (done.status, done.err) == (0, ""), done


def test_paths_go_by_the_file(conf, folder):
    Certificate(folder, "a", "a.test")
    done = both(conf('tls "a" { certificate = "a.pem"  key = "a.key" }'))
    assert (done.status, done.err) == (0, ""), done


def test_a_tls_listener_without_a_certificate_is_refused(conf):
    refused(conf(""), "chimpd.conf:", "there is no certificate", 'tls "NAME" {')


def test_a_file_that_is_missing_or_no_pem_is_refused(conf, folder):
    a = Certificate(folder, "a", "a.test")
    refused(conf(f'tls "a" {{ key = "{a.key}" }}'), "certificate", "must be given", keys=[a])
    refused(conf(f'tls "a" {{ certificate = "{a.path}"  key = "{folder}/no" }}'),
            "chimpd.conf:", f"{folder}/no", "No such file", keys=[a])
    (folder / "junk").write_text("junk")
    refused(conf(f'tls "a" {{ certificate = "{folder}/junk"  key = "{a.key}" }}'),
            "chimpd.conf:", f"{folder}/junk", "PEM file", keys=[a])
    # The files were mixed up: the key is quoted nowhere.
    refused(conf(f'tls "a" {{ certificate = "{a.key}"  key = "{a.path}" }}'),
            a.key, "PEM file", keys=[a])


def test_a_key_of_another_certificate_is_refused(conf, folder):
    a, b = Certificate(folder, "a", "a.test"), Certificate(folder, "b", "b.test")
    path = conf(f'tls "a" {{ certificate = "{a.path}"  key = "{b.key}" }}')
    refused(path, "chimpd.conf:", b.key, a.path, "must be the key of", keys=[a, b])
    started = run("-c", path)
    assert started.status != 0 and "must be the key of" in started.err, started


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(conf, folder):
    a = Certificate(folder, "a", "a.test")
    openssl("ec", "-in", a.key, "-out", folder / "locked", "-aes128", "-passout", "pass:x")
    refused(conf(f'tls "a" {{ certificate = "{a.path}"  key = "{folder}/locked" }}'),
            f"{folder}/locked", "no passphrase", keys=[a])


def test_a_certificate_that_has_expired_is_warned_about(conf, folder):
    certificate = Certificate(folder, "a", "a.test", days=-1)
    done = both(conf(certificate.section), certificate)
    assert done.status == 0 and "has expired" in done.err, done
    assert str(certificate.path) in done.err


def test_a_key_that_everybody_may_read_is_warned_about(conf, folder):
    certificate = Certificate(folder, "a", "a.test")
    certificate.key.chmod(0o644)
    done = both(conf(certificate.section), certificate)
    assert done.status == 0 and "everybody may read" in done.err, done


def test_the_key_is_in_no_log(node):
    made = node(top='log { level = "debug" }')
    [certificate] = made.certificates
    assert made.client().get("/health").status == 200
    certificate.path.write_text(certificate.key.read_text())
    assert "refused" in made.hup()
    assert key_lines(certificate)
    for line in key_lines(certificate):
        assert line not in made.daemon.text()
