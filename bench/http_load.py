"""The clients of bench/http, what they say, and what a request costs.

`load` is built from bench/load; wrk and h2load are Debian's. All run on the same
processors as what they ask, and their CPU has a column.
"""

import json
import re
import subprocess

from cluster import BenchError
from measure import own_children_cpu
from report import TOP


class Requests:
    """What is asked, and what a good answer must be."""

    def __init__(self, path, expect=None, method="GET", body=None, ids=0,
                 first=1):
        self.path = path
        self.expect = expect
        self.method = method
        self.body = body
        self.ids = ids                  # random numbers up to that
        self.first = first              # or numbers from there on

    def argv(self):
        argv = ["-m", self.method, "-n", str(self.ids), "-f", str(self.first)]
        argv += ["-e", self.expect] if self.expect else []
        return argv + (["-b", self.body] if self.body else [])


def start_load(binary, listen, requests, connections, *phases):
    """A phase is "SECONDS", or "RATE:SECONDS" for an open loop."""
    host, port = listen.split(":")
    argv = [binary, *requests.argv(), "-c", connections]
    for phase in phases:
        argv += ["-p", phase]
    return subprocess.Popen([*map(str, argv), host, port, requests.path],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def finish_load(process):
    """A dict for each phase; wrong bodies are nobody's good answer."""
    out, err = process.communicate()
    if process.returncode != 0:
        raise BenchError(f"bench/load/load failed: {err.strip()}")
    phases = [json.loads(line) for line in out.splitlines()]
    wrong = sum(phase["wrong"] for phase in phases)
    if wrong:
        raise BenchError(f"{wrong:,} answers were wrong; {err.strip()}")
    return phases


def load(*args):
    return finish_load(start_load(*args))


def answered(phase):
    """Checks that each request had an answer, if only a 503."""
    for what in ("broken", "lost"):
        if phase[what]:
            raise BenchError(f"{phase[what]:,} requests of "
                             f"{phase['sent']:,} were {what}")
    return phase


def costs(contestant, work):
    """Columns of what work() does, which returns (requests, seconds, more
    columns)."""
    server, store = contestant.workers_cpu(), contestant.store_cpu()
    client = own_children_cpu()
    requests, seconds, more = work()
    client = own_children_cpu() - client
    server = contestant.workers_cpu() - server
    store = contestant.store_cpu() - store
    if not requests:
        raise BenchError("no request was answered")
    each = 1e6 / requests
    return {"requests": requests, "rate": requests / seconds, **more,
            "server_us": server * each, "store_us": store * each,
            "cpu_us": (server + store) * each, "client_us": client * each}


def closed_loop(contestant, binary, requests, connections, seconds):
    def work():
        phase = answered(load(binary, contestant.listen, requests, connections,
                              seconds)[0])
        times = phase["good_ms"] or {}
        return phase["good"], phase["seconds"], {
            "p50_ms": times.get("p50"), "p99_ms": times.get("p99"),
            "refused": phase["refused"]}
    return costs(contestant, work)


def run(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise BenchError(f"{argv[0]} failed: {done.stderr.strip()}")
    return done.stdout


def wrk(contestant, connections, seconds):
    """Reads items; its script compares each body."""
    def work():
        out = run("wrk", "-t", 1, "-c", connections, "-d", f"{seconds}s",
                  "--latency", "-s", TOP / "bench/http.lua",
                  f"http://{contestant.listen}/items/1")
        wrong, requests = map(int, re.search(
            r"wrong: (\d+) of (\d+)", out).groups())
        if wrong or "Socket errors" in out:
            raise BenchError(f"wrk met {wrong:,} wrong answers:\n{out}")
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
        return requests, requests / rate, {
            f"p{share}_ms": milliseconds(re.search(
                rf"^ +{share}% +(\S+)$", out, re.M).group(1))
            for share in (50, 99)}
    return costs(contestant, work)


def milliseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def h2load(contestant, path, connections, seconds):
    """By HTTP/1.1, one request at a time on each connection."""
    def work():
        out = run("h2load", "--h1", "-t", 1, "-c", connections, "-D", seconds,
                  f"http://{contestant.listen}{path}")
        good = int(re.search(r"status codes: (\d+) 2xx", out).group(1))
        total, failed = map(int, re.search(
            r"requests: (\d+) total,.* (\d+) failed", out).groups())
        if failed or "0 3xx, 0 4xx, 0 5xx" not in out:
            raise BenchError(f"{failed:,} of {total:,} requests failed:\n{out}")
        return good, seconds, {}
    return costs(contestant, work)


def pgbench(contestant, script, clients, seconds):
    file = contestant.cluster.dir / "http.sql"
    file.write_text(script)

    def work():
        out = contestant.cluster.pgbench("-M", "prepared", "-c", clients, "-j",
                                         2, "-T", seconds, "-f", file)
        calls = int(re.search(r"actually processed: (\d+)", out).group(1))
        tps = float(re.search(r"tps = ([\d.]+)", out).group(1))
        return calls, calls / tps, {}
    return costs(contestant, work) | {"server_us": None}
