"""What HTTP must reach, as bars.py says it of queues."""

from bars import Bar, median, ratio


def worst(key, column):
    return lambda rows: max(rows[key].columns[column])


BARS = [
    Bar("read", "≥ 0.4 × pgbench, the same function", ratio("chimpd", "raw"),
        least=0.4),
    Bar("read", "≥ 3 × Fastify + pg", ratio("chimpd", "fastify"), least=3),
    Bar("read", "CPU ≤ 100 µs per request, daemon and PostgreSQL",
        median("chimpd", "cpu_us"), most=100, unit=" µs"),
    Bar("write", "≥ 0.6 × pgbench, the same statements in one transaction",
        ratio("chimpd", "raw"), least=0.6),
    Bar("write", "≥ 0.6 × pgbench, the same function in one round trip",
        ratio("chimpd", "raw-call"), least=0.6),
    Bar("health", "≥ nginx's static file of that size",
        ratio("chimpd", "nginx"), least=1),
    Bar("slow", "p99 beside slow ones ≤ 3 × alone",
        ratio("chimpd-slow", "chimpd", "p99_ms"), most=3),
    Bar("slow", "p99 beside slow readonly ones ≤ 3 × alone",
        ratio("chimpd-slow-read", "chimpd", "p99_ms"), most=3),
    Bar("memory", "an idle process ≤ 12 MiB PSS", median("fresh", "pss_mib"),
        most=12, unit=" MiB"),
    Bar("memory", "and after work", median("worked", "pss_mib"), most=12,
        unit=" MiB"),
    Bar("memory", "10,000 idle connections ≤ 100 MiB in all",
        median("crowd", "pss_mib"), most=100, unit=" MiB"),
    Bar("overload", "goodput ≥ 0.9 × the peak", median("chimpd", "share"),
        least=0.9),
    Bar("overload", "the rest 503 within 100 ms, p99",
        median("chimpd", "refused_p99_ms"), most=100, unit=" ms"),
    Bar("overload", "no request failed otherwise", worst("chimpd", "failed"),
        most=0),
    Bar("overload", "recovery ≤ 2 s", median("chimpd", "recovery_ms"),
        most=2000, unit=" ms"),
]
