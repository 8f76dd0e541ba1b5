"""The parts that compare contestants by a rate: drains, enqueuing, WAL.

A part takes the bench and returns its rows; bench/queue has the table of parts.
"""

import re
import time

import chimp
from contestants import BATCH, Chimpd, Raw, payload
from measure import Row, metered
from peers import Graphile

SMALL, LARGE = 100, 1000                # bytes of a payload
CALLERS = 8
BATCH_CALLERS = 4
OFFER_BATCH = 100
PAUSED = {"chimpd-one", "chimpd-batch"}  # so that enqueuing alone is measured


def compare(bench, contestants, work):
    """Rounds in turns, so that what else the machine does hits all."""
    rows = [Row(c.key, c.name) for c in contestants]
    for _ in range(bench.args.rounds):
        for row, contestant in zip(rows, contestants):
            with contestant.running():
                row.add(**work(contestant).columns())
    return rows


def all_of(bench, *without):
    return [Raw(bench.cluster), Chimpd(bench.cluster),
            *(peer for peer in bench.peers() if peer.key not in without)]


def drain_of(bench, size):
    def work(contestant):
        contestant.fill(bench.args.jobs, size)
        return contestant.drain(bench.args.jobs)
    return work


def drain(bench):
    return compare(bench, all_of(bench, "graphile-single"),
                   drain_of(bench, SMALL))


def drain1k(bench):
    return compare(bench, all_of(bench, "graphile-single"),
                   drain_of(bench, LARGE))


def single(bench):
    peers = [p for p in bench.peers() if p.key == "graphile-single"]
    ours = Chimpd(bench.cluster, "bench.single", bench.single)
    return compare(bench, [ours, *peers], drain_of(bench, SMALL))


def insert(bench):
    return compare(bench, [Raw(bench.cluster, "insert"),
                           Chimpd(bench.cluster, "bench.insert")],
                   drain_of(bench, SMALL))


def wal(bench):
    peers = [p for p in all_of(bench) if p.writes_wal]
    return compare(bench, peers, lambda c: c.offer(bench.args.jobs, SMALL,
                                                   OFFER_BATCH))


# Enqueuing --------------------------------------------------------------------

def pgbench(contestant, statement, callers, per_call, seconds):
    """Jobs per second of so many callers of a statement."""
    script = contestant.cluster.dir / "enqueue.sql"
    script.write_text(statement + ";\n")
    with metered(1, contestant) as sample:
        out = contestant.cluster.pgbench(
            "-M", "prepared", "-c", callers, "-j", 2, "-T", seconds,
            "-D", f"payload={payload(SMALL)}", "-f", script)
    calls = int(re.search(r"actually processed: (\d+)", out).group(1))
    sample.jobs = calls * per_call
    sample.seconds = sample.jobs / (
        float(re.search(r"tps = ([\d.]+)", out).group(1)) * per_call)
    for cost in ("workers_us", "store_us", "wal_bytes"):
        setattr(sample, cost, getattr(sample, cost) / sample.jobs)
    return sample


class Enqueuing:
    """One way to enqueue: who, by which statement, by how many callers."""

    def __init__(self, contestant, key, name, statement, callers=CALLERS,
                 per_call=1):
        self.contestant = contestant
        self.row = Row(key, name)
        self.statement = statement
        self.callers = callers
        self.per_call = per_call

    def round(self, seconds):
        with self.contestant.running() as contestant:
            if self.row.key in PAUSED:
                contestant.pause()
            self.row.add(**pgbench(contestant, self.statement, self.callers,
                                   self.per_call, seconds).columns())


def enqueue(bench):
    cluster, seconds = bench.cluster, bench.args.seconds
    single = "select chimp.enqueue('bench.noop', :payload::jsonb)"
    ways = [
        Enqueuing(Raw(cluster), "raw-one", "pgbench: plain INSERT, 8 callers",
                  "insert into bench.raw (payload) values (:payload::jsonb)"),
        Enqueuing(Chimpd(cluster), "chimpd-one",
                  "chimp.enqueue, 8 callers, the queue paused", single),
        Enqueuing(Chimpd(cluster), "chimpd-busy",
                  "chimp.enqueue, 8 callers, while the workers run", single),
        Enqueuing(Chimpd(cluster), "chimpd-batch",
                  f"chimp.enqueue_many, {BATCH} per call, "
                  f"{BATCH_CALLERS} callers, the queue paused",
                  "select count(*) from chimp.enqueue_many('bench.noop', "
                  f"array_fill(:payload::jsonb, array[{BATCH}]))",
                  BATCH_CALLERS, BATCH)]
    ways += [
        Enqueuing(peer, "graphile-one",
                  f"{peer.package}: add_job in SQL, 8 callers",
                  "select graphile_worker.add_job('bench', :payload::json)")
        for peer in bench.peers() if type(peer) is Graphile]
    for _ in range(bench.args.rounds):
        for way in ways:
            way.round(seconds)
    batches = [p for p in bench.peers() if p.key != "graphile-single"]
    theirs = compare(bench, batches, add_batches(bench.args.jobs))
    for row in theirs:
        row.name += f": {BATCH} per call, 1 caller"
    return [way.row for way in ways] + theirs


def add_batches(jobs):
    """A peer's own call for many jobs, from one process of node."""
    def work(peer):
        with metered(jobs, peer) as sample:
            began = time.monotonic()
            peer.fill(jobs, SMALL)
            sample.seconds = time.monotonic() - began
        return sample
    return work


# Storage that does not decay --------------------------------------------------

FUTURE = 1_000_000
ENDED_CHUNK = 200_000


def large(bench):
    """One database: drained while empty, filled, drained again."""
    jobs, ended = bench.args.jobs, bench.args.ended
    future = min(FUTURE, ended)
    empty = Row("empty", "chimpd, tables empty")
    full = Row("full", f"chimpd, {future:,} future and {ended:,} ended jobs")
    ours = Chimpd(bench.cluster)
    with ours.running():
        for row in (empty, full):
            for _ in range(bench.args.rounds):
                ours.fill(jobs, SMALL)
                row.add(**ours.drain(jobs).columns())
            if row is empty:
                put_future(ours, future)
                put_ended(ours, ended)
    return [empty, full]


def put_future(ours, jobs):
    print(f"  {jobs:,} future jobs", flush=True)
    for left in range(jobs, 0, -BATCH):
        ours.session.run(
            "select count(chimp.enqueue(%s, %s, run_at => "
            "clock_timestamp() + interval '1 day')) "
            "from generate_series(1, %s)",
            ours.queue, payload(SMALL), min(left, BATCH))


def put_ended(ours, jobs):
    for left in range(jobs, 0, -ENDED_CHUNK):
        print(f"  {left:,} jobs to end", flush=True)
        chunk = min(left, ENDED_CHUNK)
        chimp.fill(ours.session, ours.queue, chunk, payload(SMALL))
        chimp.wait(ours.session, ours.queue)
