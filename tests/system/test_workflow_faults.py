"""Runs of workflows while anything dies at any time (G28 to G30, G32)."""

import collections
import random
import time

import psycopg2
import pytest

from harness.bank import OPEN
from harness.faults import FAULTS as OF_JOBS, Node
from harness.runs import KINDS, SCHEMA, TIMERS_MS, WORKFLOWS, make
from harness.senders import RunFaults, Senders, nothing_is_stuck
from harness.settings import long_or_short
from harness.wait import until

FAULTS = {**OF_JOBS, "end senders": 3}
RUNS, SECONDS, ROUNDS = long_or_short((1000, 300, 20), (150, 12, 3))


@pytest.fixture
def nodes(start, app):
    """nodes(database, n) -> n nodes that serve the workflows."""
    def begin_all(database, n):
        made = app(WORKFLOWS, SCHEMA)

        def begin(name, node):
            return start(made, name=name, node=node, wait=False, url=database.url, processes=0, cron=0,
                         subscriber=0, top='restart_delay_max = "200ms"',
                         workers='worker default { processes = 2  concurrency = 4  lease = "3s" }')

        begun = []
        for number in range(n):
            begun.append(Node(number, begin))
            begun[-1].wait_ready()
        return begun
    return begin_all


def missed(faults):
    """Kinds of transitions that no fault has hit; in the short form any hit will do."""
    try:
        hits = faults.hits()
    except psycopg2.Error:
        hits = {}                 # PostgreSQL is not there to be asked
    return [kind for kind in KINDS.values() if not hits.get(kind)] \
        if long_or_short(True, not any(hits.values())) else []


def all_said(database, senders):
    left = {run.id: run.deeds[0] for run in senders.left() if run.deeds}
    waiting = left and database.rows("""
        select format('%%s %%s at %%s, waits for %%s, wake in %%s; job %%s %%s is %%s, run_at %%s, attempt %%s', r.external_id,
            r.status, r.step, r.waits_for, r.wake_at - clock_timestamp(), j.id, j.payload, s.state, s.run_at, s.attempt)
        from chimp.workflow_run r left join chimp.job j on j.payload ->> 'run' = r.id::text
        left join chimp.jobs s on s.id = j.id and s.state not in ('done', 'dead', 'cancelled')
        where r.external_id = any (%s) and (s.state is not null or j.id is null)""", list(left))
    assert not left, "\n".join([*map(str, list(left.items())[:5]), *(line for line, in waiting[:10])])
    return True


def of_runs(database, statement):
    """{run's id: what the statement has of it}"""
    found = collections.defaultdict(list)
    for run, *more in database.rows(statement):
        found[run].append(tuple(more))
    return found


def check_ends(database, runs):
    ended = {run["workflowId"]: run for run, in database.rows(
        "select chimp.workflow_json(r) from chimp.workflow_run r where r.parent_id is null")}
    children = of_runs(database, """
        select p.external_id, split_part(c.external_id, '/', 2), c.status, chimp.workflow_json(c)
        from chimp.workflow_run c join chimp.workflow_run p on p.id = c.parent_id""")
    assert ended.keys() == {run.id for run in runs}
    for run in runs:
        end = ended[run.id]
        results = dict(end["results"])
        part = results.pop("part", None)
        assert (run.id, end["status"], end["state"], results) == (run.id, run.status, run.state, run.results)
        assert sorted((step, status) for step, status, _ in children[run.id]) == sorted(run.children.items())
        if run.step is not None and run.status == "failed":
            assert end["lastError"]["step"] == run.step, end
        if run.children.get("part") == "completed":
            [child] = [child for step, _, child in children[run.id] if step == "part"]
            assert {**part, "workflowId": 0} == {"workflowId": 0, "status": "completed", "lastError": None,
                                                 "state": {}, "results": {"make": {"done": "make", "k": 0}}}
            assert part["workflowId"] == child["workflowId"]
        else:
            assert part is None, end


def check_effects(database, runs):
    """In their order, which is that of the steps, and the reverse of it where they are undone."""
    effects = of_runs(database, "select id, step, k, of, what from t.effect order by n")
    expected = {}
    for run in runs:
        expected.update(run.effects)
        if "haste" in run.children:
            # Cancelled before it has begun, or after.
            haste = f"{run.id}:haste"
            made = [("make", 0, 0, "do"), ("make", 0, 0, "undo")]
            expected[haste] = made if effects[haste] else []
    wrong = {run: (effects[run], expected.get(run)) for run in effects.keys() | expected.keys()
             if effects[run] != expected.get(run)}
    assert wrong == {}
    return sum(map(len, effects.values()))


def check_signals(database, runs):
    """All that were sent, each by a transition of its own, those of a name in order."""
    found = of_runs(database, """
        select r.external_id, s.name, s.consumed_seq from chimp.workflow_signal s
        join chimp.workflow_run r on r.id = s.run_id where s.name not like 'chimp.%' order by s.id""")
    for run in runs:
        names = collections.Counter(name for name, _ in found[run.id])
        assert (run.id, names) == (run.id, run.signals)
        by = [seq for _, seq in found[run.id]]
        assert None not in by and len(set(by)) == len(by), (run.id, found[run.id])
        for name in names:
            seqs = [seq for n, seq in found[run.id] if n == name]
            assert seqs == sorted(seqs), (run.id, name, seqs)


def check_history(database):
    """The engine passes one number over where a run begins without looking, after
    what has failed, and at a wait that a cancel ends; none else."""
    for run, steps in of_runs(database, """
            select run_id, seq, what from chimp.workflow_history order by run_id, seq""").items():
        assert steps[0][0] in (0, 1), run
        cancels = [i for i, (_, what) in enumerate(steps) if what == "cancelled"][:1]
        for i, ((seq, what), (following, _)) in enumerate(zip(steps, steps[1:])):
            gap = what == "step failed" or what == "compensation failed" or i + 1 in cancels
            assert following - seq == 1 + gap, (run, steps)


def check_timers(database):
    """None was early."""
    for step, ms in TIMERS_MS.items():
        took = database.value("""
            select min(h.took) from (
                select step, what, chimp.to_ms(at) - chimp.to_ms(lag(at) over (partition by run_id order by seq)) as took
                from chimp.workflow_history) h
            where h.step = %s and (h.what = 'sleep' or h.what like 'timed out%%' or h.what = 'step failed')""", step)
        assert took is None or took >= ms - 1, step


def nothing_is_left(database):
    """Of jobs that are no more."""
    for table in ("attempt", "error", "progress"):
        assert database.rows(f"select o.* from chimp.job_{table} o"
                             " where not exists (select from chimp.job j where j.id = o.job_id)") == [], table


@pytest.mark.soak
def test_whatever_is_killed_every_run_ends_as_it_was_to(make_cluster, nodes, record_property):
    seed = random.randrange(10 ** 6)
    runs = make(RUNS, ROUNDS, SECONDS, seed)
    record_property("figure", f"workflow faults: seed {seed}")
    print(f"seed {seed}")
    cluster = make_cluster(fsync="on", max_connections="400", deadlock_timeout="100ms")
    database = cluster.create_database()
    faults = RunFaults(cluster, database, nodes(database, 2))
    # Each kind once, and then by their shares.
    faults.deck = random.sample(list(FAULTS), len(FAULTS))
    begun = time.monotonic()
    with Senders(database, runs) as senders:
        while not senders.problems() and (
                time.monotonic() < begun + SECONDS
                or missed(faults) and senders.left() and time.monotonic() < begun + 2 * SECONDS):
            faults.one(FAULTS)
            time.sleep(random.uniform(0, 0.5))
        faults.end()
        ended = time.monotonic()
        until(lambda: senders.problems() or all_said(database, senders), "all is said", timeout=60)
    assert senders.problems() == []
    until(lambda: database.value("select count(*) from chimp.workflow_run where ended_at is null") == 0,
          "every run has ended", timeout=60)
    until(lambda: database.value(OPEN) == 0, "every job has ended")
    drained = time.monotonic() - ended
    faults.look_at_logs()
    nothing_is_stuck(database.connect())
    nothing_is_left(database)
    check_ends(database, runs)
    effects = check_effects(database, runs)
    check_signals(database, runs)
    check_history(database)
    check_timers(database)

    made = dict(database.rows("select n >> 27, count(*) from t.made where noted group by 1"))
    hits = faults.hits()
    for number, kind in KINDS.items():
        record_property("figure", f"workflow faults, {kind}: {made.get(number, 0)} made, "
                        f"{hits[kind]} were under way where a fault struck and rolled back")
    for fault, times in sorted(faults.counts.items()):
        record_property("figure", f"workflow faults, {fault}: {times} times, "
                        f"{faults.interrupted(fault)} transitions rolled back")
    record_property("figure", f"workflow faults over {ended - begun:.0f} s: {len(runs)} runs, "
                    f"{collections.Counter(r.status for r in runs)}, {effects} effects, "
                    f"{sum(s.lost for s in senders.senders)} connections lost by or refused to senders, "
                    f"{sum(n.evicted for n in faults.nodes)} evictions, {senders.watcher.looks} looks, "
                    f"all ended after {drained:.1f} s; 0 lost, doubled or stuck")
    assert made.keys() >= KINDS.keys()
    assert senders.watcher.looks > 3
    assert missed(faults) == []
