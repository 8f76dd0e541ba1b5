"""What state must reach, as bars.py says it of queues."""

from bars import Bar, ratio

BARS = [
    Bar("get", "kv_get ≥ 0.8 × a plain SELECT", ratio("chimpd", "plain"),
        least=0.8),
    Bar("set", "kv_set ≥ 0.8 × a plain upsert", ratio("chimpd", "plain"),
        least=0.8),
]
