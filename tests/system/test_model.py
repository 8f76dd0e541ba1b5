"""The queues against a model: random calls, and after each the same states.

Model says what the functions of one queue do, in a few lines each; whoever wants
to know what a call means can read it there. A failure prints the seed and the
calls; CHIMP_MODEL_SEED runs one again.
"""

import json
import os
import random
import uuid

import psycopg2
import pytest

from harness.settings import long_or_short

NODE = "11111111-1111-1111-1111-111111111111"
MAX_ATTEMPTS = 2
KEYS = ["a", "b"]


class Job:
    def __init__(self, id, priority=0, key=None, unique=None, future=False):
        self.id, self.priority, self.key, self.unique = id, priority, key, unique
        self.future = future        # it has a delay, for when it gets its key
        self.state = None           # ready, scheduled, held, running, done, dead, cancelled
        self.due = False            # scheduled, and its time has come
        self.attempt = 0            # charged
        self.interruptions = 0
        self.token = self.process = None

    @property
    def open(self):
        return self.state in ("ready", "scheduled", "held", "running")

    def seen(self):
        """As chimp.jobs shows it."""
        more = self.state in ("running", "done")
        return (self.id, "scheduled" if self.state == "held" else self.state,
                self.attempt + more, self.interruptions)


class Model:
    def __init__(self, concurrency):
        self.jobs = {}
        self.paused = False
        self.concurrency = concurrency      # 0 = no limit

    # --- what moves jobs ---

    def holder(self, key):
        return [j for j in self.jobs.values() if j.key == key and j.open and j.state != "held"]

    def admit(self, job):
        if job.key is not None and [j for j in self.jobs.values()
                                    if j.key == job.key and j.open and j is not job]:
            job.state = "held"
        else:
            self.wait(job)

    def wait(self, job):
        job.state, job.due = ("scheduled", False) if job.future else ("ready", False)
        job.future = False

    def end(self, job, state):
        held_key = job.state != "held"
        job.state = state
        if job.key is not None and held_key:
            waiting = sorted((j for j in self.jobs.values()
                              if j.key == job.key and j.state == "held"), key=lambda j: j.id)
            if waiting:
                self.wait(waiting[0])

    def interrupt(self, job):
        job.state, job.token = "ready", None
        job.interruptions += 1

    # --- the calls ---

    def enqueue(self, id, priority, key, unique, future):
        """The id that the caller gets."""
        for job in self.jobs.values():
            if unique is not None and job.unique == unique and job.open:
                return job.id
        self.jobs[id] = Job(id, priority, key, unique, future)
        self.admit(self.jobs[id])
        return id

    def claimable(self, n):
        if self.paused:
            return []
        if self.concurrency:
            n = min(n, self.concurrency - len(self.of("running")))
        for job in self.of("scheduled"):
            if job.due:
                job.state = "ready"
        return sorted(self.of("ready"), key=lambda j: (-j.priority, j.id))[:max(n, 0)]

    def of(self, *states):
        return [j for j in self.jobs.values() if j.state in states]

    def fail(self, job, sqlstate):
        """What chimp.job_fail answers."""
        job.token = None
        if sqlstate == "CH005":
            job.state, job.due = "scheduled", False
            return "snoozed"
        if sqlstate == "CH007":
            self.end(job, "cancelled")
            return "cancelled"
        job.attempt += 1
        if sqlstate == "CH006" or job.attempt >= MAX_ATTEMPTS:
            self.end(job, "dead")
            return "dead"
        job.state, job.due = "scheduled", False
        return "retry"

    def cancel(self, job):
        if not job.open:
            return False
        self.end(job, "cancelled")
        job.token = None
        return True

    def retry(self, job):
        """True, False, or CH003: its unique key is another's by now."""
        if job.state == "scheduled":
            job.state, job.attempt, job.interruptions = "ready", 0, 0
            return True
        if job.state not in ("dead", "cancelled"):
            return False
        if job.unique is not None and [j for j in self.jobs.values() if j.open
                                       and j.unique == job.unique]:
            return "CH003"
        job.attempt = job.interruptions = 0
        job.future = False
        self.admit(job)
        return True


class Run:
    """One random sequence on one database."""

    def __init__(self, database, seed):
        self.database = database
        self.random = random.Random(seed)
        self.log = []
        self.concurrency = self.random.choice([0, 0, 3])
        self.model = Model(self.concurrency)
        self.processes = [str(uuid.UUID(int=self.random.getrandbits(128))) for _ in range(2)]
        self.stale = []                # (job, token) of ended claims
        database.rows("create schema if not exists t")
        database.rows("create or replace function t.run(input jsonb) returns jsonb"
                      " language sql as $$ select input $$")
        database.rows("select chimp.register_apps(%s, 'n', %s)", NODE, json.dumps({"apps": [
            {"name": "a", "queues": [{
                "name": "q", "sql": "t.run", "timeout_ms": 0, "dead_letter": "", "priority": 0,
                "max_attempts": MAX_ATTEMPTS, "retry_delay_ms": 3600000,
                "retry_delay_max_ms": 3600000, "backoff": "constant",
                "concurrency": self.concurrency}]}]}))
        self.queue = database.value("select id from chimp.queue where name = 'q'")
        database.rows("update chimp.queue set concurrency = %s", self.concurrency)
        for process in self.processes:
            self.born(process)

    def born(self, process):
        self.database.rows("select chimp.process_start(%s, %s, 'n', 'worker', 'default', 0, 1,"
                           " '0', '{*}', 3600000)", process, NODE)

    def call(self, statement, *args):
        self.log.append((statement, args))
        return self.database.value(statement, *args)

    def refused(self, sqlstate, statement, *args):
        self.log.append((statement, args, sqlstate))
        with pytest.raises(psycopg2.Error) as e:
            self.database.rows(statement, *args)
        assert e.value.pgcode == sqlstate, e.value

    def pick(self, *states):
        found = self.model.of(*states) if states else list(self.model.jobs.values())
        return self.random.choice(found) if found else None

    # --- one step each ---

    def enqueue(self):
        priority, future = self.random.choice([0, 0, 0, 5, -1]), self.random.random() < 0.2
        key = self.random.choice([None, None, *KEYS])
        unique = self.random.choice([None, None, None, "u", "v"])
        args = ("1h" if future else None, priority, unique, key)
        statement = ("select chimp.enqueue('q', '{}', delay => %s::interval, priority => %s,"
                     " unique_key => %s, ordering_key => %s)")
        if self.random.random() < 0.15:
            self.log.append(("rolled back", statement, args))
            self.database.rows("begin")
            self.database.rows(statement, *args)
            self.database.rows("rollback")
            return
        id = self.call(statement, *args)
        assert self.model.enqueue(id, priority, key, unique, future) == id

    def claim(self):
        n, process = self.random.randint(1, 4), self.random.choice(self.processes)
        size = self.random.choice([1, 1, 3])
        expected = self.model.claimable(n * size)
        self.log.append(("claim", n, size, process))
        rows = self.database.rows("select token, jobs from chimp.claim(%s, %s, %s, %s)",
                                  process, [self.queue], n, [size])
        assert [id for _, jobs in rows for id in jobs] == [j.id for j in expected]
        for token, jobs in rows:
            assert not self.stale or token > max(t for _, t in self.stale)
            for id in jobs:
                job = self.model.jobs[id]
                job.state, job.token, job.process = "running", token, process
        for token, jobs in rows:
            if len(jobs) > 1:
                self.group(token, process, jobs)

    def group(self, token, process, jobs):
        """A claim of several is run as one, or taken apart."""
        if self.random.random() < 0.5:
            done = self.call(f"select done from chimp.run_{self.queue}(%s, %s, '1 min')",
                             process, token)
            assert done == len(jobs)
            for id in jobs:
                self.ended(self.model.jobs[id])
                self.model.end(self.model.jobs[id], "done")
        else:
            self.log.append(("split", token))
            (ids, tokens, _), = self.database.rows(
                "select * from chimp.group_split(%s, %s)", process, token)
            assert ids == jobs
            for id, new in zip(ids, tokens):
                self.stale.append((id, token))
                self.model.jobs[id].token = new

    def ended(self, job):
        self.stale.append((job.id, job.token))
        job.token = None

    def complete(self):
        job = self.pick("running")
        if job:
            self.call("select chimp.job_done(%s, %s, t.run(chimp.job_begin(%s, %s)))",
                      job.id, job.token, job.id, job.token)
            self.ended(job)
            self.model.end(job, "done")

    def fail(self):
        job = self.pick("running")
        if job:
            sqlstate = self.random.choice(["P0001", "P0001", "P0001", "CH005", "CH006", "CH007"])
            token = job.token
            said = self.call("select chimp.job_fail(%s, %s, %s, 'm', %s, null, null)", job.id,
                             token, sqlstate, "3600000" if sqlstate == "CH005" else None)
            self.stale.append((job.id, token))
            assert said == self.model.fail(job, sqlstate)

    def release(self):
        job = self.pick("running")
        if job:
            assert self.call("select chimp.job_release(%s, %s)", job.id, job.token) is True
            self.ended(job)
            self.model.interrupt(job)

    def die(self):
        """A process ends, is found dead by its lease, or by its master."""
        process = self.random.choice(self.processes)
        if self.random.random() < 0.5:
            self.call("select chimp.process_end(%s)", process)
        else:
            self.call("update chimp.process set lease_until = now() - interval '1 s'"
                      " where id = %s returning 1", process)
            self.call("select chimp.reap()")
        for job in self.model.of("running"):
            if job.process == process:
                self.ended(job)
                self.model.interrupt(job)
        self.refused("CH001", "select chimp.claim(%s, %s, 1)", process, [self.queue])
        self.born(process)

    def cancel(self):
        job = self.pick()
        if job:
            if job.state == "running":
                self.stale.append((job.id, job.token))
            assert self.call("select chimp.cancel(%s)", job.id) is self.model.cancel(job)

    def retry(self):
        job = self.pick()
        if job:
            expected = self.model.retry(job)
            if expected == "CH003":
                self.refused("CH003", "select chimp.retry(%s)", job.id)
            else:
                assert self.call("select chimp.retry(%s)", job.id) is expected

    def pause(self):
        self.model.paused = not self.model.paused
        self.call("select chimp.pause('q')" if self.model.paused else "select chimp.resume('q')")

    def time_passes(self):
        job = self.pick("scheduled")
        if job:
            job.due = True
            self.call("update chimp.job_scheduled set run_at = now() - interval '1 s'"
                      " where job_id = %s returning 1", job.id)

    def be_stale(self):
        if self.stale:
            job, token = self.random.choice(self.stale)
            self.refused("CH001", self.random.choice([
                "select chimp.job_begin(%s, %s)",
                "select chimp.job_fail(%s, %s, 'P0001', 'm', null, null, null)"]), job, token)
            assert self.call("select chimp.job_release(%s, %s)", job, token) is False

    def maintain(self):
        self.call("select chimp.maintain()")

    def drain(self):
        # Those that get a key meanwhile have waited, too.
        for _ in range(len(self.model.jobs) + 1):
            if self.call("select chimp.drain('q')") == 0:
                break
        for state in ("held", "ready", "scheduled"):
            for job in self.model.of(state):
                self.model.cancel(job)

    STEPS = {"enqueue": 12, "claim": 10, "complete": 8, "fail": 6, "release": 2, "die": 1,
             "cancel": 2, "retry": 2, "pause": 1, "time_passes": 4, "be_stale": 2, "maintain": 1,
             "drain": 0.2}

    def step(self):
        name, = self.random.choices(list(self.STEPS), self.STEPS.values())
        getattr(self, name)()
        self.check()

    def check(self):
        assert self.database.rows(
            "select id, state, attempt, interruptions from chimp.jobs order by id") == [
            j.seen() for j in sorted(self.model.jobs.values(), key=lambda j: j.id)]
        assert dict(self.database.rows(
            "select u.id, c.token from chimp.job_claim c, unnest(c.jobs) u (id)")) == {
            j.id: j.token for j in self.model.of("running")}
        assert self.database.rows(
            "select ordering_key, job_id from chimp.job_key order by 1, 2") == sorted(
            (key, j.id) for key in KEYS for j in self.model.holder(key))
        assert {job for job, in self.database.rows("select job_id from chimp.job_unique")} == {
            j.id for j in self.model.jobs.values() if j.unique and j.open}

    def counts(self):
        """After maintenance, chimp.queues says the same."""
        self.database.rows("select chimp.maintain()")
        of = self.model.of
        assert self.database.rows(
            "select ready, scheduled, running, done, dead, cancelled from chimp.queues") == [(
                len(of("ready")), len(of("scheduled", "held")), len(of("running")),
                len(of("done")), len(of("dead")), len(of("cancelled")))]


@pytest.mark.soak
@pytest.mark.parametrize("part", range(long_or_short(50, 4)))
def test_queues_do_what_the_model_says(database, part):
    seed = int(os.environ.get("CHIMP_MODEL_SEED", random.SystemRandom().randrange(10**9)))
    run = Run(database, seed)
    try:
        for _ in range(long_or_short(1500, 150)):
            run.step()
        run.counts()
    except BaseException:
        print(f"CHIMP_MODEL_SEED={seed}", *run.log[-60:], sep="\n")
        raise
