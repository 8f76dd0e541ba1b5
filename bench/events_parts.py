"""The parts of bench/events. A part takes the bench and returns its rows."""

import math
import time

from cluster import BenchError
from contestants import payload
from events_contestants import EVENT, KEY, PgQ, RawInsert, Subscriptions
from measure import Row
from parts import CALLERS, SMALL, pgbench
from parts_time import WINDOW_SECONDS, delays, pings, steadily

MANY = 10                               # subscriptions on one event
CATCH_UP_SECONDS = 60                   # after the held transaction's commit


def compare(bench, contestants, work, rounds=None):
    """Rounds in turns; work returns lines of columns. Who cannot take part, or
    fails, leaves the others alone: it keeps an empty row, and the report says
    why."""
    rows = [Row(c.key, c.name) for c in contestants]
    out = set()
    for row, contestant in zip(rows, contestants):
        if contestant.refused:
            leave(row, out, "refused")
    for _ in range(rounds or bench.args.rounds):
        for row, contestant in zip(rows, contestants):
            if row.key in out:
                continue
            try:
                with contestant.running():
                    for columns in work(contestant):
                        row.add(**columns)
            except BenchError as error:
                leave(row, out, "failed")
                print(f"  {contestant.name} failed: {error}", flush=True)
                why = str(error).split("\n")[0]
                bench.remarks.append(f"failed: {contestant.name}: {why}")
    return rows


def leave(row, out, how):
    out.add(row.key)
    row.columns.clear()
    row.name += f": **{how}**"


def both_modes(bench, subscriptions=1):
    return [Subscriptions(bench, mode, subscriptions)
            for mode in ("", "batch")]


def pgq(bench, *forms):
    return [PgQ(bench.cluster, form) for form in forms if bench.pgq]


# Publishing -------------------------------------------------------------------

def publish(bench):
    """Each caller's transaction is one event. What chimpd does meanwhile is in
    the name."""
    idle = Subscriptions(bench, event="bench.other")
    idle.key = "chimpd-other"
    idle.name = "chimp.publish, a subscription to another event"
    ours = [idle, *both_modes(bench)]
    for contestant in ours[1:]:
        contestant.name = ("chimp.publish, delivered meanwhile: "
                           + contestant.name)
    peers = pgq(bench, "server")
    for peer in peers:
        peer.name = "pgq.insert_event, pgqd ticks, nobody consumes"
    return compare(bench, [RawInsert(bench.cluster), *ours, *peers],
                   lambda c: call(c, bench.args.seconds))


def call(contestant, seconds):
    sample = pgbench(contestant, contestant.call, CALLERS, 1, seconds)
    if getattr(contestant, "event", None) == EVENT:
        contestant.wait(sample.jobs)
        contestant.check(sample.jobs)
    published = contestant.published()
    if published != sample.jobs:
        raise BenchError(f"{published:,} events of {sample.jobs:,} calls")
    return [sample.columns()]


# Delivering a backlog ---------------------------------------------------------

def drain_of(events):
    def work(contestant):
        contestant.fill(events, payload(SMALL))
        return [contestant.drain(events).columns()]
    return work


def drain(bench):
    peers = pgq(bench, "server", "handler", "client")
    return compare(bench, [*both_modes(bench), *peers],
                   drain_of(bench.args.events))


def fan_out(bench):
    """Deliveries of one subscription and of ten, of the same events."""
    ours = [*both_modes(bench), *both_modes(bench, MANY)]
    for contestant in ours:
        contestant.name += f", subscriptions: {contestant.subscriptions}"
    return compare(bench, ours, drain_of(bench.args.events // 2))


# Commit to delivery -----------------------------------------------------------

def latency(bench):
    """The commit is when the publisher has its answer."""
    return compare(bench, both_modes(bench), ping)


def ping(ours):
    committed = pings(lambda n: ours.session.value(
        "select chimp.publish(%s, %s::jsonb, %s)", EVENT, payload(SMALL),
        f"k{n}"))
    ours.wait(len(committed), 60, 0.1)
    ours.check(len(committed))
    return [delays(committed, dict(ours.session.rows(
        "select id, extract(epoch from at)::float8 from bench.noted")))]


# A held transaction -----------------------------------------------------------

def held(bench):
    """Once: a transaction with a snapshot, an id and an event of its own stays
    open while others publish."""
    return compare(bench, both_modes(bench), lambda ours: hold(
        ours, bench.args.held_seconds), rounds=1)


def hold(ours, seconds):
    holder = ours.cluster.connect()
    try:
        holder.run("begin isolation level repeatable read")
        own = holder.value("select chimp.publish(%s, %s::jsonb, 'held')",
                           EVENT, payload(SMALL))
        began = steadily(seconds, lambda n: ours.publish(n, payload(SMALL)))
        if ours.session.rows("select from bench.noted where id = %s", own):
            raise BenchError("an event came before its commit")
        ended = time.time()
        holder.run("commit")
        committed = time.time()
    finally:
        holder.close()
    ours.wait(ours.published(), CATCH_UP_SECONDS)
    ours.check(ours.published())
    came = ours.session.value("select extract(epoch from at)::float8 "
                              "from bench.noted where id = %s", own)
    times = ours.session.rows(
        "select extract(epoch from e.published_at)::float8, "
        "extract(epoch from n.at)::float8 from chimp.events e "
        "join bench.noted n using (id) where id <> %s order by 1", own)
    return windows(times, began, ended, (came - committed) * 1000)


def windows(times, began, ended, own_ms):
    """For each 10 s: events offered, and the greatest lag of its seconds."""
    lags = lag_by_second(times, began, ended)
    lines = []
    for n in range(0, len(lags), WINDOW_SECONDS):
        since, until = began + n, began + n + WINDOW_SECONDS
        lines.append({
            "offered": sum(since <= at < until for at, _ in times),
            "lag_ms": max(lags[n:n + WINDOW_SECONDS]) * 1000})
    if not lines:
        raise BenchError("--held-seconds is too short for a sample")
    lines[-1]["own_ms"] = own_ms
    return lines


def lag_by_second(times, began, ended):
    """At each second, how old the oldest event is that is published and not yet
    delivered; times are pairs of these, in order of the first."""
    lags = [0.0] * int(ended - began)
    seen = 0                            # up to that sample the oldest is known
    for published, delivered in times:
        first = math.ceil(published - began)
        last = min(math.floor(delivered - began), len(lags))
        for n in range(max(first, seen + 1), last + 1):
            lags[n - 1] = began + n - published
        seen = max(seen, last)
    return lags
