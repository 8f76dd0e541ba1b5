"""Cron: G23, and the slots that were missed."""

import time

import pytest

from harness.wait import until

SCHEMA = """
create schema t;
create table t.fired (n bigint generated always as identity, input jsonb,
	at timestamptz not null default clock_timestamp());
create function t.fire(input jsonb) returns jsonb language sql as $$
	insert into t.fired (input) values (input) returning null::jsonb
$$;
"""


def three_nodes(start, app, registrations):
    small = app(registrations, SCHEMA)
    for n in (1, 2, 3):
        start(small, name=f"node{n}", node=f"node-{n}", subscriber=0)


def back_date(database, minutes):
    """As if nobody had run since then."""
    database.rows("update chimp.schedule set planned = true, next_at = date_trunc('minute', now())"
                  " - %s * interval '1 minute'", minutes)
    database.rows("select pg_notify('chimp_control', 'schedules')")


def test_g23_each_slot_fires_once_over_three_nodes(start, app, database):
    """Forty missed slots that twelve processes of three nodes race for."""
    three_nodes(start, app, 'cron "c" { schedule = "* * * * *"  sql = "t.fire"'
                            '  misfire = "all(100)"  overlap = "allow" }')
    back_date(database, 40)
    until(lambda: database.value("select count(*) from t.fired") >= 40, "the slots fire")
    time.sleep(1)
    fired = database.rows("select (input ->> 'fireAtMs')::bigint from t.fired order by 1")
    slots = [slot for slot, in fired]
    assert len(slots) == len(set(slots))
    assert all(slot % 60000 == 0 for slot in slots)
    assert slots == list(range(slots[0], slots[-1] + 60000, 60000))
    assert len(slots) in (41, 42)
    assert database.value("select count(*) from chimp.firings") == len(slots)


def test_g26_the_latest_missed_slot_fires_and_no_other(start, app, database):
    three_nodes(start, app, 'cron "c" { schedule = "*/5 * * * *"  sql = "t.fire" }')
    back_date(database, 60)
    until(lambda: database.value("select count(*) from t.fired") >= 1, "a slot fires")
    time.sleep(0.5)
    [(slot,)] = database.rows("select extract(epoch from now())::bigint"
                              " - (input ->> 'fireAtMs')::bigint / 1000 from t.fired limit 1")
    assert 0 <= slot < 310
    assert database.value("select count(*) from t.fired") in (1, 2)


def test_the_handler_gets_its_slot(start, app, database):
    start(app('cron "c" { schedule = "*/5 * * * *"  sql = "t.fire" }', SCHEMA), subscriber=0)
    back_date(database, 60)
    given = until(lambda: database.value("select input from t.fired"), "the slot fires")
    assert (given["name"], given["schedule"]) == ("c", "*/5 * * * *")
    assert given["fireAtMs"] % 300000 == 0
    assert given["fireAt"] == time.strftime(
        "%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(given["fireAtMs"] / 1000))


def test_g23_the_clock_s_own_slot_fires_once_and_in_time(start, app, database, figure):
    """No slot is made up here: it waits for the minute to turn."""
    three_nodes(start, app, 'cron "c" { schedule = "* * * * *"  sql = "t.fire" }')
    until(lambda: database.value("select count(*) from t.fired") >= 1, "the minute turns",
          timeout=70, interval=0.2)
    time.sleep(1)
    assert database.value("select count(*) from t.fired") == 1
    slot, fired_at = database.rows("select slot_at, fired_at from chimp.firings")[0]
    assert slot.second == 0 and fired_at >= slot
    figure("slot time to firing", (fired_at - slot).total_seconds() * 1000, "ms", 50)


@pytest.mark.parametrize("expression", ["61 * * * *", "* * *", "0 0 30 2 *", "x * * * *"])
def test_an_expression_that_can_never_match_is_refused_at_start(start, app, expression):
    daemon = start(app(f'cron "c" {{ schedule = "{expression}"  sql = "t.fire" }}', SCHEMA),
                   wait=False)
    daemon.expected_status = 1
    assert daemon.wait(5) == 1
    assert '"c"' in daemon.text() and expression in daemon.text()


def test_g26_skip_leaves_missed_slots_out_and_goes_on(start, app, database):
    start(app('cron "c" { schedule = "0 0 1 1 *"  sql = "t.fire"  misfire = "skip" }', SCHEMA),
          subscriber=0)
    back_date(database, 40)
    until(lambda: database.value("select next_at > now() from chimp.schedule"), "it goes on")
    assert database.value("select count(*) from chimp.firings") == 0


def test_g24_seconds_and_a_time_zone(start, app, database):
    start(app('cron "s" { schedule = "*/2 * * * * *"  sql = "t.fire"  overlap = "allow" }\n'
              'cron "z" { schedule = "30 9 * * *"  timezone = "Asia/Kolkata"  sql = "t.fire" }',
              SCHEMA), subscriber=0)
    until(lambda: database.value("select count(*) from t.fired") >= 3, "three slots fire")
    assert all(slot % 2000 == 0 for slot, in database.rows(
        "select (input ->> 'fireAtMs')::bigint from t.fired"))
    assert database.value("select to_char(next_at at time zone 'UTC', 'HH24:MI:SS')"
                          " from chimp.schedules where name = 'z'") == "04:00:00"


def test_g27_a_schedule_that_cannot_run_stops_no_other(start, app, database):
    daemon = start(app('cron "good" { schedule = "* * * * * *"  sql = "t.fire" }\n'
                       'cron "bad" { schedule = "0 0 * * *"  sql = "t.fire" }', SCHEMA),
                   subscriber=0)
    # As a newer node with a newer tzdata might have registered it.
    database.rows("update chimp.schedule set timezone = 'Mars/Phobos', planned = false,"
                  " revision = revision + 1 where name = 'bad'")
    database.rows("select pg_notify('chimp_control', 'schedules')")
    until(lambda: "Mars/Phobos" in daemon.text(), "the log names the zone")
    before = database.value("select count(*) from t.fired")
    until(lambda: database.value("select count(*) from t.fired") >= before + 2, "others go on")
    assert daemon.text().count("Mars/Phobos") == 1


def test_without_a_schedule_cron_sleeps(start, app, database):
    node = start(app('queue "q" { sql = "t.f" }', """
        create schema t;
        create function t.f(input jsonb) returns jsonb language sql as $$ select '{}'::jsonb $$;
    """), processes=0, workers="", subscriber=0)
    assert set(node.children()) == {"cron/0"}
    count = "select xact_commit from pg_stat_database where datname = current_database()"
    time.sleep(2)  # the statistics of its start arrive late
    before = database.value(count)
    time.sleep(3)
    assert database.value(count) - before < 30
