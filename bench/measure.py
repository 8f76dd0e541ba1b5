"""Rows of figures, and the meters that fill them: CPU from /proc, WAL, time."""

import collections
import contextlib
import dataclasses
import math
import os
import statistics

TICKS = os.sysconf("SC_CLK_TCK")


def processes():
    """pid -> (parent, CPU seconds of its own and of the children it reaped)."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8",
                      errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:                 # it has just ended
            continue
        found[int(pid)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICKS)
    return found


def cpu_of(pids, table=None):
    """CPU seconds of these processes with all their descendants."""
    table = table or processes()
    children = collections.defaultdict(list)
    for pid, (parent, _) in table.items():
        children[parent].append(pid)
    total, left = 0.0, list(pids)
    while left:
        pid = left.pop()
        total += table[pid][1] if pid in table else 0.0
        left += children[pid]
    return total


def own_children_cpu():
    """Of the clients that this script ran to their end, such as pgbench."""
    times = os.times()
    return times.children_user + times.children_system


def wal(session):
    return int(session.value(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))


@dataclasses.dataclass
class Sample:
    """What a piece of work cost. seconds is set by whoever knows the end."""

    jobs: int = 0
    seconds: float = 0.0
    workers_us: float = 0.0
    store_us: float = 0.0
    wal_bytes: float = None

    def columns(self):
        columns = {"rate": self.jobs / self.seconds,
                   "workers_us": self.workers_us, "store_us": self.store_us,
                   "cpu_us": self.workers_us + self.store_us}
        if self.wal_bytes is not None:
            columns["wal_bytes"] = self.wal_bytes
        return columns


@contextlib.contextmanager
def metered(jobs, contestant):
    """CPU and WAL per job between here and the end of the block."""
    sample = Sample(jobs)
    session = contestant.session
    wal_before = wal(session) if contestant.writes_wal else 0
    workers, store = contestant.workers_cpu(), contestant.store_cpu()
    yield sample
    per_job = 1e6 / sample.jobs
    sample.workers_us = (contestant.workers_cpu() - workers) * per_job
    sample.store_us = (contestant.store_cpu() - store) * per_job
    if contestant.writes_wal:
        sample.wal_bytes = (wal(session) - wal_before) / sample.jobs


class Row:
    """One contestant in one part: a list of rounds for each column."""

    def __init__(self, key, name):
        self.key = key
        self.name = name
        self.columns = collections.defaultdict(list)

    def add(self, **values):
        for column, value in values.items():
            self.columns[column].append(value)
        print(f"  {self.name}: " + ", ".join(
            f"{column} {number(value)}" for column, value in values.items()),
            flush=True)

    def median(self, column):
        return statistics.median(
            v for v in self.columns[column] if v is not None)

    def cell(self, column, spread=False):
        values = [v for v in self.columns.get(column, ()) if v is not None]
        if not values:
            return "–"
        text = number(self.median(column))
        if spread and len(values) > 1:
            text += f" ({number(min(values))} – {number(max(values))})"
        return text


def number(value):
    if value is None:
        return "–"
    if value == math.inf:
        return "never"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
