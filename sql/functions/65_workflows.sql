-- Workflows: what users call. A run is a row; each of its steps is a job of the
-- queue workflow:NAME. doc/workflows.md says why.
--
-- Whoever moves a run holds its row. Callers that are not its job never wait for
-- one that does: what they want is a signal (a row of its own) and a job that
-- looks at it, which comes into being when they commit.

create or replace function chimp.workflow_find(id text) returns chimp.workflow_run
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	r chimp.workflow_run;
begin
	select * into r from chimp.workflow_run o where o.external_id = $1;
	if not found then
		raise exception 'unknown workflow run "%"', $1 using errcode = 'CH002',
			hint = 'ended runs are kept for the retention of their workflow';
	end if;
	return r;
end $$;

-- As chimp.job_to_ready and what comes before it, in the few statements that each
-- step of each run costs.
create or replace function chimp.workflow_enqueue(definition int, payload jsonb, run_at timestamptz, attempts int,
	timeout_ms bigint, trace text, job bigint default nextval('chimp.job_id_seq')) returns bigint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	q record;
begin
	select o.id, -o.priority as rank, o.name, o.paused_at is null and pg_sequence_last_value(o.wake) = 2 as asleep
	into q
	from chimp.workflow_definition d join chimp.workflow w on w.id = d.workflow_id join chimp.queue o on o.id = w.queue_id
	where d.id = $1;
	insert into chimp.job (id, queue_id, priority, payload, max_attempts, timeout_ms, trace) overriding system value
	values (job, q.id, -q.rank, $2, $4, $5, $6);
	if run_at > clock_timestamp() then
		insert into chimp.job_scheduled (job_id, queue_id, run_at) values (job, q.id, $3);
		-- Sleepers look again every 5 s and learn of later ones then.
		if run_at > clock_timestamp() + interval '6 s' then
			return job;
		end if;
	else
		insert into chimp.job_ready (queue_id, rank, job_id) values (q.id, q.rank, job);
	end if;
	if q.asleep then
		perform pg_notify('chimp_work', q.name);
	end if;
	return job;
end $$;
comment on function chimp.workflow_enqueue(int, jsonb, timestamptz, int, bigint, text, bigint) is
	'A job that moves a run of this definition on, now or at run_at; its id.';

create or replace function chimp.workflow_begin_run(name text, input jsonb, id text, parent bigint) returns bigint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	d record;
	run bigint;
	job bigint := nextval('chimp.job_id_seq');
	former text;
begin
	select o.id as definition, s.id as step_id, s.name as step,
		(s.definition ->> 'max_attempts')::int as attempts, (s.definition ->> 'timeout_ms')::bigint as timeout_ms
	into d
	from chimp.workflow w
	join chimp.workflow_definition o on o.workflow_id = w.id
	-- The first step, if it can be begun without looking.
	left join chimp.workflow_step s on s.definition_id = o.id and s.number = 1
		and s.kind in ('run', 'action') and not s.definition ? 'when'
	-- A child is parked until a node has it: its parent must not fail for that.
	where w.name = $1 and (o.active or parent is not null)
	order by o.active desc, o.version desc limit 1;
	if not found then
		raise exception 'unknown workflow "%"', $1 using errcode = 'CH002',
			hint = 'register it in an app file: workflow "NAME" { ... }; a live node must have it';
	end if;
	-- A child's id is made of its parent's.
	if id = '' or length(id) > 200 and parent is null then
		raise exception 'chimp.workflow_start: an id has 1 to 200 characters' using errcode = '22023';
	end if;
	insert into chimp.workflow_run as r (external_id, definition_id, status, step_id, step, input, parent_id, job_id)
	values (coalesce($3, gen_random_uuid()::text), d.definition, 'running', d.step_id, nullif(d.step, ''),
		coalesce($2, '{}'), $4, job)
	on conflict do nothing
	returning r.id into run;
	if run is null then
		select w.name into former from chimp.workflow_run r
		join chimp.workflow_definition o on o.id = r.definition_id join chimp.workflow w on w.id = o.workflow_id
		where r.external_id = $3;
		if former is distinct from $1 then
			raise exception 'workflow run "%" is one of workflow "%"', $3, former using errcode = 'CH003';
		end if;
		return null;
	end if;
	perform chimp.workflow_enqueue(d.definition, jsonb_build_object('run', run, 'seq', 0), null, d.attempts,
		d.timeout_ms, nullif(current_setting('chimp.trace', true), ''), job);
	return run;
end $$;
comment on function chimp.workflow_begin_run(text, jsonb, text, bigint) is
	'Make a run and the job of its first step; NULL if there is one with this id.';

create or replace function chimp.workflow_start(name text, input jsonb default '{}', id text default null)
returns text language plpgsql as $$
declare
	run bigint;
begin
	run := chimp.workflow_begin_run($1, $2, $3, null);
	return coalesce($3, (select r.external_id from chimp.workflow_run r where r.id = run));
end $$;
comment on function chimp.workflow_start(text, jsonb, text) is
	'Start a run of the newest version of a workflow when this transaction commits; returns its id, a UUID unless one is given. Idempotent: where a run of this workflow has the id, nothing happens. CH002: no live node has a workflow of this name. CH003: a run of another workflow has the id.';

create or replace function chimp.workflow_tell(r chimp.workflow_run, signal text, payload jsonb, dedup_id text)
returns boolean language plpgsql as $$
begin
	insert into chimp.workflow_signal (run_id, name, payload, dedup_id)
	values (r.id, $2, $3, $4)
	on conflict do nothing;
	if not found then
		return false;
	end if;
	-- Looks whether the run waits for it, when both are committed.
	perform chimp.workflow_enqueue(r.definition_id, jsonb_build_object('run', r.id, 'signal', $2), null, null, null,
		nullif(current_setting('chimp.trace', true), ''));
	return true;
end $$;

create or replace function chimp.workflow_signal(id text, signal text, payload jsonb default null,
	dedup_id text default null)
returns boolean language plpgsql as $$
declare
	r chimp.workflow_run := chimp.workflow_find(id);
	known text[];
begin
	if coalesce(signal, '') = '' or starts_with(signal, 'chimp.') then
		raise exception 'chimp.workflow_signal: a signal needs a name, and one that does not begin with "chimp."'
			using errcode = '22023';
	end if;
	if starts_with(dedup_id, 'chimp.') then
		raise exception 'chimp.workflow_signal: a dedup id must not begin with "chimp."' using errcode = '22023';
	end if;
	if r.ended_at is not null then
		if exists (select from chimp.workflow_signal s where s.run_id = r.id and s.dedup_id = $4) then
			return false;
		end if;
		raise exception 'workflow run "%" has ended: it is %', id, r.status using errcode = 'CH002',
			hint = 'a signal to an ended run would never be read';
	end if;
	-- Which signals the run form waits for only its handler knows.
	known := array(select s.definition ->> 'signal' from chimp.workflow_step s
		where s.definition_id = r.definition_id and s.kind = 'signal' order by s.number);
	if signal <> all (known) and not exists (select from chimp.workflow_step s
		where s.definition_id = r.definition_id and s.kind = 'run') then
		raise exception 'workflow run "%" knows no signal "%"', id, signal using errcode = 'CH002',
			hint = case when known = '{}' then 'its workflow waits for none'
				else 'its workflow waits for ' || array_to_string(known, ', ') end;
	end if;
	return chimp.workflow_tell(r, signal, payload, dedup_id);
end $$;
comment on function chimp.workflow_signal(text, text, jsonb, text) is
	'Send a signal to a run: kept until the run waits for one of this name, consumed once, in order of arrival. False when one with this dedup_id has been sent to the run before. CH002: unknown run, one that has ended, or a signal that its steps do not wait for.';

create or replace function chimp.workflow_signal_with_start(name text, input jsonb, id text, signal text,
	payload jsonb default null, dedup_id text default null)
returns boolean language plpgsql as $$
begin
	perform chimp.workflow_begin_run($1, $2, $3, null);
	return chimp.workflow_signal($3, $4, $5, $6);
end $$;
comment on function chimp.workflow_signal_with_start(text, jsonb, text, text, jsonb, text) is
	'chimp.workflow_start, unless the run is there, and chimp.workflow_signal, in one.';

create or replace function chimp.workflow_cancel(id text, reason text default null) returns boolean
language plpgsql as $$
declare
	r chimp.workflow_run := chimp.workflow_find(id);
begin
	if r.ended_at is not null or r.failing is not null then
		return false;
	end if;
	return chimp.workflow_tell(r, 'chimp.cancel', to_jsonb(coalesce(reason, 'cancelled')), 'chimp.cancel');
end $$;
comment on function chimp.workflow_cancel(text, text) is
	'Cancel a run: at its next step, or at once while it sleeps or waits. What its completed steps have done is compensated, then it is cancelled. False when it has ended, fails already, or was cancelled before. CH002: unknown run.';

create or replace function chimp.workflow_retry(id text) returns boolean
language plpgsql as $$
declare
	r chimp.workflow_run;
	s chimp.workflow_step;
begin
	perform chimp.workflow_find(id);
	select * into r from chimp.workflow_run o where o.external_id = $1 for update;
	if r.status <> 'failed' then
		return false;
	end if;
	if exists (select from chimp.workflow_history h where h.run_id = r.id and h.what like 'compensat%') then
		raise exception 'workflow run "%" cannot be retried: its steps have been compensated', id
			using errcode = 'CH003', hint = 'start a new one';
	end if;
	select * into s from chimp.workflow_step o where o.id = r.step_id;
	r.failing := null;
	r.error := null;
	r.ended_at := null;
	r.seq := r.seq + 1;
	perform chimp.workflow_note(r, 'retried', null, null, false, null);
	-- It has failed before it could be cancelled.
	delete from chimp.workflow_signal m where m.run_id = r.id and m.name = 'chimp.cancel';
	if r.hops = 0 then                       -- it has not begun: with its initial state
		s := null;
		r.step_id := null;
		r.step := null;
	else
		r.hops := 1;
		if s.kind <> 'run' then
			perform chimp.workflow_go(r, s.number, null);
			return true;
		end if;
	end if;
	r.seq := r.seq + 1;
	if r.waits_for is not null then
		perform chimp.workflow_wait_again(r, s);
	else
		r.status := 'running';
		r.wake_at := null;
		r.job_id := chimp.workflow_job(r, s);
		perform chimp.workflow_save(r);
	end if;
	return true;
end $$;
comment on function chimp.workflow_retry(text) is
	'Have a failed run go on with the step that failed, with all its attempts; false unless it is failed. CH002: unknown run. CH003: its steps have been compensated.';

-- Reading -----------------------------------------------------------------------------

create or replace function chimp.workflow_json(r chimp.workflow_run) returns jsonb
language sql stable as $$
	select jsonb_build_object('workflowId', r.external_id, 'workflowName', w.name, 'workflowVersion', d.version,
		'status', r.status, 'input', r.input, 'state', r.state, 'results', r.results, 'currentStepId', r.step,
		'waitsFor', r.waits_for, 'wakeAtMs', chimp.to_ms(r.wake_at), 'lastError', r.error)
	from chimp.workflow_definition d join chimp.workflow w on w.id = d.workflow_id
	where d.id = r.definition_id
$$;

create or replace function chimp.workflow_get(id text) returns jsonb
language sql stable as $$
	select chimp.workflow_json(r) from chimp.workflow_run r where r.external_id = $1
$$;
comment on function chimp.workflow_get(text) is
	'A run: workflowId, workflowName, workflowVersion, status, input, state, results, currentStepId, waitsFor, wakeAtMs, lastError; NULL if there is none.';

create or replace function chimp.workflow_list(name text default null, status text default null,
	min_age interval default null, state_path jsonpath default null, max_rows int default 100, after text default null)
returns setof jsonb language sql stable as $$
	select chimp.workflow_json(r)
	from chimp.workflow_run r
	join chimp.workflow_definition d on d.id = r.definition_id
	join chimp.workflow w on w.id = d.workflow_id
	where ($1 is null or w.name = $1) and ($2 is null or r.status = $2)
	and ($3 is null or r.created_at <= clock_timestamp() - $3)
	and ($4 is null or coalesce(r.state @@ $4, false))
	and ($6 is null or r.id < (select o.id from chimp.workflow_run o where o.external_id = $6))
	order by r.id desc limit $5
$$;
comment on function chimp.workflow_list(text, text, interval, jsonpath, int, text) is
	'Runs as chimp.workflow_get shows them, the newest first: of a workflow, in a status, at least min_age old, whose state fits a JSON path predicate; behind the run `after`.';

create or replace function chimp.workflow_wait(id text, timeout interval default '30 s') returns jsonb
language plpgsql as $$
declare
	until timestamptz := clock_timestamp() + timeout;
	pause float8 := 0.005;
	r chimp.workflow_run;
begin
	loop
		r := chimp.workflow_find(id);
		if r.ended_at is not null then
			return chimp.workflow_json(r);
		end if;
		if clock_timestamp() >= until then
			raise exception 'workflow run "%" has not ended within %: it is %', id, timeout, r.status
				using errcode = '57014';
		end if;
		perform pg_sleep(least(pause, extract(epoch from until - clock_timestamp())));
		pause := least(pause * 2, 0.1);
	end loop;
end $$;
comment on function chimp.workflow_wait(text, interval) is
	'Wait until a run has ended, then return it as chimp.workflow_get does. It looks every 5 to 100 ms and needs READ COMMITTED; the run must have been started by another transaction. 57014: it has not ended in time. CH002: unknown run.';
