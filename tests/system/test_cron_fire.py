"""What fires and what does not: one slot, several of a schedule, and those of a round."""

import pytest

from harness.wait import until

SCHEMA = """
create schema t;
create table t.fired (input jsonb not null);
create function t.fire(input jsonb) returns jsonb language sql as $$
	insert into t.fired values (input) returning null::jsonb
$$;
"""


@pytest.fixture
def due(database):
    """Makes schedules that are due since ten minutes: their slot in ms."""
    database.rows(SCHEMA)
    slot = database.value("select chimp.to_ms(date_trunc('minute', now()) - interval '10 min')")

    def make(*names, **options):
        more = "".join(f", {key} => %s" for key in options)
        for name in names:
            database.rows(f"select chimp.cron_set(%s, '* * * * *', 't.fire'{more})", name,
                          *options.values())
        database.rows("update chimp.schedule set planned = true, next_at = chimp.from_ms(%s)"
                      " where name = any (%s)", slot, list(names))
        return slot

    return make


def fire_all(database, due_ms, slot_ms):
    """Fire this slot of all schedules together; how many have."""
    return database.value(
        "select chimp.cron_fire_many(array_agg(id), array_agg(revision), array_agg(%s::bigint),"
        " array_agg(%s::bigint), array_agg(%s::bigint)) from chimp.schedule",
        due_ms, slot_ms, slot_ms + 60000)


def fire_each(database, due_ms, slot_ms):
    """The same, each by itself."""
    return database.value("select count(*) filter (where chimp.cron_fire(id, revision, %s, %s, %s))"
                          " from chimp.schedule", due_ms, slot_ms, slot_ms + 60000)


@pytest.mark.parametrize("fire", [fire_all, fire_each])
def test_only_what_may_fire_does(database, due, fire):
    slot = due("good", "paused", "unset", "held", "unplanned", "forgotten")
    due("jitter", jitter="20 hours")
    database.rows("select chimp.cron_pause('paused'), chimp.cron_unset('unset')")
    database.rows("update chimp.schedule set planned = false where name = 'unplanned'")
    database.rows("update chimp.schedule set forgotten_until = next_at where name = 'forgotten'")
    database.rows("update chimp.schedule set error = 'once' where name = 'good'")
    other = database.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("select from chimp.schedule where name = 'held' for update")
        assert fire(database, slot, slot) == 3
    other.rollback()
    fired = "select array_agg(s.name order by s.name) from chimp.firing f" \
            " join chimp.schedule s on s.id = f.schedule_id"
    assert database.value(fired) == ["good", "jitter"]
    assert database.value("select error from chimp.schedule where name = 'good'") is None
    assert database.value("select count(*) from chimp.jobs") == 2
    # Again: it is the next slot of none but the one that was held.
    assert fire(database, slot, slot) == 1
    assert database.value(fired) == ["good", "held", "jitter"]


@pytest.mark.parametrize("fire", [fire_all, fire_each])
def test_g26_overlap_looks_at_the_last_two_jobs(database, due, fire):
    slot = due("allow", overlap="allow")
    due("queue_one", overlap="queue_one")
    due("skip", overlap="skip")
    for n in range(4):
        assert fire(database, slot + 60000 * n, slot + 60000 * n) == 3
    assert database.rows("select s.name, count(f.job_id) from chimp.firing f join chimp.schedule s"
                         " on s.id = f.schedule_id group by 1 order by 1") \
        == [("allow", 4), ("queue_one", 2), ("skip", 1)]


@pytest.mark.parametrize("fire", [fire_all, fire_each])
def test_no_slot_is_jumped_over(database, due, fire):
    slot = due("c")
    assert fire(database, slot + 60000, slot + 60000) == 0
    assert database.value("select chimp.to_ms(next_at) from chimp.schedule") == slot
    assert fire(database, slot, slot) == 1
    assert fire(database, slot + 60000, slot + 60000) == 1


def test_g26_of_several_slots_none_fires_before_an_earlier_one_that_fails(start, app, database):
    node = start(app('queue "q" { sql = "t.fire" }', SCHEMA), processes=0, subscriber=0)
    database.rows("select chimp.cron_set('c', '0 0 1 1 *', 't.fire', misfire => 'all(5)',"
                  " overlap => 'allow')")
    until(lambda: database.value("select planned from chimp.schedule"), "it is planned")
    database.rows("create function t.no() returns trigger language plpgsql as $$"
                  " begin raise exception 'not this slot'; end $$")
    database.rows("create trigger no before insert on chimp.firing for each row"
                  " when (extract(year from new.slot_at + interval '1 month')"
                  " = extract(year from now()) - 3) execute function t.no()")
    database.rows("update chimp.schedule set next_at = date_trunc('year', now() - interval"
                  " '10 years')")
    database.rows("select pg_notify('chimp_control', 'schedules')")
    until(lambda: "not this slot" in node.text(), "the log says why")
    until(lambda: database.value("select count(*) from chimp.firing") == 1, "the first fires")
    database.rows("drop trigger no on chimp.firing")
    until(lambda: database.value("select count(*) from chimp.firing") == 5, "all five fire")
    until(lambda: database.value("select count(*) from t.fired") == 5, "all jobs run")
