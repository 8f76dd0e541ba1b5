"""What flows beside a poison event or a held transaction, and down a cascade."""

import json
import threading
import time

import pytest

from harness.cluster import rows
from harness.faults import Node
from harness.settings import long_or_short
from harness.wait import until

SCHEMA = """
create schema t;
create table t.log (n bigint generated always as identity, subscription text, id bigint, key text,
    level int, published_at timestamptz, at timestamptz default clock_timestamp());
create view t.mended as select false as called;
create function t.see(subscription text, event jsonb) returns void language plpgsql as $$
begin
    if event -> 'payload' ? 'poison' and not (select called from t.mended) then
        raise exception 'event % is poison', event ->> 'id';
    end if;
    insert into t.log (subscription, id, key, level, published_at)
    values ($1, (event ->> 'id')::bigint, event ->> 'key', (event -> 'payload' ->> 'level')::int,
        (event ->> 'publishedAt')::timestamptz);
end $$;
create function t.each(event jsonb) returns jsonb language sql as $$
    select t.see('each', event);
    select null::jsonb;
$$;
create function t.batch(events jsonb) returns jsonb language sql as $$
    select count(t.see('batch', e.value)) from jsonb_array_elements(events) e;
    select null::jsonb;
$$;
create function t.cascade(event jsonb) returns jsonb language plpgsql as $$
declare
    level int := (event -> 'payload' ->> 'level')::int;
begin
    perform t.see('cascade', event);
    if level < 5 then
        perform chimp.publish('level.' || level + 1,
            event -> 'payload' || jsonb_build_object('level', level + 1), event ->> 'key');
    end if;
    return null;
end $$;
"""
LAG = """
select extract(epoch from at - published_at) * 1000 from t.log
where subscription = %s and key <> 'poison' order by 1
"""


@pytest.fixture
def subscribe(start, app, database):
    def make(registrations, **conf):
        start(app(registrations, SCHEMA), cron=0, processes=0, workers="", **conf)
        return database
    return make


class Load(threading.Thread):
    """with Load(database, rate): ...: so many events a second, of keys k0 to k19."""

    STEP_S = 0.02

    def __init__(self, database, rate):
        super().__init__()
        self.connection = database.connect()
        self.of_a_step = round(rate * self.STEP_S)
        self.published = 0
        self.over = threading.Event()
        self.problem = None

    def run(self):
        try:
            self.publish()
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e

    def publish(self):
        due = time.monotonic()
        while not self.over.is_set():
            rows(self.connection, "select count(chimp.publish('e', '{}', 'k' || n %% 20))"
                 " from generate_series(%s, %s) n", self.published + 1,
                 self.published + self.of_a_step)
            self.published += self.of_a_step
            due += self.STEP_S
            self.over.wait(max(0, due - time.monotonic()))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        assert self.problem is None, self.problem


def wait_logged(database, subscription, n, timeout=60):
    until(lambda: database.value("select count(*) from t.log where subscription = %s",
                                 subscription) >= n, f"{n} events reach {subscription}", timeout)


# --- a poison event --------------------------------------------------------------

POLICY = 'event = "e"  max_attempts = 3  retry_delay = "100ms"  backoff = "constant"'
LANES = 4
POISON_LANE = f"chimp.event_lane(0, 'poison', {LANES})"


def test_g20_a_poison_event_is_parked_while_other_keys_flow(subscribe, figure):
    database = subscribe(f'subscription "each" {{ sql = "t.each"  lanes = {LANES}  {POLICY} }}\n'
                         f'subscription "batch" {{ sql = "t.batch"  lanes = {LANES}'
                         f'  mode = "batch"  {POLICY} }}')
    poison = []
    with Load(database, 200) as load:
        for _ in range(3):
            time.sleep(0.5)
            poison.append(database.value("select chimp.publish('e', '{\"poison\": true}', 'poison')"))
            database.rows("select chimp.publish('e', '{}', 'poison')")
        time.sleep(1)
    for subscription in ("each", "batch"):
        wait_logged(database, subscription, load.published + len(poison))
        # All else once, what is of the poison's own key too.
        assert database.value("select array[count(*), count(distinct id)] from t.log"
                              " where subscription = %s", subscription) \
            == [load.published + len(poison)] * 2
        assert database.rows("select event_id, attempts from chimp.dead_events"
                             " where subscription = %s order by 1", subscription) == [
            (event, 3) for event in poison]
        for lane, which in (("=", "its own lane"), ("<>", "other lanes")):
            lag = [ms for ms, in database.rows(
                LAG.replace("order by", f"and chimp.event_lane(0, key, {LANES}) {lane} {POISON_LANE}"
                            " order by"), subscription)]
            # Two delays of 100 ms, in its own.
            figure(f'a poison event, mode "{subscription}": others in {which} wait at most '
                   f"(median {lag[len(lag) // 2]:.1f} ms)", lag[-1], "ms", 300 if lane == "=" else 100)


FILLER = "select count(chimp.publish('other', '{}')) from generate_series(1, 3)"


def test_g20_no_lane_is_skipped_that_waits_for_a_retry_or_is_paused(start, app, database):
    """Ticks go by that have nothing for it; what it has not handled stays before it."""
    daemon = start(app('subscription "each" { event = "e"  sql = "t.each"  max_attempts = 9'
                       '  retry_delay = "1h"  backoff = "constant" }', SCHEMA), cron=0, processes=0,
                   workers="")
    event = database.value("select chimp.publish('e', '{\"poison\": true}')")
    until(lambda: database.value("select attempts from chimp.lane") == 1, "it has failed")
    # Whoever takes it up finds it waiting.
    daemon.wait_replaced("subscriber/0", daemon.kill("subscriber/0"))
    until(lambda: database.value("select epoch from chimp.lane") == 2, "it is taken up")
    for _ in range(20):
        database.rows(FILLER)
        time.sleep(0.05)
    database.rows("create or replace view t.mended as select true as called")
    database.rows("select chimp.subscription_resume('each')")
    begun = time.monotonic()
    while not database.value("select count(*) from t.log"):
        assert time.monotonic() < begun + 20, "lost"
        database.rows(FILLER)
        time.sleep(0.05)
    events = [event]
    # Paused and resumed, as fast as one can.
    for _ in range(100):
        database.rows("select chimp.subscription_pause('each')")
        events.append(database.value("select chimp.publish('e', '{}')"))
        database.rows(FILLER)
        time.sleep(0.005)
        database.rows("select chimp.subscription_resume('each')")
        database.rows(FILLER)
    begun = time.monotonic()
    while database.value("select count(*) from t.log") < len(events):
        assert time.monotonic() < begun + 20, "lost"
        database.rows(FILLER)
        time.sleep(0.05)
    assert [i for i, in database.rows("select id from t.log order by n")] == events


# --- a cascade -------------------------------------------------------------------

ROOTS = 1000


def test_g22_a_cascade_of_five_levels_arrives_each_once(start, app, database, record_property):
    made = app('subscription "cascade" { event = "level.*"  sql = "t.cascade"  lanes = 4 }\n'
               'subscription "last" { event = "level.5"  sql = "t.each" }', SCHEMA)

    def begin(name, node):
        return start(made, name=name, node=node, wait=False, processes=0, cron=0, workers="",
                     subscriber=2, top='restart_delay_max = "200ms"')

    node = Node(0, begin, "subscriber")
    node.wait_ready()
    begun = time.monotonic()
    database.rows("select count(chimp.publish('level.1', jsonb_build_object('level', 1), 'r' || n))"
                  " from generate_series(1, %s) n", ROOTS)
    until(lambda: database.value("select count(*) from t.log where level = 3") > 0, "some are midway")
    node.kill_master(with_workers=False)
    wait_logged(database, "cascade", 5 * ROOTS)
    wait_logged(database, "each", ROOTS)
    took = time.monotonic() - begun
    node.wait_ready()
    assert database.rows("""
        select subscription, level, count(*), count(distinct key), count(distinct id)
        from t.log group by 1, 2 order by 1, 2""") == [
        *(("cascade", level, ROOTS, ROOTS, ROOTS) for level in range(1, 6)),
        ("each", 5, ROOTS, ROOTS, ROOTS)]
    # Level by level, of each root.
    assert database.rows("select key from t.log where subscription = 'cascade' group by key"
                         " having array_agg(level order by n) <> '{1,2,3,4,5}'") == []
    record_property("figure", f"a cascade of 5 levels from {ROOTS} events, whose node's master "
                    f"was killed: all there after {took:.1f} s")


# --- a held transaction ----------------------------------------------------------

# What a delivery reads, by what it costs.
READS = {
    "position": "select * from chimp.lane_position({lane})",
    "open": "select * from chimp.lane_open({lane}, {epoch})",
    "events": """select * from chimp.lane_open({lane}, {epoch}) w, lateral chimp.lane_events(
        w.l, w.s, w.newest - 1, 9223372036854775807, w.newest, 32) e""",
    "tick": "select chimp.tick()",
}


class Costs:
    """Pages that the parts of a delivery look at: the least of some looks."""

    def __init__(self, database):
        self.database = database
        self.connection = database.connect()

    def look(self):
        [(lane, epoch)] = self.database.rows("select id, epoch from chimp.lane")
        return {what: min(self.pages(read.format(lane=lane, epoch=epoch)) for _ in range(10))
                for what, read in READS.items()}

    def pages(self, statement):
        [(plan,)] = rows(self.connection, "explain (analyze, buffers, format json) " + statement)
        plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.soak
def test_g17_nothing_gets_slower_or_dearer_beside_a_held_transaction(
        subscribe, figure, record_property):
    seconds = long_or_short(300, 8)
    rate = long_or_short(2000, 500)
    database = subscribe('subscription "each" { event = "e"  sql = "t.each" }')
    costs = Costs(database)
    held = database.connect()
    held.autocommit = False
    [(own,)] = rows(held, "select chimp.publish('e', '{}', 'held')")
    with Load(database, rate) as load:
        time.sleep(1)
        before = costs.look()
        time.sleep(seconds)
        after = costs.look()
    wait_logged(database, "each", load.published)
    moves = database.value("select max(seq) from chimp.lane_cursor")
    assert database.value("select count(*) from t.log where id = %s", own) == 0
    begun = time.monotonic()
    held.commit()
    wait_logged(database, "each", load.published + 1)
    took_ms = (time.monotonic() - begun) * 1000
    assert database.value("select array[count(*), count(distinct id)] from t.log") == [
        load.published + 1] * 2
    lag = [ms for ms, in database.rows(LAG.replace("'poison'", "'held'"), "each")]
    record_property("figure", f"a transaction held for {seconds} s beside {rate} events/s, "
                    f"{moves} moves: pages looked at, at its beginning and end: "
                    + ", ".join(f"{what} {before[what]} and {after[what]}" for what in READS))
    figure(f"publish to handler beside a transaction held for {seconds} s at {rate} events/s, "
           f"worst of {len(lag)} (median {lag[len(lag) // 2]:.1f} ms, 99 % "
           f"{lag[len(lag) * 99 // 100]:.1f} ms)", lag[-1], "ms", 1000)
    figure("and its own event after its commit", took_ms, "ms", 100)
    for what in READS:
        assert after[what] <= 2 * before[what] + 20, f"{what} costs more: {before} {after}"
