"""The parts of bench/http that push the daemon: memory, and too much load."""

import contextlib
import resource
import socket
import time

from cluster import BenchError
from events_parts import compare
from http_contestants import Http
from http_load import answered, load
from http_parts import CONNECTIONS
from measure import Row

IDLE = 10_000
SOURCES = 100                           # addresses that they come from
QUIET_SECONDS = 2
ASK = b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n"
OVERLOAD_CONNECTIONS = 4000
TOO_MUCH = 2                            # times the peak
AFTER = 0.5                             # of the peak, to see it recover
AFTER_SECONDS = 6


# Memory -----------------------------------------------------------------------

def pss_mib(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) / 1024
    except PermissionError as error:
        raise BenchError("smaps_rollup of another user's process: only root "
                         "may read it") from error
    raise BenchError(f"process {pid} has no Pss")


def allow_files(number):
    """'' or why that many cannot be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    if max(soft, hard) < number:
        return f"{number:,} open files are needed, {hard:,} are allowed"
    return ""


def connect_idle(stack, listen, n):
    """A connection that has asked once and stays."""
    host, port = listen.split(":")
    s = stack.enter_context(socket.create_connection(
        (host, int(port)), timeout=10,
        source_address=(f"127.0.0.{2 + n % SOURCES}", 0)))
    ask(s)
    return s


def ask(s):
    s.sendall(ASK)
    if not s.recv(4096).startswith(b"HTTP/1.1 200"):
        raise BenchError("an idle connection has no answer")


def memory(bench):
    fresh = Row("fresh", "one http process since its start, the larger")
    worked = Row("worked", f"the same after {CONNECTIONS} connections' reads")
    crowd = Row("crowd", f"all http processes, {IDLE:,} idle connections")
    why = allow_files(IDLE + 500)
    if why:
        bench.remarks.append(f"skipped: {IDLE:,} idle connections: {why}")

    def work(ours):
        time.sleep(QUIET_SECONDS)
        fresh.add(pss_mib=max(map(pss_mib, ours.pids())))
        answered(load(bench.args.load, ours.listen, ours.reads(), CONNECTIONS,
                      bench.args.seconds)[0])
        time.sleep(QUIET_SECONDS)
        worked.add(pss_mib=max(map(pss_mib, ours.pids())))
        if not why:
            crowd.add(pss_mib=pss_of_crowd(ours))
        return []

    compare(bench, [Http(bench.cluster)], work)
    return [fresh, worked, crowd]


def pss_of_crowd(ours):
    with contextlib.ExitStack() as stack:
        idle = [connect_idle(stack, ours.listen, n) for n in range(IDLE)]
        time.sleep(QUIET_SECONDS)
        total = sum(map(pss_mib, ours.pids()))
        for s in idle:                  # were all of them there meanwhile?
            ask(s)
    return total


# Too much ---------------------------------------------------------------------

def overload(bench):
    """Twice the peak of a closed loop falls due at a fixed rate, then half."""
    seconds = bench.args.overload_seconds
    binary = bench.args.load
    why = allow_files(OVERLOAD_CONNECTIONS + 500)
    if why:
        bench.remarks.append(f"skipped: overload: {why}")
        return []

    def work(ours):
        ours.settle()
        reads = ours.reports()
        peak = load(binary, ours.listen, reads, CONNECTIONS, 1,
                    bench.args.seconds)[1]
        peak = answered(peak)["good"] / peak["seconds"]
        much, after = load(binary, ours.listen, reads, OVERLOAD_CONNECTIONS,
                           f"{TOO_MUCH * peak:.0f}:{seconds}",
                           f"{AFTER * peak:.0f}:{AFTER_SECONDS}")
        return [columns_of(peak, much, after)]

    return compare(bench, [Http(bench.cluster)], work)


def columns_of(peak, much, after):
    refused = much["refused_ms"] or {}
    since_sent = much["refused_sent_ms"] or {}
    return {"peak": peak, "rate": much["good"] / much["seconds"],
            "share": much["good"] / much["seconds"] / peak,
            "sent": much["sent"] / much["seconds"] / peak,
            "refused": much["refused"] / much["seconds"],
            "p99_ms": (much["good_ms"] or {}).get("p99"),
            "refused_p99_ms": refused.get("p99"),
            "sent_p99_ms": since_sent.get("p99"),
            "failed": much["broken"] + much["lost"],
            "recovery_ms": after["settled_ms"]}
