"""GET /metrics: complete, valid for promtool, bounded in time and size."""

import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from harness.load import Load
from harness.settings import SRCDIR
from harness.wait import Stopwatch, until

PROMTOOL = shutil.which("promtool")
SAMPLE = re.compile(r'^(\w+)\{(.*)\} (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def promtool(text):
    """What promtool finds wrong; it speaks up for style as well."""
    assert PROMTOOL, "promtool is missing: apt-get install prometheus"
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text.encode(),
                          capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0 and not said.strip(), said


def scrape(daemon):
    answer = daemon.http.get("/metrics")
    assert answer.status == 200 and answer.type == "text/plain"
    return answer.body.decode()


def samples(text):
    """{(name, frozenset of labels): value}; no two lines may be the same."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = (name, frozenset(LABEL.findall(labels)))
        assert key not in found, line
        found[key] = float(value)
    return found


def value(text, metric, **labels):
    """The one sample of this name with these labels; None if there is none."""
    wanted = set(labels.items())
    match = [v for (n, l), v in samples(text).items() if n == metric and wanted <= l]
    assert len(match) <= 1, (metric, labels, match)
    return match[0] if match else None


PARTS = {"processes", "queues", "schedules", "subscriptions", "state"}


def incomplete(text):
    parts = {dict(l)["part"]: v for (n, l), v in samples(text).items()
             if n == "chimpd_metrics_complete"}
    assert parts.keys() == PARTS
    return {part for part, v in parts.items() if v == 0}


def processes(text):
    return {dict(l)["process"] for (n, l), _ in samples(text).items() if n == "chimpd_build_info"}


def test_all_processes_of_the_node_are_there(start, orders_conf):
    daemon = start(orders_conf, processes=2)
    wanted = {"http/0", "http/1", "worker/default/0", "cron/0", "subscriber/0"}
    text = until(lambda: (t := scrape(daemon)) and processes(t) == wanted and t, "all have spoken")
    promtool(text)
    for process in wanted:
        assert value(text, "chimpd_process_cpu_seconds_total", process=process) > 0
        assert value(text, "chimpd_process_resident_memory_bytes", process=process) > 1e6
        assert value(text, "chimpd_process_restarts_total", process=process) == 0
        assert abs(value(text, "chimpd_process_start_timestamp_seconds", process=process)
                   - time.time()) < 600
    assert value(text, "chimpd_process_resident_memory_bytes", process="master") > 1e6
    assert value(text, "chimpd_database_up") == 1
    assert incomplete(text) == set()
    pid = daemon.kill("worker/default/0", signal.SIGKILL)
    daemon.wait_replaced("worker/default/0", pid)
    until(lambda: value(scrape(daemon), "chimpd_process_restarts_total",
                        process="worker/default/0") == 1, "the restart is counted")


def test_restarts_are_counted_over_reloads(start, orders_conf):
    daemon = start(orders_conf, processes=1)
    place = "worker/default/0"

    def now(what, process=place):
        return value(scrape(daemon), f"chimpd_process_{what}", process=process)

    for n in (1, 2):
        daemon.wait_replaced(place, daemon.kill(place))
        until(lambda n=n: now("restarts_total") == n, "the restart is counted")
        born = now("start_timestamp_seconds")
        daemon.send_signal(signal.SIGHUP)
        until(lambda born=born: now("start_timestamp_seconds") > born, "its successor has spoken")
        assert now("restarts_total") == n
        assert now("restarts_total", "http/0") == 0


def test_the_manual_has_every_name():
    shown = set(re.findall(r"^\| `(chimpd_\w+)` \|", (SRCDIR / "doc/metrics.md").read_text(), re.M))
    source = (SRCDIR / "src/common/base/metrics_text.c").read_text()
    assert shown == set(re.findall(r'\{ "(chimpd_\w+)", METRICS_', source))
    assert len(shown) > 30


def test_it_is_valid_and_right_under_load(start, orders_conf, database):
    daemon = start(orders_conf, processes=2)
    with Load(daemon.http, clients=2) as load:
        for _ in range(5):
            promtool(scrape(daemon))
            time.sleep(0.5)
        until(lambda: len(load.acknowledged) >= 20, "orders were taken")
    for n in range(5):
        assert daemon.http.get(f"/nowhere/{n}").status == 404
    wanted = database.value("select sum(done) from chimp.queues") and database.value(
        "select count(*) from chimp.jobs where state = 'done'")

    def complete():
        text = scrape(daemon)
        got = samples(text)
        done = sum(v for (n, l), v in got.items()
                   if n == "chimpd_worker_jobs_total" and ("outcome", "done") in l)
        missed = sum(v for (n, l), v in got.items()
                     if n == "chimpd_http_requests_total" and {("route", ""), ("code", "4xx")} <= l)
        return done >= wanted and missed == 5 and text

    text = until(complete, "what was done is counted")
    promtool(text)
    got = samples(text)
    counted = {l: v for (n, l), v in got.items() if n == "chimpd_http_requests_total"}
    for labels, n in counted.items():
        # A scrape counts itself when it is answered, and its time when it is over.
        assert 0 <= n - got[("chimpd_http_request_duration_seconds_count", labels)] <= 1
        buckets = [got[("chimpd_http_request_duration_seconds_bucket", labels | {("le", le)})]
                   for le in ("0.001", "0.1", "10", "+Inf")]
        assert buckets == sorted(buckets)
    jobs = sum(v for (n, l), v in got.items() if n == "chimpd_queue_jobs")
    assert jobs == database.value("select count(*) from chimp.jobs")


def test_queues_subscriptions_and_schedules(start, app, database):
    schema = """
    create schema t;
    create function t.fail(input jsonb) returns jsonb language plpgsql as
        $$ begin raise exception 'no'; end $$;
    create function t.ok(input jsonb) returns jsonb language sql as $$ select input $$;
    """
    daemon = start(app("""
      queue "fails" { sql = "t.fail"  max_attempts = 2  retry_delay = "1ms"  backoff = "constant" }
      queue "works" { sql = "t.ok" }
      queue "waits" { sql = "t.ok" }
      subscription "dies" { event = "e"  sql = "t.fail"  max_attempts = 1 }
      cron "often" { schedule = "* * * * * *"  sql = "t.ok" }
    """, schema))
    database.rows("select chimp.pause('waits')")
    database.rows("select chimp.enqueue('fails'), chimp.enqueue('works'), chimp.enqueue('waits'),"
                  " chimp.enqueue('waits', delay => '1 h'), chimp.publish('e')")

    def all_there():
        text = scrape(daemon)
        job = "chimpd_worker_jobs_total"
        return (value(text, job, queue="fails", outcome="retry") == 1
                and value(text, job, queue="fails", outcome="dead") == 1
                and value(text, job, queue="works", outcome="done") == 1
                and value(text, "chimpd_queue_jobs", queue="fails", state="dead") == 1
                and value(text, "chimpd_subscription_dead_events", subscription="dies") == 1
                and value(text, "chimpd_schedule_lateness_seconds", schedule="often") is not None
                and text)

    database.rows("select chimp.counter_add('made \"twice\"', 1.5) from generate_series(1, 2)")
    database.rows("select chimp.collection_insert('c', '{}'), chimp.kv_set('k', '1')")
    until(lambda: database.value("select count(*) from chimp.counter_value"), "a worker has folded the counter")
    text = until(all_there, "all figures are there")
    assert value(text, "chimpd_state_value", counter='made \\"twice\\"') == 3
    assert value(text, "chimpd_state_bytes", kind="kv") > 0 == value(text, "chimpd_state_bytes", kind="collections") - (
        database.value("select pg_total_relation_size('chimp.documents_1')"))
    promtool(text)
    assert value(text, "chimpd_queue_jobs", queue="waits", state="ready") == 1
    assert value(text, "chimpd_queue_jobs", queue="waits", state="scheduled") == 1
    assert value(text, "chimpd_queue_oldest_ready_age_seconds", queue="waits") > 0
    assert value(text, "chimpd_queue_oldest_ready_age_seconds", queue="works") == 0
    assert value(text, "chimpd_queue_consumers", queue="works") == 1
    assert value(text, "chimpd_queue_paused", queue="waits") == 1
    assert value(text, "chimpd_queue_paused", queue="works") == 0
    assert value(text, "chimpd_subscription_lag_events", subscription="dies") == 0
    assert 0 <= value(text, "chimpd_schedule_lateness_seconds", schedule="often") < 60
    assert abs(value(text, "chimpd_schedule_next_timestamp_seconds", schedule="often")
               - time.time()) < 60
    assert value(text, "chimpd_metrics_left_out", kind="queue") == 0


def test_it_answers_while_the_database_is_down(start, orders_conf, own_cluster, figure):
    database = own_cluster.create_database()
    daemon = start(orders_conf, url=database.url)
    until(lambda: "subscriber/0" in processes(scrape(daemon)), "all have spoken")
    own_cluster.stop()
    until(lambda: value(scrape(daemon), "chimpd_database_up") == 0, "it is seen")
    with Stopwatch() as watch:
        text = scrape(daemon)
    figure("/metrics without a database", watch.ms, "ms", 100)
    promtool(text)
    assert processes(text) == {"http/0"}
    assert incomplete(text) == PARTS
    assert value(text, "chimpd_http_requests_total", route="GET /metrics", code="2xx") > 0
    own_cluster.start()
    until(lambda: processes(scrape(daemon)) >= {"http/0", "subscriber/0"}, "all are back")


def test_it_answers_in_time_while_the_database_hangs(start, orders_conf, own_cluster, figure):
    database = own_cluster.create_database()
    daemon = start(orders_conf, url=database.url)
    until(lambda: "subscriber/0" in processes(scrape(daemon)), "all have spoken")
    time.sleep(1.1)
    with database.connect() as holder, holder.cursor() as cursor:
        cursor.execute("begin; lock table chimp.queue in access exclusive mode")
        with Stopwatch() as watch:
            text = scrape(daemon)
        cursor.execute("rollback")
    figure("/metrics while the database hangs", watch.ms, "ms", 1000)
    promtool(text)
    # What came before the part that hangs is there.
    assert value(text, "chimpd_database_up") == 1
    assert incomplete(text) == PARTS - {"processes"}
    assert "subscriber/0" in processes(text)
    until(lambda: incomplete(scrape(daemon)) == set(), "it is complete again")


def test_scrapes_that_come_together_share_one_round(start, orders_conf, database):
    daemon = start(orders_conf)
    until(lambda: "subscriber/0" in processes(scrape(daemon)), "all have spoken")
    database.rows("create table public.asked (at timestamptz)")
    database.rows("""
        create or replace function chimp.metrics_queues(max_rows int) returns text
        language plpgsql as $$
        begin
            insert into public.asked values (clock_timestamp());
            perform pg_sleep(0.3);
            return 'chimpd_queue_paused{queue="one"} 0';
        end $$""")
    time.sleep(1.2)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(scrape(daemon))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers += [scrape(daemon) for _ in range(5)]
    assert all(value(text, "chimpd_queue_paused", queue="one") == 0 for text in answers)
    # Twenty at once, five within the second after: at most one more on a slow machine.
    assert database.value("select count(*) from public.asked") <= 2


def test_a_client_that_leaves_while_it_waits(start, orders_conf, database):
    daemon = start(orders_conf)
    until(lambda: "subscriber/0" in processes(scrape(daemon)), "all have spoken")
    time.sleep(1.1)
    with database.connect() as holder, holder.cursor() as cursor:
        cursor.execute("begin; lock table chimp.queue in access exclusive mode")
        for _ in range(10):
            with daemon.http.socket() as sock:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        cursor.execute("rollback")
    assert processes(until(lambda: scrape(daemon), "it answers"))


@pytest.mark.parametrize("name", ['quote "', "back\\slash", "line\nbreak", "\u00e4\U0001f600", "{},=#"])
def test_odd_characters_in_labels(start, orders_conf, database, name):
    daemon = start(orders_conf)
    database.rows("""
        with q as (
            insert into chimp.queue (name, handler, max_attempts, retry_delay_ms, retry_delay_max_ms, backoff,
                timeout_ms, dead_letter, priority)
            select %s, handler, max_attempts, retry_delay_ms, retry_delay_max_ms, backoff, timeout_ms,
                dead_letter, priority from chimp.queue limit 1 returning id)
        insert into chimp.queue_count (queue_id) select id from q""", name)
    written = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    text = until(lambda: (t := scrape(daemon)) and value(
        t, "chimpd_queue_jobs", queue=written, state="ready") == 0 and t, "the queue is there")
    promtool(text)


def test_the_number_of_queues_is_bounded(start, orders_conf, database, figure):
    daemon = start(orders_conf)
    database.rows("""
        with q as (
            insert into chimp.queue (name, handler, max_attempts, retry_delay_ms, retry_delay_max_ms, backoff,
                timeout_ms, dead_letter, priority)
            select 'many.' || n, o.handler, o.max_attempts, o.retry_delay_ms, o.retry_delay_max_ms, o.backoff,
                o.timeout_ms, o.dead_letter, o.priority
            from (select * from chimp.queue limit 1) o, generate_series(1, 1500) n returning id)
        insert into chimp.queue_count (queue_id) select id from q""")
    left_out = database.value("select count(*) from chimp.queue") - 1000
    text = until(lambda: (t := scrape(daemon)) and value(
        t, "chimpd_metrics_left_out", kind="queue") == left_out and t, "the rest is left out")
    promtool(text)
    queues = {l for (n, l), _ in samples(text).items() if n == "chimpd_queue_paused"}
    assert len(queues) == 1000
    with Stopwatch() as watch:
        scrape(daemon)
    figure("/metrics with 1,000 queues, cached", watch.ms, "ms", 100)
