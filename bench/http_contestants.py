"""Who is measured by bench/http: chimpd, Fastify with pg, pgbench, nginx.

All but nginx call the functions of http.sql in a database that chimpd has made,
and chimpd stays there, idle, while others work: publishing needs its schema.
"""

import os
import shutil

from cluster import BenchError, end, free_port
from contestants import Chimpd
from http_load import Requests
from measure import cpu_of
from peers import Node, installed_version

ITEMS = 10_000
PROCESSES = 2                           # of http, by default
POOL = 8                                # connections per process, by default
NOTE = '{{"n": %s, "text": "{text}"}}'.format(text="a" * 80)
FIRST_NOTE = 1_000_000_001              # all numbers have as many digits

APP = """
app "bench" {
  migrations = "migrations"
  action "getItem"    { sql = "bench.get_item"  args = "id: integer"  readonly = true }
  action "getReport"  { sql = "bench.get_report"  args = "id: integer"  readonly = true }
  action "createNote" { sql = "bench.create_note"  args = "n: integer, text: string(1..200)" }
  action "wait"       { sql = "bench.wait" }
  action "waitRead"   { sql = "bench.wait"  readonly = true }
  route "GET /items/{id}" { action = "getItem" }
  route "GET /reports/{id}" { action = "getReport" }
  route "POST /notes"     { action = "createNote"  status = 201 }
  route "GET /wait"       { action = "wait" }
  route "GET /wait-read"  { action = "waitRead" }
  subscription "bench.other" { event = "bench.other"  sql = "bench.wait" }
  @static@
}
"""


class Http(Chimpd):
    """The daemon as shipped, one node, all roles."""

    sql = "http.sql"
    writes_wal = False
    refused = ""
    static = ""
    item = '{"id": {}, "name": "item {}", "price": 1250}'
    note = '{"n": {}}'
    waited = '{"waited": true}'
    wait_path = "/wait"

    def __init__(self, cluster, key="chimpd", name=""):
        super().__init__(cluster)
        self.key = key
        self.name = name or "chimpd"

    def app(self):
        return APP.replace("@static@", self.static)

    def pids(self, role="http"):
        return [pid for (pid,) in self.session.rows(
            "select pid from chimp.processes where role = %s and alive "
            "order by slot", role)]

    def at_work(self):
        return len(self.pids()) == PROCESSES

    def reads(self):
        return Requests("/items/{}", self.item, ids=ITEMS)

    def reports(self):
        return Requests("/reports/{}", self.item, ids=ITEMS)

    def writes(self, first=FIRST_NOTE):
        return Requests("/notes", self.note, "POST", NOTE % "{}", first=first)

    def waits(self):
        return Requests(self.wait_path, self.waited)

    def effects(self):
        """Notes, and events about them; both came of the same transactions."""
        notes, different, events = self.session.rows(
            "select (select count(*) from bench.notes), "
            "(select count(distinct n) from bench.notes), "
            "(select count(*) from chimp.events where event = 'bench.noted')")[0]
        if notes != events:
            raise BenchError(f"{notes:,} notes, but {events:,} events")
        return notes, different


class Pgbench(Http):
    """The same work in the same database; there is no server's CPU."""

    def __init__(self, cluster, key, name):
        super().__init__(cluster, key, f"pgbench -M prepared: {name}")

    def workers_cpu(self):
        return 0.0


class Fastify(Http):
    item = '{"id":{},"name":"item {}","price":1250}'
    note = '{"n":{}}'
    waited = '{"waited":true}'

    def __init__(self, cluster, folder, key="fastify", name=""):
        super().__init__(cluster, key)
        self.folder = folder
        self.node = None
        self.name = " + ".join(f"{p} {installed_version(folder, p)}"
                               for p in ("fastify", "pg"))
        self.name = self.name.capitalize() + name

    def start(self):
        super().start()
        self.listen = f"127.0.0.1:{free_port()}"
        self.node = Node(self.folder, "fastify", {
            "host": str(self.cluster.dir), "pool": POOL,
            "port": int(self.listen.split(":")[1])}, self.cluster.log)

    def stop(self):
        if self.node:
            self.node.stop()
        self.node = None
        super().stop()

    def workers_cpu(self):
        return cpu_of([self.node.process.pid])


NGINX = """
worker_processes {processes};
pid {dir}/pid;
error_log stderr warn;
daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  open_file_cache max=100;
  default_type application/json;
  {temporary}
  server {{ listen {listen} backlog=4096; root {dir}/root; }}
}}
"""


def find_nginx():
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


class Nginx(Http):
    """As many processes; never the system's service, all in a folder of ours."""

    def __init__(self, cluster, files):
        super().__init__(cluster, "nginx", "nginx, a static file")
        self.files = files              # name -> bytes
        self.nginx = None

    def start(self):
        self.listen = f"127.0.0.1:{free_port()}"
        folder = self.cluster.dir / "nginx"
        (folder / "root").mkdir(parents=True)
        for name, content in self.files.items():
            (folder / "root" / name).write_bytes(content)
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(
            processes=PROCESSES, dir=folder, listen=self.listen,
            temporary=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                               ("client_body", "proxy", "fastcgi", "uwsgi",
                                "scgi"))))
        for path in (folder, *folder.rglob("*")):
            if self.cluster.who:
                os.chown(path, self.cluster.who["user"],
                         self.cluster.who["group"])
        self.nginx = self.cluster.spawn(find_nginx(), "-p", folder, "-c", conf,
                                        "-e", "stderr")
        self.cluster.wait((folder / "pid").exists, "nginx", 10)

    def stop(self):
        end(self.nginx, 15)
        self.nginx = None
        shutil.rmtree(self.cluster.dir / "nginx", ignore_errors=True)

    def workers_cpu(self):
        return cpu_of([self.nginx.pid])
