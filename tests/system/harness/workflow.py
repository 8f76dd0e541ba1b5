"""Workflows of tests: definitions, nodes that have them, and their runs."""

import json
import shutil
import uuid

import psycopg2

from .chimpd import Chimpd
from .cluster import rows, temp_dir
from .wait import until

# Handlers that write down what they get, by the tag in it.
SCHEMA = """
create schema t;
create table t.log (n bigint generated always as identity, tag text, what text, input jsonb, attempt int);
create table t.closed (gate text primary key);
create function t.log(what text, input jsonb) returns void language sql as $$
	insert into t.log (tag, what, input, attempt)
	values (input ->> 'tag', what, input, (chimp.job() ->> 'attempt')::int)
$$;
create function t.note(input jsonb) returns jsonb language plpgsql as $$
begin
	perform t.log('note', input);
	return coalesce(input -> 'return', input);
end $$;
create function t.undo(input jsonb) returns jsonb language plpgsql as $$
begin
	perform t.log('undo', input || jsonb_build_object('tag', coalesce(input ->> 'tag', input #>> '{input,tag}')));
	if coalesce(input #>> '{input,name}', input ->> 'name') = 'stuck' then
		raise exception 'cannot undo';
	end if;
	return null;
end $$;
create function t.pass(input jsonb) returns jsonb language plpgsql as $$
begin
	perform t.log('pass', input);
	if exists (select from t.closed c where c.gate = input ->> 'tag') then
		raise exception 'the gate of % is closed', input ->> 'tag';
	elsif (input ->> 'fails')::int >= (chimp.job() ->> 'attempt')::int then
		raise exception 'fails % times', input ->> 'fails';
	end if;
	perform pg_sleep(coalesce((input ->> 'sleep')::float8, 0));
	return '{"passed": true}';
end $$;
create function t.big(input jsonb) returns jsonb language plpgsql as $$
begin
	perform t.log('big', input);
	if exists (select from t.closed c where c.gate = input ->> 'tag') then
		return jsonb_build_object('big', repeat('x', 10000000));
	end if;
	return '{"big": "no"}';
end $$;
create function t.initial(input jsonb) returns jsonb language sql as $$
	select jsonb_build_object('count', coalesce(input -> 'count', '0'))
$$;
create function t.count_up(context jsonb) returns jsonb language sql as $$
	select context -> 'state' || jsonb_build_object('count', (context #>> '{state,count}')::int + 1)
$$;
create function t.number(context jsonb) returns jsonb language sql as $$ select '42'::jsonb $$;
"""
ACTIONS = ("note", "undo", "pass", "big")
POLICIES = {"max_attempts": 2, "retry_delay_ms": 10, "retry_delay_max_ms": 1000, "backoff": "constant",
            "timeout_ms": 0, "concurrency": 0, "group": 32, "retention_ms": 86400000,
            "max_transitions": 10000}


def workflow(name, *steps, version=1, **more):
    """A definition as the configuration has it."""
    return {"name": name, "version": version, **POLICIES, **more, "steps": list(steps)}


def step(kind, name, **more):
    for key in ("input", "compensate_input"):
        if isinstance(more.get(key), (dict, list)):
            more[key] = json.dumps(more[key])
    return {"name": name, "kind": kind, **more}


def action(name, does="note", **more):
    return step("action", name, action=does, **more)


def signal(name, awaited=None, **more):
    return step("signal", name, signal=awaited or name, **more)


def sleep(name, ms, **more):
    return step("sleep", name, sleep_ms=ms, **more)


def goto(name, target, **more):
    return step("goto", name, goto=target, **more)


def child(name, of, **more):
    return step("workflow", name, workflow=of, **more)


class Node:
    """One that has workflows, beside those that run their steps."""

    def __init__(self, database, name="n2"):
        self.database = database
        self.id = str(uuid.uuid4())
        self.name = name
        # A node without processes would be forgotten.
        database.rows("select chimp.process_start(%s, %s, %s, 'cron', null, 0, 1, 'x', null, 3600000)",
                      self.id, self.id, name)

    def die(self):
        """As after a minute without a process."""
        self.database.rows("update chimp.node set registered_at = registered_at - interval '2 min' where id = %s", self.id)
        self.database.rows("select chimp.process_end(%s), chimp.reap()", self.id)

    def register(self, *workflows, actions=ACTIONS):
        self.database.rows("select chimp.register_apps(%s, %s, %s)", self.id, self.name, json.dumps({
            "event_retention_ms": 604800000,
            "apps": [{"name": "t", "actions": [{"name": a, "sql": f"t.{a}"} for a in actions],
                      "workflows": workflows}]}))


class Run:
    """A run of a workflow, seen from outside."""

    def __init__(self, database, id):
        self.database = database
        self.id = id

    def __getattr__(self, name):
        """status, state, results, ... of chimp.workflows"""
        if name not in ("name", "version", "status", "input", "state", "results", "current_step",
                        "waits_for", "wake_at", "error", "parent"):
            raise AttributeError(name)
        return self.database.value(f"select {name} from chimp.workflows where id = %s", self.id)

    def get(self):
        return self.database.value("select chimp.workflow_get(%s)", self.id)

    def wait(self, *statuses, timeout=10):
        """Until it is in one of these; without any, until it has ended."""
        statuses = statuses or ("completed", "failed", "cancelled")
        until(lambda: self.status in statuses, f"{self.id} is {' or '.join(statuses)}, not"
              f" {self.status}: {self.error}", timeout, interval=0.005)
        return self

    def at(self, name, status, timeout=10):
        until(lambda: (self.current_step, self.status) == (name, status),
              f"{self.id} is {status} at {name}", timeout, interval=0.005)
        return self

    def completed(self):
        self.wait()
        assert self.status == "completed", self.error
        return self

    def failed(self):
        """Its error, when it has failed."""
        self.wait()
        assert self.status == "failed"
        return self.error

    def signal(self, name, payload=None, dedup=None):
        return self.database.value("select chimp.workflow_signal(%s, %s, %s, %s)", self.id, name,
                                   json.dumps(payload), dedup)

    def cancel(self, reason=None):
        return self.database.value("select chimp.workflow_cancel(%s, %s)", self.id, reason)

    def retry(self):
        return self.database.value("select chimp.workflow_retry(%s)", self.id)

    def history(self):
        """[(step, what)]"""
        return self.database.rows("select step, what from chimp.workflow_events where id = %s order by seq",
                                  self.id)

    def log(self, what="note"):
        """What handlers have got of it."""
        return [i for i, in self.database.rows("select input from t.log where tag = %s and what = %s"
                                               " order by n", self.id, what)]

    def job(self):
        """The job that will move it on."""
        return self.database.value("select job_id from chimp.workflow_run where external_id = %s", self.id)


class Workflows:
    """A chimpd with a worker, and workflows that a node has registered."""

    def __init__(self, database, *workflows, schema=SCHEMA, actions=ACTIONS):
        self.dir = temp_dir("workflow")
        self.database = database
        self.daemon = Chimpd(self.dir, url=database.url, cron=0, subscriber=0).start()
        database.rows(schema)
        self.node = Node(database)
        self.node.register(*workflows, actions=actions)

    def finish(self):
        try:
            self.daemon.finish()
            assert self.database.value(
                "select deadlocks from pg_stat_database where datname = current_database()") == 0
        finally:
            self.database.drop()
            shutil.rmtree(self.dir)

    def start(self, name, input=None, id=None, connection=None):
        """A run; its id is in its input as "tag"."""
        id = id or str(uuid.uuid4())
        run = "select chimp.workflow_start(%s, %s, %s)"
        arguments = (name, json.dumps({"tag": id, **(input or {})}), id)
        if connection is None:
            self.database.rows(run, *arguments)
        else:
            rows(connection, run, *arguments)
        return Run(self.database, id)

    def run(self, name, input=None, id=None):
        """One that has completed."""
        return self.start(name, input, id).completed()

    def close(self, run):
        """Have t.pass fail for this run, also one that is to be started."""
        self.database.rows("insert into t.closed values (%s)", getattr(run, "id", run))

    def open(self, run):
        self.database.rows("delete from t.closed where gate = %s", run.id)

    def start_closed(self, name, input=None):
        id = str(uuid.uuid4())
        self.close(id)
        return self.start(name, input, id)


def refused(code, call, *args):
    """The error of a call that is refused with this SQLSTATE."""
    try:
        call(*args)
    except psycopg2.Error as e:
        assert e.pgcode == code, e
        return e.diag
    raise AssertionError(f"not refused with {code}")
