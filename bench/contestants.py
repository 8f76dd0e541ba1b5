"""Who is measured: chimpd, and PostgreSQL's own loops as the limit.

A contestant is started on an empty database and leaves with it. What the parts
use of one: fill, drain, offer, session, and its meters.
"""

import contextlib
import shutil
import time

import chimp
from cluster import BenchError, free_port
from measure import cpu_of, metered, own_children_cpu
from report import TOP

CONF = """
node = "bench"
log {{ level = "warn" }}
database {{ mode = "postgres"  url = "{url}" }}
http {{ listen = {{ "{listen}" }} }}
worker default {{ }}
cron {{ }}
subscriber {{ }}
include("bench.conf")
"""

APP = """
app "bench" {{
  migrations = "migrations"
  queue "bench.noop"   {{ sql = "bench.noop" }}
  queue "bench.single" {{ sql = "bench.noop"  {single} }}
  queue "bench.insert" {{ sql = "bench.insert" }}
  queue "bench.record" {{ sql = "bench.record" }}
  queue "bench.hold"   {{ sql = "bench.hold"  {single} }}
}}
"""

BATCH = 1000                            # jobs per transaction of a filler
PROCESSES = 2                           # of workers, by default
RAW_BATCH = 32
RAW_CLIENTS = 4


def payload(size):
    """A JSON object of that many bytes as text."""
    return '{"x":"' + "a" * (size - 8) + '"}'


class Contestant:
    writes_wal = True
    sql = "queue.sql"                   # what is made in its database

    def __init__(self, cluster):
        self.cluster = cluster
        self.session = None

    @contextlib.contextmanager
    def running(self):
        self.cluster.fresh()
        self.session = self.cluster.connect()
        try:
            self.start()
            yield self
        finally:
            self.stop()
            self.session.close()

    def store_cpu(self):
        return cpu_of([self.cluster.postgres.pid])

    def settle(self):
        self.session.run("vacuum analyze")
        self.session.run("checkpoint")


class Raw(Contestant):
    """A table, and pgbench; handler is noop or insert."""

    key = "raw"

    def __init__(self, cluster, handler="noop"):
        super().__init__(cluster)
        self.handler = handler
        self.name = (f"raw loop, {RAW_BATCH} per transaction, "
                     f"{RAW_CLIENTS} clients")

    def start(self):
        self.session.run((TOP / "bench" / self.sql).read_text())

    def stop(self):
        pass

    def workers_cpu(self):
        return own_children_cpu()

    def fill(self, jobs, size, batch=BATCH):
        for left in range(jobs, 0, -batch):
            self.session.run(
                "insert into bench.raw (payload) select %s::jsonb "
                "from generate_series(1, %s)", payload(size), min(left, batch))

    def drain(self, jobs):
        self.settle()
        with metered(jobs, self) as sample:
            self.loop(sample)
        return sample

    def offer(self, jobs, size, batch):
        """The same with what put them there; the loop ends when it is empty,
        so that one comes after the other."""
        self.settle()
        with metered(jobs, self) as sample:
            self.fill(jobs, size, batch)
            self.loop(sample)
        return sample

    def loop(self, sample):
        script = self.cluster.dir / "drain.sql"
        script.write_text(f"call bench.drain_{self.handler}({RAW_BATCH});\n")
        began = time.monotonic()
        self.cluster.pgbench("-c", RAW_CLIENTS, "-j", 2, "-t", 1, "-f", script)
        sample.seconds = time.monotonic() - began
        if self.session.value("select count(*) from bench.raw"):
            raise BenchError("the raw loop left rows behind")


class Chimpd(Contestant):
    """The daemon as shipped, driven by public SQL."""

    key = "chimpd"

    def __init__(self, cluster, queue="bench.noop", single=""):
        super().__init__(cluster)
        self.queue = queue
        self.single = single
        self.tracks_functions = False
        self.listen = ""                # where /ready is, once started
        self.name = "chimpd" + {
            "bench.single": ", group = 1" if single else
            ", which knows no group = 1 yet"}.get(queue, "")

    def app(self):
        return APP.format(single=self.single)

    def write_files(self, listen):
        migrations = self.cluster.dir / "migrations"
        migrations.mkdir(exist_ok=True)
        shutil.copy(TOP / "bench" / self.sql, migrations / "0001_bench.sql")
        app = self.cluster.dir / "bench.conf"
        app.write_text(self.app())
        conf = self.cluster.dir / "chimpd.conf"
        conf.write_text(CONF.format(url=self.cluster.url, listen=listen))
        for path in (migrations, *migrations.iterdir(), app, conf):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return conf

    def learn_group(self):
        """group = 1 where this binary knows it."""
        self.single = "group = 1"
        if not self.cluster.accepts(self.write_files("127.0.0.1:1")):
            self.single = ""
        return self.single

    def start(self):
        if self.tracks_functions:
            self.session.run("alter database bench set track_functions = 'pl'")
        self.listen = f"127.0.0.1:{free_port()}"
        self.cluster.start_chimpd(self.write_files(self.listen), self.listen)
        # Ready to serve is not yet ready to work.
        self.cluster.wait(self.at_work, "chimpd's processes")

    def at_work(self):
        return len(self.worker_pids()) == PROCESSES

    def worker_pids(self):
        return [pid for (pid,) in self.session.rows(
            "select pid from chimp.processes where role = 'worker' and alive "
            "order by slot")]

    def stop(self):
        self.cluster.stop_chimpd()

    def workers_cpu(self):
        return cpu_of([self.cluster.chimpd.pid])

    def pause(self):
        self.session.run("select chimp.pause(%s)", self.queue)

    def fill(self, jobs, size, batch=BATCH):
        self.pause()
        chimp.fill(self.session, self.queue, jobs, payload(size), batch)

    def drain(self, jobs):
        self.settle()
        # fill has taken the ids up to the newest one.
        after = chimp.last_id(self.session) - jobs
        with metered(jobs, self) as sample:
            began = chimp.resume(self.session, self.queue)
            chimp.wait(self.session, self.queue)
        sample.seconds = chimp.seconds_since(self.session, self.queue, began,
                                             after, jobs)
        return sample

    def offer(self, jobs, size, batch):
        """Enqueued while the workers run."""
        self.settle()
        with metered(jobs, self) as sample:
            began = time.monotonic()
            chimp.fill(self.session, self.queue, jobs, payload(size), batch)
            chimp.wait(self.session, self.queue)
            sample.seconds = time.monotonic() - began
        return sample
