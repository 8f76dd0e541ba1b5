"""The parts of bench/workflow. A part takes the bench and returns its rows."""

import contextlib
import re
import time

from cluster import BenchError
from events_parts import compare
from http_limits import pss_mib
from measure import Row, percentile
from parts import CALLERS
from parts_time import delays, pings
from workflow_contestants import Dbos, Workflows

STARTS = 500
DRIVEN = 20                             # sleepers that the workers have made
CHUNK = 100_000                         # of those that SQL makes
COMPARED = 1000                         # of these, with those
WOKEN = 10
WAKE_SECONDS_MAX = 60
SHORT = 4                               # of --runs are drained beside them: 1/SHORT
TIMED = 1000                            # and so many while claims are timed
CLAIM = re.compile(r"duration: ([\d.]+) ms  execute .*from chimp\.claim\(")


def contestants(bench, mode):
    peers = [] if bench.peer_missing else [
        Dbos(bench.cluster, bench.args.peers_dir, mode)]
    return [Workflows(bench.cluster), *peers]


def runs_of(bench, contestant):
    return (bench.args.peer_runs if contestant.key == "dbos"
            else bench.args.runs)


# Throughput -------------------------------------------------------------------

def drain(bench):
    """Runs that were all started before."""
    def work(contestant):
        runs = runs_of(bench, contestant)
        contestant.fill(runs)
        contestant.settle()
        return [contestant.drain(runs).columns()]
    return compare(bench, contestants(bench, "queue"), work)


def offer(bench):
    """Runs that are started meanwhile."""
    def work(contestant):
        contestant.settle()
        return [contestant.offer(runs_of(bench, contestant),
                                 CALLERS).columns()]
    return compare(bench, contestants(bench, "direct"), work)


# Start to first step ----------------------------------------------------------

def latency(bench):
    """The commit of the start is when its caller has the answer."""
    return compare(bench, [Workflows(bench.cluster)], ping)


def ping(ours):
    committed = pings(lambda _: ours.session.value(
        "with r as (select nextval('bench.run') as n) select n from r, lateral "
        "chimp.workflow_start('bench.three', jsonb_build_object('n', n))"),
        STARTS)
    ours.runs += STARTS
    ours.wait(STARTS, 60)
    ours.check()
    return [delays(committed, dict(ours.session.rows(
        "select n, extract(epoch from at)::float8 from bench.effect "
        "where step = 1")))]


# Beside sleepers --------------------------------------------------------------

def sleeping(bench):
    """One database: drained, filled with sleepers, drained again."""
    runs, sleepers = bench.args.runs // SHORT, bench.args.sleeping
    before = Row("before", "chimpd, no sleeping runs")
    after = Row("after", f"chimpd, {sleepers:,} sleeping runs")
    ours = Workflows(bench.cluster)
    try:
        with ours.running():
            ours.fill(runs)
            ours.drain(runs)            # for its memory is not yet its size
            for row in (before, after):
                if row is after:
                    put_to_sleep(ours, sleepers)
                for _ in range(bench.args.rounds):
                    row.add(**beside(ours, runs))
            wake_some(ours)
    except BenchError as error:         # the other parts have their report
        after.columns.clear()
        after.name += ": **failed**"
        print(f"  failed: {error}", flush=True)
        bench.remarks.append(f"failed: beside sleeping runs: {error}")
    return [before, after]


def beside(ours, runs):
    """A drain for its rate, and one whose claims are timed."""
    ours.fill(runs)
    ours.settle()
    columns = ours.drain(runs).columns()
    ours.fill(TIMED)
    with claims_timed(ours.cluster, ours.session) as claims:
        ours.drain(TIMED)
    return {**columns, "claim_ms": percentile(claims, 0.5),
            "claim_p99_ms": percentile(claims, 0.99),
            "claims": len(claims),
            "pss_mib": max(map(pss_mib, ours.worker_pids()))}


@contextlib.contextmanager
def claims_timed(cluster, session):
    """Fills the list with what PostgreSQL logs of the workers' claims, ms."""
    claims = []
    log = cluster.dir / "log"
    start = log.stat().st_size
    session.run("alter system set log_min_duration_statement = 0")
    session.run("select pg_reload_conf()")
    try:
        yield claims
    finally:
        session.run("alter system reset log_min_duration_statement")
        session.run("select pg_reload_conf()")
    with open(log, encoding="utf-8", errors="replace") as lines:
        lines.seek(start)
        claims += [float(found[1]) for found in map(CLAIM.search, lines)
                   if found]
    if not claims:
        raise BenchError("PostgreSQL has logged no claim")


def put_to_sleep(ours, sleepers):
    """A few are driven there, the others are copies of them."""
    print(f"  {sleepers:,} sleeping runs", flush=True)
    ours.begin(DRIVEN, "bench.sleep")
    ours.cluster.wait(lambda: asleep(ours) == DRIVEN, "the sleeping runs")
    first = min(COMPARED, sleepers - DRIVEN)
    ours.session.run("select bench.sleep_many(%s)", first)
    compare_sleepers(ours)
    for left in range(sleepers - DRIVEN - first, 0, -CHUNK):
        ours.session.run("select bench.sleep_many(%s)", min(left, CHUNK))
    if asleep(ours) != sleepers:
        raise BenchError(f"{asleep(ours):,} of {sleepers:,} runs sleep")


def compare_sleepers(ours):
    kinds = ours.session.rows("select its_own, in_time from bench.sleeper")
    if kinds != [(True, True)]:
        raise BenchError("copies of sleeping runs are not what the engine "
                         f"makes: {len(kinds)} kinds, {kinds}")


def asleep(ours):
    return ours.session.value("select count(*) from chimp.workflows where "
                              "name = 'bench.sleep' and status = 'sleeping'")


def wake_some(ours):
    """That the copies are runs: the newest go on once they are due."""
    ours.session.run(
        "with due as (update chimp.job_scheduled set run_at = now() "
        "where job_id in (select job_id from chimp.workflow_run "
        "where status = 'sleeping' order by id desc limit %s) returning job_id)"
        " update chimp.workflow_run set wake_at = now() "
        "where job_id in (select job_id from due)", WOKEN)
    deadline = time.monotonic() + WAKE_SECONDS_MAX
    while ours.session.value(
            "select count(*) from chimp.workflows where name = 'bench.sleep' "
            "and status = 'completed'") != WOKEN:
        if time.monotonic() > deadline:
            raise BenchError(f"not all of {WOKEN} copies went on within "
                             f"{WAKE_SECONDS_MAX} s of their time")
        time.sleep(0.25)
