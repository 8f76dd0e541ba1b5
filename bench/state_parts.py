"""The parts of bench/state. A part takes the bench and returns its rows."""

from events_parts import compare
from measure import metered
from parts import CALLERS, pgbench
from state_contestants import Redis, Sql

REDIS_CALLS = 400_000


def keys(what):
    def measure(bench):
        contestants = [Sql(bench.cluster, "plain", what),
                       Sql(bench.cluster, "chimpd", what)]
        if not bench.args.no_peers:
            contestants.append(Redis(bench.cluster, what))
        return compare(bench, contestants, lambda c: [call(bench, c)])
    return measure


def call(bench, contestant):
    if contestant.key == "redis":
        with metered(REDIS_CALLS, contestant) as sample:
            rate = contestant.benchmark(contestant.what, REDIS_CALLS)
            sample.seconds = REDIS_CALLS / rate
        return sample.columns()
    sample = pgbench(contestant, contestant.call, CALLERS, 1,
                     bench.args.seconds)
    contestant.check()
    return sample.columns()
