"""Who takes part in bench/state: plain SQL, chimp's functions on the same tables, and
Redis."""

import contextlib
import re
import shutil
import signal
import threading

from cluster import BenchError, end
from contestants import Chimpd, Contestant
from http_load import run
from measure import cpu_of, own_children_cpu
from parts import CALLERS
from peers import start_redis

KEYS = 100_000
BYTES = 100                             # of a value

DOCUMENTS = 1_000_000
OWNERS = 100_000                        # ten documents each

A_KEY = f"\\set k random(1, {KEYS})\n"
AN_OWNER = f"\\set k random(1, {OWNERS})\n"
FIND = "select chimp.collection_find('reports', jsonb_build_object('owner.id', :k::int))"
STATEMENTS = {
    ("plain", "get"):
        A_KEY + "select value from chimp.kv_entry where key = 'key:' || :k",
    ("chimpd", "get"): A_KEY + "select chimp.kv_get('key:' || :k)",
    ("plain", "set"):
        A_KEY + "insert into chimp.kv_entry (key, value) "
        "values ('key:' || :k, :payload::jsonb) on conflict (key) "
        "do update set value = excluded.value",
    ("chimpd", "set"): A_KEY + "select chimp.kv_set('key:' || :k, :payload::jsonb)",
    ("plain", "append"):
        "insert into bench.entry (stream, event, payload) "
        "values ('bench', 'happened', :payload::jsonb) returning position",
    ("chimpd", "append"):
        "select chimp.stream_append('bench', 'happened', :payload::jsonb)",
    ("plain", "find"):
        AN_OWNER + "select document from bench.report "
        "where document #> '{owner,id}' = to_jsonb(:k::int) order by id limit 100",
    ("chimpd", "find"): AN_OWNER + FIND,
}
NAMES = {("plain", "get"): "a plain SELECT", ("chimpd", "get"): "chimp.kv_get",
         ("plain", "set"): "a plain upsert", ("chimpd", "set"): "chimp.kv_set",
         ("plain", "append"): "a plain INSERT", ("chimpd", "append"): "chimp.stream_append",
         ("plain", "find"): "a plain SELECT", ("chimpd", "find"): "chimp.collection_find"}


class Sql(Chimpd):
    """A statement, with a node at work beside it."""

    refused = ""

    def __init__(self, cluster, key, what):
        super().__init__(cluster)
        self.key = key
        self.name = NAMES[key, what]
        self.call = STATEMENTS[key, what]


class Keys(Sql):
    """Its table is full and analyzed."""

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


class Entries(Sql):
    """Plain: the same table and indexes, without what happens at the commit."""

    def __init__(self, cluster, key, readers=0):
        super().__init__(cluster, key, "append")
        self.readers = readers
        if readers:
            self.key = f"{key}-read"
            self.name += f", {readers} readers who follow"

    def start(self):
        super().start()
        self.session.run("create table if not exists bench.entry "
                         "(like chimp.stream_entry including defaults including indexes)")
        self.settle()

    @contextlib.contextmanager
    def followed(self):
        """By readers that wait for entries, and see that none is missing."""
        end, counts = threading.Event(), []

        def follow():
            with contextlib.closing(self.cluster.connect()) as session:
                since = n = 0
                while True:
                    last = end.is_set()
                    found = session.rows(
                        "select position from chimp.stream_read('bench', %s, 1000, "
                        "'100 ms')", since)
                    since, n = (found[-1][0], n + len(found)) if found else (since, n)
                    if last and not found:
                        counts.append(n)
                        return

        threads = [threading.Thread(target=follow) for _ in range(self.readers)]
        for thread in threads:
            thread.start()
        yield
        end.set()
        for thread in threads:
            thread.join()
        wanted = self.session.value("select count(*) from chimp.stream_entry")
        if counts != [wanted] * self.readers:
            raise BenchError(f"of {wanted:,} entries {counts} were read")


class Documents(Sql):
    """A collection, and a table like it, that are full, indexed and analyzed."""

    def __init__(self, cluster, key):
        super().__init__(cluster, key, "find")

    def start(self):
        super().start()
        self.session.run("select chimp.collection_index('reports', 'owner.id')")
        into = "chimp.documents_" + str(self.session.value(
            "select id from chimp.collection where name = 'reports'"))
        if self.key == "plain":
            into = "bench.report"
            self.session.run("create table bench.report (id text primary key, document jsonb)")
        self.session.run(
            f"insert into {into} (id, document) select id, jsonb_build_object("
            "'id', id, 'owner', jsonb_build_object('id', n %% %s + 1, 'name', 'somebody'), "
            "'score', n %% 10, 'tags', jsonb_build_array('a', 'b'), 'text', repeat('x', 100)) "
            "from (select n, chimp.uuid_v7()::text as id from generate_series(1, %s) n) d",
            OWNERS, DOCUMENTS)
        if self.key == "plain":
            self.session.run("create index on bench.report ((document #> '{owner,id}'))")
        self.settle()

    def check(self):
        found = self.session.rows(
            self.call.removeprefix(AN_OWNER).replace(":k", "17"))
        if len(found) != DOCUMENTS // OWNERS:
            raise BenchError(f"{len(found)} documents of one owner")


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
