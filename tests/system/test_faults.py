"""Three nodes on one PostgreSQL that run a bank, and anything dies at any time.

Money is moved meanwhile: none may come or go, no job may be lost or have its
effect twice, and nothing of a rolled back transaction may be seen (G1, G3, G6,
G10, G11, G12, G13, G38).
"""

import contextlib
import random
import statistics
import time

import psycopg2
import pytest

from harness import procs
from harness.bank import LIMITS, OPEN, QUEUES, SCHEMA, Bank
from harness.faults import LEASE_S, Faults, Node
from harness.settings import long_or_short
from harness.wait import until


@pytest.fixture
def nodes(start, app):
    """nodes(database, n, workers, lease_s) -> n nodes that serve the bank."""
    def make(database, n, workers, lease_s=LEASE_S):
        made = app(QUEUES, SCHEMA)

        def begin(name, node):
            return start(made, name=name, node=node, wait=False, url=database.url, processes=0,
                         cron=0, subscriber=0, top='restart_delay_max = "200ms"',
                         workers=f'worker default {{ {workers}  lease = "{lease_s}s" }}')

        begun = []
        for number in range(n):
            begun.append(Node(number, begin))
            begun[-1].wait_ready()
        return begun
    return make


# Of each of these, one has to have struck a running job, or it was not tested.
KINDS = (("kill a worker",), ("end a backend",), ("kill a master", "lose a node"),
         ("kill a backend", "restart PostgreSQL"))


def untested(faults):
    """All, where PostgreSQL is not there to be asked."""
    with contextlib.suppress(psycopg2.Error):
        return [kinds for kinds in KINDS if not any(faults.interrupted(kind) for kind in kinds)]
    return list(KINDS)


@pytest.mark.soak
def test_whatever_is_killed_no_job_is_lost_or_doubled(make_cluster, nodes, record_property):
    seconds = long_or_short(3600, 20)
    cluster = make_cluster(fsync="on", deadlock_timeout="100ms")
    database = cluster.create_database()
    faults = Faults(cluster, database, nodes(database, 3, "processes = 2  concurrency = 5"))
    begun = time.monotonic()
    with Bank(database, pause_s=long_or_short(0.1, 0.25)) as bank:
        while not bank.problems() and (
                time.monotonic() < begun + seconds
                or untested(faults) and time.monotonic() < begun + 4 * seconds):
            faults.one()
            time.sleep(random.uniform(0, 0.5))
        faults.end()
        ended = time.monotonic()
    until(lambda: database.value(OPEN) == 0, "every job has ended", timeout=60)
    drained = time.monotonic() - ended
    jobs = bank.audit()
    faults.look_at_logs()
    committed, rolled_back = bank.settled()
    for fault, times in sorted(faults.counts.items()):
        struck = faults.struck[fault]
        record_property("figure", f"faults, {fault}: {times} times" + (
            f", {len(struck)} jobs ran there, {faults.interrupted(fault)} of them were interrupted"
            if struck else ""))
    record_property("figure", f"faults over {ended - begun:.0f} s: {jobs} jobs, {len(committed)} enqueued "
                    f"by clients, {len(rolled_back)} rolled back, "
                    f"{sum(len(c.unknown) for c in bank.clients)} commits not answered, "
                    f"{database.value('select sum(interruptions) from chimp.job_attempt')} "
                    f"interruptions, {sum(n.evicted for n in faults.nodes)} evictions, "
                    f"{bank.reader.looks} looks, all ended after {drained:.1f} s; "
                    "0 lost or doubled")
    assert jobs > 100 and bank.reader.looks > 3
    assert untested(faults) == []


# --- limits ---------------------------------------------------------------------

CLAIMS = """
select q.name, c.process_id::text, p.pid from chimp.job_claim c join chimp.queue q on q.id = c.queue_id
left join chimp.process p on p.id = c.process_id where q.name = any (%s)
"""
READY = """
select q.name from chimp.queue q join chimp.job_ready r on r.queue_id = q.id
group by 1 having count(*) >= 10
"""


class Storm:
    """Kills workers that hold permits, and measures until others have as many."""

    def __init__(self, database, nodes):
        self.database = database
        self.nodes = nodes
        self.kills = 0
        self.permits = 0  # that they held
        # Where none of the node is left, its next process has to tell of them.
        self.took_ms = {"beside another of its node": [], "with all of its node": []}

    def blow(self):
        claims = self.database.rows(CLAIMS, list(LIMITS))
        waiting = {queue for queue, in self.database.rows(READY)}
        there = [set(node.workers()) for node in self.nodes]
        holders = sorted(set.union(*there) & {pid for _, _, pid in claims})
        if not holders:
            return
        pids = random.sample(holders, min(len(holders), random.choice([1, 1, 1, 2, 3])))
        begun = time.monotonic()
        procs.end(pids)
        self.kills += len(pids)
        lost = [(queue, process) for queue, process, pid in claims if pid in pids]
        self.permits += len(lost)
        dead = {process for _, process in lost}
        bereft = any(workers and workers <= set(pids) for workers in there)
        took_ms = self.took_ms["with all of its node" if bereft else "beside another of its node"]
        for queue in waiting & {queue for queue, _ in lost}:
            until(lambda q=queue: self.held_by_others(q, dead) == LIMITS[q],
                  f"the permits of {queue} are in use", interval=0.005)
            took_ms.append((time.monotonic() - begun) * 1000)

    def held_by_others(self, queue, dead):
        return sum(process not in dead for _, process, _ in self.database.rows(CLAIMS, [queue]))


@pytest.mark.soak
def test_g13_limits_hold_in_a_storm_of_kills(own_cluster, nodes, figure, record_property):
    seconds = long_or_short(300, 10)
    database = own_cluster.create_database()
    # 66 workers, and leases that do not run out meanwhile.
    storm = Storm(database, nodes(database, 3, "processes = 2  concurrency = 11", lease_s=60))
    with Bank(database, {"one": 1, "seven": 3}) as bank:
        until(lambda: {q for q, in database.rows(READY)} == LIMITS.keys(), "there is enough to do")
        begun = time.monotonic()
        while time.monotonic() < begun + seconds and not bank.problems():
            storm.blow()
            time.sleep(random.uniform(0, 0.3))
    until(lambda: database.value(OPEN) == 0, "every job has ended", timeout=60)
    jobs = bank.audit()
    record_property("figure", f"limits 1 and 7 in a storm: {storm.kills} workers killed with "
                    f"{storm.permits} permits, {jobs} jobs, never exceeded")
    for where, took in storm.took_ms.items():
        if took:
            figure(f"kill -9 of a worker {where} to the next use of all its permits, worst of "
                   f"{len(took)} (median {statistics.median(took):.0f} ms)", max(took), "ms", 1000)
    assert storm.permits > 10
