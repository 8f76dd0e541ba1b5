"""Who is measured by bench/workflow: chimpd's workflows, and DBOS.

A run has three steps, each of which inserts one row into bench.effect; so every
part checks that each run has completed and each of its effects is there once.
"""

import time

from cluster import BenchError
from contestants import BATCH, Chimpd
from measure import metered
from peers import Peer, install, installed_version
from report import TOP

STEPS = 3
DRAIN_SECONDS_MAX = 600

APP = """
app "bench" {
  migrations = "migrations"
  action "step1" { sql = "bench.step_1" }
  action "step2" { sql = "bench.step_2" }
  action "step3" { sql = "bench.step_3" }
  workflow "bench.three" {
    step "first"  { action = "step1" }
    step "second" { action = "step2" }
    step "third"  { action = "step3" }
  }
  workflow "bench.sleep" {
    step "rest"  { sleep = "10d" }
    step "first" { action = "step1" }
  }
}
"""


class Runs:
    """What both have: their effects, and the checks."""

    refused = ""
    runs = 0                            # of three steps, so far

    def wait(self, runs, seconds=DRAIN_SECONDS_MAX, pause=0.25):
        deadline = time.monotonic() + seconds
        while self.open():
            if time.monotonic() > deadline:
                raise BenchError(f"not all of {runs:,} runs have ended after "
                                 f"{seconds} s")
            time.sleep(pause)

    def check(self):
        """All runs so far have completed, each effect is there once."""
        completed = self.completed()
        if completed != self.runs:
            raise BenchError(f"{completed:,} of {self.runs:,} runs completed")
        effects, different = self.session.rows(
            "select count(*), count(distinct (n, step)) from bench.effect")[0]
        if (effects, different) != (self.runs * STEPS,) * 2:
            raise BenchError(f"{effects:,} effects, {different:,} different "
                             f"ones, of {self.runs:,} runs")


class Workflows(Runs, Chimpd):
    """The daemon as shipped; runs are started and watched by public SQL."""

    sql = "workflow.sql"
    name_of = "bench.three"             # the workflow
    start_one = ("select chimp.workflow_start('bench.three', "
                 "jsonb_build_object('n', nextval('bench.run')))")

    def __init__(self, cluster):
        super().__init__(cluster, f"workflow:{self.name_of}")

    def app(self):
        return APP

    def start(self):
        self.runs = 0
        super().start()

    def begin(self, runs, workflow=name_of, batch=BATCH):
        """Start so many, a batch per transaction."""
        for left in range(runs, 0, -batch):
            self.session.run(
                "select count(chimp.workflow_start(%s, jsonb_build_object('n',"
                " nextval('bench.run')))) from generate_series(1, %s)",
                workflow, min(left, batch))

    def fill(self, runs):
        self.pause()
        self.begin(runs)
        self.runs += runs

    def drain(self, runs):
        with metered(runs, self) as sample:
            began = self.session.value("select clock_timestamp()")
            self.session.run("select chimp.resume(%s)", self.queue)
            self.wait(runs)
        sample.seconds = self.seconds_since(began)
        self.check()
        return sample

    def offer(self, runs, callers):
        """Started by so many callers while the workers run; the callers' CPU
        is not counted."""
        script = self.cluster.dir / "start.sql"
        script.write_text(self.start_one + ";\n")
        with metered(runs, self) as sample:
            began = self.session.value("select clock_timestamp()")
            self.cluster.pgbench("-M", "prepared", "-c", callers, "-j", 2,
                                 "-t", runs // callers, "-f", script)
            self.runs += runs // callers * callers
            self.wait(runs)
        sample.seconds = self.seconds_since(began)
        self.check()
        return sample

    def seconds_since(self, began):
        return self.session.value(
            "select extract(epoch from max(ended_at) - %s)::float8 "
            "from chimp.workflows where name = %s", began, self.name_of)

    def open(self):
        return self.session.value(
            "select exists (select from chimp.workflows where name = %s "
            "and status = 'running')", self.name_of)

    def completed(self):
        return self.session.value(
            "select count(*) from chimp.workflows where name = %s "
            "and status = 'completed'", self.name_of)


class Dbos(Runs, Peer):
    """One process of node, which starts the runs as well. "queue": they are
    enqueued before work begins; "direct": it calls them itself."""

    module = "dbos"
    key = "dbos"
    package = "@dbos-inc/dbos-sdk"

    def __init__(self, cluster, folder, mode):
        super().__init__(cluster, folder, mode)
        self.name = "DBOS " + installed_version(self.folder, self.package) + {
            "queue": ", its queue", "direct": ", called where they run"}[mode]

    def settings(self):
        host = str(self.cluster.dir)    # its URLs have a name before the path
        return {"url": f"postgresql://bench@localhost/bench?host={host}",
                "host": host, "mode": self.mode}

    def start(self):
        self.runs = 0
        self.session.run((TOP / "bench/workflow.sql").read_text().split(
            "-- Copies of")[0])
        self.producer = self.node()
        self.workers = [self.producer]

    def fill(self, runs):
        self.producer.ask("add", jobs=runs, bytes=10, batch=runs)
        self.runs += runs

    def drain(self, runs):
        with metered(runs, self) as sample:
            self.producer.ask("work", 60, handler="noop")
            self.wait(runs)
        # It looks for new queues once a second: that is not counted.
        sample.seconds = self.session.value(
            "select (max(completed_at) - min(started_at_epoch_ms))::float8 "
            "/ 1000 from dbos.workflow_status")
        self.check()
        return sample

    def offer(self, runs, _):
        with metered(runs, self) as sample:
            began = time.monotonic()
            self.fill(runs)
            sample.seconds = time.monotonic() - began
        self.check()
        return sample

    def open(self):
        return self.producer.ask("left")

    def completed(self):
        return self.session.value("select count(*) from dbos.workflow_status "
                                  "where status = 'SUCCESS'")


def ready_dbos(folder):
    """'' or why it is skipped."""
    why = install(folder)
    return f"skipped: DBOS: {why}" if why else ""
