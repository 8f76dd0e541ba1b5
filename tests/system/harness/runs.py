"""Runs of workflows that anything may befall, and a model of what becomes of each.

A run's input says how it is to fare, so that its end, its state, its results and
its effects are known before it begins. Effects have no unique constraint: a second
one would be seen.
"""

import json
import random

from .settings import long_or_short

LATE_MS = long_or_short(10000, 1000)  # then a round waits anew
# Of a step's sleep, or its wait's time-out, at least; "timed" and "late" are talk's.
TIMERS_MS = {"nap": 50, "pause": 100, "rest": 60, "remind": 150, "jump": 150, "overdue": 150, "haste": 200,
             "round": LATE_MS, "rested": LATE_MS, "timed": 120, "late": 120}
KINDS = {1: "action", 2: "sleep wake", 3: "signal", 4: "time-out", 5: "child", 6: "compensation",
         7: "directive", 8: "cancel", 9: "goto"}

ACT = ('action = "act"  input = \'{{"id": "$.input.id", "step": "{0}", "k": {1}, "fails": {2}, "of": {3}}}\''
       "  {4}")


def act(step, k="0", fails="0", of="0", more=""):
    return f'step "{step}" {{ {ACT.format(step, k, fails, of, more)} }}'


POLICY = 'max_attempts = 6  backoff = "constant"  retry_delay = "20ms"'
WORKFLOWS = f"""
action "act" {{ sql = "t.act" }}
action "doom" {{ sql = "t.doom" }}
action "undo" {{ sql = "t.undo" }}
workflow "order" {{
  initial = "t.initial"  {POLICY}
  {act("reserve", fails='"$.input.fails"', more='result = "reserve"  compensate = "undo"')}
  {act("charge", more='''state = '{"k": "$.state.k", "charge": "$.result.done"}'
    compensate = "undo"  compensate_input = '{"input": "$.stepInput", "result": "$.result"}' ''')}
  step "nap" {{ sleep = "50ms" }}
  step "first" {{ signal = "pair"  result = "first" }}
  step "second" {{ signal = "pair"  result = "second" }}
  step "round" {{ signal = "late"  result = "round"  timeout = "{LATE_MS}ms"  on_timeout = "step:round" }}
  {act("work", k='"$.state.k"', fails='"$.results.round.fails"', of='"$.results.round.n"',
       more='''state = '{"k": "$.state.k + 1", "charge": "$.state.charge"}'  compensate = "undo"''')}
  step "pause" {{ sleep = "100ms"  when = '$.state.k < $.input.rounds' }}
  step "again" {{ goto = "round"  when = '$.state.k < $.input.rounds' }}
  step "hold" {{ signal = "hold"  when = '$.input.end == "cancel"' }}
  step "remind" {{ signal = "never"  timeout = "150ms"  on_timeout = "continue"
    when = '$.input.timeout == "continue"' }}
  step "jump" {{ signal = "never"  timeout = "150ms"  on_timeout = "step:part"
    when = '$.input.timeout == "step"' }}
  {act("between")}
  step "part" {{ workflow = "part"  input = "$.input.part"  result = "part"
    when = '$.input.part.end like_regex "."' }}
  step "haste" {{ workflow = "part"  input = "$.input.haste"  timeout = "200ms"  on_timeout = "continue"
    when = '$.input.haste.end like_regex "."' }}
  step "overdue" {{ signal = "never"  timeout = "150ms"  on_timeout = "fail"
    when = '$.input.timeout == "fail"' }}
  step "doomed" {{ action = "doom"  input = "$.input"  max_attempts = 2  when = '$.input.end == "doom"' }}
  {act("last")}
}}
workflow "part" {{
  {POLICY}
  {act("make", fails='"$.input.fails"', more='result = "make"  compensate = "undo"')}
  step "rest" {{ sleep = "60ms" }}
  step "hold" {{ signal = "hold"  when = '$.input.end == "hold"' }}
  step "doomed" {{ action = "doom"  input = "$.input"  max_attempts = 2  when = '$.input.end == "doom"' }}
}}
workflow "talk" {{ sql = "t.talk"  {POLICY} }}
"""

SCHEMA = """
create schema t;
create table t.effect (n bigint generated always as identity, id text, step text, k int, of int, what text);

-- The transitions that have come to their commit; those that a fault has struck
-- on their way are known by a lock that tells their kind.
create table t.made (n int primary key, noted boolean);
create function t.open(kind int, noted boolean) returns void language plpgsql as $$
declare
    n int := kind << 27 | floor(random() * 134217728)::int;
    job text := nullif(current_setting('chimp.job', true), '');
begin
    if job is not null then
        perform pg_advisory_xact_lock_shared(7, (split_part(job, ' ', 2)::bigint % 2147483648)::int);
        perform pg_advisory_xact_lock_shared(9, n);
    end if;
    insert into t.made values (n, noted);
end $$;
-- Those that are few the more often.
create function t.commit_slowly() returns trigger language plpgsql as $$
begin
    if random() < (case when new.n >> 27 in (4, 5, 6, 8, 9) then 0.2 else 0.04 end) then
        perform pg_sleep(random() * 0.25);
    end if;
    return null;
end $$;
create constraint trigger slowly after insert on t.made deferrable initially deferred
    for each row execute function t.commit_slowly();

create function t.noted() returns trigger language plpgsql as $$
declare
    talks boolean := (select r.external_id like 'talk-%' from chimp.workflow_run r where r.id = new.run_id);
    kind int := case
        when new.what = 'action' and new.result ? 'action' is not true then 1
        when new.what = 'sleep' and not talks then 2
        when new.what like 'timed out%' or new.error ->> 'message' like '% in time' then 4
        when new.what = 'compensated' then 6
        when talks and new.what in ('action', 'complete', 'sleep', 'transition', 'waitForSignal') then 7
        when new.what = 'goto' then 9 end;
begin
    if kind is not null then
        perform t.open(kind, true);
    end if;
    return null;
end $$;
create trigger noted after insert on chimp.workflow_history for each row execute function t.noted();
create function t.consumed() returns trigger language plpgsql as $$
begin
    perform t.open(case when new.name like 'chimp.child %' then 5 when new.name = 'chimp.cancel' then 8 else 3 end, true);
    return null;
end $$;
create trigger consumed after update on chimp.workflow_signal for each row execute function t.consumed();

create function t.initial(input jsonb) returns jsonb language sql as $$ select '{"k": 0}'::jsonb $$;
create function t.act(input jsonb) returns jsonb language plpgsql as $$
begin
    perform t.open(1, false);
    insert into t.effect (id, step, k, of, what)
    values (input ->> 'id', input ->> 'step', (input ->> 'k')::int, (input ->> 'of')::int, 'do');
    if random() < 0.1 then
        perform pg_sleep(random() * 0.3);
    end if;
    if (chimp.job() ->> 'attempt')::int <= (input ->> 'fails')::int then
        raise exception 'at times';
    end if;
    return jsonb_build_object('done', input ->> 'step', 'k', (input ->> 'k')::int);
end $$;
create function t.doom(input jsonb) returns jsonb language plpgsql as $$
begin
    perform t.open(1, false);
    insert into t.effect (id, step, what) values (input ->> 'id', 'doomed', 'do');
    raise exception 'always';
end $$;
create function t.undo(input jsonb) returns jsonb language plpgsql as $$
begin
    perform t.open(6, false);
    insert into t.effect (id, step, k, of, what)
    values (input #>> '{input,id}', input #>> '{result,done}', (input #>> '{result,k}')::int,
        (input #>> '{input,of}')::int, 'undo');
    if (chimp.job() ->> 'attempt')::int <= (input #>> '{input,fails}')::int then
        raise exception 'at times';
    end if;
    return null;
end $$;

create function t.talk(i jsonb) returns jsonb language plpgsql as $$
declare
    state jsonb := i -> 'state';
    k int := state -> 'k';
    step text := coalesce(i ->> 'step', 'start');
    effect jsonb := jsonb_build_object('id', i #> '{input,id}', 'step', step, 'k', k);
begin
    perform t.open(7, false);
    if step = 'start' then
        return '{"directive": "transition", "stepId": "ask", "state": {"k": 0}}';
    elsif step = 'ask' then
        return jsonb_build_object('directive', 'action', 'action', 'act', 'stepId', 'answered',
            'input', effect || jsonb_build_object('fails', i #> '{input,fails}', 'of', k));
    elsif step = 'answered' then
        return jsonb_build_object('directive', 'sleep', 'delayMs', 50, 'stepId', 'rested',
            'state', state || jsonb_build_object('answer', i #> '{signal,payload}'));
    elsif step = 'rested' then
        return '{"directive": "waitForSignal", "signal": "late", "stepId": "told",
            "timeoutMs": LATE_MS, "onTimeout": "step:rested"}';
    elsif step = 'told' then
        perform chimp.step(i ->> 'workflowId', 'told ' || k, 't.act',
            effect || jsonb_build_object('of', i #> '{signal,payload,n}'));
        state := state || jsonb_build_object('k', k + 1);
        if k + 1 < (i #>> '{input,rounds}')::int then
            return jsonb_build_object('directive', 'transition', 'stepId', 'ask', 'state', state);
        elsif i #>> '{input,end}' = 'cancel' then
            return jsonb_build_object('directive', 'waitForSignal', 'signal', 'hold', 'state', state);
        end if;
        return jsonb_build_object('directive', 'waitForSignal', 'signal', 'never', 'timeoutMs', 120,
            'onTimeout', i #> '{input,timeout}', 'stepId', 'timed', 'state', state);
    elsif i -> 'timedOut' <> 'true' then
        raise exception 'a signal that nobody has sent: %', i;
    elsif i #>> '{input,end}' = 'doom' then
        return '{"directive": "fail", "error": {"message": "doomed"}}';
    end if;
    return jsonb_build_object('directive', 'complete', 'state', state || jsonb_build_object('by', step));
end $$;
""".replace("LATE_MS", str(LATE_MS))

# Transitions under way, and for whom: (their number, worker, node, backend).
RUNNING = """
select k.objid::bigint as n, p.pid as worker, p.node, l.pid as backend
from pg_locks l join pg_locks k on k.pid = l.pid and k.locktype = 'advisory' and k.classid = 9 and k.granted
join chimp.job_claim c on c.token % 2147483648 = l.objid::bigint
join chimp.process p on p.id = c.process_id
where l.locktype = 'advisory' and l.classid = 7 and l.granted
"""

JOBS = """
with open as (
    select job_id from chimp.job_ready union all select job_id from chimp.job_scheduled
    union all select job_id from chimp.job_held union all select job_id from chimp.job_suspect
    union all select unnest(jobs) from chimp.job_claim
), job as materialized (
    select (j.payload ->> 'run')::bigint as run, (j.payload ->> 'seq')::int as seq, j.payload ->> 'signal' as signal
    from open o join chimp.job j on j.id = o.job_id join chimp.queue q on q.id = j.queue_id
    where q.workflow_id is not null
)
"""
# Of one snapshot: open runs that nothing will ever move on.
STUCK = JOBS + """
select r.external_id, r.status, r.seq, r.step, r.waits_for from chimp.workflow_run r
where r.ended_at is null and (r.status <> 'waiting_signal' or r.wake_at is not null)
and not exists (select from job j where j.run = r.id and j.seq = r.seq)
"""
# And those that wait for what is there.
DEAF = JOBS + """
select r.external_id, r.status, r.seq, r.step, s.name from chimp.workflow_run r
join chimp.workflow_signal s on s.run_id = r.id and s.consumed_seq is null
and s.name in (r.waits_for, 'chimp.cancel')
where r.status = 'waiting_signal' and r.ended_at is null and r.failing is null
and not exists (select from job j where j.run = r.id and (j.seq = r.seq or j.signal = s.name))
"""


class Run:
    """What a run is given, what it is sent, and how it will end.

    deeds: [(due, what it waits for until then, statement, arguments)], in order.
    """

    def __init__(self, dice, workflow, number, rounds_max, seconds):
        self.dice = dice
        self.workflow = workflow
        self.id = f"{workflow}-{number}"
        rounds = dice.randint(1, rounds_max)
        self.input = {"id": self.id, "rounds": rounds, "fails": dice.choices([0, 1, 2], [8, 1, 1])[0],
                      "end": dice.choices(["", "cancel", "doom"], [6, 2, 2])[0]}
        if workflow == "talk":
            self.input["timeout"] = dice.choice(["continue", "fail", "step:late"])
        else:
            self.input["timeout"] = dice.choice(["", "continue", "step", "fail"])
            for name, ends in (("part", ["", "", "ok", "doom", "hold"]), ("haste", ["", "", "hold"])):
                self.input[name] = {"id": f"{self.id}:{name}", "end": dice.choice(ends), "fails": dice.choice([0, 1])}
        self.payloads = [{"n": n, "fails": dice.choices([0, 1], [8, 1])[0]} for n in range(rounds)]
        self.status = self.step = self.state = None
        self.results = {}
        self.effects = {self.id: []}
        self.children = {}            # their step: status
        self.signals = {"late": rounds}
        self.expect()
        self.deeds = self.plan(seconds)

    # --- what it is sent ---

    def plan(self, seconds):
        """It starts within the first tenth of these seconds, and ends in the last two thirds."""
        dice = self.dice
        start = dice.uniform(0, seconds / 10)
        name_input = (self.workflow, json.dumps(self.input), self.id)
        deeds = [(start, None, "workflow_start(%s, %s, %s)", name_input)]
        if self.workflow == "order":
            self.signals["pair"] = 2
            if dice.random() < 0.5:
                deeds = [(start, None, "workflow_signal_with_start(%s, %s, %s, 'pair', '{\"n\": 1}', 'pair 1')",
                          name_input)]
            else:
                deeds.append((start, None, "workflow_signal(%s, 'pair', '{\"n\": 1}', 'pair 1')", (self.id,)))
            deeds.append((start, None, "workflow_signal(%s, 'pair', '{\"n\": 2}', 'pair 2')", (self.id,)))
        last = dice.uniform(max(start, 0.3 * seconds), 0.9 * seconds)
        dues = sorted(dice.uniform(start, last) for _ in self.payloads)
        for due, payload in zip(dues, self.payloads):
            # Before it waits or after, and at the moment at which it would do so no more.
            deeds.append((due, dice.choice([None, "late", "late!"]), "workflow_signal(%s, 'late', %s, %s)",
                          (self.id, json.dumps(payload), f"late {payload['n']}")))
        if self.status == "cancelled":
            deeds.append((start, "hold", "workflow_cancel(%s, 'enough')", (self.id,)))
        return deeds

    # --- what becomes of it ---

    def do(self, step, k=0, of=0, run=None):
        self.effects.setdefault(run or self.id, []).append((step, k, of, "do"))

    def undo(self, steps, run=None):
        effects = self.effects[run or self.id]
        effects += [(step, k, of, "undo") for step, k, of, _ in reversed(effects) if step in steps]

    def expect(self):
        if self.workflow == "talk":
            self.expect_talk()
            return
        self.do("reserve")
        self.do("charge")
        for k in range(self.input["rounds"]):
            self.do("work", k, k)
        self.state = {"k": self.input["rounds"], "charge": "charge"}
        self.results = {"reserve": {"done": "reserve", "k": 0}, "first": {"n": 1}, "second": {"n": 2},
                        "round": self.payloads[-1]}
        self.status, self.step = self.expect_end()
        if self.status != "completed":
            self.undo(("reserve", "charge", "work"))

    def expect_end(self):
        end, timeout = self.input["end"], self.input["timeout"]
        part, haste = self.input["part"], self.input["haste"]
        if end == "cancel":
            return "cancelled", "hold"
        if timeout != "step":
            self.do("between")
        if part["end"]:
            self.children["part"] = {"ok": "completed", "doom": "failed", "hold": "cancelled"}[part["end"]]
            self.do("make", run=part["id"])
            if part["end"] != "ok":
                self.undo(("make",), part["id"])
                return ("failed" if part["end"] == "doom" else "cancelled"), "part"
        if haste["end"]:
            self.children["haste"] = "cancelled"
        if timeout == "fail":
            return "failed", "overdue"
        if end == "doom":
            return "failed", "doomed"
        self.do("last")
        return "completed", None

    def expect_talk(self):
        rounds, end, timeout = (self.input[key] for key in ("rounds", "end", "timeout"))
        for k in range(rounds):
            self.do("ask", k, k)
            self.do("told", k, k)
        self.state = {"k": rounds, "answer": {"done": "ask", "k": rounds - 1}}
        if end == "cancel":
            self.status = "cancelled"
        elif timeout == "fail" or end == "doom":
            self.status = "failed"
        else:
            self.status = "completed"
            self.state["by"] = "late" if timeout == "step:late" else "timed"


def make(n, rounds_max, seconds, seed):
    dice = random.Random(seed)
    return [Run(dice, dice.choice(["order", "order", "talk"]), i, rounds_max, seconds) for i in range(n)]
