"""Answers at the edge: compression, ETags, CORS, security headers, raw bodies."""

import base64
import gzip
import hashlib
import hmac
import json
import socket

import pytest

from harness.chimpd import run
from harness.shared import app_of
from harness.wait import until

SCHEMA = """
create schema t;
create table t.item (id int primary key, note text);
insert into t.item select n, repeat('note ' || n || ' ', 500) from generate_series(1, 9) n;
create function t.echo(input jsonb) returns jsonb language sql as $$ select input $$;
create function t.item(input jsonb) returns jsonb language sql as $$
	select to_jsonb(i) from t.item i where id = (input ->> 'id')::int
$$;
create function t.size(input jsonb) returns jsonb language sql as $$
	select to_jsonb(repeat('x', (input ->> 'size')::int))
$$;
create function t.typed(input jsonb) returns jsonb language plpgsql as $$
begin
	perform chimp.respond(200, to_jsonb(repeat('data ', 1000)),
		jsonb_build_object('Content-Type', input ->> 'type'));
	return null;
end $$;
create function t.tagged(input jsonb) returns jsonb language plpgsql as $$
begin
	perform chimp.respond(200, to_jsonb(repeat('data ', 1000)), '{"ETag": "\\"mine\\""}');
	return null;
end $$;
create function t.html(input jsonb) returns jsonb language plpgsql as $$
begin
	perform chimp.respond(200, to_jsonb('<p>hello</p>'::text), jsonb_build_object(
		'Content-Type', 'text/html; charset=utf-8') || coalesce(input -> 'more', '{}'));
	return null;
end $$;
create function t.none(input jsonb) returns jsonb language sql as $$ select null::jsonb $$;
create function t.missing(input jsonb) returns jsonb language plpgsql as $$
begin
	raise exception using errcode = 'P0002', message = repeat('not there ', 300);
end $$;
"""
APP = """
  route "GET /item/{id}" { sql = "t.item"  readonly = true }
  route "GET /untagged/{id}" { sql = "t.item"  readonly = true  etag = false }
  route "GET /writer/{id}" { sql = "t.item" }
  route "PUT /item/{id}" { sql = "t.echo" }
  route "GET /size/{size}" { sql = "t.size" }
  route "GET /typed" { sql = "t.typed"  readonly = true }
  route "GET /tagged" { sql = "t.tagged"  readonly = true }
  route "GET /html" { sql = "t.html" }
  route "POST /html" { sql = "t.html" }
  route "GET /none" { sql = "t.none"  readonly = true }
  route "GET /missing" { sql = "t.missing"  readonly = true }
  action "hook" { sql = "t.echo"  body = "raw" }
  action "signed" { sql = "t.echo"  body = "raw"
                    args = "body: string, bodyEncoding: enum(text|base64), contentType: string?, id: integer" }
  route "POST /hook" { action = "hook" }
  route "POST /hook/{body}" { action = "hook" }
  route "POST /signed/{id}" { action = "signed" }
  route "POST /form" { sql = "t.echo"  args = "a: string, tags: string[]?, n: integer?, on: boolean = false" }
  route "GET /when/{id}/{day}/{size}" {
    sql = "t.echo"  args = "id: uuid, day: date-time, size: enum(s|m|l), tag: integer(1..3)[]?" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}
ZIP = {"Accept-Encoding": "gzip"}
APP_ORIGIN = "https://app.example.com"
CORS = """cors { origins = {"https://app.example.com", "https://other.example.com:8443"}
  headers = {"content-type", "authorization"}  max_age = "5m" }"""


EDGE = app_of(APP, SCHEMA)


@pytest.fixture
def serve(shared):
    """One for each configuration: the tests only read."""
    return lambda **conf: shared(EDGE, **HTTP_ONLY, **conf).http


@pytest.fixture
def serve_own(start, app):
    return lambda **conf: start(app(APP, SCHEMA), **HTTP_ONLY, **conf).http


def tokens(answer, name):
    return {t.strip().lower() for v in answer.headers.get_all(name, []) for t in v.split(",")}


# --- gzip ---


def test_a_long_text_is_compressed_for_those_who_take_it(serve, figure):
    http = serve()
    plain, zipped = http.get("/item/3"), http.get("/item/3", headers=ZIP)
    assert plain.status == zipped.status == 200
    assert plain.headers["Content-Encoding"] is None
    assert plain.headers["Content-Length"] == str(len(plain.body))
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert len(zipped.body) < len(plain.body) / 4
    for answer in (plain, zipped):
        assert "accept-encoding" in tokens(answer, "Vary")
        assert len(answer.headers.get_all("Vary")) == 1
    figure("compressed to", 100 * len(zipped.body) / len(plain.body), "%", 25)


def test_short_texts_and_other_codings_stay_as_they_are(serve):
    http = serve()
    assert http.get("/size/1021", headers=ZIP).headers["Content-Encoding"] is None
    assert http.get("/size/1022", headers=ZIP).headers["Content-Encoding"] == "gzip"
    for coding in ("br", "gzip;q=0", "identity"):
        answer = http.get("/size/5000", headers={"Accept-Encoding": coding})
        assert answer.headers["Content-Encoding"] is None, coding
        assert "accept-encoding" in tokens(answer, "Vary")
        assert len(answer.body) == 5002


@pytest.mark.parametrize("media, compressed", [
    ("text/html; charset=utf-8", True), ("application/javascript", True),
    ("image/svg+xml", True), ("application/vnd.x+json", True), ("text/csv", True),
    ("text/event-stream", False), ("text/event-stream; charset=utf-8", False),
    ("image/png", False), ("application/octet-stream", False)])
def test_what_is_compressed_goes_by_the_media_type(serve, media, compressed):
    answer = serve().get("/typed?type=" + media.replace("+", "%2B").replace(";", "%3B")
                         .replace(" ", "%20"), headers=ZIP)
    assert answer.status == 200 and answer.headers["Content-Type"] == media
    assert (answer.headers["Content-Encoding"] == "gzip") == compressed
    assert ("accept-encoding" in tokens(answer, "Vary")) == compressed


def test_head_and_answers_without_a_body_are_not_compressed(serve):
    http = serve()
    body = http.get("/item/3").body
    head = http.request("HEAD", "/item/3", headers=ZIP)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Encoding"] is None
    assert head.headers["Content-Length"] == str(len(body))
    assert "accept-encoding" in tokens(head, "Vary")
    none = http.get("/none", headers=ZIP)
    assert (none.status, none.body, none.headers["Content-Encoding"]) == (204, b"", None)
    failed = http.get("/missing", headers=ZIP)
    assert failed.status == 404 and failed.headers["Content-Encoding"] is None
    assert failed.headers["Content-Length"] == str(len(failed.body))


def test_gzip_can_be_turned_off(serve):
    answer = serve(http="gzip = false").get("/item/3", headers=ZIP)
    assert answer.headers["Content-Encoding"] is None and answer.headers["Vary"] is None


def test_a_connection_goes_on_after_a_compressed_answer(serve):
    connection = serve().connect()
    for n in (1, 2, 3):
        connection.request("GET", f"/item/{n}", headers=ZIP)
        answer = connection.getresponse()
        assert json.loads(gzip.decompress(answer.read()))["id"] == n
    connection.close()


# --- ETag ---


def test_a_client_that_has_the_answer_gets_304(serve_own, database):
    http = serve_own()
    first = http.get("/item/3")
    tag = first.headers["ETag"]
    assert tag.startswith('W/"') and len(tag) == 36
    assert http.get("/item/3").headers["ETag"] == tag
    assert http.get("/item/4").headers["ETag"] != tag
    again = http.get("/item/3", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == tag and again.headers["X-Request-ID"]
    assert again.headers["Content-Type"] is None and again.headers["Content-Length"] is None
    database.rows("update t.item set note = 'new' where id = 3")
    changed = http.get("/item/3", headers={"If-None-Match": tag})
    assert changed.status == 200 and changed.json["note"] == "new"
    assert changed.headers["ETag"] != tag


def test_if_none_match_is_a_list_or_a_star_and_compares_weakly(serve):
    http = serve()
    tag = http.get("/item/3").headers["ETag"]
    for value in ("*", f'"a", {tag}', tag[2:], f'"x,y",,{tag} , "z"', f"W/\"a\",\t{tag}"):
        assert http.get("/item/3", headers={"If-None-Match": value}).status == 304, value
    for value in ('"a"', tag.strip('W/"'), f'"a" {tag[:-1]}', "", f"a, {tag}", tag.upper()):
        assert http.get("/item/3", headers={"If-None-Match": value}).status == 200, value
    head = http.request("HEAD", "/item/3", headers={"If-None-Match": tag})
    assert (head.status, head.headers["ETag"]) == (304, tag)
    with http.socket() as sock:
        sock.sendall(b"GET /item/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     b'If-None-Match: "a"\r\nIf-None-Match: %s\r\n\r\n' % tag.encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 304 ")


def test_the_tag_is_the_same_compressed_and_not(serve):
    http = serve()
    plain, zipped = http.get("/item/3"), http.get("/item/3", headers=ZIP)
    assert plain.headers["ETag"] == zipped.headers["ETag"]
    again = http.get("/item/3", headers={**ZIP, "If-None-Match": plain.headers["ETag"]})
    assert again.status == 304 and again.headers["Content-Encoding"] is None
    assert "accept-encoding" in tokens(again, "Vary")


def test_a_handlers_own_tag_wins_and_is_weak_when_compressed(serve):
    http = serve()
    assert http.get("/tagged").headers.get_all("ETag") == ['"mine"']
    assert http.get("/tagged", headers=ZIP).headers.get_all("ETag") == ['W/"mine"']
    for tag in ('"mine"', 'W/"mine"'):
        answer = http.get("/tagged", headers={"If-None-Match": tag})
        assert (answer.status, answer.headers["ETag"]) == (304, '"mine"')


def test_only_readonly_routes_have_tags_unless_told_otherwise(serve):
    http = serve()
    for path in ("/writer/3", "/untagged/3", "/health"):
        answer = http.get(path, headers={"If-None-Match": "*"})
        assert (answer.status, answer.headers["ETag"]) == (200, None), path
    for path in ("/missing", "/none"):
        answer = http.get(path, headers={"If-None-Match": "*"})
        assert answer.status in (404, 204) and answer.headers["ETag"] is None


# --- CORS ---


def preflight(http, path, method="PUT", origin=APP_ORIGIN):
    return http.request("OPTIONS", path, headers={
        "Origin": origin, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "x-evil"})


def test_a_preflight_permits_what_the_path_has(serve):
    answer = preflight(serve(http=CORS), "/item/3")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == APP_ORIGIN
    assert tokens(answer, "Access-Control-Allow-Methods") == {"get", "head", "put", "options"}
    assert tokens(answer, "Access-Control-Allow-Headers") == {"content-type", "authorization"}
    assert answer.headers["Access-Control-Max-Age"] == "300"
    assert answer.headers["Access-Control-Allow-Credentials"] is None
    assert "origin" in tokens(answer, "Vary")


@pytest.mark.parametrize("origin", [
    "https://evil.example.com", "null", "https://app.example.com.evil.com", "",
    "http://app.example.com", "https://app.example.com/", "HTTPS://APP.EXAMPLE.COM",
    "https://app.example.com, https://evil.example.com", "*"])
def test_an_origin_that_is_not_listed_gets_no_permission(serve, origin):
    http = serve(http=CORS)
    for answer in (preflight(http, "/item/3", origin=origin),
                   http.get("/item/3", headers={"Origin": origin})):
        assert answer.status in (200, 204)
        assert not [h for h in answer.headers if h.lower().startswith("access-control")]
        assert "origin" in tokens(answer, "Vary")


def test_a_page_may_read_answers_and_errors(serve):
    http = serve(http=CORS + "  body_max = \"1KiB\"", pool_max=1)
    origin = {"Origin": "https://other.example.com:8443"}
    answers = [http.get(path, headers=origin) for path in ("/item/3", "/missing", "/nowhere",
                                                           "/health", "/item/3%zz")]
    answers.append(http.post("/item/3", {}, headers=origin))  # 405
    answers.append(http.request("PUT", "/item/3", body=b"x" * 2000, headers=origin))  # h2o's 413
    assert [a.status for a in answers] == [200, 404, 404, 200, 400, 405, 413]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"], answer
        exposed = tokens(answer, "Access-Control-Expose-Headers")
        assert {"x-request-id", "retry-after", "ratelimit-limit"} <= exposed
        assert "origin" in tokens(answer, "Vary")


def test_503_carries_permission(serve_own, own_cluster):
    database = own_cluster.create_database()
    http = serve_own(url=database.url, http=CORS)
    assert http.get("/item/3").status == 200
    own_cluster.stop()
    answer = http.get("/item/3", headers={"Origin": APP_ORIGIN})
    assert answer.status == 503 and answer.type == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == APP_ORIGIN


def test_vary_names_both_and_once(serve):
    http = serve(http=CORS)
    for headers in ({}, ZIP, {"Origin": APP_ORIGIN, **ZIP}):
        answer = http.get("/item/3", headers=headers)
        assert len(answer.headers.get_all("Vary")) == 1
        assert tokens(answer, "Vary") == {"origin", "accept-encoding"}


def test_credentials_and_null_only_if_listed(serve):
    http = serve(http='cors { origins = {"null"}  credentials = true }')
    answer = http.get("/item/3", headers={"Origin": "null"})
    assert answer.headers["Access-Control-Allow-Origin"] == "null"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert preflight(http, "/item/3", origin="null").headers[
        "Access-Control-Allow-Credentials"] == "true"


def test_any_origin_is_a_star(serve):
    http = serve(http='cors { origins = {"*"} }')
    for headers in ({}, {"Origin": "https://anybody.example"}):
        answer = http.get("/none", headers=headers)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Vary"] is None
        assert answer.headers["Access-Control-Allow-Credentials"] is None
    assert preflight(http, "/item/3", origin="https://x").headers[
        "Access-Control-Allow-Origin"] == "*"


def test_without_cors_nothing_changes(serve):
    http = serve()
    answer = preflight(http, "/item/3")
    assert answer.status == 204 and answer.headers["Allow"]
    assert not [h for h in answer.headers if h.lower().startswith("access-control")]
    assert preflight(http, "/nowhere").status == 404


def test_a_preflight_of_no_path_is_404_with_permission_to_read_it(serve):
    answer = preflight(serve(http=CORS), "/nowhere")
    assert answer.status == 404
    assert answer.headers["Access-Control-Allow-Origin"] == APP_ORIGIN


@pytest.mark.parametrize("cors, says", [
    ('origins = {"*"}  credentials = true', "cookies"),
    ('origins = {"*", "https://a.example"}', "stands alone"),
    ('origins = {"https://a.example/"}', "is no origin"),
    ('origins = {"a.example"}', "is no origin"),
    ('origins = {"https://A.example"}', "is no origin"),
    ('origins = {"https://a.example"}  headers = {"a b"}', "no name of a header"),
])
def test_cors_that_cannot_be_meant_is_refused(tmp_path, cors, says):
    conf = tmp_path / "chimpd.conf"
    conf.write_text('user = ""\ndatabase { mode = "postgres"  url = "postgresql://u@h/d" }\n'
                    f"http {{ cors {{ {cors} }} }}\n")
    conf.chmod(0o640)
    result = run("-c", conf, "-t")
    assert result.status == 1 and says in result.err, result


# --- security headers ---


def test_answers_have_security_headers(serve):
    http = serve()
    for path, status in (("/item/3", 200), ("/nowhere", 404), ("/health", 200), ("/none", 204)):
        answer = http.get(path)
        assert answer.status == status
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers.get_all("Referrer-Policy") == ["same-origin"]
        assert answer.headers["X-Frame-Options"] is None
    assert http.get("/html").headers.get_all("X-Frame-Options") == ["DENY"]


def test_a_handlers_own_header_wins(serve):
    answer = serve().post("/html", {"more": {"X-Frame-Options": "SAMEORIGIN",
                                             "Referrer-Policy": "origin"}})
    assert answer.headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]
    assert answer.headers.get_all("Referrer-Policy") == ["origin"]
    assert answer.body == b"<p>hello</p>"


def test_security_headers_can_be_turned_off(serve):
    answer = serve(http="security_headers = false").get("/html")
    for name in ("X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"):
        assert answer.headers[name] is None


def test_hsts_is_not_said_without_tls(serve):
    answer = serve(http='hsts = "8760h"').get("/item/3")
    assert answer.status == 200 and answer.headers["Strict-Transport-Security"] is None


# --- raw bodies ---


def bytes_of(answer):
    assert answer.status == 200, answer
    if answer.json["bodyEncoding"] == "base64":
        return base64.b64decode(answer.json["body"], validate=True)
    return answer.json["body"].encode()


BODIES = [
    b"", b"{}", b'{"a": 1,  "b":2.50, "a": 3}\r\n', b"a=1&b=%20+", b"\xef\xbb\xbfbom",
    "žluťoučký \U0001f600 \u2028 \ufffe".encode(), b"\x00", b"a\x00b", b"\xff\xfe", b"\xc0\xaf",
    b"\x01\x02\x1f\x7f\"\\/", bytes(range(256)), b"\xed\xa0\x80", b"x" * 100001,
    b"\x80" * 100001, b"\x80" * 100002, b"\x80" * 100003]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_raw_body_is_recovered_byte_by_byte(serve, body):
    answer = serve().request("POST", "/hook", body=body,
                             headers={"Content-Type": "application/x-anything"})
    assert bytes_of(answer) == body
    try:
        text = "\0" not in body.decode()
    except UnicodeDecodeError:
        text = False
    assert answer.json["bodyEncoding"] == ("text" if text else "base64")
    assert answer.json["contentType"] == "application/x-anything"


def test_a_signature_over_a_raw_body_can_be_checked(serve, database):
    body = b'{"event":"paid",  "amount": 10.50}\n'
    answer = serve().request("POST", "/hook", body=body)
    signature = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    inside = database.value(
        "select encode(sha256(convert_to(%s::jsonb ->> 'body', 'UTF8')), 'hex')",
        answer.body.decode())
    assert inside == hashlib.sha256(body).hexdigest()
    assert hmac.new(b"key", bytes_of(answer), hashlib.sha256).hexdigest() == signature


def test_nothing_in_the_target_stands_for_a_raw_body(serve):
    http = serve()
    answer = http.request("POST", "/hook/forged?body=x&bodyEncoding=text&contentType=y&q=1",
                          body=b"real", headers={"Content-Type": "text/plain"})
    assert answer.json == {"body": "real", "bodyEncoding": "text",
                           "contentType": "text/plain", "q": "1"}
    assert http.request("POST", "/hook?body=x&bodyEncoding=base64").json["body"] == ""


def test_a_raw_body_without_a_type(serve):
    connection = serve().connect()
    connection.putrequest("POST", "/hook")
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"\xff\x00")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer == {"body": "/wA=", "bodyEncoding": "base64"}


def test_raw_members_can_be_declared(serve):
    http = serve()
    answer = http.request("POST", "/signed/7?drop=1", body=b"a", headers={"Content-Type": "x/y"})
    assert answer.json == {"id": 7, "body": "a", "bodyEncoding": "text", "contentType": "x/y"}
    answer = http.request("POST", "/signed/seven", body=b"a")
    assert answer.status == 400 and answer.json["errors"] == [
        {"path": "args.id", "message": "must be an integer"}]


# --- other input ---


def test_query_arrays_and_typed_path_parameters(serve):
    http = serve()
    path = "/when/6f9619ff-8b86-d011-b42d-00c04fc964ff/2026-01-31T12:00:00Z/m"
    answer = http.get(path + "?tag=1&tag=3")
    assert answer.status == 200 and answer.json["tag"] == [1, 3], answer
    assert http.get(path + "?tag=2").json["tag"] == [2]
    assert "tag" not in http.get(path).json


def test_all_violations_are_in_one_answer(serve):
    answer = serve().get("/when/no-id/today/xl?tag=1&tag=9&tag=x")
    assert answer.status == 400 and answer.type == "application/problem+json"
    errors = {e["path"]: e["message"] for e in answer.json["errors"]}
    assert set(errors) == {"args.id", "args.day", "args.size", "args.tag[1]", "args.tag[2]"}
    assert errors["args.id"] == "must be a UUID"


def test_a_form_is_decoded_and_checked(serve):
    http = serve()
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}

    def post(body):
        return http.request("POST", "/form", body=body, headers=form)

    assert post(b"a=x+y%26%C5%BE&tags=1&tags=&n=07&on=true&other=1").status == 400  # n
    assert post(b"a=x+y%26%C5%BE&tags=1&tags=&n=7&on=true&other=1").json == {
        "a": "x y&ž", "tags": ["1", ""], "n": 7, "on": True}
    assert post(b"a=&&").json == {"a": "", "on": False}
    answer = post(b"a=1&a=2&n=x&on=maybe")
    assert {e["path"] for e in answer.json["errors"]} == {"args.a", "args.n", "args.on"}
    for broken in (b"a=%zz", b"a=%00", b"a=%ff", b"&".join(b"a=1" for _ in range(300))):
        assert post(broken).status == 400
    assert post(b'{"a": 1}').status == 415


def test_a_client_that_leaves_in_a_compressed_answer_leaves_nothing(serve_own):
    http = serve_own()
    for _ in range(20):
        sock = http.socket()
        sock.sendall(b"GET /size/4000000 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    until(lambda: http.get("/size/10").status == 200, "an answer after they left")
