"""Lanes of a subscription that stand at one position, run together (G17, G19)."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import psycopg2.extras
import pytest

from harness.cluster import rows
from harness.wait import until

SCHEMA = """
create schema t;
create table t.seen (n bigint generated always as identity, id bigint, key text, array_nr bigint, xid bigint);
create sequence t.arrays;
create function t.one(input jsonb) returns jsonb language plpgsql as $$
begin
	if input -> 'payload' ? 'bad' then
		raise exception 'cannot take event %', input ->> 'id';
	end if;
	perform pg_sleep((input #>> '{payload,sleep}')::float8) where input -> 'payload' ? 'sleep';
	insert into t.seen (id, key, xid)
	values ((input ->> 'id')::bigint, input ->> 'key', pg_current_xact_id()::text::bigint);
	return null;
end $$;
create function t.many(input jsonb) returns jsonb language plpgsql as $$
begin
	if jsonb_path_exists(input, '$[*].payload.bad') then
		raise exception 'one of % is bad', jsonb_array_length(input);
	end if;
	perform set_config('work_mem', '64kB', false) where current_setting('work_mem') = '4MB';
	if found and jsonb_path_exists(input, '$[*].payload.temporary') then
		create temporary table x ();
	end if;
	insert into t.seen (id, key, array_nr, xid)
	select (e ->> 'id')::bigint, e ->> 'key', a.nr, pg_current_xact_id()::text::bigint
	from nextval('t.arrays') a (nr), jsonb_array_elements(input) with ordinality x (e, o) order by o;
	return null;
end $$;
"""
KEYS = [str(n) for n in range(40)]


@pytest.fixture
def subscribe(start, app, database):
    def make(keys, sql="t.one", **conf):
        start(app(f'subscription "s" {{ event = "e"  sql = "{sql}"  {keys} }}', SCHEMA), workers="", cron=0, **conf)
        return database
    return make


class Lanes:
    """All four lanes of a subscription, which this test owns as a subscriber does."""

    def __init__(self, database):
        process = str(uuid.uuid4())
        database.rows("select chimp.process_start(%s, %s, 'n', 'subscriber', null, 0, 1, 'v', null, 60000)",
                      process, str(uuid.uuid4()))
        self.database = database
        claimed = database.rows("select lane, epoch, number, subscription_id, owned"
                                " from chimp.lanes_claim(%s, '{}') order by number", process)
        self.ids = [lane for lane, *_ in claimed]
        self.epochs = [epoch for _, epoch, *_ in claimed]
        assert [(n, owned) for _, _, n, _, owned in claimed] == [(n, len(claimed)) for n in range(len(claimed))]
        self.subscription = claimed[0][3]
        self.connection = database.connect()

    def publish(self, count=40, key=None, **payload):
        made = [self.database.value("select chimp.publish('e', %s, %s)", psycopg2.extras.Json(payload),
                                    key or KEYS[n % 40]) for n in range(count)]
        self.database.rows("select chimp.tick()")
        return made

    def deliver(self, *numbers, connection=None):
        """(handled, more, alone, waits) of these lanes, all by default."""
        numbers = numbers or range(len(self.ids))
        return rows(connection or self.connection, "select handled, more, alone, waits"
                    f" from chimp.deliver_{self.subscription}(%s::bigint[], %s::bigint[], '1 min')",
                    [self.ids[n] for n in numbers], [self.epochs[n] for n in numbers])[0]

    def number_of(self, key):
        return self.database.value("select chimp.event_lane(0, %s, %s)", key, len(self.ids))

    def positions(self):
        return [tuple(p) for p in self.database.rows(
            "select c.tick, c.event_id from chimp.lane l, chimp.lane_position(l.id) c order by l.number")]

    def seen(self):
        return [event for event, in self.database.rows("select id from t.seen order by n")]


@pytest.fixture(params=["each", "batch"])
def mode(request):
    return request.param


@pytest.fixture
def lanes(subscribe, mode):
    return Lanes(subscribe(f'lanes = 4  batch = 10  mode = "{mode}"', sql="t.many" if mode == "batch" else "t.one",
                           subscriber=0))


def test_lanes_at_one_position_are_handled_in_one_transaction(lanes, mode):
    made = lanes.publish()
    assert lanes.deliver() == (40, True, None, False)
    assert lanes.seen() == made
    assert lanes.database.value("select count(distinct xid) from t.seen") == 1
    assert len(set(lanes.positions())) == 1
    if mode == "batch":
        # In arrays as large as it said, and not in one of all lanes.
        assert lanes.database.rows("select count(*) from t.seen group by array_nr") == [(10,)] * 4
    assert lanes.deliver() == (0, False, None, False)
    assert len(set(lanes.positions())) == 1


def test_some_lanes_together_leave_the_others_theirs(lanes):
    made = lanes.publish()
    for pair in ((0, 1), (2, 3)):
        while lanes.deliver(*pair)[1]:
            pass
    assert sorted(lanes.seen()) == made
    assert len(set(lanes.positions())) == 1
    # In order within each lane.
    assert lanes.database.rows("select key from t.seen group by key having array_agg(id order by n)"
                               " <> array_agg(id order by id)") == []


def test_lanes_at_different_positions_do_not_run_together(lanes):
    lanes.publish()
    assert lanes.deliver(0)[3] is False
    before = lanes.seen()
    assert lanes.deliver() == (0, False, None, True)
    assert lanes.seen() == before


@pytest.mark.parametrize("why", [
    "update chimp.lane set paused_at = now() where number = 2",
    "update chimp.lane set attempts = 1, retry_at = now() + interval '1 h' where number = 2",
    "update chimp.lane set process_id = null where number = 2",
    "update chimp.lane set epoch = epoch + 1 where number = 2",
    "update chimp.lane set replays = true where number = 2",
    "update chimp.lane set until_tick = 1 where number = 2",
    "select chimp.lane_fence(id, 0, 0) from chimp.lane where number = 2",
])
def test_a_lane_that_must_not_go_with_the_others_stops_them(lanes, why):
    made = lanes.publish(4)
    lanes.database.rows(why if why.startswith("select") else why + " returning 1")
    assert lanes.deliver() == (0, False, None, True)
    # And they go on without it.
    assert lanes.deliver(0, 1, 3)[3] is False
    assert set(lanes.seen()) <= set(made) and lanes.seen() != []


def test_a_lane_lost_meanwhile_takes_all_back(lanes):
    lanes.publish()
    begun = lanes.database.connect()
    begun.autocommit = False
    assert lanes.deliver(connection=begun)[0] == 40
    with pytest.raises(psycopg2.Error) as refused:
        lanes.database.rows("set lock_timeout = '1s'; select chimp.lane_fence(id) from chimp.lane where number = 3")
    assert refused.value.pgcode == "55P03"       # the owner's move comes first
    begun.rollback()
    lanes.database.rows("select chimp.lane_fence(id) from chimp.lane where number = 3")
    assert lanes.seen() == []

    # The other way round: whoever moves a lane first has all others refused.
    first = lanes.database.connect()
    first.autocommit = False
    assert lanes.deliver(3, connection=first)[0] > 0
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lanes.deliver)
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'chimp.deliver_'"
        until(lambda: lanes.database.value(waiting) == 1, "the second waits for the first")
        first.commit()
        with pytest.raises(psycopg2.Error) as refused:
            second.result()
    assert refused.value.pgcode == "CH001"
    assert set(lanes.seen()) == {event for event, in lanes.database.rows(
        "select id from chimp.event where chimp.event_lane(id, key, 4) = 3 order by id limit %s", len(lanes.seen()))}
    assert lanes.deliver() == (0, False, None, True)


def test_old_positions_of_all_of_them_are_deleted(lanes):
    for _ in range(300):
        lanes.publish(1)
        assert lanes.deliver()[3] is False
    most = lanes.database.value("select max(n) from (select count(*) n from chimp.lane_cursor group by lane_id) x")
    assert most <= 130, most


@pytest.mark.parametrize("mode", ["each"], indirect=True)
def test_the_lane_of_an_event_that_fails_is_named(lanes):
    good = lanes.publish(3, key="7")
    lanes.publish(1, key="9", bad=True)
    lanes.publish(3, key="7")
    assert lanes.deliver() == (3, True, lanes.number_of("9"), False)
    assert lanes.seen() == good
    assert len(set(lanes.positions())) == 1


@pytest.mark.parametrize("mode", ["batch"], indirect=True)
def test_nothing_of_an_array_reaches_the_next(lanes):
    """Each finds the setting as it is by default, and sets it."""
    lanes.publish(20)
    lanes.publish(1, temporary=True)
    lanes.publish(19)
    connection = lanes.database.connect()
    # The third array leaves a temporary table: it is the last of its transaction.
    assert lanes.deliver(connection=connection) == (30, True, None, False)
    assert rows(connection, "show work_mem") == [("4MB",)]
    assert lanes.deliver(connection=connection)[0] == 10
    assert lanes.database.value("select count(distinct xid) from t.seen") == 2


# --- by a subscriber ---------------------------------------------------------------

def test_a_subscriber_runs_them_together(subscribe, mode, record_property):
    count = 4000
    database = subscribe(f'lanes = 8  mode = "{mode}"', sql="t.many" if mode == "batch" else "t.one", subscriber=1)
    database.rows("select count(chimp.publish('e', '{}', (n %% 40)::text)) from generate_series(1, %s) n", count)
    until(lambda: database.value("select count(*) from t.seen") == count, "all are handled")
    assert database.value("select count(distinct id) from t.seen") == count
    assert database.rows("select key from t.seen group by key having array_agg(id order by n)"
                         " <> array_agg(id order by id)") == []
    lanes, transactions = database.rows(
        "select max(lanes), count(*) from (select count(distinct chimp.event_lane(id, key, 8)) as lanes"
        " from t.seen group by xid) x")[0]
    record_property("figure", f"{count} events of 8 lanes in {transactions} transactions,"
                    f" of up to {lanes} lanes")
    assert 1 < lanes <= 4


def test_slow_handlers_run_side_by_side(subscribe, record_property):
    """Lanes are together only while that is quick."""
    database = subscribe("lanes = 8", subscriber=1)
    def run():
        begun = time.monotonic()
        before = database.value("select count(*) from t.seen")
        database.rows("select count(chimp.publish('e', '{\"sleep\": 0.1}', n::text)) from generate_series(1, 64) n")
        until(lambda: database.value("select count(*) from t.seen") == before + 64, "all are handled")
        return time.monotonic() - begun
    run()
    took = run()
    record_property("figure", f"64 events of 100 ms each in 8 lanes: {took:.2f} s, 6.4 one by one")
    assert took < 4


def test_a_bad_event_stops_its_own_lane_only(subscribe, mode):
    database = subscribe(f'lanes = 8  mode = "{mode}"  max_attempts = 2  retry_delay = "1s"  backoff = "constant"',
                         sql="t.many" if mode == "batch" else "t.one", subscriber=1)
    database.rows("""
        select count(chimp.publish('e', case when n = 100 then '{"bad": true}' else '{}' end::jsonb, (n % 40)::text))
        from generate_series(1, 400) n""")
    bad = database.value("select chimp.event_lane(0, '20', 8)")
    others = "from t.seen where chimp.event_lane(0, key, 8) <> %s"
    of_others = database.value("select count(*) from generate_series(1, 400) n"
                               " where chimp.event_lane(0, (n %% 40)::text, 8) <> %s", bad)
    until(lambda: database.value(f"select count(*) {others}", bad) == of_others, "the others flow")
    until(lambda: database.value("select count(*) from t.seen") == 399, "what is behind it, too")
    assert database.rows("select payload from chimp.dead_events") == [({"bad": True},)]
    assert database.value("select count(distinct id) from t.seen") == 399
