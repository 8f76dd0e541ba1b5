"""Who is measured by bench/events: chimpd's subscriptions, PgQ, and the INSERT
that publishing is compared with.

All note each event that comes to them in bench.noted, with its id, the number
of the subscription and the database's clock: that is how the script knows that
each came once, and when the last one was handled.
"""

import shutil
import signal
import subprocess
import sys
import time

from cluster import BenchError, end
from contestants import BATCH, Chimpd, Contestant, Raw
from measure import cpu_of, metered, own_children_cpu
from report import TOP

EVENT = "bench.event"
LANES = 8
KEYS = 1000
KEY = f"'k' || floor(random() * {KEYS})::int"
DRAIN_SECONDS_MAX = 600
DEBIAN = {"pgq": "postgresql-15-pgq3", "pgqd": "pgqd"}


class Noting(Contestant):
    """A contestant whose consumers fill bench.noted."""

    subscriptions = 1
    refused = ""                        # why it cannot take part

    def fill(self, events, payload, batch=BATCH):
        for left in range(events, 0, -batch):
            self.publish(min(left, batch), payload)

    def noted(self):
        return self.session.value("select count(*) from bench.noted")

    def wait(self, events, seconds=DRAIN_SECONDS_MAX, pause=1):
        """Until that many have come, each to all subscriptions. By default
        seldom looked at: that is paid by who is measured."""
        deadline = time.monotonic() + seconds
        while self.noted() < events * self.subscriptions:
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{self.noted():,} of {events * self.subscriptions:,} "
                    f"deliveries after {seconds} s")
            time.sleep(pause)

    def check(self, events):
        """That each event has come once to each subscription."""
        found = {number: counts for number, *counts in self.session.rows(
            "select subscription, count(*), count(distinct id) "
            "from bench.noted group by 1")}
        for number in range(1, self.subscriptions + 1):
            count, different = found.get(number, (0, 0))
            if (count, different) != (events, events):
                raise BenchError(
                    f"subscription {number} got {different:,} "
                    f"of {events:,} events, in {count:,} deliveries")

    def drain(self, events):
        """Of a backlog that is there: from when the consumer began, by the
        database's clock, to the last event."""
        self.settle()
        with metered(events * self.subscriptions, self) as sample:
            self.consume(events)
        self.check(events)
        sample.seconds = self.session.value(
            "select extract(epoch from (select max(at) from bench.noted) "
            f"- min(started_at))::float8 from {self.consumers}")
        return sample


class Subscriptions(Noting, Chimpd):
    """The daemon as shipped with so many equal subscriptions."""

    sql = "events.sql"
    consumers = "chimp.processes where role = 'subscriber'"
    call = (f"\\set k random(1, {KEYS})\n"
            f"select chimp.publish('{EVENT}', :payload::jsonb, 'k' || :k)")

    def __init__(self, bench, mode="", subscriptions=1, event=EVENT):
        super().__init__(bench.cluster)
        self.batch = bench.args.batch
        self.mode = mode
        self.subscriptions = subscriptions
        self.event = event
        self.refused = bench.batch_refused if mode else ""
        self.key = "chimpd" + ("-batch" if mode else "") + (
            f"-{subscriptions}" if subscriptions > 1 else "")
        self.name = "chimpd, " + (
            f'mode = "batch", batch = {self.batch}' if mode
            else "one call per event")

    def app(self):
        more = f'batch = {self.batch}  mode = "batch"' if self.mode else ""
        handler = "bench.note_all" if self.mode else "bench.note"
        return 'app "bench" {\n  migrations = "migrations"\n' + "".join(
            f'  subscription "bench.s{n}" {{ event = "{self.event}"  '
            f'sql = "{handler}_{n}"  lanes = {LANES}  {more} }}\n'
            for n in range(1, self.subscriptions + 1)) + "}\n"

    def complaint(self):
        """The first that this binary has against the configuration, or ''."""
        said = self.cluster.refuses(self.write_files("127.0.0.1:1"))
        return said.split("\n")[0].replace(f"{self.cluster.dir}/", "")

    def at_work(self):
        """Asked with no event published: the view counts what is left."""
        return super().at_work() and self.session.value(
            "select coalesce(sum(owned), 0) from chimp.subscriptions "
            "where active") == LANES * self.subscriptions

    def workers_cpu(self):
        """Of a daemon that was not there when the meter began: all."""
        return super().workers_cpu() if self.cluster.chimpd else 0.0

    def publish(self, events, payload):
        self.session.run(f"select count(chimp.publish(%s, %s::jsonb, {KEY})) "
                         "from generate_series(1, %s)", EVENT, payload, events)

    def published(self):
        return self.session.value("select count(*) from chimp.events")

    def fill(self, events, payload, batch=BATCH):
        """While the daemon is away; its subscriptions are registered."""
        self.stop()
        super().fill(events, payload, batch)

    def consume(self, events):
        self.cluster.start_chimpd(self.cluster.dir / "chimpd.conf", self.listen)
        self.wait(events)


class RawInsert(Raw):
    """A table like that of events."""

    sql = "events.sql"
    refused = ""
    call = (f"\\set k random(1, {KEYS})\n"
            "insert into bench.raw (name, key, payload) "
            f"values ('{EVENT}', 'k' || :k, :payload::jsonb)")

    def __init__(self, cluster):
        super().__init__(cluster)
        self.name = "plain INSERT into a table with these columns and indexes"

    def published(self):
        return self.session.value("select count(*) from bench.raw")


class PgQ(Noting):
    """One queue, one consumer; its ticks are made by pgqd."""

    sql = "events.sql"
    consumers = "bench.consumer"
    ini = ("[pgqd]\nsyslog = 0\nlogfile = {dir}/pgqd.log\ncheck_period = 1\n"
           "base_connstr = host={dir} user=bench\ninitial_database = bench\n"
           "database_list = bench\nticker_period = {period}\n")
    ticker_period = 1
    call = (f"\\set k random(1, {KEYS})\n"
            f"select pgq.insert_event('bench', '{EVENT}', :payload::text, "
            "'k' || :k, null, null, null)")

    def __init__(self, cluster, form):
        super().__init__(cluster)
        self.key = f"pgq-{form}"
        self.form = form
        self.pgqd = None
        self.name = "PgQ, its consumer " + {
            "server": "a statement per batch inside the server",
            "handler": "inside the server with our handler",
            "client": "a client"}[form]

    def start(self):
        for path in (self.sql, "peers/pgq.sql"):
            self.session.run((TOP / "bench" / path).read_text())
        ini = self.cluster.dir / "pgqd.ini"
        ini.write_text(self.ini.format(dir=self.cluster.dir,
                                       period=self.ticker_period))
        ini.chmod(0o644)
        self.pgqd = self.cluster.spawn("pgqd", ini)

    def stop(self):
        end(self.pgqd, signal.SIGTERM)
        self.pgqd = None

    def workers_cpu(self):
        return own_children_cpu() + cpu_of([self.pgqd.pid])

    def settings(self):
        count, lag, idle = self.session.rows(
            "select queue_ticker_max_count, queue_ticker_max_lag::text, "
            "queue_ticker_idle_period::text from pgq.get_queue_info('bench')"
        )[0]
        return (f"ticker_period = {self.ticker_period} s, "
                f"queue_ticker_max_count = {count}, "
                f"queue_ticker_max_lag = {lag}, "
                f"queue_ticker_idle_period = {idle}")

    def publish(self, events, payload):
        self.session.run(
            f"select count(pgq.insert_event('bench', %s, %s, {KEY}, null, "
            "null, null)) from generate_series(1, %s)", EVENT, payload, events)

    def published(self):
        """So many does the consumer find, too."""
        self.wait_for_tick()
        self.consume(0)
        return self.noted()

    def last_tick(self):
        return self.session.value(
            "select last_tick_id from pgq.get_queue_info('bench')")

    def wait_for_tick(self):
        """A tick whose snapshot was made after now has them all: the second one
        from here, for the next may be at work."""
        wanted = self.last_tick() + 2
        self.cluster.wait(lambda: self.last_tick() >= wanted, "a tick of pgqd")

    def fill(self, events, payload, batch=BATCH):
        super().fill(events, payload, batch)
        self.wait_for_tick()

    def consume(self, _):
        if self.form != "client":
            self.cluster.sql(f"call bench.consume('{self.form}')")
            return
        done = subprocess.run(
            [sys.executable, TOP / "bench/peers/pgq_consumer.py",
             self.cluster.dir], capture_output=True, text=True, check=False,
            timeout=DRAIN_SECONDS_MAX)
        if done.returncode != 0:
            raise BenchError(f"PgQ's consumer failed: {done.stderr.strip()}")


def ready_pgq(cluster):
    """(its version, '') or ('', why it is skipped); the cluster runs."""
    version = cluster.sql("select max(default_version) from "
                          "pg_available_extensions where name = 'pgq'")
    missing = [DEBIAN[what] for what, found in (
        ("pgq", version), ("pgqd", shutil.which("pgqd"))) if not found]
    if missing:
        return "", ("skipped: PgQ: missing; on Debian: apt-get install "
                    + " ".join(missing))
    return f"PgQ {version}", ""
