"""The parts of bench/state. A part takes the bench and returns its rows."""

from events_parts import compare
from measure import metered, percentile
from parts import CALLERS, pgbench
from state_contestants import Documents, Entries, Keys, Redis

REDIS_CALLS = 400_000


def keys(what):
    def measure(bench):
        contestants = [Keys(bench.cluster, "plain", what),
                       Keys(bench.cluster, "chimpd", what)]
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


READERS = 2


def append(bench):
    def work(contestant):
        with contestant.followed():
            sample = pgbench(contestant, contestant.call, CALLERS, 1,
                             bench.args.seconds)
        return [sample.columns()]
    return compare(bench, [Entries(bench.cluster, "plain"),
                           Entries(bench.cluster, "chimpd"),
                           Entries(bench.cluster, "chimpd", READERS)], work)


def find(bench):
    """One caller, for what a find takes; as many as elsewhere, for the rate."""
    def work(contestant):
        alone = latencies(contestant, bench.args.seconds)
        rate = pgbench(contestant, contestant.call, CALLERS, 1,
                       bench.args.seconds).columns()
        contestant.check()
        return [{"p50_ms": percentile(alone, 0.5), "p99_ms": percentile(alone, 0.99),
                 "max_ms": max(alone), "rate": rate["rate"], "store_us": rate["store_us"]}]
    return compare(bench, [Documents(bench.cluster, "plain"),
                           Documents(bench.cluster, "chimpd")], work)


def latencies(contestant, seconds):
    """Milliseconds of each call of one caller."""
    script = contestant.cluster.dir / "find.sql"
    script.write_text(contestant.call + ";\n")
    contestant.cluster.pgbench("-M", "prepared", "-c", 1, "-T", seconds, "-f", script,
                               "-l", f"--log-prefix={contestant.cluster.dir}/calls")
    times = []
    for log in contestant.cluster.dir.glob("calls.*"):
        times += [int(line.split()[2]) / 1000 for line in log.read_text().splitlines()]
        log.unlink()
    return times
