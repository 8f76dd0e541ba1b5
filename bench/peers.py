"""The peers from npm: installing them, and one process or more of each.

They are installed by npm into a folder of the build, with the scripts of
bench/peers beside them, and speak with this module by lines of JSON.
"""

import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import threading
import time

from cluster import BenchError, end
from contestants import BATCH, Contestant
from measure import cpu_of, metered
from report import TOP, first_line

SOURCE = TOP / "bench/peers"
NODE_OLDEST = (22, 18)                  # what graphile-worker asks for
PROCESSES = 1                           # on two processors more are slower
PROCESSES_KILL = 2                      # one to kill, one to go on
DRAIN_SECONDS_MAX = 600


def node_version(node):
    words = first_line(node, "--version").lstrip("v").split(".")
    return tuple(int(w) for w in words[:2]) if words[0].isdigit() else (0, 0)


def find_node(folder):
    """The system's, or else the one that npm has brought along."""
    for node in (shutil.which("node"),
                 *folder.glob("node_modules/node-linux-*/bin/node")):
        if node and node_version(node) >= NODE_OLDEST:
            return str(node)
    return None


def install(folder):
    """Fill the folder, if it is not full yet; '' or why that failed."""
    if not shutil.which("npm"):
        return "npm is missing; on Debian: apt-get install npm"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (SOURCE / "package-lock.json").read_bytes()
    stamp = folder / "installed"
    for path in SOURCE.iterdir():
        shutil.copy(path, folder)
    if not stamp.exists() or stamp.read_bytes() != lock:
        print(f"npm installs the peers into {folder}", flush=True)
        try:
            done = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return "npm ci took more than 300 s"
        if done.returncode != 0:
            return f"npm ci failed: {done.stderr.strip()[-300:]}"
        stamp.write_bytes(lock)
    if not find_node(folder):
        return "node is older than " + ".".join(map(str, NODE_OLDEST))
    return ""


def installed_version(folder, package):
    path = folder / "node_modules" / package / "package.json"
    return json.loads(path.read_text())["version"]


class Node:
    """One process; counts what its handlers have begun."""

    def __init__(self, folder, module, settings, log):
        self.count = 0
        self.answers = queue.Queue()
        self.process = subprocess.Popen(
            [find_node(folder), "peer.mjs", module, json.dumps(settings)],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True, env={"PATH": os.environ["PATH"],
                                        "NODE_ENV": "production"})
        threading.Thread(target=self.listen, daemon=True).start()
        self.about = self.answer(60)["ready"]

    def listen(self):
        for line in self.process.stdout:
            message = json.loads(line)
            if "count" in message:
                self.count = message["count"]
            else:
                self.answers.put(message)

    def tell(self, cmd, **arguments):
        line = json.dumps({"cmd": cmd, **arguments})
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise BenchError("a peer's process has ended") from error

    def answer(self, seconds):
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty as error:
            raise BenchError(f"a peer is silent for {seconds} s") from error

    def ask(self, cmd, seconds=DRAIN_SECONDS_MAX, **arguments):
        self.tell(cmd, **arguments)
        return self.answer(seconds)["answer"]

    def stop(self):
        end(self.process, signal.SIGKILL)


class Peer(Contestant):
    """A process or two that work, and one that enqueues, as chimpd's callers
    do apart from its workers."""

    def __init__(self, cluster, folder, mode=""):
        super().__init__(cluster)
        self.folder = pathlib.Path(folder).resolve()
        self.mode = mode
        self.workers = []
        self.producer = None
        self.name = f"{self.package} {installed_version(self.folder, self.package)}"

    def settings(self):
        words = self.cluster.url.split()
        host = words[0].partition("=")[2]
        return {"url": f"postgresql://bench@/bench?host={host}",
                "mode": self.mode}

    def node(self):
        return Node(self.folder, self.module, self.settings(), self.cluster.log)

    def start(self):
        self.producer = self.node()     # alone, for it makes the tables
        number = PROCESSES_KILL if self.mode == "kill" else PROCESSES
        self.workers = [self.node() for _ in range(number)]

    def stop(self):
        for node in (*self.workers, self.producer):
            if node:
                node.stop()
        self.workers, self.producer = [], None

    def workers_cpu(self):
        return cpu_of([node.process.pid for node in self.workers])

    def fill(self, jobs, size, batch=BATCH):
        self.producer.ask("add", jobs=jobs, bytes=size, batch=batch)

    def begin(self, handler="noop"):
        for node in self.workers:
            node.ask("work", 60, handler=handler)

    def wait(self, jobs):
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        while (sum(node.count for node in self.workers) < jobs
               or self.producer.ask("left")):
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} is not drained after "
                                 f"{DRAIN_SECONDS_MAX} s")
            time.sleep(0.02)

    def drain(self, jobs):
        self.settle()
        with metered(jobs, self) as sample:
            began = time.monotonic()
            self.begin()
            self.wait(jobs)
            sample.seconds = time.monotonic() - began
        return sample

    def offer(self, jobs, size, batch):
        """Enqueued while the workers run."""
        self.settle()
        with metered(jobs, self) as sample:
            began = time.monotonic()
            self.begin()
            self.fill(jobs, size, batch)
            self.wait(jobs)
            sample.seconds = time.monotonic() - began
        return sample


class Graphile(Peer):
    module = key = "graphile"
    package = "graphile-worker"


class GraphileSingle(Graphile):
    key = "graphile-single"

    def __init__(self, cluster, folder):
        super().__init__(cluster, folder, "single")
        self.name += ", one by one"


class PgBoss(Peer):
    module = key = "pgboss"
    package = "pg-boss"


def start_redis(cluster, data):
    """A process with an append-only file and a socket in this folder."""
    data.mkdir()
    if "user" in cluster.who:
        os.chown(data, cluster.who["user"], cluster.who["group"])
    redis = cluster.spawn(
        "redis-server", "--port", 0, "--dir", data, "--unixsocket",
        data / "socket", "--appendonly", "yes", "--save", "",
        "--maxmemory-policy", "noeviction")
    cluster.wait((data / "socket").exists, "Redis", 20)
    return redis


class BullMQ(Peer):
    module = key = "bullmq"
    package = "bullmq"
    writes_wal = False

    def __init__(self, cluster, folder, mode=""):
        super().__init__(cluster, folder, mode)
        self.redis = None
        self.data = cluster.dir / "redis"

    def settings(self):
        return {"socket": str(self.data / "socket"), "mode": self.mode}

    def start(self):
        self.redis = start_redis(self.cluster, self.data)
        super().start()

    def stop(self):
        super().stop()
        end(self.redis, signal.SIGKILL)
        self.redis = None
        shutil.rmtree(self.data, ignore_errors=True)

    def settle(self):
        pass

    def store_cpu(self):
        return cpu_of([self.redis.pid])


def ready_peers(folder):
    """The classes that can run here, and why others cannot."""
    folder = pathlib.Path(folder).resolve()
    why = install(folder)
    if why:
        return [], [f"skipped: graphile-worker, pg-boss, BullMQ: {why}"]
    if shutil.which("redis-server"):
        return [Graphile, GraphileSingle, PgBoss, BullMQ], []
    return [Graphile, GraphileSingle, PgBoss], [
        f"skipped: BullMQ: Redis is missing; on Debian: "
        "apt-get install redis-server"]
