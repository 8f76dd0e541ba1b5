"""The parts that look at instants: latency, a killed process, a held
transaction."""

import math
import os
import random
import signal
import threading
import time

import chimp
from contestants import Chimpd, payload
from measure import Row, percentile
from parts import SMALL

PINGS = 300
PING_GAP_MS = 40
HELD_JOBS = 10
RESTART_SECONDS_MAX = 30
NEVER = math.inf


# Commit to start --------------------------------------------------------------

def latency(bench):
    """The commit is when the caller has its answer, so that what is measured
    is what the queue adds."""
    contestants = [Chimpd(bench.cluster, "bench.record"),
                   *(p for p in bench.peers() if p.key != "graphile-single")]
    rows = [Row(c.key, c.name) for c in contestants]
    for _ in range(bench.args.rounds):
        for row, contestant in zip(rows, contestants):
            with contestant.running():
                ping = ping_chimpd if row.key == "chimpd" else ping_peer
                row.add(**delays(*ping(contestant)))
    return rows


def delays(committed, started):
    ms = [(started[n] - at) * 1000 for n, at in committed.items()]
    return {"p50_ms": percentile(ms, 0.5), "p99_ms": percentile(ms, 0.99),
            "max_ms": max(ms)}


def pings(put, number=PINGS):
    """When each put(n) had its answer, by what it returned."""
    time.sleep(1)
    committed = {}
    for n in range(number):
        which = put(n)
        committed[which] = time.time()
        time.sleep(random.uniform(0.5, 1.5) * PING_GAP_MS / 1000)
    return committed


def ping_chimpd(ours):
    def put(n):
        ours.session.run("select chimp.enqueue(%s, jsonb_build_object('n', "
                         "%s))", ours.queue, n)
        return n

    committed = pings(put)
    chimp.wait(ours.session, ours.queue, 60)
    return committed, dict(ours.session.rows(
        "select n, extract(epoch from at)::float8 from bench.started"))


def ping_peer(peer):
    peer.begin("record")
    time.sleep(1)
    committed = peer.producer.ask("ping", jobs=PINGS, gap_ms=PING_GAP_MS)
    peer.wait(PINGS)
    started = [pair for node in peer.workers for pair in node.ask("started")]
    return ({n: ms / 1000 for n, ms in committed},
            {n: ms / 1000 for n, ms in started})


# A killed process -------------------------------------------------------------

def kill(bench):
    """Two processes; the one that has all ten jobs is killed. The other is
    stopped until then, so that it has none. It has run such jobs before, or
    has not: then it knows neither how long they take nor has connections."""
    ours = Chimpd(bench.cluster, "bench.hold", bench.single)
    rows = [Row("chimpd", "chimpd, at work before"),
            Row("chimpd-new", "chimpd, just started")]
    for _ in range(bench.args.rounds):
        for row in rows:
            with ours.running():
                if row.key == "chimpd":
                    kill_warm_up(ours)
                row.add(restart_ms=kill_chimpd(ours))
    for peer in bench.peers("kill"):
        if peer.key != "graphile-single":
            rows.append(Row(peer.key, peer.name))
            with peer.running():        # once: most take all of the time
                rows[-1].add(restart_ms=kill_peer(peer))
    return rows


def until(is_so, seconds, pause=0.002):
    """Milliseconds until it is so, or NEVER."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            return NEVER
        time.sleep(pause)
    return (time.monotonic() - began) * 1000


def kill_warm_up(ours):
    """As many jobs as both processes can run at once, of 0.5 s."""
    session = ours.session
    session.run("insert into bench.flag values (true)")
    session.run("select count(*) from chimp.enqueue_many(%s, array_fill("
                "'{\"n\": -1}'::jsonb, array[32]))", ours.queue)
    time.sleep(2)
    session.run("delete from bench.flag")
    until(lambda: session.value(
        "select count(*) from chimp.job_claim") == 0, 5)


def kill_chimpd(ours):
    session = ours.session
    session.run("insert into bench.flag values (true)")
    victim, other = ours.worker_pids()

    def holders():
        return set(session.rows("select objid, pid from pg_locks where "
                                "locktype = 'advisory' and classid = 7001"))

    os.kill(other, signal.SIGSTOP)
    try:
        for n in range(HELD_JOBS):
            session.run("select chimp.enqueue(%s, jsonb_build_object('n', "
                        "%s))", ours.queue, n)
        running = until(lambda: len(holders()) == HELD_JOBS, 5)
    finally:
        os.kill(other, signal.SIGCONT)
    if running is NEVER:
        print(f"  only {len(holders())} of {HELD_JOBS} jobs run at once")
    old = holders()
    time.sleep(0.2)
    os.kill(victim, signal.SIGKILL)
    took = until(lambda: len({n for n, _ in holders() - old}) == HELD_JOBS,
                 RESTART_SECONDS_MAX)
    session.run("delete from bench.flag")
    return took


def kill_peer(peer):
    peer.begin("hold")
    time.sleep(1)
    victim, other = peer.workers
    other.process.send_signal(signal.SIGSTOP)
    try:
        peer.fill(HELD_JOBS, SMALL)
        if until(lambda: victim.count == HELD_JOBS, 10) is NEVER:
            print(f"  only {victim.count} of {HELD_JOBS} jobs run at once")
    finally:
        other.process.send_signal(signal.SIGCONT)
    time.sleep(0.2)
    before = other.count
    victim.process.kill()
    return until(lambda: other.count - before >= HELD_JOBS,
                 RESTART_SECONDS_MAX)


# A held transaction -----------------------------------------------------------

OFFERED_PER_SECOND = 2000
OFFER_EVERY_SECONDS = 0.01
WINDOW_SECONDS = 10

CLAIM_TIME = """
	select calls, total_time from pg_stat_user_functions
	where schemaname = 'chimp' and funcname like 'claim%%'
	order by total_time desc limit 1
"""


def held(bench):
    """A transaction with a snapshot and an id stays open; jobs come steadily.
    claim_ms is the mean time of the function that claims."""
    ours = Chimpd(bench.cluster)
    ours.tracks_functions = True
    row = Row("chimpd", "chimpd")
    with ours.running():
        holder = bench.cluster.connect()
        holder.run("begin isolation level repeatable read")
        holder.rows("select txid_current(), count(*) from pg_class")
        claims = []
        stop = threading.Event()
        watcher = threading.Thread(target=watch_claims, args=(
            bench.cluster, stop, claims))
        watcher.start()
        try:
            began, after = offer(ours, bench.args.held_seconds)
        finally:
            stop.set()
            watcher.join()
        holder.close()
        windows = by_window(ours.session, began, after,
                            bench.args.held_seconds)
    for n, (offered, completed) in enumerate(windows):
        row.add(offered=offered, completed=completed, share=completed / offered,
                claim_ms=claims[n] if n < len(claims) else None)
    return [row]


def offer(ours, seconds):
    after = chimp.last_id(ours.session)
    return steadily(seconds, lambda n: chimp.fill(
        ours.session, ours.queue, n, payload(SMALL))), after


def steadily(seconds, put):
    """put(n) in steps, 2,000 a second; what is late is caught up. When it
    began, as time.time()."""
    per_step = int(OFFERED_PER_SECOND * OFFER_EVERY_SECONDS)
    wall, began = time.time(), time.monotonic()
    for step in range(int(seconds / OFFER_EVERY_SECONDS)):
        late = began + step * OFFER_EVERY_SECONDS - time.monotonic()
        if late > 0:
            time.sleep(late)
        put(per_step)
        if time.monotonic() - began > seconds:
            break
    return wall


def watch_claims(cluster, stop, claims):
    """Milliseconds per call in each window."""
    session = cluster.connect()
    before = (0, 0.0)
    last = False
    while not last:
        last = stop.wait(WINDOW_SECONDS)
        found = session.rows(CLAIM_TIME) or [before]
        calls, total = (a - b for a, b in zip(found[0], before))
        claims.append(total / calls if calls else None)
        before = found[0]
    session.close()


def by_window(session, began, after, seconds):
    """(offered, completed) in each whole window."""
    offered, completed = (dict(session.rows(
        f"select floor((extract(epoch from {column}) - %s) / %s)::int, "
        "count(*) from chimp.jobs where id > %s and "
        f"{column} is not null group by 1",
        began, WINDOW_SECONDS, after)) for column in ("created_at", "ended_at"))
    return [(offered.get(n, 0), completed.get(n, 0))
            for n in range(int(seconds // WINDOW_SECONDS)) if offered.get(n)]
