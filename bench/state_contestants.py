"""Who keeps keys and values in bench/state: plain SQL and chimp.kv_* on the same table,
and Redis."""

import re
import shutil
import signal

from cluster import BenchError, end
from contestants import Chimpd, Contestant
from http_load import run
from measure import cpu_of, own_children_cpu
from parts import CALLERS
from peers import start_redis

KEYS = 100_000
BYTES = 100                             # of a value

RANDOM = f"\\set k random(1, {KEYS})\n"
STATEMENTS = {
    ("plain", "get"): "select value from chimp.kv_entry where key = 'key:' || :k",
    ("chimpd", "get"): "select chimp.kv_get('key:' || :k)",
    ("plain", "set"): "insert into chimp.kv_entry (key, value) "
                      "values ('key:' || :k, :payload::jsonb) on conflict (key) "
                      "do update set value = excluded.value",
    ("chimpd", "set"): "select chimp.kv_set('key:' || :k, :payload::jsonb)",
}
NAMES = {("plain", "get"): "a plain SELECT", ("chimpd", "get"): "chimp.kv_get",
         ("plain", "set"): "a plain upsert", ("chimpd", "set"): "chimp.kv_set"}


class Sql(Chimpd):
    """A node beside it, with its table full and analyzed."""

    refused = ""

    def __init__(self, cluster, key, what):
        super().__init__(cluster)
        self.key = key
        self.name = NAMES[key, what]
        self.call = RANDOM + STATEMENTS[key, what]

    def start(self):
        super().start()
        self.session.run(
            "insert into chimp.kv_entry (key, value) select 'key:' || n, "
            f"jsonb_build_object('x', repeat('a', {BYTES - 9})) "
            f"from generate_series(1, {KEYS}) n")
        self.settle()

    def check(self):
        """Nothing came, nothing went."""
        found = self.session.value(
            "select count(*) from chimp.kv where length(value ->> 'x') > 80")
        if found != KEYS:
            raise BenchError(f"{found:,} of {KEYS:,} keys have their value")


class Redis(Contestant):
    """As shipped but for an append-only file, written out each second."""

    key = "redis"
    writes_wal = False
    refused = ("" if shutil.which("redis-benchmark")
               else "Redis is missing; on Debian: apt-get install redis-server")

    def __init__(self, cluster, what):
        super().__init__(cluster)
        self.what = what
        self.name = f"Redis, {what.upper()}, redis-benchmark"
        self.data = cluster.dir / "redis"
        self.redis = None

    def start(self):
        self.redis = start_redis(self.cluster, self.data)
        self.benchmark("set", 2 * KEYS)

    def stop(self):
        end(self.redis, signal.SIGKILL)
        shutil.rmtree(self.data, ignore_errors=True)

    def workers_cpu(self):
        return own_children_cpu()

    def store_cpu(self):
        return cpu_of([self.redis.pid])

    def benchmark(self, what, calls):
        """Calls a second."""
        out = run("redis-benchmark", "-s", self.data / "socket", "-c", CALLERS,
                  "-n", calls, "-r", KEYS, "-d", BYTES, "-t", what, "--csv")
        found = re.search(rf'"{what.upper()}","([\d.]+)"', out)
        if not found:
            raise BenchError(f"redis-benchmark said {out!r}")
        return float(found.group(1))
