"""The parts of bench/http that compare rates and times. A part takes the bench
and returns its rows."""

import shutil
import time
import urllib.request

from cluster import BenchError
from events_parts import compare
from http_contestants import FIRST_NOTE, ITEMS, Fastify, Http, Nginx, Pgbench
from http_load import (answered, closed_loop, finish_load, h2load, load,
                       pgbench, start_load, wrk)

CONNECTIONS = 64
CLIENTS = 8                             # of pgbench
WARM_SECONDS = 2                        # node compiles what is hot
FAST_PER_SECOND = 1000
FAST_CONNECTIONS = 16
SLOW = 8
FILE_BYTES = 4096


def fastify(bench, *args):
    return [Fastify(bench.cluster, bench.args.peers_dir, *args)] \
        if bench.has_fastify else []


# One item by its key ----------------------------------------------------------

def read(bench):
    seconds, binary = bench.args.seconds, bench.args.load
    raw = Pgbench(bench.cluster, "raw", f"the same function, {CLIENTS} clients")
    by_wrk = Http(bench.cluster, "chimpd-wrk", "chimpd, asked by wrk")

    def work(contestant):
        contestant.settle()
        if contestant is raw:
            return [pgbench(raw, f"\\set id random(1, {ITEMS})\nselect bench."
                            "get_item(jsonb_build_object('id', :id::int));\n",
                            CLIENTS, seconds)]
        load(binary, contestant.listen, contestant.reads(), CONNECTIONS,
             WARM_SECONDS)
        if contestant is by_wrk:
            return [wrk(contestant, CONNECTIONS, seconds)]
        return [closed_loop(contestant, binary, contestant.reads(),
                            CONNECTIONS, seconds)]

    others = [by_wrk] if shutil.which("wrk") else []
    if not others:
        bench.remarks.append("skipped: wrk; on Debian: apt-get install wrk")
    return compare(bench, [raw, Http(bench.cluster), *others, *fastify(bench)],
                   work)


# Insert and publish -----------------------------------------------------------

RANDOM_NOTE = f"\\set n random({FIRST_NOTE}, {2 * FIRST_NOTE})\n"
CALL = (RANDOM_NOTE + "select bench.create_note(jsonb_build_object("
        "'n', :n::bigint, 'text', '" + "a" * 80 + "'));\n")
STATEMENTS = (RANDOM_NOTE + "begin;\ninsert into bench.notes (n, text) values "
              "(:n, '" + "a" * 80 + "');\nselect chimp.publish('bench.noted', "
              "jsonb_build_object('n', :n::bigint));\nend;\n")


def write(bench):
    """Whatever was answered must have happened, once."""
    seconds, binary = bench.args.seconds, bench.args.load
    statements = Pgbench(bench.cluster, "raw",
                         f"begin, insert, publish, end; {CLIENTS} clients")
    one_call = Pgbench(bench.cluster, "raw-call",
                       f"the same function, {CLIENTS} clients")
    scripts = {statements: STATEMENTS, one_call: CALL}

    def work(contestant):
        contestant.settle()
        if contestant in scripts:
            columns = pgbench(contestant, scripts[contestant], CLIENTS, seconds)
            happened(contestant, columns, different=False)
            return [columns]
        warm = answered(load(binary, contestant.listen, contestant.writes(),
                             CONNECTIONS, WARM_SECONDS)[0])
        columns = closed_loop(contestant, binary, contestant.writes(
            FIRST_NOTE + warm["sent"]), CONNECTIONS, seconds)
        happened(contestant, columns, warm["good"])
        return [columns]

    return compare(bench, [statements, one_call, Http(bench.cluster),
                           *fastify(bench)], work)


def happened(contestant, columns, before=0, different=True):
    answered = columns.pop("requests") + before
    notes, numbers = contestant.effects()
    if notes != answered or (different and numbers != answered):
        raise BenchError(f"{answered:,} were answered, {notes:,} notes of "
                         f"{numbers:,} numbers are there")


# Without the database ---------------------------------------------------------

def beside_nginx(bench, path, files, ours):
    if not shutil.which("h2load"):
        bench.remarks.append(f"skipped: {path}: h2load is missing; on Debian: "
                             "apt-get install nghttp2-client")
        return []

    def work(contestant):
        h2load(contestant, path, CONNECTIONS, WARM_SECONDS)
        return [h2load(contestant, path, CONNECTIONS, bench.args.seconds)]

    peers = [Nginx(bench.cluster, files)] if bench.has_nginx else []
    return compare(bench, [*peers, ours], work)


def health(bench):
    ours = Http(bench.cluster, name="chimpd, /health")
    with ours.running():
        with urllib.request.urlopen(f"http://{ours.listen}/health") as answer:
            size = len(answer.read())
    rows = beside_nginx(bench, "/health", {"health": b"x" * size}, ours)
    for row in rows:
        row.name += f", {size} bytes"
    return rows


class Static(Http):
    """With a folder of files, where this binary knows how."""

    def __init__(self, cluster, files):
        super().__init__(cluster, name=f"chimpd, a static file, {FILE_BYTES:,} "
                         "bytes")
        folder = cluster.dir / "files" / "static"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        for path in (folder.parent, folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.static = f'static "/" {{ dir = "{folder}" }}'


def static(bench):
    files = {"file": b"x" * FILE_BYTES}
    ours = Static(bench.cluster, files)
    said = bench.cluster.refuses(ours.write_files("127.0.0.1:1"))
    if said:
        said = said.split("\n")[0].replace(f"{bench.cluster.dir}/", "")
        bench.remarks.append(f"skipped: static files: {said}")
        return []
    return beside_nginx(bench, "/file", files, ours)


# Beside slow queries ----------------------------------------------------------

class Beside(Http):
    def __init__(self, cluster, key, name, path):
        super().__init__(cluster, key, f"chimpd, {name}")
        self.wait_path = path


def slow(bench):
    """Reads at a fixed moderate rate, timed from when each was due."""
    contestants = [
        Http(bench.cluster, name="chimpd, alone"),
        Beside(bench.cluster, "chimpd-slow", f"beside {SLOW} slow ones",
               "/wait"),
        Beside(bench.cluster, "chimpd-slow-read",
               f"beside {SLOW} slow readonly ones", "/wait-read"),
        *fastify(bench, "fastify", ", alone"),
        *fastify(bench, "fastify-slow", f", beside {SLOW} slow ones")]

    def work(contestant):
        return [fast_reads(contestant, bench.args.load, bench.args.seconds,
                           "slow" in contestant.key)]
    return compare(bench, contestants, work)


def fast_reads(contestant, binary, seconds, is_beside):
    contestant.settle()
    load(binary, contestant.listen, contestant.reads(), CONNECTIONS,
         WARM_SECONDS)
    waiting = None
    if is_beside:
        waiting = start_load(binary, contestant.listen, contestant.waits(),
                             SLOW, seconds + 1)
        time.sleep(0.5)
    fast = load(binary, contestant.listen, contestant.reads(),
                FAST_CONNECTIONS, f"{FAST_PER_SECOND}:{seconds}")[0]
    if answered(fast)["good"] != fast["sent"]:
        raise BenchError(f"{fast['good']:,} of {fast['sent']:,} reads were "
                         "answered well")
    columns = {f"{k}_ms": fast["good_ms"][k] for k in ("p50", "p99", "max")}
    columns["unsent"] = fast["unsent"]
    if waiting:
        # Each lasts a second; those of the last second end after the phase.
        phase = finish_load(waiting)[0]
        columns |= {"slow": phase["good"] / phase["seconds"],
                    "slow_failed": phase["sent"] - phase["good"]}
    return columns
