"""Schedules: made at run time, of several apps, paused, run by hand; overlap,
jitter, and how long firings are kept."""

import json

import psycopg2
import pytest

from harness.chimpd import chimpctl
from harness.settings import long_or_short
from harness.wait import until

SCHEMA = """
create schema t;
create table t.fired (n bigint generated always as identity, input jsonb);
create table t.gate (is_open boolean);
create function t.fire(input jsonb) returns jsonb language sql as $$
	insert into t.fired (input) values (input) returning null::jsonb
$$;
create function t.wait(input jsonb) returns jsonb language plpgsql as $$
begin
	while not exists (select from t.gate) loop
		perform pg_sleep(0.05);
	end loop;
	return null;
end $$;
create function t.text(input jsonb) returns text language sql as $$ select 'x' $$;
"""
EVERY_SECOND = "* * * * * *"
YEARLY = "0 0 1 1 *"


@pytest.fixture
def schema(database):
    """The functions without a chimpd: what SQL does alone."""
    database.rows(SCHEMA)
    return database


def fired(database, name):
    return database.value("select count(*) from t.fired where input ->> 'name' = %s", name)


def fires(database, name, more=1):
    wanted = fired(database, name) + more
    until(lambda: fired(database, name) >= wanted, f"{name} fires")


def schedule(database, name):
    [row] = database.rows("select to_jsonb(s) from chimp.schedules s where name = %s", name)
    return row[0]


def planned(database, name):
    return until(lambda: schedule(database, name)["next_at"], f"{name} is planned")


def refused(database, statement, *args):
    with pytest.raises(psycopg2.Error) as error:
        database.rows(statement, *args)
    return error.value.pgcode, str(error.value)


def nothing_registered(start, app):
    """A node without a schedule of its own."""
    return start(app('queue "q" { sql = "t.fire" }', SCHEMA), processes=0, subscriber=0)


# --- run time --------------------------------------------------------------------

def test_a_schedule_of_run_time_fires_until_it_is_unset(start, app, database):
    nothing_registered(start, app)
    assert database.value("select chimp.cron_set('r', %s, 't.fire')", EVERY_SECOND) == 1
    fires(database, "r", 2)
    row = schedule(database, "r")
    assert (row["app"], row["state"], row["error"]) == ("run time", "waiting", None)
    database.rows("select chimp.cron_unset('r')")
    assert schedule(database, "r")["state"] == "unset"
    newest = "select max(slot_at) from chimp.firings where name = 'r'"
    before = database.value(newest)
    database.rows("select pg_sleep(2.1)")
    assert database.value(newest) == before
    # Again: planned from now on, and nothing of what was missed.
    assert database.value("select chimp.cron_set('r', %s, 't.fire')", EVERY_SECOND) == 2
    fires(database, "r")
    assert database.value("select count(*) from chimp.firings where name = 'r'"
                          " and slot_at between %s + interval '0.1 s' and %s + interval '1.9 s'",
                          before, before) == 0


def test_a_schedule_is_made_with_its_transaction(schema):
    other = schema.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("select chimp.cron_set('r', '@daily', 't.fire')")
    assert schema.rows("select * from chimp.schedules") == []
    other.rollback()
    assert schema.rows("select * from chimp.schedules") == []
    assert schema.rows("select * from chimp.queues") == []


def test_another_expression_or_zone_is_a_new_revision_and_repetition_is_none(schema):
    def cron_set(*more):
        return schema.value("select chimp.cron_set('r', %s, 't.fire', %s, %s)", *more)
    assert cron_set("@daily", "UTC", "latest") == 1
    before = schema.value("select xmin::text from chimp.schedule")
    assert cron_set("@daily", "UTC", "latest") == 1
    assert schema.value("select xmin::text from chimp.schedule") == before
    assert cron_set("@daily", "UTC", "skip") == 1
    schema.rows("select chimp.cron_plan(id, revision, 1e15::bigint) from chimp.schedule")
    assert cron_set("@daily", "UTC", "latest") == 1
    assert schema.value("select planned from chimp.schedule")
    assert cron_set("@hourly", "UTC", "latest") == 2
    assert schema.rows("select planned, next_at from chimp.schedule") == [(False, None)]
    assert cron_set("@hourly", "Europe/Berlin", "latest") == 3


@pytest.mark.parametrize("arguments, code, said", [
    ("'a b', '@daily', 't.fire'", "22023", "a name is made of"),
    ("'r', ' ', 't.fire'", "22023", "cron expression"),
    ("'r', null, 't.fire'", "22023", "cron expression"),
    ("'r', '@däily', 't.fire'", "22023", "cron expression"),
    ("'r', '@daily', 't.fire(now())'", "22023", "schema.function"),
    ("'r', '@daily', 't.none'", "CH002", "t.none(jsonb) does not exist"),
    ("'r', '@daily', 't.text'", "CH002", "must return jsonb"),
    ("'r', '@daily', 't.fire', 'Mars/Phobos'", "22023", "Mars/Phobos"),
    ("'r', '@daily', 't.fire', 'europe/berlin'", "22023", "europe/berlin"),
    ("'r', '@daily', 't.fire', misfire => 'all(0)'", "22023", "all(N)"),
    ("'r', '@daily', 't.fire', misfire => 'all(1001)'", "22023", "all(N)"),
    ("'r', '@daily', 't.fire', overlap => 'maybe'", "22023", "queue_one"),
    ("'r', '@daily', 't.fire', jitter => '-1 s'", "22023", "jitter"),
])
def test_what_is_wrong_is_refused_with_the_reason(schema, arguments, code, said):
    pgcode, text = refused(schema, f"select chimp.cron_set({arguments})")
    assert pgcode == code and said in text
    assert schema.rows("select * from chimp.schedules") == []


def test_g27_a_name_of_an_app_is_refused_at_run_time(start, app, database):
    node = start(app(f'cron "c" {{ schedule = "{YEARLY}"  sql = "t.fire" }}', SCHEMA),
                 subscriber=0)
    for call in ("cron_set('c', '@daily', 't.fire')", "cron_unset('c')"):
        code, text = refused(database, f"select chimp.{call}")
        assert code == "CH002" and 'belongs to app "t"' in text
    planned(database, "c")
    row = schedule(database, "c")
    assert (row["schedule"], row["app"], row["state"]) == (YEARLY, "t", "waiting")
    # One that nobody has any more can be forgotten, and its name is free.
    node.stop()
    database.rows("update chimp.node set registered_at = now() - interval '1 hour'")
    database.rows("select chimp.reap()")
    assert schedule(database, "c")["state"] == "unregistered"
    assert refused(database, "select chimp.cron_set('c', '@daily', 't.fire')")[0] == "CH002"
    database.rows("select chimp.cron_unset('c')")
    assert database.value("select chimp.cron_set('c', '@daily', 't.fire')") == 2


def test_g27_a_name_of_run_time_is_refused_at_start(start, app, database):
    nothing_registered(start, app)
    database.rows("select chimp.cron_set('c', '@daily', 't.fire')")
    second = app(f'cron "c" {{ schedule = "{YEARLY}"  sql = "t.fire" }}', name="u")
    node = start(second, name="second", node="node-2", subscriber=0, wait=False)
    node.expected_status = 1
    assert node.wait(10) == 1
    assert 'app "u": cron "c" was made at run time' in node.text()
    assert "chimp.cron_unset('c')" in node.text()
    assert schedule(database, "c")["schedule"] == "@daily"
    database.rows("select chimp.cron_unset('c')")
    start(second, name="third", node="node-3", subscriber=0)
    assert schedule(database, "c")["app"] == "u"


# --- independence ----------------------------------------------------------------

def test_g27_two_apps_on_one_database_leave_each_other_alone(start, app, database):
    one = app(f'cron "one" {{ schedule = "{EVERY_SECOND}"  sql = "t.fire" }}', SCHEMA)
    two = app(f'cron "two" {{ schedule = "{EVERY_SECOND}"  sql = "t.fire" }}', name="u")
    start(one, subscriber=0)
    database.rows("select chimp.cron_set('free', %s, 't.fire')", EVERY_SECOND)
    fires(database, "one")
    before = schedule(database, "one")
    second = start(two, name="second", node="node-2", subscriber=0)
    for name in ("one", "two", "free"):
        fires(database, name)
    assert [schedule(database, n)["app"] for n in ("one", "two", "free")] == ["t", "u", "run time"]
    assert schedule(database, "one")["revision"] == before["revision"]
    second.stop()
    for name in ("one", "free"):
        fires(database, name)
        assert schedule(database, name)["state"] == "waiting"
    thief = app(f'cron "one" {{ schedule = "{YEARLY}"  sql = "t.fire" }}', name="v")
    node = start(thief, name="third", node="node-3", subscriber=0, wait=False)
    node.expected_status = 1
    assert node.wait(10) == 1
    assert 'belongs to app "t"' in node.text()
    assert schedule(database, "one")["schedule"] == EVERY_SECOND


def test_g27_a_bad_expression_stops_no_other_and_shows(start, app, database):
    node = nothing_registered(start, app)
    database.rows("select chimp.cron_set('bad', '61 * * * *', 't.fire'),"
                  " chimp.cron_set('never', '0 0 30 2 *', 't.fire'),"
                  " chimp.cron_set('good', %s, 't.fire')", EVERY_SECOND)
    until(lambda: schedule(database, "bad")["error"], "the error is kept")
    fires(database, "good", 2)
    row = schedule(database, "bad")
    assert row["state"] == "error" and "minute" in row["error"] and row["next_at"] is None
    listed = chimpctl("-d", database.url, "cron", "list").out
    assert row["error"][:60] in listed
    assert "30 never comes in month 2" in schedule(database, "never")["error"]
    why = chimpctl("-d", database.url, "why", "schedule", "bad").out
    assert "schedule bad (61 * * * *, UTC) is error" in why and row["error"] in why
    # Once per revision: not with every round.
    assert node.text().count('schedule "bad" is left out') == 1
    version = database.value("select xmin::text from chimp.schedule where name = 'bad'")
    fires(database, "good", 2)
    assert database.value("select xmin::text from chimp.schedule where name = 'bad'") == version
    # Set right, it is planned and the error is gone.
    database.rows("select chimp.cron_set('bad', '1 * * * *', 't.fire')")
    planned(database, "bad")
    assert schedule(database, "bad")["error"] is None


def test_g27_more_bad_schedules_than_a_round_has_room_for_stop_no_other(start, app, database):
    nothing_registered(start, app)
    database.rows("select chimp.cron_set('good', %s, 't.fire')", EVERY_SECOND)
    database.rows("insert into chimp.schedule (name, expression, timezone, misfire, overlap,"
                  " jitter_ms, queue_id, run_time) select 'bad-' || n, 'x', 'UTC', 'latest',"
                  " 'skip', 0, (select queue_id from chimp.schedule), true"
                  " from generate_series(1, 2100) n")
    database.rows("select pg_notify('chimp_control', 'schedules')")
    until(lambda: database.value("select count(error) from chimp.schedule") >= 2100, "all are read")
    fires(database, "good", 2)


def test_g27_a_transaction_that_stays_open_stops_no_schedule_but_its_own(start, app, database):
    nothing_registered(start, app)
    for name in ("held", "good"):
        database.rows("select chimp.cron_set(%s, %s, 't.fire')", name, EVERY_SECOND)
        fires(database, name)
    other = database.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("select chimp.cron_set('held', '*/1 * * * * *', 't.fire')")
    database.rows("select pg_sleep(1.1)")
    held = fired(database, "held")
    commits = "select xact_commit from pg_stat_database where datname = current_database()"
    before = database.value(commits)
    fires(database, "good", 4)
    assert fired(database, "held") == held
    assert database.value(commits) - before < 1000     # it does not spin
    other.commit()
    fires(database, "held", 2)


def test_a_new_expression_is_planned_from_now_whatever_slot_the_old_one_waited_for(
        start, app, database):
    node = start(app(f'cron "c" {{ schedule = "{YEARLY}"  sql = "t.fire" }}', SCHEMA),
                 subscriber=0)
    planned(database, "c")
    process = node.child("cron/0")
    conf = node.dir / "app-t" / "app.conf"
    conf.write_text(conf.read_text().replace(YEARLY, EVERY_SECOND))
    node.stop()
    node = start(conf, name="again", subscriber=0)
    process = node.child("cron/0")
    fires(database, "c", 2)
    assert node.child("cron/0") == process
    assert schedule(database, "c")["revision"] == 2


# --- pause, run ------------------------------------------------------------------

def test_a_paused_schedule_fires_nothing_over_restarts(start, app, database):
    registered = app(f'cron "c" {{ schedule = "{EVERY_SECOND}"  sql = "t.fire" }}', SCHEMA)
    node = start(registered, subscriber=0)
    fires(database, "c")
    database.rows("select chimp.cron_pause('c')")
    before = schedule(database, "c")
    assert (before["state"], before["paused_by"]) == ("paused", "app")
    node.stop()
    start(registered, name="again", node="node-2", subscriber=0)
    slots = database.value("select count(*) from chimp.firings")
    database.rows("select pg_sleep(2.1)")
    assert database.value("select count(*) from chimp.firings") == slots
    after = schedule(database, "c")
    assert after["paused_at"] == before["paused_at"] and after["next_at"] == before["next_at"]
    database.rows("select chimp.cron_resume('c')")
    fires(database, "c", 2)
    assert refused(database, "select chimp.cron_pause('none')")[0] == "CH002"


@pytest.mark.parametrize("misfire, slots", [("skip", 0), ("latest", 1), ("all(3)", 3),
                                            ("all(1000)", 11)])
def test_g26_misfire_decides_what_a_pause_has_missed(start, app, database, misfire, slots):
    nothing_registered(start, app)
    database.rows("select chimp.cron_set('c', %s, 't.fire', misfire => %s, overlap => 'allow')",
                  YEARLY, misfire)
    planned(database, "c")
    database.rows("select chimp.cron_pause('c')")
    # Ten years and some days ago by the wall clock: eleven New Years.
    database.rows("update chimp.schedule set next_at = date_trunc('year', now() - interval"
                  " '10 years')")
    database.rows("select pg_notify('chimp_control', 'schedules'), pg_sleep(1)")
    assert database.rows("select * from chimp.firings") == []
    database.rows("select chimp.cron_resume('c')")
    until(lambda: database.value("select next_at > now() from chimp.schedule"), "it goes on")
    assert database.value("select count(*) from chimp.firings") == slots
    until(lambda: fired(database, "c") == slots, "all jobs run")


def test_a_run_by_hand_is_no_slot_and_obeys_no_pause(start, app, database):
    nothing_registered(start, app)
    database.rows("select chimp.cron_set('c', %s, 't.fire', jitter => '1 hour')", YEARLY)
    before = planned(database, "c")
    database.rows("select chimp.cron_pause('c')")
    job = database.value("select chimp.cron_run('c')")
    until(lambda: fired(database, "c") == 1, "it runs")
    given = database.value("select input from t.fired")
    assert given["runBy"] == "app" and given["schedule"] == YEARLY
    assert given["fireAtMs"] % 1000 == int(given["fireAt"][-4:-1])
    assert database.rows("select name, slot_at, job_id, skipped, run_by from chimp.firings") == [
        ("c", None, job, False, "app")]
    row = schedule(database, "c")
    assert (row["next_at"], row["last_at"]) == (before, None)
    assert refused(database, "select chimp.cron_run('none')")[0] == "CH002"


# --- overlap, jitter -------------------------------------------------------------

def overlapping(start, app, database, overlap):
    """Every second, while the handlers wait; [skipped] of five slots."""
    nothing_registered(start, app)
    database.rows("select chimp.cron_set('c', %s, 't.wait', overlap => %s)", EVERY_SECOND, overlap)
    until(lambda: database.value("select count(*) from chimp.firings") >= 5, "slots pass")
    skipped = [s for s, in database.rows(
        "select skipped from chimp.firings order by slot_at limit 5")]
    if overlap != "allow":
        why = json.loads(chimpctl("-d", database.url, "--json", "why", "schedule", "c").out)
        reasons = {r["kind"]: r for r in why["reasons"]}
        newest = database.value("select max(job_id) from chimp.firings")
        assert reasons["skipped"]["job"] == newest
        assert f"job {newest}" in reasons["skipped"]["why"]
    database.rows("insert into t.gate values (true)")
    until(lambda: database.value("select not skipped from chimp.firings order by slot_at desc"
                                 " limit 1"), "it goes on")
    return skipped


def test_g26_overlap_skip(start, app, database):
    assert overlapping(start, app, database, "skip") == [False, True, True, True, True]


def test_g26_overlap_queue_one(start, app, database):
    assert overlapping(start, app, database, "queue_one") == [False, False, True, True, True]


def test_g26_overlap_allow(start, app, database):
    assert overlapping(start, app, database, "allow") == [False] * 5


def fire(database, slot_ms):
    """Fire this slot by hand, as a cron process does; when its job is due after it, in ms."""
    database.rows("update chimp.schedule set planned = true, next_at = chimp.from_ms(%s)", slot_ms)
    assert database.value("select chimp.cron_fire(id, revision, %s, %s, %s) from chimp.schedule",
                          slot_ms, slot_ms, slot_ms + 60000)
    return database.value("select round(extract(epoch from s.run_at - f.slot_at) * 1000)::int"
                          " from chimp.firing f left join chimp.job_scheduled s using (job_id)"
                          " where f.slot_at = chimp.from_ms(%s)", slot_ms)


def test_g26_jitter_is_a_stable_hash_of_schedule_and_slot(schema):
    def late(name, slots):
        schema.rows("delete from chimp.schedule")
        schema.rows("select chimp.cron_set(%s, '* * * * *', 't.fire', overlap => 'allow',"
                    " jitter => '20 hours')", name)
        return [fire(schema, slot) for slot in slots]
    now = schema.value("select extract(epoch from date_trunc('minute', now()))::bigint * 1000")
    slots = [now - n * 60000 for n in range(8, -1, -1)]
    first = late("a", slots)
    assert [ms for ms in first if ms is not None] and len(set(first)) > 4
    assert all(ms is None or 0 <= ms < 20 * 3600 * 1000 for ms in first)
    assert late("a", slots) == first
    assert late("b", slots) != first


# --- retention -------------------------------------------------------------------

MANY = """
insert into chimp.firing (schedule_id, slot_at, job_id)
select (select id from chimp.schedule where name = 'c'),
	date_trunc('second', now()) - n * %s * interval '1 second', case when n >= %s then n end
from generate_series(1, %s) n
"""


def buffers(database, statement):
    [(plan,)] = database.rows(f"explain (analyze, buffers, format json) {statement}")
    return sum(plan[0]["Plan"][f"Shared {k} Blocks"] for k in ("Hit", "Read"))


def firing_cost(database, ago):
    """Pages that firing a slot looks at."""
    slot = database.value("select extract(epoch from date_trunc('second', now()))::bigint - %s", ago)
    slot *= 1000
    database.rows("update chimp.schedule set planned = true, next_at = chimp.from_ms(%s)", slot)
    return buffers(database, f"select chimp.cron_fire(id, revision, {slot}, {slot}, {slot + 1000})"
                             " from chimp.schedule where name = 'c'")


@pytest.mark.soak
@pytest.mark.parametrize("n, skipped", long_or_short(
    [(1000000, 0), (1000000, 900000)], [(200000, 180000)]))
def test_many_firings_cost_nothing(schema, figure, n, skipped):
    schema.rows("select chimp.cron_set('c', '* * * * * *', 't.fire')")
    for ago in (9, 8, 7):
        few = firing_cost(schema, ago)
    schema.rows("delete from chimp.firing")
    schema.rows(MANY, 1000000 // n, skipped, n)  # eleven days
    many = firing_cost(schema, 0)
    assert schema.value("select count(*) from chimp.firing") == n + 1
    figure(f"pages looked at to fire, beside {n} firings", many, "pages", 2 * few)
    assert many < few + 60
    assert buffers(schema, "select chimp.cron_wait_ms()") < 100
    assert buffers(schema, "select * from chimp.schedules where name = 'c'") < 200
    # Nor does a step of retention look at more than it deletes.
    assert buffers(schema, "select chimp.retain_firings(1000)") < 20000
    assert schema.value("select count(*) from chimp.firing") == n - 999


def retained(database):
    """Retention until nothing is left to do: what each step deleted."""
    pieces = []
    while True:
        n = database.value("select chimp.retain_firings(1000)")
        if n == 0:
            return pieces
        pieces.append(n)


def test_firings_are_kept_for_7_days_but_two_of_each_schedule(schema):
    for name in ("c", "rare"):
        schema.rows("select chimp.cron_set(%s, '* * * * * *', 't.fire')", name)
    # Eight days of which the last job has not ended yet.
    schema.rows(MANY, 10, 8 * 8640 - 1, 8 * 8640)
    schema.rows("insert into chimp.firing (schedule_id, slot_at) select id, now() - n * interval"
                " '1 year' from chimp.schedule, generate_series(1, 5) n where name = 'rare'")
    pieces = retained(schema)
    assert max(pieces) == 1000 and 8630 < sum(pieces) < 8650
    assert schema.value("select count(*) from chimp.firings where name = 'rare'") == 2
    # Overlap looks at the two newest with a job.
    old = " from chimp.firings where name = 'c' and slot_at < now() - interval '7 days 1 minute'"
    assert schema.value("select array_agg(not skipped)" + old) == [True, True]
    schema.rows("update chimp.firing set job_id = 1 where slot_at > now() - interval '1 minute'")
    assert sum(retained(schema)) >= 2
    assert schema.value("select count(*)" + old) == 0


def test_g23_a_slot_does_not_fire_again_after_its_row_was_deleted(schema):
    schema.rows("select chimp.cron_set('c', '* * * * *', 't.fire', overlap => 'allow')")
    old = schema.value("select extract(epoch from date_trunc('minute', now() - interval"
                       " '8 days'))::bigint * 1000")
    for n in range(5):
        fire(schema, old + n * 60000)
    jobs = "select count(*) from chimp.jobs"
    assert schema.value(jobs) == 5
    assert schema.value("select chimp.retain_firings(1000)") == 3
    # As if the clock had been set back and a new revision planned from there.
    for n in range(5):
        fire(schema, old + n * 60000)
    assert schema.value(jobs) == 5
    fire(schema, old + 5 * 60000)
    assert schema.value(jobs) == 6


def test_maintenance_deletes_old_firings(schema):
    schema.rows("select chimp.cron_set('c', '* * * * * *', 't.fire')")
    schema.rows("insert into chimp.firing (schedule_id, slot_at) select id, now() - interval"
                " '8 days' - n * interval '1 s' from chimp.schedule, generate_series(1, 2500) n")
    schema.rows("insert into chimp.manual_run (job_id, schedule_id, run_at) select 1, id,"
                " now() - interval '8 days' from chimp.schedule")
    steps = 0
    while schema.value("select chimp.maintain()"):
        steps += 1
        assert steps < 10
    assert schema.rows("select count(*) from chimp.firings") == [(2,)]
    assert steps == 3
    # An unset schedule goes when its firings are too old to fire again.
    schema.rows("select chimp.cron_unset('c')")
    schema.rows("update chimp.maintenance set firings_at = '-infinity'")
    schema.rows("select chimp.maintain()")
    assert schema.rows("select * from chimp.schedules") == []
