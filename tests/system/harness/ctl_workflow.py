"""Workflows that chimpctl is tried on: handlers, and definitions as a node registers them."""

import json

from .wait import until

SCHEMA = """
create schema t;
create table t.log (n bigint generated always as identity, what text, input jsonb);
create table t.switch (broken boolean);
insert into t.switch values (true);
create function t.create_account(i jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.log (what, input) values ('create', i);
	return '{"id": 7}';
end $$;
create function t.delete_account(i jsonb) returns jsonb language plpgsql as $$
begin
	insert into t.log (what, input) values ('delete', i);
	return null;
end $$;
create function t.boom(i jsonb) returns jsonb language plpgsql as $$
begin
	if (select broken from t.switch) then
		raise exception 'boom';
	end if;
	return null;
end $$;
create function t.hold(i jsonb) returns jsonb language sql as $$
	select to_jsonb(pg_advisory_xact_lock_shared(4711)::text)
$$;
create function t.init(i jsonb) returns jsonb language sql as $$ select i $$;
create function t.fulfil(i jsonb) returns jsonb language plpgsql as $$
begin
	if i ->> 'step' is null then
		return '{"directive": "waitForSignal", "signal": "go", "timeoutMs": 3600000, "stepId": "waited"}';
	end if;
	return '{"directive": "complete"}';
end $$;
create function t.strict(i jsonb) returns jsonb language sql as $$
	select t.fulfil(i) || '{"onTimeout": "fail"}'
$$;
"""
ACTIONS = {"createAccount": "t.create_account", "deleteAccount": "t.delete_account", "boom": "t.boom", "hold": "t.hold"}
HOUR = 3600000


def workflow(name, *steps, version=1, **more):
    """A definition as a node registers it; a step is (name, {its members})."""
    made = {"name": name, "version": version, "max_attempts": 1, "retry_delay_ms": 10, "retry_delay_max_ms": HOUR,
            "backoff": "constant", "timeout_ms": 0, "concurrency": 0, "group": 32, "retention_ms": 86400000,
            "max_transitions": 10000, "steps": [], **more}
    for step, members in steps:
        kind = next(k for k in ("action", "signal", "sleep_ms", "goto", "workflow") if k in members)
        made["steps"].append({"name": step, "kind": kind.replace("_ms", ""), **members})
    return made


def registrations(*workflows):
    return json.dumps({"event_retention_ms": 604800000, "apps": [{"name": "t", "actions": [
        {"name": name, "sql": sql} for name, sql in ACTIONS.items()], "workflows": workflows}]})


WAIT = workflow("wait", ("ask", {"signal": "yes"}))
LONG = workflow(
    "long", ("create", {"action": "createAccount", "result": "account", "compensate": "deleteAccount"}),
    ("big", {"goto": "nap", "when": "$.state.total > 100"}),
    ("verify", {"signal": "verified", "timeout_ms": HOUR, "on_timeout": "step:create", "result": "v"}),
    ("nap", {"sleep_ms": HOUR}), initial="t.init")


def wait_status(database, run_id, status):
    until(lambda: database.value("select status from chimp.workflows where id = %s", run_id) == status,
          f"run {run_id} is {status}")
