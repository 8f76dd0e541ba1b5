"""What state must reach, as bars.py says it of queues."""

from bars import Bar, median, ratio

BARS = [
    Bar("get", "kv_get ≥ 0.8 × a plain SELECT", ratio("chimpd", "plain"),
        least=0.8),
    Bar("set", "kv_set ≥ 0.8 × a plain upsert", ratio("chimpd", "plain"),
        least=0.8),
    Bar("append", "stream_append ≥ 0.7 × a plain INSERT", ratio("chimpd", "plain"),
        least=0.7),
    Bar("find", "an indexed find p99 ≤ 2 ms", median("chimpd", "p99_ms"), most=2,
        unit=" ms"),
]
