"""What the queues must reach, as a table; each line is judged by the rows of
one part."""

import dataclasses
import typing


@dataclasses.dataclass
class Bar:
    part: str
    says: str
    value: typing.Callable      # of the rows by key; KeyError: not measured
    least: float = None
    most: float = None
    unit: str = ""

    def judge(self, rows):
        try:
            value = self.value({row.key: row for row in rows})
        except (KeyError, ValueError, ZeroDivisionError):
            return None, "not measured"
        met = ((self.least is None or value >= self.least)
               and (self.most is None or value <= self.most))
        return value, "met" if met else "missed"


def ratio(over, under, column="rate"):
    return lambda rows: rows[over].median(column) / rows[under].median(column)


def median(key, column):
    return lambda rows: rows[key].median(column)


def over_best(*peers):
    def value(rows):
        best = max(rows[p].median("rate") for p in peers if p in rows)
        return rows["chimpd"].median("rate") / best
    return value


def least_share(rows):
    return min(rows["chimpd"].columns["share"])


def claim_growth(rows):
    times = [t for t in rows["chimpd"].columns["claim_ms"] if t]
    return times[-1] / times[0] if len(times) > 1 else {}[None]


BARS = [
    Bar("drain", "≥ 0.8 × the raw loop", ratio("chimpd", "raw"), least=0.8),
    Bar("drain", "≥ 1.5 × the best PostgreSQL peer",
        over_best("graphile", "pgboss"), least=1.5),
    Bar("drain", "≥ 5 × BullMQ", ratio("chimpd", "bullmq"), least=5),
    Bar("drain", "CPU ≤ 30 µs per job, daemon and PostgreSQL",
        median("chimpd", "cpu_us"), most=30, unit=" µs"),
    Bar("single", "≥ 3 × graphile-worker one by one",
        ratio("chimpd", "graphile-single"), least=3),
    Bar("insert", "≥ 0.7 × the raw loop with that insert",
        ratio("chimpd", "raw"), least=0.7),
    Bar("enqueue", "single ≥ 0.8 × plain INSERT",
        ratio("chimpd-one", "raw-one"), least=0.8),
    Bar("enqueue", "batches ≥ 100,000/s", median("chimpd-batch", "rate"),
        least=100_000, unit="/s"),
    Bar("latency", "p50 ≤ 2 ms", median("chimpd", "p50_ms"), most=2,
        unit=" ms"),
    Bar("latency", "p99 ≤ 10 ms", median("chimpd", "p99_ms"), most=10,
        unit=" ms"),
    Bar("wal", "≤ 700 bytes per completed job", median("chimpd", "wal_bytes"),
        most=700, unit=" bytes"),
    Bar("kill", "all started elsewhere within 200 ms, by one at work",
        median("chimpd", "restart_ms"), most=200, unit=" ms"),
    Bar("large", "drain ≥ 0.9 × that of an empty table",
        ratio("full", "empty"), least=0.9),
    Bar("held", "completed/offered ≥ 0.99 in every 10 s", least_share,
        least=0.99),
    Bar("held", "claim time at the end ≤ 1.5 × the start", claim_growth,
        most=1.5),
]
