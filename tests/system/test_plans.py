"""Hot functions are planned once in a session, also when statistics say that a plan for
this call's values would be dearer or cheaper than one for all (force_generic_plan).

PostgreSQL itself says each time that it plans: log_planner_stats, on the session's own
connection. What is planned besides is the statement that calls.
"""

import uuid

import psycopg2
import pytest

from harness.cluster import rows

SCHEMA = """
create schema t;
create function t.run(input jsonb) returns jsonb language plpgsql as $$ begin return null; end $$;
"""
APP = """
  queue "q" { sql = "t.run"  rate = "100000/1h"  concurrency = 10000 }
  subscription "s" { event = "e"  sql = "t.run" }
"""
JOBS = """
select count(chimp.enqueue('q', '{}', priority => n % 3,
	delay => case when n % 2 = 0 then interval '1 ms' end)) from generate_series(1, 4000) n
"""
EVENTS = """
do $$ begin
	for i in 1..40 loop
		perform count(chimp.publish('e', '{}')) from generate_series(1, 100);
		perform chimp.tick();
		commit;
	end loop;
end $$
"""

# What each of them needs before it, and its call.
FORCED = {
    "promote": ["select chimp.promote(1)"],
    # Its setting holds for queue_allowance and claim_queue, too, which it calls.
    "claim": ["select * from chimp.claim('{worker}', array[1], 4, array[8])"],
    "next_due_ms": ["select chimp.next_due_ms(array[1])"],
    "tick": ["select chimp.publish('e', '{{}}')", "select chimp.tick()"],
    "events_between": ["""select count(*) from chimp.tick a join chimp.tick b on b.id = a.id + 1,
        lateral chimp.events_between(a.snapshot, b.snapshot) where a.id = 20"""],
    "tick_news": ["select chimp.publish('e', '{{}}')", """select * from chimp.tick_news(
        '{subscriber}', (select max(id) - 1 from chimp.tick), true)"""],
    "lane_open": ["select * from chimp.lane_open({lane}, {epoch})"],
    "lane_events": ["""select count(*) from chimp.lane_open({lane}, {epoch}) w,
        lateral chimp.lane_events(w.l, w.s, (w.at).tick, (w.at).event_id, w.newest, 32)"""],
    "lane_move": ["""select chimp.lane_move(w.l, (w.at).seq, (w.at).tick, (w.at).event_id)
        from chimp.lane_open({lane}, {epoch}) w"""],
}
# Left to PostgreSQL: it plans five calls for their values and then decides.
SETTLED = {
    "enqueue": ["select chimp.enqueue('q', '{{}}')"],
    "publish": ["select chimp.publish('e', '{{}}')"],
    "http_limit": ["select * from chimp.http_limit('\\x01', 1000, 60000)"],
    "deliver": ["select chimp.publish('e', '{{}}')", "select chimp.tick()",
                "select * from chimp.deliver_1(array[{lane}]::bigint[], array[{epoch}]::bigint[])"],
}


class Plannings:
    """Counts them among the notices of a connection."""

    def __init__(self):
        self.n = 0

    def append(self, notice):
        self.n += "PLANNER STATISTICS" in notice


def register(database, role):
    process = str(uuid.uuid4())
    database.rows("select chimp.process_start(%s, %s, 'n', %s, 'default', 0, 1, 'v', %s, 600000)",
                  process, str(uuid.uuid4()), role, ["*"] if role == "worker" else None)
    return process


@pytest.fixture
def filled(start, app, database):
    """Tables with something in them, analyzed, and who may call."""
    start(app(APP, SCHEMA), workers="", cron=0, subscriber=0)
    who = {"worker": register(database, "worker"), "subscriber": register(database, "subscriber")}
    for statement in (JOBS, EVENTS, "analyze"):
        database.rows(statement)
    [(who["lane"], who["epoch"])] = database.rows(
        "select lane, epoch from chimp.lanes_claim(%s, '{}')", who["subscriber"])
    return database, who


def plannings(database, who, statements):
    """How often each of nine calls in a new session plans."""
    connection = psycopg2.connect(
        database.cluster.url(database.name, "postgres"),
        options="-c client_min_messages=log -c log_planner_stats=on")
    connection.autocommit = True
    connection.notices = counter = Plannings()
    counts = []
    try:
        for _ in range(9):
            for statement in statements:
                before = counter.n
                rows(connection, statement.format(**who))
            counts.append(counter.n - before)
    finally:
        connection.close()
    return counts


def test_functions_on_the_hot_path_are_planned_once(filled):
    wrong = {}
    for what, statements in FORCED.items():
        counts = plannings(*filled, statements)
        # The least: whoever analyzes or vacuums meanwhile has all plan anew.
        if counts[0] < 2 or min(counts[1:5]) != 1:
            wrong[what] = counts
    assert not wrong


def test_the_others_are_no_longer_planned_after_a_few_calls(filled):
    wrong = {}
    for what, statements in SETTLED.items():
        counts = plannings(*filled, statements)
        if counts[0] < 2 or min(counts[6:]) != 1:
            wrong[what] = counts
    assert not wrong


def test_firing_has_plans_for_any_number_of_schedules(database):
    """Custom ones read all of the arrays for each schedule: not slower to plan, but to run.
    So the number of plannings says nothing."""
    missing = database.rows("""
        select p.oid::regprocedure::text from pg_proc p
        where p.oid in ('chimp.cron_fire_set'::regproc, 'chimp.cron_fire_many'::regproc)
        and not coalesce('plan_cache_mode=force_generic_plan' = any (p.proconfig), false)""")
    assert missing == []
