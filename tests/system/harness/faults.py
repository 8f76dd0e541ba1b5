"""Several nodes on one database, and what may befall them."""

import collections
import os
import random
import re
import signal
import threading
import time

import psycopg2

from . import bank, procs
from .chimpd import SANITIZER_REPORT
from .wait import until

# How often each befalls them, in shares.
FAULTS = {"kill a worker": 12, "stop a worker": 4, "stop a worker past its lease": 1,
          "end a backend": 6, "kill a master": 2, "lose a node": 1, "kill a backend": 1,
          "restart PostgreSQL": 1}
LEASE_S = 3


class Node:
    """A chimpd that is begun anew when its master was killed."""

    def __init__(self, number, start, role="worker"):
        """start(name, node) -> a Chimpd that need not be ready; role: of its workers."""
        self.name = f"n{number}"
        self.role = role
        self.start = start
        self.lives = 0
        self.evicted = 0  # workers that found themselves declared dead
        self.waited = True
        self.begin()

    def begin(self):
        self.lives += 1
        self.daemon = self.start(f"{self.name}.{self.lives}", self.name)
        self.waited = False

    def wait_ready(self):
        if not self.waited:
            self.waited = True
            self.daemon.wait_ready(60)

    def workers(self):
        """Their pids."""
        return list(self.daemon.children(self.role).values())

    def kill_master(self, with_workers=False):
        """And start another at once: the orphans may still be there."""
        self.wait_ready()
        procs.end([self.daemon.pid, *(self.workers() if with_workers else [])])
        assert self.daemon.wait(5) == -signal.SIGKILL
        self.look_at_log()
        self.daemon.process = None
        procs.reap()
        self.begin()

    def look_at_log(self):
        text = self.daemon.text()
        self.evicted += text.count("was declared dead")
        assert not SANITIZER_REPORT.search(text), text
        # Nobody died but those who were killed.
        assert not re.search(r"killed by signal (?!9 )", text), text


class Faults:
    """What befell the nodes, and which jobs ran where it struck."""

    def __init__(self, cluster, database, nodes):
        self.cluster = cluster
        self.database = database
        self.nodes = nodes
        self.counts = collections.Counter()
        self.struck = collections.defaultdict(set)  # fault -> jobs
        self.stopped = {}  # pid -> the timer that has it go on
        self.deck = []

    def one(self, faults=FAULTS):
        """The next, as often as its share says, in random order."""
        if not self.deck:
            self.deck = [fault for fault, share in faults.items() for _ in range(share)]
            random.shuffle(self.deck)
        fault = self.deck.pop()
        self.counts[fault] += 1
        # "kill a worker" is kill_a_worker
        self.struck[fault] |= getattr(self, fault.replace(" ", "_").lower())() or set()

    @staticmethod
    def signal(pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def running(self):
        """[(job, worker, node, backend)]; none while PostgreSQL is away."""
        try:
            return self.database.rows(bank.RUNNING)
        except psycopg2.Error:
            return []

    def interrupted(self, fault):
        """Of the jobs that ran where it struck, those that had to run again."""
        return self.database.value(
            "select count(*) from chimp.job_attempt where interruptions > 0 and job_id = any (%s)",
            list(self.struck[fault])) or 0

    # --- faults: each returns the jobs that it struck ---

    def a_worker(self):
        """(its pid, the jobs that it runs): one that runs some, if there is one."""
        running = self.running()
        there = {pid for node in self.nodes for pid in node.workers()}
        busy = there & {worker for _, worker, _, _ in running}
        pid = random.choice(sorted(busy or there) or [None])
        return pid, {job for job, worker, _, _ in running if worker == pid}

    def kill_a_worker(self):
        pid, jobs = self.a_worker()
        if pid is not None:
            self.signal(pid, signal.SIGKILL)
        return jobs

    def stop_a_worker(self, least=0.05, most=1):
        pid, _ = self.a_worker()
        if pid is None or pid in self.stopped and self.stopped[pid].is_alive():
            return
        self.signal(pid, signal.SIGSTOP)
        # Whatever else takes its time: the watchdog is not what is tested.
        self.stopped[pid] = threading.Timer(
            random.uniform(least, most), self.signal, (pid, signal.SIGCONT))
        self.stopped[pid].start()

    def stop_a_worker_past_its_lease(self):
        self.stop_a_worker(1.2 * LEASE_S, 1.5 * LEASE_S)

    def end_a_backend(self):
        running = self.running()
        if not running:
            return set()
        backend = random.choice(running)[3]
        try:
            self.database.rows("select pg_terminate_backend(%s)", backend)
        except psycopg2.Error:
            return set()
        return {job for job, _, _, pid in running if pid == backend}

    def kill_a_master(self, with_workers=False):
        running = self.running()
        busy = {name for _, _, name, _ in running}
        node = random.choice([n for n in self.nodes if n.name in busy] or self.nodes)
        node.kill_master(with_workers)
        return {job for job, _, name, _ in running if name == node.name}

    def lose_a_node(self):
        """Nobody is left to tell of its death: its leases must run out."""
        return self.kill_a_master(with_workers=True)

    def kill_a_backend(self):
        """The postmaster then ends all the others, and recovers."""
        running = self.running()
        if not running:
            return set()
        self.signal(random.choice(running)[3], signal.SIGKILL)
        return {job for job, _, _, _ in running}

    def restart_postgresql(self):
        jobs = {job for job, _, _, _ in self.running()}
        self.cluster.stop(signal.SIGQUIT)
        time.sleep(random.uniform(0, 1))
        self.cluster.start()
        return jobs

    # --- the end ---

    def end(self):
        for timer in self.stopped.values():
            timer.join()
        for node in self.nodes:
            node.wait_ready()
            until(node.workers, f"{node.name} has workers")

    def look_at_logs(self):
        for node in self.nodes:
            node.look_at_log()
