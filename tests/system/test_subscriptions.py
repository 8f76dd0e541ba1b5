"""What the keys of a subscription mean, and what operators do to one (G19 to G21)."""

import time
import uuid

import psycopg2
import psycopg2.extras
import pytest

from harness.cluster import rows
from harness.wait import until

SCHEMA = """
create schema t;
create table t.seen (n bigint generated always as identity, subscription text, id bigint, calls bigint[]);
create table t.ran (id bigint, saw text);
create table t.switch (broken boolean);
insert into t.switch values (true);
create function t.see(input jsonb) returns jsonb language sql as $$
	insert into t.seen (subscription, id) values ('see', (input ->> 'id')::bigint) returning null::jsonb
$$;
create function t.other(input jsonb) returns jsonb language sql as $$
	insert into t.seen (subscription, id) values ('other', (input ->> 'id')::bigint) returning null::jsonb
$$;
create function t.fail(input jsonb) returns jsonb language plpgsql as $$
begin
	perform t.see(input);
	if input -> 'payload' ? 'bad' and (select broken from t.switch) then
		raise exception 'cannot take event %', input ->> 'id';
	end if;
	return null;
end $$;
create function t.batch(input jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.seen (subscription, calls)
	select 'batch', array_agg((e ->> 'id')::bigint order by o) from jsonb_array_elements(input) with ordinality x (e, o);
	if jsonb_path_exists(input, '$[*].payload.bad') then
		raise exception 'one of % is bad', jsonb_array_length(input);
	end if;
	return null;
end $$;
create function t.run(input jsonb) returns jsonb language plpgsql as $$
declare
	saw text;
begin
	execute coalesce(input #>> '{payload,look}', 'select null') into saw;
	insert into t.ran values ((input ->> 'id')::bigint, saw);
	if input -> 'payload' ? 'do' then
		execute input #>> '{payload,do}';
	end if;
	return null;
end $$;
"""
FAST = '  retry_delay = "20ms"  backoff = "constant"'


def sub(keys, name="see", sql="t.see", event="e"):
    return f'subscription "{name}" {{ event = "{event}"  sql = "{sql}"  {keys} }}\n'


@pytest.fixture
def subscribe(start, app, database):
    def make(registrations, **conf):
        start(app(registrations, SCHEMA), workers="", cron=0, **conf)
        return database
    return make


def publish(database, payload="{}", event="e", key=None):
    return database.value("select chimp.publish(%s, %s, %s)", event, payload, key)


def seen(database, subscription="see"):
    return [i for i, in database.rows(
        "select id from t.seen where subscription = %s order by n", subscription)]


def wait_seen(database, ids, subscription="see", timeout=30):
    """All that it has seen, when that is as many as these."""
    until(lambda: len(seen(database, subscription)) >= len(ids),
          f"{len(ids)} events reach {subscription}", timeout)
    return seen(database, subscription)


def forget(database):
    database.rows("truncate t.seen")


def refused(database, statement, *args):
    with pytest.raises(psycopg2.Error) as raised:
        database.rows(statement, *args)
    return raised.value.pgcode, str(raised.value)


def lag(database, name="see"):
    return database.rows("select lag_events, lag_exact from chimp.subscriptions where name = %s", name)[0]


# --- which events ----------------------------------------------------------------

def test_names_are_exact_and_patterns_end_with_a_star(subscribe):
    database = subscribe(sub("", event="order.made") + sub("", "other", "t.other", "order.*")
                         + sub('mode = "batch"', "all", "t.batch", "*"))
    names = ("order.made", "order.made.twice", "order.", "order", "orders.made", "Order.made", "x")
    made = {e: publish(database, event=e) for e in names}
    assert wait_seen(database, range(3), "other") == [
        made["order.made"], made["order.made.twice"], made["order."]]
    until(lambda: sum(len(c) for c in calls(database)) == len(names), "all arrive")
    assert [i for c in calls(database) for i in c] == list(made.values())
    assert seen(database) == [made["order.made"]]


def test_a_key_chooses_events_of_this_key(subscribe):
    database = subscribe(sub('key = "a"') + sub("", "other", "t.other"))
    ids = [publish(database, key=k) for k in ("a", "b", None, "a", "A")]
    assert wait_seen(database, ids, "other") == ids
    assert wait_seen(database, [1, 2]) == [ids[0], ids[3]]


def test_where_chooses_events_by_their_payload(subscribe):
    database = subscribe(sub('where = "$.amount > 1000"') + sub("", "other", "t.other"))
    ids = [publish(database, p) for p in (
        '{"amount": 1001}', '{"amount": 1000}', '{"amount": "1001"}', "{}", "null", "[]",
        '[{"amount": 1001}]', '{"amount": null}', '{"amount": 5e9}')]
    assert wait_seen(database, ids, "other") == ids
    # In lax mode a path goes into an array.
    assert wait_seen(database, [1, 2, 3]) == [ids[0], ids[6], ids[8]]


@pytest.mark.parametrize("keys, said", [
    ('where = "$.amount >"', "is no JSON path predicate: "),
    ('where = "$.amount"', "is no JSON path predicate: "),
    ('from = "tomorow"', 'from: "tomorow" is neither '),
    ('from = "2026-02-30T00:00:00Z"', "out of range"),
    ('event = "order.m*"', 'event: "order.m*" is neither '),
])
def test_what_cannot_be_is_refused_at_start(start, app, database, keys, said):
    registration = sub(keys).replace('event = "e"', "") if keys.startswith("event") else sub(keys)
    node = start(app(registration, SCHEMA), workers="", cron=0, wait=False)
    node.expected_status = 1
    assert node.wait(20) == 1
    assert 'subscription "see": ' in node.text() and said in node.text()
    # What only the database can read comes without the file's name.
    assert "app-t/app.conf:" in node.text() or 'app "t": subscription' in node.text()
    assert database.value("select count(*) from chimp.subscription") == 0


def test_idempotent_is_accepted(subscribe):
    database = subscribe(sub("idempotent = true"))
    event = publish(database)
    assert wait_seen(database, [event]) == [event]


# --- how many at once ------------------------------------------------------------

def calls(database):
    return [c for c, in database.rows("select calls from t.seen where subscription = 'batch' order by n")]


def test_a_batch_gets_an_array_of_events_in_order(subscribe):
    database = subscribe(sub('mode = "batch"  batch = 10', sql="t.batch"))
    ids = [i for i, in database.rows("select chimp.publish('e') from generate_series(1, 25)")]
    until(lambda: sum(len(c) for c in calls(database)) >= 25, "they arrive")
    assert [i for c in calls(database) for i in c] == ids
    assert max(len(c) for c in calls(database)) == 10


def test_g20_the_failing_event_of_a_batch_is_found_and_parked_alone(subscribe):
    database = subscribe(sub('mode = "batch"  batch = 10  max_attempts = 2' + FAST, sql="t.batch"))
    ids = [i for i, in database.rows(
        "select chimp.publish('e', case when n = 4 then '{\"bad\": 1}' else '{}' end::jsonb)"
        " from generate_series(1, 10) n")]
    until(lambda: lag(database)[0] == 0, "all are handled or parked", timeout=30)
    assert [i for c in calls(database) for i in c] == ids[:3] + ids[4:]
    assert database.rows("select event_id, attempts, error ->> 'message' from chimp.dead_events") == [
        (ids[3], 2, "one of 1 is bad")]


def test_batch_1_has_a_transaction_for_each_event(subscribe):
    database = subscribe(sub("batch = 1") + sub("", "other", "t.other"))
    ids = [i for i, in database.rows("select chimp.publish('e') from generate_series(1, 12)")]
    assert wait_seen(database, ids) == ids
    assert wait_seen(database, ids, "other") == ids
    # A subtransaction has an xid of its own, but a lane moves once a transaction.
    def moves(name):
        return database.value("select max(c.seq) from chimp.lane_cursor c join chimp.lanes l"
                              " on l.id = c.lane_id where l.subscription = %s", name)
    assert moves("see") >= 12 > moves("other")


# --- where it begins -------------------------------------------------------------

def test_from_says_where_a_new_subscription_begins(start, app, database):
    first = start(app(sub("", "other", "t.other"), SCHEMA), workers="", cron=0)
    old = [publish(database) for _ in range(2)]
    wait_seen(database, old, "other")
    time.sleep(0.05)
    since = database.value("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    later = [publish(database) for _ in range(2)]
    wait_seen(database, old + later, "other")
    assert first.stop() == 0
    start(app(sub('from = "now"  mode = "batch"', "now", "t.batch") + sub('from = "beginning"', "all", "t.see")
              + sub(f'from = "{since}"', "since", "t.fail"), name="u"), name="second", workers="", cron=0)
    def handled(name):
        return [r[0] for r in database.rows("select lag_events from chimp.subscriptions where name = %s", name)]
    until(lambda: handled("all") == handled("since") == handled("now") == [0], "they are up to date")
    # t.fail sees as 'see' does: all of them, and the later ones twice.
    assert sorted(seen(database)) == sorted(old + later + later)
    assert calls(database) == []
    new = publish(database)
    until(lambda: calls(database) == [[new]], "the new one arrives")


# --- failures --------------------------------------------------------------------

def test_g20_a_stopped_lane_tries_again_after_resume(subscribe):
    database = subscribe(sub('max_attempts = 2  on_failure = "pause"' + FAST, sql="t.fail"))
    ids = [publish(database, p) for p in ("{}", '{"bad": 1}', "{}")]
    until(lambda: database.value("select paused from chimp.subscriptions") == 1, "it stops")
    assert seen(database) == ids[:1] and lag(database) == (2, True)
    database.rows("select chimp.subscription_resume('see')")
    until(lambda: database.value("select paused_at is not null and attempts = 2 from chimp.lanes"),
          "it stops again, after as many attempts")
    assert seen(database) == ids[:1]
    database.rows("update t.switch set broken = false")
    database.rows("select chimp.subscription_resume('see')")
    assert wait_seen(database, ids) == ids
    assert database.rows("select attempts, retry_at, paused_at, error from chimp.lanes") == [(0, None, None, None)]


def test_a_retry_comes_in_time_after_its_lane_has_moved(start, app, database):
    """Also while other events keep its new owner busy."""
    node = start(app(sub('retry_delay = "2s"  backoff = "constant"', sql="t.fail") + sub("", "other", "t.other", "f"),
                     SCHEMA), workers="", cron=0)
    event = publish(database, '{"bad": 1}')
    until(lambda: database.value("select attempts from chimp.lanes where subscription = 'see'") == 1, "it fails")
    database.rows("update t.switch set broken = false")
    node.wait_replaced("subscriber/0", node.kill("subscriber/0"))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not seen(database):
        publish(database, event="f")
        time.sleep(0.05)
    assert seen(database) == [event]


def test_g20_dead_events_are_replayed(subscribe):
    database = subscribe(sub("max_attempts = 1" + FAST, sql="t.fail"))
    ids = [publish(database, p) for p in ('{"bad": 1}', "{}", '{"bad": 2}', "{}")]
    dead = [ids[0], ids[2]]
    def attempts():
        return database.rows("select event_id, attempts from chimp.dead_events"
                             " where replay_at is null order by event_id")
    until(lambda: attempts() == [(i, 1) for i in dead], "two are parked")
    assert database.value("select chimp.subscription_replay('see')") == 2
    until(lambda: attempts() == [(i, 2) for i in dead], "they fail again, once each")
    assert wait_seen(database, [1, 2]) == [ids[1], ids[3]]
    database.rows("update t.switch set broken = false")
    assert database.value("select chimp.subscription_replay('see', %s)", dead[1]) == 1
    until(lambda: attempts() == [(dead[0], 2)], "one succeeds, and is dead no longer")
    assert wait_seen(database, [1, 2, 3]) == [ids[1], ids[3], dead[1]]
    # Those that are asked for while others are on their way are not forgotten.
    for _ in range(5):
        database.rows("select chimp.subscription_replay('see')")
    until(lambda: attempts() == [], "the other one succeeds as well")
    assert wait_seen(database, range(4))[3:] == [dead[0]]
    code, text = refused(database, "select chimp.subscription_replay('see', %s)", dead[0])
    assert code == "CH002" and f"no dead event {dead[0]}" in text


def test_g20_a_replayed_event_may_leave_what_it_likes_in_its_session(subscribe):
    database = subscribe(sub("max_attempts = 1" + FAST, sql="t.run"))
    event = publish(database, '{"do": "create temporary table x as select broken from t.switch;'
                              ' select 1 / (not broken)::int from t.switch"}')
    until(lambda: database.value("select count(*) from chimp.dead_events") == 1, "it is parked")
    database.rows("update t.switch set broken = false")
    database.rows("select chimp.subscription_replay('see')")
    until(lambda: database.value("select count(*) from chimp.dead_events") == 0, "it succeeds")
    assert database.rows("select id from t.ran") == [(event,)]


# --- seek, pause -----------------------------------------------------------------

def test_g21_seek_hands_out_exactly_those_again_in_the_same_order(subscribe):
    database = subscribe(sub(""))
    ids = []
    for _ in range(5):
        # Commits against the order of ids.
        early, late = database.connect(), database.connect()
        early.autocommit = late.autocommit = False
        first = rows(early, "select chimp.publish('e')")[0][0]
        ids.append(rows(late, "select chimp.publish('e')")[0][0])
        late.commit()
        wait_seen(database, ids)
        ids.append(first)
        early.commit()
        wait_seen(database, ids)
    order = seen(database)
    assert order == ids
    middle = database.value("select clock_timestamp()")
    time.sleep(0.05)
    more = [publish(database) for _ in range(3)]
    order += more
    assert wait_seen(database, order) == order

    def again(expected, statement, *args):
        forget(database)
        database.rows(f"select chimp.subscription_seek('see'{statement})", *args)
        wait_seen(database, expected)
        until(lambda: lag(database) == (0, True), "it is up to date")
        assert seen(database) == expected

    for n in (0, 3, 4, 11):
        again(order[n:], ', "position" => %s', order[n])
    again(order, ', "position" => 0')
    again(more, ", at => %s", middle)
    again(order, ", at => '2000-01-01'")
    again([], "")
    new = publish(database)
    assert wait_seen(database, [new]) == [new]
    code, text = refused(database, "select chimp.subscription_seek('see', 10000000)")
    assert code == "CH002" and "unknown event 10000000" in text


def test_g21_seek_now_leaves_out_what_waits(subscribe):
    database = subscribe(sub(""))
    database.rows("select chimp.subscription_pause('see')")
    for _ in range(3):
        publish(database)
    assert lag(database) == (3, True)
    database.rows("select chimp.subscription_seek('see')")
    assert lag(database) == (0, True)
    database.rows("select chimp.subscription_resume('see')")
    new = publish(database)
    assert wait_seen(database, [new]) == [new]


def test_a_pause_misses_nothing(subscribe):
    database = subscribe(sub("lanes = 3"))
    ids = [publish(database, key=str(n)) for n in range(5)]
    wait_seen(database, ids)
    database.rows("select chimp.subscription_pause('see')")
    row = database.rows("select state, paused, paused_by, paused_since is not null from chimp.subscriptions")[0]
    assert row == ("paused", 3, "app", True)
    time.sleep(0.5)
    ids += [publish(database, key=str(n)) for n in range(20)]
    time.sleep(1)
    assert len(seen(database)) == 5 and lag(database) == (20, True)
    database.rows("select chimp.subscription_resume('see')")
    assert sorted(wait_seen(database, ids)) == ids
    for verb in ("pause", "resume", "seek", "replay"):
        code, text = refused(database, f"select chimp.subscription_{verb}('none')")
        assert code == "CH002" and 'unknown subscription "none"' in text


def test_a_pause_that_its_owner_only_half_sees_misses_nothing(subscribe):
    """It has looked for events and found none, and asks for its lanes after the resume."""
    database = subscribe(sub("batch = 1", sql="t.run") + sub("", "other", "t.other", "f"))
    until(lambda: database.value("select count(process) from chimp.lanes where pid is not null") == 2, "owned")
    ids = [i for i, in database.rows(
        "select chimp.publish('e', p::jsonb) from unnest(array['{\"do\": \"select pg_sleep(1)\"}', '{}']) p")]
    until(lambda: database.value("select count(*) from pg_stat_activity where wait_event = 'PgSleep'"), "it is at work")
    claims = database.connect()
    claims.autocommit = False
    rows(claims, "select from chimp.process for update")
    database.rows("select chimp.subscription_pause('see')")
    until(lambda: database.value("select count(*) from t.ran") == 1, "the first is handled")
    time.sleep(0.2)
    database.rows("select chimp.subscription_resume('see')")
    claims.commit()
    # Others keep the ticks coming until idle lanes have been moved over them.
    deadline = time.monotonic() + 12
    while time.monotonic() < deadline:
        publish(database, event="f")
        time.sleep(0.1)
    assert [i for i, in database.rows("select id from t.ran order by id")] == ids


def test_g21_lag_is_exact(subscribe):
    database = subscribe(sub("lanes = 3") + sub('where = "$.n > 7"', "other", "t.other"))
    assert database.rows("select lag_events, lag_exact, lag from chimp.subscriptions"
                         " where name = 'see'")[0][:2] == (0, True)
    database.rows("select chimp.subscription_pause(name) from chimp.subscriptions")
    database.rows("select chimp.publish('e', jsonb_build_object('n', n), (n % 5)::text) from generate_series(1, 10) n")
    assert lag(database) == (10, True) and lag(database, "other") == (3, True)
    open_one = database.connect()
    open_one.autocommit = False
    rows(open_one, "select chimp.publish('e', '{\"n\": 9}')")
    assert lag(database) == (10, True)
    open_one.commit()
    assert lag(database) == (11, True) and lag(database, "other") == (4, True)
    database.rows("select chimp.tick()")
    assert lag(database) == (11, True) and lag(database, "other") == (4, True)
    time.sleep(0.3)
    assert 0.3 < database.value("select extract(epoch from lag) from chimp.subscriptions where name = 'see'") < 60
    database.rows("select chimp.subscription_resume(name) from chimp.subscriptions")
    until(lambda: lag(database) == lag(database, "other") == (0, True), "they catch up")
    assert database.value("select max(lag) from chimp.subscriptions").total_seconds() == 0


# --- one event leaves nothing to the next ----------------------------------------

class Lane:
    """The lane of a subscription that this test owns, as a subscriber does."""

    def __init__(self, database):
        process = str(uuid.uuid4())
        database.rows("select chimp.process_start(%s, %s, 'n', 'subscriber', null, 0, 1, 'v', null, 60000)",
                      process, str(uuid.uuid4()))
        self.database = database
        self.lane, self.epoch, self.id = database.rows(
            "select lane, epoch, subscription_id from chimp.lanes_claim(%s, '{}')", process)[0]
        self.connection = database.connect()

    def publish(self, *payloads):
        made = [self.database.value("select chimp.publish('e', %s)", psycopg2.extras.Json(p)) for p in payloads]
        self.database.rows("select chimp.tick()")
        return made

    def deliver(self):
        """(handled, more, alone)"""
        return rows(self.connection, "select handled, more, alone is not null"
                    f" from chimp.deliver_{self.id}(array[%s]::bigint[], array[%s]::bigint[], '1 min')",
                    self.lane, self.epoch)[0]

    def alone(self):
        """The next event, by itself."""
        [(tick, event, from_tick, from_id, text)] = rows(
            self.connection, "select tick, id, from_tick, from_id, event from chimp.lane_read(%s, %s, 1)",
            self.lane, self.epoch)
        rows(self.connection, "select chimp.lane_advance(%s, %s, %s, %s, %s, %s, t.run(%s))"
             " from (select chimp.session_reset() offset 0) x",
             self.lane, self.epoch, from_tick, from_id, tick, event, text)

    def saw(self):
        return [saw for saw, in self.database.rows("select saw from t.ran order by id")]


@pytest.fixture
def lane(subscribe):
    return Lane(subscribe(sub("", sql="t.run"), subscriber=0))


@pytest.mark.parametrize("do", [
    "select set_config('work_mem', '64kB', true)",
    "select set_config('work_mem', '64kB', false)",
    "set local work_mem = '64kB'",
])
def test_settings_of_one_event_reach_no_other(lane, do):
    look = "select current_setting('work_mem')"
    lane.publish({"look": look, "do": do}, {"look": look}, {"look": look})
    assert lane.deliver() == (3, False, False)
    assert lane.saw() == ["4MB"] * 3
    assert rows(lane.connection, "show work_mem") == [("4MB",)]


def test_locks_of_one_event_reach_no_other(lane):
    look = "select count(*) from pg_locks where locktype = 'advisory' and objid = 77"
    lane.publish({"look": look, "do": "select pg_advisory_lock(77)"}, {"look": look})
    assert lane.deliver() == (2, False, False)
    assert lane.saw() == ["0", "0"]
    assert rows(lane.connection, look) == [(0,)]


def test_temporary_tables_of_one_event_reach_no_other(lane):
    look = "select to_regclass('pg_temp.x')::text"
    make = "create temporary table x as select 1"
    lane.publish({"look": look, "do": make}, {"look": look}, {"look": look, "do": make}, {"look": look})
    assert lane.deliver() == (0, True, True)
    lane.alone()
    assert lane.deliver() == (1, True, True)
    lane.alone()
    assert lane.deliver() == (1, False, False)
    assert lane.saw() == [None] * 4


def test_a_role_of_one_event_reaches_no_other(cluster, lane):
    admin = cluster.connect("postgres")
    rows(admin, "create role nobody_of_events")
    rows(admin, "grant nobody_of_events to app")
    try:
        look = "select current_user::text"
        me = lane.database.value(look)
        lane.publish({"look": look}, {"look": look, "do": "set role nobody_of_events"}, {"look": look})
        assert lane.deliver() == (1, True, True)
        assert lane.saw() == [me]
        # Alone it may not even move its lane, and takes nothing with it.
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            lane.alone()
        assert rows(lane.connection, "select chimp.session_reset(), current_user::text")[0][1] == me
    finally:
        rows(admin, "drop role nobody_of_events")
        admin.close()


def test_an_error_that_is_no_event_s_own_takes_all_back(lane):
    lane.publish({}, {"do": "do $x$ begin raise sqlstate '40001'; end $x$"}, {})
    with pytest.raises(psycopg2.errors.SerializationFailure):
        lane.deliver()
    assert lane.saw() == [] and lag(lane.database) == (3, True)
