"""What publish/subscribe must reach, as bars.py says it of queues."""

from bars import Bar, median, ratio

MODES = {"chimpd": "one call per event", "chimpd-batch": 'mode = "batch"'}

PGQ = {"pgq-server": "its best form: a statement per batch inside the server",
       "pgq-handler": "inside the server with our handler",
       "pgq-client": "a client"}


def worst(key, column):
    return lambda rows: max(rows[key].columns[column])


def of_modes(part, says, value, **limits):
    """The same bar for both ways to be called."""
    return [Bar(part, f"{says}, {how}", value(key), **limits)
            for key, how in MODES.items()]


BARS = [
    Bar("publish", "≥ 0.7 × plain INSERT, a subscription to another event",
        ratio("chimpd-other", "raw"), least=0.7),
    *of_modes("publish", "≥ 0.7 × plain INSERT, while delivered",
              lambda key: ratio(key, "raw"), least=0.7),
    Bar("drain", 'mode = "batch" ≥ 40,000/s', median("chimpd-batch", "rate"),
        least=40_000, unit="/s"),
    *[Bar("drain", f'mode = "batch" ≥ PgQ, {how}',
          ratio("chimpd-batch", key), least=1) for key, how in PGQ.items()],
    Bar("drain", "one call per event ≥ 15,000/s", median("chimpd", "rate"),
        least=15_000, unit="/s"),
    *of_modes("latency", "p50 ≤ 5 ms", lambda key: median(key, "p50_ms"),
              most=5, unit=" ms"),
    *of_modes("latency", "p99 ≤ 20 ms", lambda key: median(key, "p99_ms"),
              most=20, unit=" ms"),
    *of_modes("fan_out", "deliveries/s of 10 subscriptions ≥ 0.7 × of one",
              lambda key: ratio(f"{key}-10", key), least=0.7),
    *of_modes("held", "lag ≤ 1 s in every second",
              lambda key: worst(key, "lag_ms"), most=1000, unit=" ms"),
]
