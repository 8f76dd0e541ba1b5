"""Request ids and W3C traceparent: in, out, and on what a request creates."""

import re

import pytest

from harness.chimpd import chimpctl
from harness.wait import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SCHEMA = """
create schema t;
create table t.log (what text, n bigint, trace jsonb, input jsonb);
create function t.request(input jsonb) returns jsonb language sql as $$
    select chimp.request() || jsonb_build_object('trace', chimp.trace())
$$;
create function t.make(input jsonb) returns jsonb language plpgsql as $$
begin
    perform chimp.enqueue('work', jsonb_build_object('n', n)) from generate_series(1, (input ->> 'jobs')::int) n;
    perform chimp.enqueue('later', '{"n": 100}', delay => '1 ms');
    perform chimp.enqueue_many('work', array['{"n": 101}', '{"n": 102}']::jsonb[]);
    perform chimp.publish('thing.made', '{"n": 1}');
    return '{"made": true}';
end $$;
create function t.work(input jsonb) returns jsonb language plpgsql as $$
begin
    insert into t.log values ('job', (input ->> 'n')::bigint, chimp.trace(), input);
    if (input ->> 'n')::int <= 3 then
        perform chimp.enqueue('work', jsonb_build_object('n', (input ->> 'n')::int + 1000));
    end if;
    return null;
end $$;
create function t.event(input jsonb) returns jsonb language plpgsql as $$
begin
    insert into t.log values (input ->> 'event', (input -> 'payload' ->> 'n')::bigint, chimp.trace(), input);
    if input ->> 'event' = 'thing.made' then
        perform chimp.publish('thing.followed', '{"n": 2}');
        perform chimp.enqueue('work', '{"n": 200}');
    end if;
    return null;
end $$;
create function t.events(input jsonb) returns jsonb language sql as $$
    insert into t.log select 'batch', null, chimp.trace(), e.value from jsonb_array_elements(input) e
    returning null::jsonb
$$;
create function t.fails(input jsonb) returns jsonb language plpgsql as $$
begin
    if exists (select from t.log where what = 'heal') then
        insert into t.log values ('replayed', 0, chimp.trace(), input);
        return null;
    end if;
    raise exception 'no';
end $$;
create function t.dies(input jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'no';
end $$;
create function t.lettered(input jsonb) returns jsonb language sql as $$
    insert into t.log values ('letter', 0, chimp.trace(), input) returning null::jsonb
$$;
create function t.doom(input jsonb) returns jsonb language sql as $$
    select to_jsonb(chimp.enqueue('doomed', '{}'))
$$;
"""
APP = """
  route "GET /request" { sql = "t.request"  readonly = true }
  route "POST /make/{jobs}" { sql = "t.make" }
  route "POST /doom" { sql = "t.doom" }
  queue "work" { sql = "t.work" }
  queue "later" { sql = "t.work" }
  queue "doomed" { sql = "t.dies"  max_attempts = 1  dead_letter = "letters" }
  queue "letters" { sql = "t.lettered" }
  subscription "each" { event = "thing.*"  sql = "t.event" }
  subscription "batch" { event = "thing.made"  mode = "batch"  sql = "t.events" }
  subscription "fails" { event = "thing.made"  sql = "t.fails"  max_attempts = 1 }
"""


@pytest.fixture
def serve(start, app):
    return lambda **conf: start(app(APP, SCHEMA), **conf)


def parts(answer):
    match = re.fullmatch("00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])", answer.headers["traceparent"])
    assert match, answer.headers["traceparent"]
    return match.groups()


def test_a_trace_goes_on_with_a_span_of_its_own(serve):
    daemon = serve()
    state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    answer = daemon.http.get("/request", headers={
        "traceparent": PARENT, "tracestate": state, "X-Request-Id": "req-1"})
    trace, span, flags = parts(answer)
    assert (trace, flags) == (TRACE, "01") and span != "b7ad6b7169203331"
    assert answer.headers["X-Request-Id"] == "req-1"
    seen = answer.json
    assert seen["traceparent"] == answer.headers["traceparent"]
    assert seen["tracestate"] == state
    assert seen["trace"] == {"requestId": "req-1", "traceparent": seen["traceparent"]}
    again = daemon.http.get("/request", headers={"traceparent": PARENT})
    assert parts(again)[0] == TRACE and parts(again)[1] != span
    assert "tracestate" not in again.json


def test_every_answer_has_a_trace_and_no_two_the_same(serve):
    daemon = serve()
    answers = [daemon.http.get(path) for path in
               ["/request", "/health", "/nowhere", "/%zz", "/metrics", "/request"]]
    traces = [parts(a) for a in answers]
    assert len({t for t, _, _ in traces}) == len({s for _, s, _ in traces}) == len(answers)
    assert all(flags == "00" for _, _, flags in traces)


@pytest.mark.parametrize("bad", [
    PARENT.upper(), PARENT[:-1], PARENT + "-", "ff" + PARENT[2:],
    f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", "", "x" * 3000])
def test_a_wrong_traceparent_is_replaced_and_takes_tracestate_with_it(serve, bad):
    answer = serve().http.get("/request", headers={"traceparent": bad, "tracestate": "a=1"})
    assert parts(answer)[0] not in (TRACE, "0" * 32)
    assert "tracestate" not in answer.json


def test_several_headers(serve):
    """Two traceparents are none; several tracestates are one list."""
    daemon = serve()
    with daemon.http.socket() as sock:
        sock.sendall(f"GET /request HTTP/1.1\r\nHost: x\r\ntraceparent: {PARENT}\r\n"
                     f"traceparent: {PARENT}\r\n\r\n".encode())
        assert TRACE.encode() not in re.search(
            b"\r\ntraceparent: (.*)\r\n", sock.recv(65536)).group(1)
    with daemon.http.socket() as sock:
        sock.sendall(f"GET /request HTTP/1.1\r\nHost: x\r\ntraceparent: {PARENT}\r\n"
                     "tracestate: a=1\r\ntracestate: b=2\r\n\r\n".encode())
        assert re.search(rb'"tracestate": ?"a=1,b=2"', sock.recv(65536))
    bad = daemon.http.get("/request", headers={"traceparent": PARENT, "tracestate": "a=1,a=2"})
    assert parts(bad)[0] == TRACE and "tracestate" not in bad.json


def test_what_a_request_creates_goes_back_to_it(serve, database):
    daemon = serve()
    answer = daemon.http.post("/make/40", {}, headers={
        "traceparent": PARENT, "X-Request-Id": "order:7"})
    assert answer.status == 200, answer
    trace = {"requestId": "order:7", "traceparent": answer.headers["traceparent"]}
    # 40 + 3 that these make, 3 more of the request, 1 of the event.
    until(lambda: database.value("select count(*) from t.log where what = 'job'") == 47, "all ran")
    until(lambda: database.value("select count(*) from t.log where what like 'thing%%'") == 2,
          "events were handled")
    assert database.rows("select distinct trace from t.log where what <> 'batch'") == [(trace,)]
    assert database.rows("select distinct request_id, traceparent from chimp.jobs") == [
        ("order:7", trace["traceparent"])]
    assert database.rows("select distinct request_id, traceparent from chimp.events") == [
        ("order:7", trace["traceparent"])]
    # The event itself says it, also where a call is about several.
    until(lambda: database.value("select count(*) from t.log where what = 'batch'") == 1, "batch")
    for what, trace_of, event in database.rows(
            "select what, trace, input from t.log where what in ('batch', 'thing.made')"):
        assert event["requestId"] == "order:7" and event["traceparent"] == trace["traceparent"]
        assert trace_of == (None if what == "batch" else trace)


def test_what_no_request_creates_has_no_trace(serve, database):
    serve()
    database.rows("select chimp.enqueue('work', '{\"n\": 1}'), chimp.publish('thing.made', '{}')")
    until(lambda: database.value("select count(*) from t.log where what = 'job'") == 3, "jobs ran")
    until(lambda: database.value("select count(*) from t.log where what like 'thing%%'") == 2, "events")
    assert database.rows("select distinct trace from t.log") == [(None,)]
    assert database.value("select count(*) from t.log where input ? 'traceparent'") == 0
    assert database.value("select count(*) from chimp.jobs where traceparent is not null") == 0
    assert database.value("select count(*) from chimp.events where request_id is not null") == 0


def test_dead_letters_and_dead_events_keep_it(serve, database):
    daemon = serve()
    one = daemon.http.post("/doom", {}, headers={"X-Request-Id": "doomed-1"})
    until(lambda: database.value("select count(*) from t.log where what = 'letter'") == 1, "letter")
    trace = {"requestId": "doomed-1", "traceparent": one.headers["traceparent"]}
    assert database.value("select trace from t.log where what = 'letter'") == trace
    two = daemon.http.post("/make/0", {}, headers={"X-Request-Id": "made-2"})
    until(lambda: database.value("select count(*) from chimp.dead_events") == 1, "dead event")
    event, request = database.rows("select event_id, request_id from chimp.dead_events")[0]
    assert request == "made-2"
    database.rows("insert into t.log (what) values ('heal')")
    database.rows("select chimp.subscription_replay('fails', %s)", event)
    until(lambda: database.value("select count(*) from t.log where what = 'replayed'") == 1, "replay")
    assert database.value("select trace from t.log where what = 'replayed'") == {
        "requestId": "made-2", "traceparent": two.headers["traceparent"]}


def test_chimpctl_shows_it(serve, database):
    daemon = serve(workers="", subscriber=0)
    answer = daemon.http.post("/make/1", {}, headers={"X-Request-Id": "seen"})
    job = str(database.value("select min(id) from chimp.jobs"))
    event = str(database.value("select min(id) from chimp.events"))
    for noun, number in (("job", job), ("event", event)):
        shown = chimpctl("-d", database.url, noun, "show", number)
        assert re.search(r"^request +seen$", shown.out, re.M), shown
        assert answer.headers["traceparent"] in shown.out
