"""Collections over HTTP: every status, what is compared, and races of If-Match."""

import json
import threading
from urllib.parse import quote

import pytest

from harness.cluster import rows
from harness.shared import app_of

APP = """
  collection "open" { path = "/api/open"  filters = { "orderId", "reviewer", "deep.n", "id", "it's" }  writable = { "*" } }
  collection "some" { path = "/api/some"  writable = { "note", "state" } }
  collection "seen" { path = "/api/seen"  filters = { "kind" } }
  collection "keyed" { path = "/api/keyed"  filters = { "n" }  writable = { "*" } }
  route "POST /api/seen" { sql = "t.other" }
"""
OTHER = """create schema t;
create function t.other(input jsonb) returns jsonb language sql as $$ select '{"other": true}'::jsonb $$;
"""
PROBLEM = "application/problem+json"


NODE = app_of(APP, OTHER)


@pytest.fixture
def node(shared):
    """(client, database) of a node for all tests of this file."""
    daemon = shared(NODE, workers="", cron=0, subscriber=0, pool_max=8)
    return daemon.http, daemon.database


@pytest.fixture
def http(node):
    """The client; all collections are empty."""
    node[1].rows("select chimp.collection_drop(name) from chimp.collection_list()")
    return node[0]


@pytest.fixture
def database(node):
    return node[1]


def post(http, document, to="open", **more):
    answer = http.post(f"/api/{to}", document, **more)
    assert answer.status == 201, answer
    return answer


def refused(answer, status, *says):
    """A problem that says so."""
    assert (answer.status, answer.type) == (status, PROBLEM), answer
    problem = answer.json
    assert problem["status"] == status
    for text in says:
        assert text in problem["detail"], problem
    return problem


def ids(answer):
    assert answer.status == 200, answer
    return [d["id"] for d in answer.json["items"]]


def patch(http, path, body, tag=None):
    return http.request("PATCH", path, body, {"If-Match": tag} if tag else None)


# --- documents -------------------------------------------------------------------------

def test_a_document_is_made_got_changed_and_deleted(http):
    made = post(http, {"orderId": 17, "deep": {"n": 1, "m": 2}})
    document = made.json
    where = made.headers["Location"]
    assert where == "/api/open/" + document["id"]
    assert document == {"id": document["id"], "orderId": 17, "deep": {"n": 1, "m": 2}}

    got = http.get(where)
    assert (got.status, got.json, got.type) == (200, document, "application/json")
    assert got.headers["ETag"] == made.headers["ETag"]
    assert got.headers["ETag"].startswith('"')

    changed = patch(http, where, {"deep": {"n": 2}, "reviewer": None})
    document |= {"deep": {"n": 2}, "reviewer": None}
    assert (changed.status, changed.json) == (200, document)
    assert changed.headers["ETag"] != made.headers["ETag"]
    assert http.get(where).headers["ETag"] == changed.headers["ETag"]
    assert http.get(where).json == document

    gone = http.request("DELETE", where)
    assert (gone.status, gone.body) == (204, b"")
    for answer in (http.get(where), patch(http, where, {"a": 1}), http.request("DELETE", where)):
        refused(answer, 404, '"open" has no document of id "' + document["id"])


def test_what_was_never_filled_is_empty(http, database):
    listed = http.get("/api/open?orderId=1&sort=-reviewer")
    assert (listed.status, listed.json) == (200, {"items": [], "next": None})
    refused(http.get("/api/open/x"), 404)
    refused(patch(http, "/api/open/x", {}), 404)
    refused(http.request("DELETE", "/api/open/x"), 404)
    assert database.rows("select * from chimp.collection_list()") == []


def test_an_etag_is_answered_with_304(http):
    made = post(http, {"a": 1})
    where, tag = made.headers["Location"], made.headers["ETag"]
    same = http.get(where, headers={"If-None-Match": tag})
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    assert http.get(where, headers={"If-None-Match": '"other"'}).status == 200
    listed = http.get("/api/open")
    again = http.get("/api/open", headers={"If-None-Match": listed.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    post(http, {"a": 2})
    assert http.get("/api/open", headers={"If-None-Match": listed.headers["ETag"]}).status == 200


def test_head_and_options_are_as_for_other_routes(http):
    made = post(http, {"a": 1})
    head = http.request("HEAD", made.headers["Location"])
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", made.headers["ETag"])
    assert http.request("HEAD", "/api/open").status == 200
    assert http.request("HEAD", "/api/open/none").status == 404
    for path, methods in (("/api/open", "GET, HEAD, POST, OPTIONS"),
                          ("/api/open/x", "GET, HEAD, PATCH, DELETE, OPTIONS")):
        options = http.request("OPTIONS", path)
        assert options.status == 204
        assert set(options.headers["Allow"].split(", ")) == set(methods.split(", "))


@pytest.mark.parametrize("method, path, allowed", [
    ("PUT", "/api/open", {"GET", "HEAD", "POST", "OPTIONS"}),
    ("DELETE", "/api/open", {"GET", "HEAD", "POST", "OPTIONS"}),
    ("PUT", "/api/open/x", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
    ("POST", "/api/open/x", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
    ("PATCH", "/api/seen/x", {"GET", "HEAD", "OPTIONS"}),
    ("DELETE", "/api/seen/x", {"GET", "HEAD", "OPTIONS"}),
])
def test_other_methods_are_405_with_allow(http, method, path, allowed):
    answer = http.request(method, path, {} if method != "DELETE" else None)
    refused(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_readonly_collection_is_filled_by_others(http, database):
    database.rows("""select chimp.collection_insert('seen', '{"id": "a", "kind": "x"}')""")
    assert ids(http.get("/api/seen?kind=x")) == ["a"]
    assert http.get("/api/seen/a").json["kind"] == "x"
    # A route of the app beside its own.
    assert http.post("/api/seen", {}).json == {"other": True}


# --- bodies ----------------------------------------------------------------------------

@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"null", b"7", b"{", b'{"a": 1, "a": 2}',
                                  b'{"a": "\\u0000"}', b'{"\\u0000": 1}', b"{}\0", b'{"a": "\xff"}'])
def test_a_body_that_is_no_object_is_400(http, body):
    where = post(http, {"id": "d", "a": 1}).headers["Location"]
    for method, path in (("POST", "/api/open"), ("PATCH", where)):
        refused(http.request(method, path, body), 400)
    assert http.get("/api/open").json["items"] == [{"id": "d", "a": 1}]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_media_type_is_415(http, media):
    where = post(http, {}).headers["Location"]
    for method, path in (("POST", "/api/open"), ("PATCH", where)):
        answer = http.request(method, path, b"a=1", {"Content-Type": media})
        refused(answer, 415, "application/json")


def test_a_value_of_10_mb_is_beyond_the_bodys_limit(http):
    refused(http.post("/api/open", {"a": "x" * 10_000_000}), 413)
    assert ids(http.get("/api/open")) == []
    large = post(http, {"id": "large", "a": "x" * 900_000})
    assert len(http.get(large.headers["Location"]).json["a"]) == 900_000


def test_members_that_are_not_writable_are_named(http):
    made = post(http, {"note": "n", "state": {"deep": 1}}, "some")
    where = made.headers["Location"]
    for answer in (http.post("/api/some", {"note": 1, "other": 2}), patch(http, where, {"other": 2})):
        problem = refused(answer, 400, 'the member "other" cannot be written')
        assert problem["hint"] == "those that can be are note, state"
    # Nor is an id.
    refused(http.post("/api/some", {"id": "mine"}), 400, '"id"')
    assert patch(http, where, {"state": 2}).json == {"id": made.json["id"], "note": "n", "state": 2}
    refused(http.post("/api/some", {"*": 1}), 400, '"*"')


def test_the_query_is_no_part_of_a_document(http):
    where = post(http, {"id": "d"}).headers["Location"]
    for method, path in (("POST", "/api/open"), ("PATCH", where), ("GET", where), ("DELETE", where)):
        answer = http.request(method, path + "?reviewer=ada", {} if method in ("POST", "PATCH") else None)
        refused(answer, 400, 'no parameter "reviewer" here')
    assert http.get("/api/open").json["items"] == [{"id": "d"}]


# --- ids -------------------------------------------------------------------------------

IDS = ["a b", "a/b", "../x", "100%", "%2F", "ü€😀", "'; drop table chimp.collection; --", '"q"', "a?b#c", "\\",
       "{id}", "$1", "%s", "x" * 255, "\x01\n"]


@pytest.mark.parametrize("id", IDS)
def test_any_id_is_kept_and_reached_by_its_location(http, id):
    post(http, {"id": "another"})
    made = post(http, {"id": id, "n": 1})
    where = made.headers["Location"]
    assert where == "/api/open/" + quote(id, safe="")
    assert http.get(where).json == {"id": id, "n": 1}
    assert patch(http, where, {"n": 2, "id": id}).json == {"id": id, "n": 2}
    assert ids(http.get("/api/open?id=" + quote(id, safe=""))) == [id]
    assert http.request("DELETE", where).status == 204
    assert ids(http.get("/api/open")) == ["another"]


@pytest.mark.parametrize("id", ["", "x" * 256, 17, None, {}, ".", ".."])
def test_what_cannot_be_an_id_is_400(http, id):
    refused(http.post("/api/open", {"id": id}), 400, "id")
    assert ids(http.get("/api/open")) == []


def test_an_id_that_is_taken_is_409(http):
    post(http, {"id": "a", "n": 1})
    refused(http.post("/api/open", {"id": "a", "n": 2}), 409, '"open" has a document of id "a" already')
    assert http.get("/api/open/a").json["n"] == 1


def test_the_id_of_a_document_stays(http):
    where = post(http, {"id": "a"}).headers["Location"]
    for other in ("b", None, 1):
        refused(patch(http, where, {"id": other, "n": 1}), 400, "the id of a document stays")
    assert http.get("/api/open").json["items"] == [{"id": "a"}]


@pytest.mark.parametrize("path", ["/api/open/' or true --", "/api/open/a'||'", "/api/open/%27%20or%201=1",
                                  "/api/open/*", "/api/open/null", "/api/open/" + "x" * 2000])
def test_an_id_is_a_literal(http, path):
    post(http, {"id": "a"})
    path = path.replace(" ", "%20")
    for answer in (http.get(path), patch(http, path, {"n": 1}), http.request("DELETE", path)):
        refused(answer, 404)
    assert http.get("/api/open").json["items"] == [{"id": "a"}]


def test_a_nul_in_the_path_or_the_query_is_400(http):
    for path in ("/api/open/%00", "/api/open?orderId=%00", "/api/open?%00=1"):
        refused(http.get(path), 400, "NUL")


# --- indexes ---------------------------------------------------------------------------

def test_what_a_unique_index_keeps_is_409(http, database):
    database.rows("select chimp.collection_index('keyed', 'n', true)")
    post(http, {"id": "a", "n": 1}, "keyed")
    post(http, {"id": "b", "n": 2}, "keyed")
    for answer in (http.post("/api/keyed", {"n": 1}), patch(http, "/api/keyed/b", {"n": 1})):
        refused(answer, 409, '"keyed" has another document with this "n"')
    assert [d["n"] for d in http.get("/api/keyed").json["items"]] == [1, 2]


def test_a_value_that_no_index_can_hold_is_400(http, database):
    database.rows("select chimp.collection_index('keyed', 'n')")
    post(http, {"id": "a", "n": 1}, "keyed")
    # Random, or it would be compressed.
    long = database.value("select string_agg(md5(g::text), '') from generate_series(1, 1000) g")
    for answer in (http.post("/api/keyed", {"n": long}), patch(http, "/api/keyed/a", {"n": long})):
        refused(answer, 400, "too long for the index")
    assert http.get("/api/keyed").json["items"] == [{"id": "a", "n": 1}]


def test_a_filter_uses_the_index_of_its_path(http, database):
    database.rows("select chimp.collection_index('keyed', 'n')")
    database.rows("""select chimp.collection_insert('keyed', jsonb_build_object('n', g))
        from generate_series(1, 3000) g""")
    database.rows("analyze")
    of = database.value("select chimp.collection_id('keyed')")
    condition = database.value("select chimp.document_filter(chimp.rest_filter('{n}', '{\"n\": \"17\"}'))")
    plan = database.rows(f"explain select document from chimp.documents_{of} where {condition} order by id limit 101")
    assert any(f"documents_{of}_path_" in line for line, in plan), plan
    assert [d["n"] for d in http.get("/api/keyed?n=17").json["items"]] == [17]


# --- lists -----------------------------------------------------------------------------

VALUES = [17, "17", 17.0, True, "true", None, "null", "NULL", "", 1000, "1e3", "017", "+1", {"a": 1}, [17], "it's"]


@pytest.mark.parametrize("said, found", [
    ("17", [17, "17", 17.0]), ("17.0", [17, 17.0]), ("true", [True, "true"]),
    ("null", [None, "null", "nothing"]), ("NULL", ["NULL"]), ("", [""]), ("1e3", [1000, "1e3"]), ("1000", [1000]),
    ("017", ["017"]), ("+1", ["+1"]), ('{"a": 1}', []), ("[17]", []), ("it's", ["it's"]),
    ("' or true --", []), ("%", []), ("1e99999", []), ("1\n", []), ("$in", [])])
def test_a_text_is_compared_as_itself_and_as_the_json_that_it_is(http, database, said, found):
    for n, value in enumerate(VALUES):
        database.rows("select chimp.collection_insert('open', %s)",
                      json.dumps({"id": f"{n:02}", "reviewer": value}))
    database.rows("""select chimp.collection_insert('open', '{"id": "99"}')""")
    answer = http.get("/api/open?reviewer=" + quote(said, safe=""))
    assert answer.status == 200, answer
    assert [repr(d.get("reviewer", "nothing")) for d in answer.json["items"]] == [repr(v) for v in found]


def test_filters_are_dotted_paths_which_must_all_hold(http):
    for n in range(4):
        post(http, {"id": str(n), "orderId": n % 2, "deep": {"n": n // 2}, "it's": n})
    assert ids(http.get("/api/open?orderId=1")) == ["1", "3"]
    assert ids(http.get("/api/open?orderId=1&deep.n=1")) == ["3"]
    assert ids(http.get("/api/open?it%27s=2")) == ["2"]
    assert ids(http.get("/api/open?id=2")) == ["2"]
    assert ids(http.get("/api/open?orderId=7")) == []


@pytest.mark.parametrize("query, says", [
    ("unknown=1", 'no parameter "unknown" here'), ("orderid=1", '"orderid"'), ("deep=1", '"deep"'),
    ("orderId=1&orderId=2", '"orderId" is given more than once'), ("limit=1&limit=1", '"limit"'),
    ("$where=1", '"$where"'), ("orderId' or true --=1", "orderId' or"), ("=1", '""'),
    ("limit=0", 'limit must be from 1 to 1000, not "0"'), ("limit=1001", "limit"), ("limit=-1", "limit"),
    ("limit=ten", "limit"), ("limit=", "limit"), ("limit=010", "limit"), ("limit=1e2", "limit"),
    ("after=", "after"), ("sort=name", 'cannot sort by "name"'), ("sort=--id", "sort"), ("sort=", "sort"),
    ("sort=id desc", "sort"), ("sort=id;drop table x", "sort")])
def test_a_query_that_is_not_understood_is_400_and_named(http, query, says):
    post(http, {})
    refused(http.get("/api/open?" + query.replace(" ", "%20")), 400, says)


def test_pages_go_on_where_the_last_one_ended(http):
    made = sorted(post(http, {"orderId": n % 3}).json["id"] for n in range(7))
    seen, pages, after = [], 0, ""
    while after is not None:
        page = http.get("/api/open?limit=3" + after).json
        seen += [d["id"] for d in page["items"]]
        pages += 1
        after = "&after=" + page["next"] if page["next"] is not None else None
    assert (seen, pages) == (made, 3)
    assert http.get("/api/open?limit=7").json["next"] is None
    page = http.get("/api/open?limit=2&orderId=0").json
    assert page["next"] == page["items"][1]["id"]
    assert http.get(f"/api/open?limit=2&orderId=0&after={page['next']}").json["next"] is None
    assert ids(http.get("/api/open?sort=-id")) == made[::-1]


def test_a_cursor_outlives_its_document_where_the_sort_is_by_id(http):
    for n in range(4):
        post(http, {"id": str(n), "orderId": 9 - n})
    for sort, cursor in (("id", "1"), ("-id", "2"), ("orderId", "2"), ("-orderId", "1")):
        assert http.get("/api/open?limit=2&sort=" + sort).json["next"] == cursor
    http.request("DELETE", "/api/open/1")
    assert ids(http.get("/api/open?after=1")) == ["2", "3"]
    assert ids(http.get("/api/open?after=3&sort=orderId")) == ["2", "0"]
    problem = refused(http.get("/api/open?after=1&sort=orderId"), 410, 'no document "1" any more')
    assert "begin anew" in problem["hint"]


def test_a_list_has_100_documents_and_up_to_1000(http, database):
    database.rows("select chimp.collection_insert('open', '{}') from generate_series(1, 1001)")
    assert len(ids(http.get("/api/open"))) == 100
    most = http.get("/api/open?limit=1000")
    assert len(ids(most)) == 1000 and most.json["next"] == most.json["items"][-1]["id"]


# --- preconditions ---------------------------------------------------------------------

def test_if_match_is_what_was_read(http):
    made = post(http, {"n": 1})
    where, first = made.headers["Location"], made.headers["ETag"]
    second = patch(http, where, {"n": 2}, first).headers["ETag"]
    for tag in (first, '"other"', "other", 'W/"x"', '""', second.strip('"')):
        refused(patch(http, where, {"n": 3}, tag), 412, "If-Match")
        refused(http.request("DELETE", where, headers={"If-Match": tag}), 412)
    assert http.get(where).json["n"] == 2
    third = patch(http, where, {"n": 3}, "*").headers["ETag"]
    # One of several, and one that compression has made weak.
    fourth = patch(http, where, {"n": 4}, f'"x", {third}').headers["ETag"]
    assert patch(http, where, {"n": 5}, "W/" + fourth).status == 200
    assert http.request("DELETE", where, headers={"If-Match": "* \t"}).status == 204
    for tag in ("*", first):
        refused(patch(http, where, {"n": 1}, tag), 404)


def test_the_etag_of_a_compressed_answer_can_be_sent_back(http):
    where = post(http, {"text": "long " * 1000}).headers["Location"]
    got = http.get(where, headers={"Accept-Encoding": "gzip"})
    assert got.headers["Content-Encoding"] == "gzip" and got.headers["ETag"].startswith('W/"')
    assert patch(http, where, {"n": 1}, got.headers["ETag"]).status == 200
    refused(patch(http, where, {"n": 2}, got.headers["ETag"]), 412)


def at_once(n, work):
    """What work(i) has returned, of n threads that begin together."""
    barrier, results = threading.Barrier(n), [None] * n

    def one(i):
        barrier.wait()
        results[i] = work(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert None not in results
    return results


def test_of_many_patches_with_one_if_match_exactly_one_wins(http):
    made = post(http, {"n": -1})
    where, tag = made.headers["Location"], made.headers["ETag"]
    for _ in range(10):
        answers = at_once(6, lambda i: patch(http, where, {"n": i, tag: i}, tag))
        won = [a for a in answers if a.status == 200]
        assert len(won) == 1 and {a.status for a in answers} == {200, 412}, answers
        assert http.get(where).json == won[0].json
        tag = won[0].headers["ETag"]


def test_if_match_waits_for_a_writer_and_sees_what_it_wrote(http, database):
    made = post(http, {"id": "d", "n": 1})
    of = database.value("select chimp.collection_id('open')")
    for end, status in (("rollback", 200), ("commit", 412)):
        tag = http.get("/api/open/d").headers["ETag"]
        tx = database.transaction()
        rows(tx, f"update chimp.documents_{of} set document = document || '{{\"by\": \"sql\"}}' returning 1")
        got = []
        client = threading.Thread(target=lambda: got.append(patch(http, "/api/open/d", {end: True}, tag)))
        client.start()
        client.join(0.3)
        assert client.is_alive()
        getattr(tx, end)()
        client.join(30)
        assert got[0].status == status, got
    assert http.get("/api/open/d").json == {"id": "d", "n": 1, "rollback": True, "by": "sql"}
    assert made.status == 201


def test_the_first_documents_of_a_collection_may_come_together(http):
    answers = at_once(6, lambda i: http.post("/api/open", {"n": i}))
    assert [a.status for a in answers] == [201] * 6
    assert sorted(d["n"] for d in http.get("/api/open").json["items"]) == list(range(6))


def test_of_many_posts_of_one_id_exactly_one_wins(http):
    answers = at_once(6, lambda i: http.post("/api/open", {"id": "same", "n": i}))
    assert sorted(a.status for a in answers) == [201] + [409] * 5
    won, = [a.json for a in answers if a.status == 201]
    assert http.get("/api/open/same").json == won


def test_a_post_with_a_key_is_done_once(http):
    key = {"Idempotency-Key": "once"}
    first = post(http, {"n": 1}, headers=key)
    again = http.post("/api/open", {"n": 1}, headers=key)
    assert (again.status, again.body) == (201, first.body)
    for name in ("Location", "ETag"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ids(http.get("/api/open")) == [first.json["id"]]
    refused(http.post("/api/open", {"n": 2}, headers=key), 409)
    for _ in range(2):
        assert http.request("DELETE", first.headers["Location"], headers=key).status == 204


# --- what is registered ----------------------------------------------------------------

def test_the_routes_of_a_collection_are_registered(http, database):
    made = dict(database.rows("select name, definition ->> 'sql' from chimp.registration where kind = 'route' and active"))
    assert {n: s for n, s in made.items() if "/api/some" in n} == {
        "GET /api/some": "chimp.rest_list", "POST /api/some": "chimp.rest_post",
        "GET /api/some/{id}": "chimp.rest_get", "PATCH /api/some/{id}": "chimp.rest_patch",
        "DELETE /api/some/{id}": "chimp.rest_delete"}
    assert {n for n in made if "/api/seen" in n} == {"GET /api/seen", "GET /api/seen/{id}", "POST /api/seen"}
    http.get("/api/some/x")
    assert b'route="GET /api/some/{id}",code="4xx"} ' in http.get("/metrics").body


def test_a_merge_patch_is_another_thing(http):
    post(http, {"id": "a", "n": 1})
    answer = http.request("PATCH", "/api/open/a", b'{"n": null}', {"Content-Type": "Application/Merge-Patch+json"})
    refused(answer, 415, "null is a value")
    assert http.get("/api/open/a").json["n"] == 1


def test_a_page_of_large_documents_ends_early(http, database):
    database.rows("select chimp.collection_insert('seen', jsonb_build_object('id', 'd' || lpad(n::text, 2, '0'),"
                  " 'text', repeat('x', 1000000))) from generate_series(1, 20) n")
    got, after, pages = [], "", 0
    while after is not None:
        answer = http.get("/api/seen?limit=1000" + (f"&after={after}" if after else ""))
        assert len(answer.body) < 11_000_000
        got, after, pages = got + ids(answer), answer.json["next"], pages + 1
    assert got == [f"d{n:02}" for n in range(1, 21)] and pages == 3
