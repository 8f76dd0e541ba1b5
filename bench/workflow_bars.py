"""What workflows must reach, as bars.py says it of queues."""

from bars import Bar, median, ratio


def growth(rows):
    """Of the larger worker."""
    return rows["after"].median("pss_mib") - rows["before"].median("pss_mib")


BARS = [
    Bar("drain", "≥ 2,000 runs/s", median("chimpd", "rate"), least=2000,
        unit="/s"),
    Bar("drain", "≥ DBOS", ratio("chimpd", "dbos"), least=1),
    Bar("offer", "≥ DBOS", ratio("chimpd", "dbos"), least=1),
    Bar("latency", "p50 ≤ 5 ms", median("chimpd", "p50_ms"), most=5,
        unit=" ms"),
    Bar("sleeping", "a claim's p50 ≤ 1.5 × before",
        ratio("after", "before", "claim_ms"), most=1.5),
    Bar("sleeping", "memory of a worker + ≤ 1 MiB", growth, most=1,
        unit=" MiB"),
]
