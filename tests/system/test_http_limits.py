"""Rates of routes, bounds of clients, and who a client is behind proxies."""

import http.client
import socket
import threading
import time

import pytest

from harness.chimpd import run
from harness.http import free_port
from harness.wait import Stopwatch, until

SCHEMA = """
create schema t;
create table t.ran (at timestamptz not null default clock_timestamp());
create function t.run(input jsonb) returns jsonb language sql as $$
	insert into t.ran default values;
	select input
$$;
create function t.fail(input jsonb) returns jsonb language plpgsql as $$
begin
	raise exception using errcode = 'PT418', message = 'as asked';
end $$;
create function t.nap(input jsonb) returns jsonb language sql as $$
	select null::jsonb from pg_sleep((input ->> 'seconds')::float)
$$;
create function t.peer(input jsonb) returns jsonb language sql as $$ select chimp.request() -> 'peer' $$;
"""
APP = """
  route "POST /five" { sql = "t.run"  rate = "5/2s" }
  route "POST /five/{id}" { sql = "t.run"  rate = "5/1h"  rate_by = "arg:id" }
  route "GET /fail" { sql = "t.fail"  rate = "2/1h" }
  route "GET /key" { sql = "t.run"  rate = "1/1h"  rate_by = "header:X-Api-Key" }
  route "POST /typed" { sql = "t.run"  rate = "1/1h"  rate_by = "arg:user"  args = "user: string?, n: integer?" }
  route "GET /address" { sql = "t.peer"  rate = "1/1h" }
  route "GET /peer" { sql = "t.peer" }
  route "GET /lots" { sql = "t.peer"  rate = "5000/1h" }
  route "GET /nap" { sql = "t.nap" }
"""
HTTP_ONLY = {"workers": "", "cron": 0, "subscriber": 0}

# Each start, whatever the ring forgets.
WATCH = """
create table t.start (rate_id bigint, at timestamptz);
create function t.watch() returns trigger language plpgsql as $$
begin
	insert into t.start values (new.rate_id, new.at);
	return null;
end $$;
create trigger watch after insert or update on chimp.http_rate_start
	for each row execute function t.watch();
"""
# The most starts in a window that a start ends.
MOST = """
select coalesce(max(n), 0) from (
	select count(*) over (partition by rate_id order by at
		range between %s::interval preceding and current row) as n from t.start) x
"""


@pytest.fixture
def serve(start, app):
    return lambda **conf: start(app(APP, SCHEMA), **HTTP_ONLY, **conf)


@pytest.fixture
def serve_tcp(serve):
    """On TCP, with a client for any address of the loopback."""
    def start(http="", **conf):
        port = free_port()
        return serve(listen=f"127.0.0.1:{port}", http=http, **conf), port
    return start


def get(port, path, source="127.0.0.1", **headers):
    """GET from an address of the loopback: status and JSON."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=20, source_address=(source, 0))
    try:
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip('"')
    finally:
        connection.close()


def hammer(clients, call, seconds):
    """So many threads call, a hundred times a second at most, until the time is over."""
    end = time.monotonic() + seconds

    def loop():
        while time.monotonic() < end:
            call()
            time.sleep(0.01)

    threads = [threading.Thread(target=loop) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_rate_is_exact_in_every_window_over_all_processes(serve, start, app, database):
    one = serve(processes=2, name="one", http='wait_max = "5s"')
    two = start(one.dir / "app-t" / "app.conf", name="two", node="node-2", processes=2,
                http='wait_max = "5s"', **HTTP_ONLY)
    database.rows(WATCH)
    answers = []

    def both():
        for daemon in (one, two):
            answers.append(daemon.http.post("/five", {}))

    hammer(6, both, 9)
    statuses = [a.status for a in answers]
    assert set(statuses) == {200, 429}, set(statuses)
    served = statuses.count(200)
    assert database.value(MOST, "2s") == 5
    assert database.value("select count(*) from t.start") == served
    assert database.value("select count(*) from t.ran") == served
    # Sliding, and nothing is given away: five in each 2 s, and a bit.
    span = database.value("select extract(epoch from max(at) - min(at)) from t.start")
    assert served >= 5 * int(float(span) / 2.2), (served, span)
    for answer in answers:
        assert answer.headers["RateLimit-Limit"] == "5"
        assert 0 <= int(answer.headers["RateLimit-Remaining"]) <= 4
        if answer.status == 429:
            assert answer.type == "application/problem+json"
            assert answer.headers["RateLimit-Remaining"] == "0"
            assert 1 <= int(answer.headers["Retry-After"]) <= 2
            assert answer.headers["Retry-After"] == answer.headers["RateLimit-Reset"]


def test_a_rate_that_is_not_reached_refuses_nobody(serve, database):
    """However many of one client are counted at the same time."""
    http = serve(processes=2, http='wait_max = "10s"').http
    statuses, ends = [], threading.Barrier(8)

    def client():
        connection = http.connect()
        ends.wait()
        for _ in range(150):
            connection.request("GET", "/lots")
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert statuses == [200] * 1200, set(statuses)
    assert database.value("select starts from chimp.http_rate") == 1200
    assert http.get("/lots").headers["RateLimit-Remaining"] == "3799"


def test_a_refused_one_may_come_again_when_retry_after_is_over(serve, figure):
    daemon = serve()
    left = [daemon.http.post("/five", {}).headers["RateLimit-Remaining"] for _ in range(5)]
    assert left == ["4", "3", "2", "1", "0"]
    with Stopwatch() as watch:
        refused = daemon.http.post("/five", {})
        assert refused.status == 429
        until(lambda: daemon.http.post("/five", {}).status == 200, "it is allowed again")
    assert watch.ms > 1000
    figure("allowed again after a window of 2 s", watch.ms, "ms", 2300)


def test_a_start_counts_though_the_action_fails(serve):
    http = serve().http
    assert [http.get("/fail").status for _ in range(4)] == [418, 418, 429, 429]
    failed = http.get("/fail")
    assert failed.headers["RateLimit-Limit"] == "2"


def test_a_remembered_refusal_asks_no_database(serve, database):
    http = serve().http
    assert [http.get("/fail").status for _ in range(3)] == [418, 418, 429]
    database.rows("update chimp.http_rate_start set at = at - interval '2 h'")
    assert http.get("/fail").status == 429
    database.rows("truncate chimp.http_rate, chimp.http_rate_start")
    assert http.get("/fail").status == 429


def test_a_rate_by_header_is_one_for_each_value_and_by_address_without(serve, database):
    http = serve().http

    def status(**headers):
        return http.get("/key", headers=headers).status

    assert [status(**{"X-Api-Key": key}) for key in ("a", "b", "a", "b")] == [200, 200, 429, 429]
    assert [status(), status(), status(**{"x-api-key": "c"})] == [200, 429, 200]
    # What the key was is in no table.
    keys = database.rows("select encode(key, 'hex') from chimp.http_rate")
    assert len(keys) == 4 and all(len(k) == 64 for k, in keys)


def test_a_rate_by_argument_is_one_for_each_value(serve):
    http = serve().http
    for name in ("a", "b"):
        got = [http.post(f"/five/{name}", {}).status for _ in range(6)]
        assert got == [200] * 5 + [429]
    assert http.post("/typed", {"user": "\u00e9", "n": 1}).status == 200
    # The same text in other letters.
    assert http.post("/typed", b'{"n": 2, "user": "\\u00e9"}').status == 429
    assert http.post("/typed", {"user": "e"}).status == 200
    assert [http.post("/typed", {}).status for _ in range(2)] == [200, 429]
    assert http.post("/typed", {"user": 1}).status == 400


def test_who_waits_long_for_others_of_its_key_is_503(serve, database, figure):
    http = serve().http
    assert http.post("/five", {}).status == 200
    with database.connect() as holder:
        holder.cursor().execute("select from chimp.http_rate for update")
        with Stopwatch() as watch:
            answer = http.post("/five", {})
        assert answer.status == 503, answer
        assert int(answer.headers["Retry-After"]) > 0
        figure("503 at lock_timeout = 200ms", watch.ms, "ms", 300)
        assert http.get("/peer").status == 200
    assert http.post("/five", {}).status == 200


def test_many_of_one_client_do_not_hold_all_connections(serve, database):
    """However long counting takes: one of a client has a connection for it."""
    http = serve(pool_max=3, http='wait_max = "1s"').http
    assert http.post("/five", {}).status == 200
    assert http.get("/peer").status == 200
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    statuses = []
    with database.connect() as holder:
        holder.cursor().execute("select from chimp.http_rate for update")
        clients = [threading.Thread(target=lambda: statuses.append(http.post("/five", {}).status))
                   for _ in range(20)]
        for client in clients:
            client.start()
        others = 0
        while len(statuses) < 20:
            assert database.value(waiting) <= 1
            assert http.get("/peer").status == 200
            others += 1
        for client in clients:
            client.join()
    assert statuses == [503] * 20 and others >= 10, (statuses, others)
    assert [http.post("/five", {}).status for _ in range(5)] == [200] * 4 + [429]


def test_a_connection_that_dies_while_a_start_is_counted_is_no_failure(serve, database):
    http = serve().http
    assert http.post("/five", {}).status == 200
    waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock'"
    answers = []
    with database.connect() as holder:
        holder.cursor().execute("select from chimp.http_rate for update")
        client = threading.Thread(target=lambda: answers.append(http.post("/five", {})))
        client.start()
        pid = until(lambda: database.value(waiting), "it waits", interval=0.001)
        database.rows("select pg_terminate_backend(%s)", pid)
    client.join()
    assert answers[0].status == 200, answers
    assert answers[0].headers["RateLimit-Remaining"] == "3"
    assert database.value("select count(*) from t.ran") == 2


def test_what_remains_is_what_a_count_says(database):
    database.rows("create schema t")
    database.rows(WATCH)
    allowed = refused = 0
    for n in range(80):
        [(before, fine, remaining, reset_ms)] = database.rows(
            "select b.now, l.* from (select clock_timestamp() as now offset 0) b,"
            " chimp.http_limit('k', 4, 300) l")
        if fine:
            allowed += 1
            left = database.value(
                "select 4 - count(*) from t.start s,"
                " (select max(at) as at from t.start) n where s.at >= n.at - interval '300 ms'")
            assert remaining == left and 0 < reset_ms <= 300, n
        else:
            refused += 1
            assert database.value("select count(*) from t.start where at >= %s::timestamptz"
                                  " - interval '300 ms'", before) >= 4, n
            assert remaining == 0 and 0 < reset_ms <= 301
        time.sleep((0, 0.01, 0.05, 0.12)[n * 7 % 11 % 4])
    assert database.value(MOST, "300 ms") == 4
    assert allowed >= 10 and refused >= 5, (allowed, refused)


def test_a_large_rate_reads_few_rows(database):
    """Some 20 of a ring of 100,000, though its last start was long ago."""
    database.rows("""
        insert into chimp.http_rate (key, starts, idle_at) values ('k', 150000, clock_timestamp());
        insert into chimp.http_rate_start
        select id, n % 100000, clock_timestamp() - (150000 - n) * interval '1 ms'
        from chimp.http_rate, generate_series(50000, 149999) n;
        analyze chimp.http_rate_start""")
    reads = "select idx_tup_fetch + seq_tup_read from pg_stat_user_tables where relname = 'http_rate_start'"

    def settled():
        """Statistics come late, and once only."""
        database.rows("select pg_stat_force_next_flush()")
        return database.value(reads)

    before = settled()
    [(fine, remaining, _)] = database.rows("select * from chimp.http_limit('k', 100000, 60000)")
    assert fine and 39000 < remaining < 41000, remaining
    assert 0 < settled() - before <= 30


def test_rates_that_are_idle_are_swept(serve, database):
    http = serve().http
    assert http.post("/five", {}).status == 200
    assert http.get("/fail").status == 418
    rates = "select count(*) from chimp.http_rate"
    assert database.value(rates) == 2
    until(lambda: database.value(rates) == 1, "the one of 2 s is gone", 30)
    assert database.value("select count(*) from chimp.http_rate_start") == 1
    assert [http.get("/fail").status for _ in range(2)] == [418, 429]


def test_a_sweep_goes_in_pieces(database):
    database.rows("""
        insert into chimp.http_rate (key, idle_at)
        select sha256(n::text::bytea), clock_timestamp() - interval '1 s' from generate_series(1, 250) n;
        insert into chimp.http_rate_start select id, 0, clock_timestamp() from chimp.http_rate;
        insert into chimp.http_answer (key, fingerprint, expires_at)
        select sha256(n::text::bytea), '', clock_timestamp() from generate_series(1, 25) n""")
    after, steps, more = None, 0, True
    while more:
        before = database.value("select count(*) from chimp.http_rate")
        [(after, more)] = database.rows("select * from chimp.http_sweep(%s, 100)", after)
        assert before - database.value("select count(*) from chimp.http_rate") <= 10
        steps += 1
    assert 25 <= steps <= 40 and after is None
    for table in ("http_answer", "http_rate", "http_rate_start"):
        assert database.value(f"select count(*) from chimp.{table}") == 0, table


def test_a_large_ring_is_swept_in_pieces(database):
    database.rows("""
        insert into chimp.http_rate (key, starts, idle_at) values ('a', 250, clock_timestamp());
        insert into chimp.http_rate_start
        select id, n, clock_timestamp() - interval '1 h' from chimp.http_rate, generate_series(0, 249) n""")
    left = []
    more = True
    while more:
        [(after, more)] = database.rows("select * from chimp.http_sweep(null, 100)")
        left.append(database.value("select count(*) from chimp.http_rate_start"))
    assert left == [150, 50, 0] and after is None
    assert database.value("select count(*) from chimp.http_rate") == 0


def test_what_is_missing_in_a_ring_counts_as_old(database):
    database.rows("""
        insert into chimp.http_rate (key, starts, idle_at) values ('a', 7, clock_timestamp());
        insert into chimp.http_rate_start select id, 1, clock_timestamp() from chimp.http_rate""")
    # Slot 7 % 5 = 2 is free, and only slot 1 (start 6) is in the window.
    [(allowed, remaining, _)] = database.rows("select * from chimp.http_limit('a', 5, 60000)")
    assert (allowed, remaining) == (True, 3)


# --- proxies -----------------------------------------------------------------

def test_headers_of_untrusted_peers_are_ignored(serve_tcp):
    _, port = serve_tcp('trusted_proxies = { "127.0.0.1", "10.0.0.0/8" }')
    spoofed = {"X_Forwarded_For": "1.2.3.4", "Forwarded": "for=1.2.3.4"}
    assert get(port, "/peer", "127.0.0.2", **spoofed) == (200, "127.0.0.2")
    assert get(port, "/peer", X_Forwarded_For="1.2.3.4") == (200, "1.2.3.4")
    assert get(port, "/peer") == (200, "127.0.0.1")
    # What the client itself put before the proxy's word.
    assert get(port, "/peer", X_Forwarded_For="6.6.6.6, 1.2.3.4, 10.1.1.1") == (200, "1.2.3.4")
    assert get(port, "/peer", X_Forwarded_For="6.6.6.6, unknown, 10.1.1.1") == (200, "10.1.1.1")
    assert get(port, "/peer", Forwarded='for=6.6.6.6;proto=http, For="[2001:db8::1]:4711";by=x') \
        == (200, "2001:db8::1")
    assert get(port, "/peer", X_Forwarded_For="1.2.3.4", Forwarded="for=6.6.6.6") == (200, "1.2.3.4")


def test_a_unix_socket_is_trusted_by_the_word_unix_only(serve):
    headers = {"X-Forwarded-For": "1.2.3.4"}
    daemon = serve(http='trusted_proxies = { "0.0.0.0/0", "::/0" }', name="no")
    assert daemon.http.get("/peer", headers=headers).json == "unix"
    daemon.stop()
    conf = daemon.conf.read_text().replace('"::/0"', '"unix"')
    daemon.conf.write_text(conf)
    daemon.start()
    assert daemon.http.get("/peer", headers=headers).json == "1.2.3.4"
    assert daemon.http.get("/peer").json == "unix"


def test_a_rate_by_address_counts_the_client_behind_the_proxy(serve_tcp):
    _, port = serve_tcp('trusted_proxies = { "127.0.0.1" }')

    def status(client, source="127.0.0.1"):
        return get(port, "/address", source, X_Forwarded_For=client)[0]

    assert [status("1.2.3.4"), status("1.2.3.4"), status("1.2.3.5")] == [200, 429, 200]
    # A /64 is one client.
    assert [status("2001:db8::1"), status("2001:db8::ffff"), status("2001:db8:0:1::1")] \
        == [200, 429, 200]
    # Whatever an untrusted one says, it is one.
    assert [status("7.7.7.1", "127.0.0.2"), status("7.7.7.2", "127.0.0.2")] == [200, 429]


@pytest.mark.parametrize("entry, says", [
    ("10.0.0.1/8", "bits behind its first 8"), ("10.0.0.0/33", "0 to 32"), ("::/129", "0 to 128"),
    ("10.0.0", "neither an address"), ("localhost", "neither an address"), ("", "neither"),
    ("::1/", "0 to 128"), ("10.0.0.0/08", "0 to 32"),
])
def test_a_bad_proxy_is_refused(folder, entry, says):
    conf = folder / "bad.conf"
    conf.write_text('database { url = "postgresql://x" }\n'
                    f'http {{ trusted_proxies = {{ "{entry}" }} }}\n')
    done = run("-t", "-c", conf)
    assert done.status != 0 and "trusted_proxies" in done.err and says in done.err, done


@pytest.mark.parametrize("keys, says", [
    ('rate_by = "arg:x"', "there is no rate"),
    ('rate = "1/1s"  rate_by = "cookie:x"', "header:NAME"),
    ('rate = "1/1s"  rate_by = "header:a b"', "header:NAME"),
    ('rate = "1/1s"  rate_by = "arg:"', "arg:NAME"),
    ('rate = "1/1s"  rate_by = "arg:usr"  args = "user: string, n: integer?"',
     'rate_by: args has no "usr"; it has user, n'),
    ('rate = "1/1s"  rate_by = "arg:User"  args = "user: string"', "it has user"),
    ('rate = "1/1s"  rate_by = "arg:contentType"  body = "raw"  args = "body: string"', "it has body"),
    ('readonly = true  idempotency = "required"', "nothing that a key could guard"),
])
def test_a_bad_limit_of_a_route_is_refused(folder, app, keys, says):
    made = app(f'route "POST /x" {{ sql = "t.f"  {keys} }}')
    conf = folder / "bad.conf"
    conf.write_text(f'database {{ url = "postgresql://x" }}\nhttp {{ }}\ninclude("{made.conf}")\n')
    done = run("-t", "-c", conf)
    assert done.status != 0 and "POST /x" in done.err and says in done.err, done


def test_the_argument_of_a_rate_is_looked_for_in_the_actions_args(folder, app):
    made = app('action "place" { sql = "t.f"  args = "user: string" }\n'
               'route "POST /x" { action = "place"  rate = "1/1s"  rate_by = "arg:usr" }')
    conf = folder / "bad.conf"
    conf.write_text(f'database {{ url = "postgresql://x" }}\nhttp {{ }}\ninclude("{made.conf}")\n')
    done = run("-t", "-c", conf)
    assert done.status != 0 and '"POST /x"' in done.err and 'args has no "usr"' in done.err, done
    assert "user" in done.err.split("usr", 1)[1], done


@pytest.mark.parametrize("keys", [
    'rate_by = "arg:n"  args = "user: string, n: integer?"',
    'rate_by = "arg:anything"',
    'rate_by = "arg:body"  body = "raw"',
    'rate_by = "header:X-Any"  args = "user: string"',
])
def test_a_rate_by_what_the_input_may_have_is_taken(folder, app, keys):
    made = app(f'route "POST /x" {{ sql = "t.f"  rate = "1/1s"  {keys} }}')
    conf = folder / "good.conf"
    conf.write_text(f'database {{ url = "postgresql://x" }}\nhttp {{ }}\ninclude("{made.conf}")\n')
    done = run("-t", "-c", conf)
    assert done.status == 0, done


# --- bounds of a client ----------------------------------------------------------

def closed(sock):
    sock.settimeout(5)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def connect(port, source="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))


def test_surplus_connections_of_one_client_are_closed(serve_tcp):
    _, port = serve_tcp("max_connections_per_client = 3")
    mine = [connect(port) for _ in range(3)]
    until(lambda: closed(connect(port)), "the fourth is closed")
    with connect(port, "127.0.0.2") as other:
        other.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert other.recv(15) == b"HTTP/1.1 200 OK"
    for sock in mine:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
    mine.pop().close()
    until(lambda: get(port, "/health")[0] == 200, "its place is free again")


def test_connections_of_a_trusted_proxy_are_not_bounded(serve_tcp):
    _, port = serve_tcp('max_connections_per_client = 1  trusted_proxies = { "127.0.0.1" }')
    held = [connect(port) for _ in range(5)]
    assert get(port, "/peer")[0] == 200
    for sock in held:
        sock.close()


def test_requests_of_one_client_are_bounded(serve_tcp):
    _, port = serve_tcp('max_requests_per_client = 2  trusted_proxies = { "127.0.0.1" }',
                        pool_max=8)
    statuses = []

    def nap(client):
        statuses.append(get(port, "/nap?seconds=1", X_Forwarded_For=client)[0])

    naps = [threading.Thread(target=nap, args=("1.1.1.1",)) for _ in range(5)]
    for thread in naps:
        thread.start()
    until(lambda: statuses.count(503) == 3, "three are refused at once")
    assert get(port, "/peer", X_Forwarded_For="2.2.2.2")[0] == 200
    assert get(port, "/peer", X_Forwarded_For="1.1.1.1")[0] == 503
    assert get(port, "/health", X_Forwarded_For="1.1.1.1")[0] == 200
    for thread in naps:
        thread.join()
    assert sorted(statuses) == [204, 204, 503, 503, 503]
    assert get(port, "/peer", X_Forwarded_For="1.1.1.1")[0] == 200
