"""Static files: what is found, what is not given away, ranges, conditions."""

import email.utils
import gzip
import os
import re
import time

import pytest

from harness.app import App
from harness.chimpd import run
from harness.http import status_of
from harness.wait import until

SCHEMA = """
create schema t;
create function t.echo(input jsonb) returns jsonb language sql as $$ select input $$;
"""
STATIC = """
  route "GET /api/{id}" { sql = "t.echo" }
  route "POST /assets/upload" { sql = "t.echo" }
  route "GET /assets/taken.txt" { sql = "t.echo" }
  static "/assets" { dir = "public/assets"  max_age = "1h" }
  static "/" { dir = "public"  fallback = "index.html" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
INDEX = b"<!doctype html><title>app</title>"
SCRIPT = b"console.log('hello');\n" * 200
BIG = os.urandom(300_000)


def make_site(folder):
    """An app with a folder of files; files that nobody may get lie beside."""
    made = App(folder, STATIC, SCHEMA)
    public = made.dir / "public"
    for name, data in {
            "index.html": INDEX, "robots.txt": b"User-agent: *\n", ".env": b"SECRET",
            ".git/config": b"SECRET", ".well-known/security.txt": b"mailto:a@example.com",
            "docs/index.html": b"docs", "docs/.htaccess": b"SECRET", "bare/a.txt": b"a",
            "assets/app.js": SCRIPT, "assets/big.bin": BIG, "assets/empty.css": b"",
            "assets/taken.txt": b"SECRET", "assets/one.mjs": b"1", "assets/a b+č.txt": b"odd",
            "assets/data.json": b'{"a": 1}' * 200, "assets/..hidden": b"SECRET",
            "../secret.txt": b"SECRET", "../publicly/secret.txt": b"SECRET"}.items():
        path = public / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (public / "assets/out.txt").symlink_to("../../secret.txt")
    (public / "assets/out").symlink_to("../..")
    (public / "assets/beside").symlink_to("../../publicly")
    (public / "assets/etc").symlink_to("/etc")
    (public / "assets/in.js").symlink_to("app.js")
    (public / "assets/loop").symlink_to("loop")
    os.mkfifo(public / "assets/pipe")
    for path in [made.dir, *made.dir.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    made.public = public
    return made


@pytest.fixture
def http(shared):
    """Of a node whose files no test changes."""
    return shared(make_site, **HTTP_ONLY).http


@pytest.fixture
def site(folder):
    return make_site(folder)


@pytest.fixture
def own_http(start, site):
    return start(site, **HTTP_ONLY).http


def test_files_have_types_and_caching(http):
    for path, media, body in (
            ("/assets/app.js", "application/javascript", SCRIPT),
            ("/assets/one.mjs", "application/javascript", b"1"),
            ("/assets/empty.css", "text/css; charset=utf-8", b""),
            ("/assets/big.bin", "application/octet-stream", BIG),
            ("/assets/a%20b+%C4%8D.txt", "text/plain; charset=utf-8", b"odd"),
            ("/assets/in.js", "application/javascript", SCRIPT)):
        answer = http.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, media), path
        assert answer.body == body and answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Accept-Ranges"] == "bytes" and answer.headers["X-Request-ID"]
    index = http.get("/")
    assert (index.status, index.body) == (200, INDEX)
    assert index.headers["Cache-Control"] == "no-cache"
    assert index.headers["X-Frame-Options"] == "DENY"


def test_head_is_get_without_the_body(http):
    for path in ("/assets/app.js", "/assets/empty.css", "/", "/assets/big.bin"):
        head, get = http.request("HEAD", path), http.get(path)
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Vary"):
            assert head.headers[name] == get.headers[name], name


def test_routes_win(http):
    assert http.get("/assets/taken.txt").json == {}
    assert http.get("/api/7").json == {"id": "7"}
    for answer in (http.get("/assets/upload", headers=PAGE), http.post("/api/7", {})):
        assert answer.status == 405 and answer.type == "application/problem+json"
    assert http.get("/health").json == {"ok": True}


def test_the_fallback_is_for_pages_alone(http):
    for path in ("/orders/7/edit", "/app.map", "/assetsx", "/bare/"):
        answer = http.get(path, headers=PAGE)
        assert (answer.status, answer.body) == (200, INDEX), path
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Vary"] == "accept"
    head = http.request("HEAD", "/orders/7", headers=PAGE)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(INDEX)))
    for path, headers in (("/orders/7", {}), ("/orders/7", {"Accept": "*/*"}),
                          ("/orders/7", {"Accept": "application/json"}),
                          ("/assets/missing.js", PAGE), ("/.env", PAGE), ("/a//b", PAGE)):
        answer = http.get(path, headers=headers)
        assert (answer.status, answer.type) == (404, "application/problem+json"), path
    assert http.post("/orders/7", {}, headers=PAGE).status == 404


def test_a_folder_is_its_index_and_no_listing(http):
    answer = http.get("/docs?a=1&b")
    assert (answer.status, answer.headers["Location"]) == (301, "/docs/?a=1&b")
    assert http.get("/docs/").body == b"docs"
    for path in ("/bare", "/bare/", "/assets", "/assets/"):
        assert http.get(path).status == 404, path
    assert http.get("/docs/index.html/").status == 404


@pytest.mark.parametrize("path", [
    "/.env", "/.git/config", "/docs/.htaccess", "/assets/..hidden", "/%2eenv", "/.%65nv",
    "/../secret.txt", "/assets/../../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt",
    "/assets/..%2f..%2fsecret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "/..%5csecret.txt",
    "/assets/./app.js", "/assets//app.js", "//assets/app.js", "/assets%2fapp.js",
    "/assets/out.txt", "/assets/out/secret.txt", "/assets/out/public/index.html/../x",
    "/assets/etc/passwd", "/assets/etc/hostname", "/assets/beside/secret.txt",
    "/assets/loop", "/assets/pipe", "/assets/app.js/", "/assets/app.js/x",
    "/.well-known", "/docs/.well-known/x", "/assets/" + "a" * 300, "/assets/" + "a/" * 2000,
    "/%2f%2fetc/passwd", "/etc/passwd", "/%c0%ae%c0%ae/secret.txt", "/app.js%00.html",
    "/assets/%"])
def test_nothing_else_is_given_away(http, path):
    raw = http.raw(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status_of(raw) in (400, 404), raw[:200]
    assert b"SECRET" not in raw and b"root:" not in raw


def test_links_inside_and_well_known_are_served(http):
    assert http.get("/.well-known/security.txt").body == b"mailto:a@example.com"
    assert http.get("/assets/in.js").body == SCRIPT


def test_a_folder_may_be_exchanged(own_http, site):
    """What a deployment does: a link that leads elsewhere from one moment on."""
    new = site.dir / "release-2"
    new.mkdir()
    (new / "index.html").write_bytes(b"two")
    for path in (new, new / "index.html"):
        path.chmod(0o755)
    site.public.rename(site.dir / "release-1")
    site.public.symlink_to("release-2")
    assert own_http.get("/").body == b"two"


def test_a_file_that_may_not_be_read_is_403(own_http, site):
    (site.public / "robots.txt").chmod(0)
    answer = own_http.get("/robots.txt")
    assert (answer.status, answer.type) == (403, "application/problem+json")


def test_other_methods_are_refused(http):
    answer = http.post("/assets/app.js", {})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert http.request("DELETE", "/").status == 405
    answer = http.request("OPTIONS", "/assets/app.js")
    assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    assert http.post("/assets/missing", {}).status == 404


# --- conditions ---


def test_a_client_that_has_the_file_gets_304(own_http, site):
    first = own_http.get("/assets/app.js")
    tag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    assert tag.startswith('"')
    assert email.utils.parsedate_to_datetime(modified).timestamp() == int(
        (site.public / "assets/app.js").stat().st_mtime)
    old = email.utils.formatdate(time.time() - 1e6, usegmt=True)
    for headers in ({"If-None-Match": tag}, {"If-None-Match": "W/" + tag}, {"If-None-Match": "*"},
                    {"If-Modified-Since": modified},
                    {"If-None-Match": f'"a", {tag}', "If-Modified-Since": old}):
        answer = own_http.get("/assets/app.js", headers=headers)
        assert (answer.status, answer.body) == (304, b""), headers
        assert answer.headers["ETag"] == tag
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
    for headers in ({"If-None-Match": '"a"'}, {"If-Modified-Since": old},
                    {"If-Modified-Since": "yesterday"},
                    {"If-None-Match": '"a"', "If-Modified-Since": modified}):
        assert own_http.get("/assets/app.js", headers=headers).status == 200, headers
    (site.public / "assets/app.js").write_bytes(SCRIPT[::-1])
    answer = own_http.get("/assets/app.js", headers={"If-None-Match": tag})
    assert (answer.status, answer.body) == (200, SCRIPT[::-1])


def test_a_compressed_file_has_a_weak_tag_of_the_same_file(http):
    plain = http.get("/assets/app.js")
    zipped = http.get("/assets/app.js", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(zipped.body) == plain.body == SCRIPT
    assert zipped.headers["ETag"] == "W/" + plain.headers["ETag"]
    for answer in (plain, zipped):
        assert answer.headers["Vary"] == "accept-encoding"
    again = http.get("/assets/app.js", headers={
        "Accept-Encoding": "gzip", "If-None-Match": zipped.headers["ETag"]})
    assert again.status == 304
    big = http.get("/assets/big.bin", headers={"Accept-Encoding": "gzip"})
    assert big.headers["Content-Encoding"] is None and big.body == BIG


def test_a_file_that_is_compressed_on_disk_is_sent_as_it_is(own_http, site):
    plain, zipped = site.public / "assets/app.js", site.public / "assets/app.js.gz"
    packed = gzip.compress(SCRIPT, 9)
    zipped.write_bytes(packed)
    zipped.chmod(0o644)
    answer = own_http.get("/assets/app.js", headers={"Accept-Encoding": "gzip"})
    assert answer.body == packed and answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Length"] == str(len(packed))
    assert answer.headers["Content-Type"] == "application/javascript"
    assert answer.headers["Vary"] == "accept-encoding"
    tag = answer.headers["ETag"]
    assert tag.startswith('"') and tag != own_http.get("/assets/app.js").headers["ETag"]
    again = own_http.get("/assets/app.js", headers={"Accept-Encoding": "gzip", "If-None-Match": tag})
    assert (again.status, again.headers["ETag"]) == (304, tag)
    part = own_http.get("/assets/app.js", headers={"Accept-Encoding": "gzip", "Range": "bytes=0-9"})
    assert part.body == SCRIPT[:10] and part.headers["Content-Encoding"] is None
    assert own_http.get("/assets/app.js").body == SCRIPT
    now = time.time()
    os.utime(zipped, (now - 100, now - 100))
    os.utime(plain, (now, now))
    answer = own_http.get("/assets/app.js", headers={"Accept-Encoding": "gzip"})
    assert answer.body != packed and gzip.decompress(answer.body) == SCRIPT


def test_a_large_text_is_compressed_in_pieces(own_http, site):
    text = b"".join(b"line %d\n" % n for n in range(100_000))
    path = site.public / "assets/large.txt"
    path.write_bytes(text)
    path.chmod(0o644)
    answer = own_http.get("/assets/large.txt", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(answer.body) == text and len(answer.body) < len(text) / 2


# --- ranges ---


@pytest.mark.parametrize("value, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=0-99", 0, 99), ("bytes=299999-", 299999, 299999),
    ("bytes=-1", 299999, 299999), ("bytes=-400000", 0, 299999), ("BYTES=5-7", 5, 7),
    ("bytes=65535-131073", 65535, 131073), ("bytes=10-99999999999999999999999", 10, 299999)])
def test_a_range_is_a_part_of_the_file(http, value, first, last):
    answer = http.get("/assets/big.bin", headers={"Range": value})
    assert answer.status == 206 and answer.body == BIG[first:last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/300000"
    assert answer.headers["Content-Length"] == str(last + 1 - first)


@pytest.mark.parametrize("value", ["bytes=300000-", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_beyond_the_end_is_416(http, value):
    answer = http.get("/assets/big.bin", headers={"Range": value})
    assert (answer.status, answer.type) == (416, "application/problem+json")
    assert answer.headers["Content-Range"] == "bytes */300000"
    assert answer.headers["Cache-Control"] is None and answer.headers["ETag"] is None


@pytest.mark.parametrize("value", [
    "bytes=5-4", "bytes=a-b", "bytes=", "bytes=-", "lines=0-1", "bytes=0-1,5-6", "bytes=0-1,",
    "bytes 0-1", "bytes=0 - 1", "bytes=1", ""])
def test_what_is_no_range_is_ignored(http, value):
    answer = http.get("/assets/big.bin", headers={"Range": value})
    assert (answer.status, answer.body) == (200, BIG)


def test_a_range_holds_only_for_the_same_file(http):
    first = http.get("/assets/big.bin")
    part = {"Range": "bytes=0-9"}
    for same in (first.headers["ETag"], first.headers["Last-Modified"]):
        assert http.get("/assets/big.bin", headers={**part, "If-Range": same}).status == 206
    for other in ('"a"', "W/" + first.headers["ETag"], "Thu, 01 Jan 2026 00:00:00 GMT", "x"):
        assert http.get("/assets/big.bin", headers={**part, "If-Range": other}).status == 200
    assert http.request("HEAD", "/assets/big.bin", headers=part).status == 200
    zipped = http.get("/assets/app.js", headers={**part, "Accept-Encoding": "gzip"})
    assert (zipped.status, zipped.body) == (206, SCRIPT[:10])
    assert zipped.headers["Content-Encoding"] is None


# --- endings ---


@pytest.mark.parametrize("name", ["huge.bin", "huge.txt"])
def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(own_http, site, name):
    """The client sees that it has not all: by the length, or no last chunk."""
    path = site.public / "assets" / name
    path.write_bytes(os.urandom(10_000_000).hex().encode())
    path.chmod(0o644)
    received = b""
    with own_http.socket() as sock:
        sock.sendall(b"GET /assets/%s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"
                     % name.encode())
        received += sock.recv(65536)
        os.truncate(path, 1000)
        while chunk := sock.recv(1 << 20):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 ") and len(received) < 9_000_000
    assert (b"chunked" in received[:1000]) == (name == "huge.txt")
    assert not received.endswith(b"0\r\n\r\n")
    assert own_http.get("/assets/app.js").status == 200


def test_descriptors_are_given_back(start, site):
    """Also those of files whose clients have left."""
    daemon = start(site, **HTTP_ONLY)
    http = daemon.http
    path = site.public / "assets/huge.bin"
    path.write_bytes(b"x" * 20_000_000)
    path.chmod(0o644)
    folder = f"/proc/{daemon.child('http/0')}/fd"

    def files():
        return [f for f in os.listdir(folder)
                if str(site.dir) in os.readlink(f"{folder}/{f}")]

    for _ in range(20):
        with http.socket() as sock:
            sock.sendall(b"GET /assets/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.recv(100)
            assert files()
    for name in ("app.js", "", "missing", "out.txt", "pipe", "in.js", "empty.css", "big.bin"):
        for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=0-1"}, PAGE,
                        {"Range": "bytes=999999-"}, {"Accept-Encoding": "gzip"}):
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                http.request(method, "/assets/" + name, headers=headers)
    http.get("/docs")
    until(lambda: not files(), "no file is open")


def test_a_file_is_sent_after_another_on_the_same_connection(http):
    connection = http.connect()
    for path, body in (("/assets/big.bin", BIG), ("/assets/empty.css", b""), ("/", INDEX),
                       ("/assets/big.bin", BIG)):
        connection.request("GET", path)
        assert connection.getresponse().read() == body
    connection.close()


def test_pipelined_requests_for_files_are_answered_in_order(http):
    one = b"%s HTTP/1.1\r\nHost: x\r\n%s\r\n"
    raw = http.raw(b"".join([
        one % (b"GET /assets/big.bin", b"Range: bytes=0-199999\r\n"),
        one % (b"GET /api/7", b""), one % (b"HEAD /assets/big.bin", b""),
        one % (b"GET /assets/app.js", b"If-None-Match: *\r\n"),
        one % (b"GET /assets/big.bin", b"Range: bytes=100000-\r\n"),
        one % (b"GET /robots.txt", b"Connection: close\r\n")]))
    assert [int(s) for s in re.findall(rb"HTTP/1.1 (\d+) ", raw)] == [206, 200, 200, 304, 206, 200]
    assert raw.count(BIG[100000:199999]) == 2 and raw.endswith(b"User-agent: *\n")


def test_files_are_counted_by_their_prefix(own_http):
    own_http.get("/assets/app.js")
    own_http.get("/assets/missing.js")
    metrics = own_http.get("/metrics").body.decode()
    assert 'route="/assets",code="2xx"} 1' in metrics
    assert 'route="/assets",code="4xx"} 1' in metrics


# --- configuration ---


@pytest.mark.parametrize("static, says", [
    ('static "/x" { dir = "nowhere" }', 'there is no folder "'),
    ('static "/x" { dir = "app.conf" }', 'there is no folder "'),
    ('static "/x" { }', "must be given"),
    ('static "x" { dir = "migrations" }', "a path like"),
    ('static "/x/" { dir = "migrations" }', "a path like"),
    ('static "/../x" { dir = "migrations" }', "a path like"),
    ('static "/x" { dir = "migrations" fallback = "none.html" }', "there is no file"),
    ('static "/x" { dir = "migrations" fallback = "../app.conf" }', "name of a file"),
])
def test_what_is_not_there_is_refused(app, tmp_path, static, says):
    made = app(static, "select 1")
    conf = tmp_path / "chimpd.conf"
    conf.write_text('user = ""\ndatabase { mode = "postgres"  url = "postgresql://u@h/d" }\n'
                    f'include("{made.conf}")\n')
    conf.chmod(0o640)
    result = run("-c", conf, "-t")
    assert result.status == 1 and says in result.err, result


def test_a_prefix_is_taken_once(app, tmp_path):
    one = app('static "/x" { dir = "migrations" }', "select 1")
    two = app('static "/x" { dir = "migrations" }', "select 1", name="two")
    conf = tmp_path / "chimpd.conf"
    conf.write_text('user = ""\ndatabase { mode = "postgres"  url = "postgresql://u@h/d" }\n'
                    f'include("{one.conf}")\ninclude("{two.conf}")\n')
    conf.chmod(0o640)
    result = run("-c", conf, "-t")
    assert result.status == 1 and "taken already" in result.err, result
