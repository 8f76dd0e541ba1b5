-- Workflows: how a run moves. Everything here is done by the run's own job, which
-- holds its row, in the transaction of what the step has done.

create or replace function chimp.workflow_note(r chimp.workflow_run, what text, result jsonb, error jsonb, undo boolean,
	input jsonb) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
begin
	insert into chimp.workflow_history (run_id, seq, step, what, job_id, attempts, undo, input, result, error)
	values (r.id, r.seq, r.step, $2, r.job_id,
		-- A failed one has been charged already.
		coalesce((select a.attempt + ($4 is null)::int from chimp.job_attempt a where a.job_id = r.job_id), 1),
		$5, $6, $3, $4);
end $$;
comment on function chimp.workflow_note(chimp.workflow_run, text, jsonb, jsonb, boolean, jsonb) is
	'Append to a run''s history, once for each of its numbers.';

create or replace function chimp.workflow_save(r chimp.workflow_run) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	most constant int := 1048576;
begin
	if pg_column_size(r.state) > most or pg_column_size(r.results) > most then
		-- As chimp.fail: no other attempt would make it smaller.
		raise exception 'workflow run "%": % bytes of state and % of results; % are allowed for each',
			r.external_id, pg_column_size(r.state), pg_column_size(r.results), most using errcode = 'CH006',
			hint = 'keep large things in a table, and their ids in the state';
	end if;
	update chimp.workflow_run o set status = r.status, seq = r.seq, hops = r.hops, step_id = r.step_id, step = r.step,
		waits_for = r.waits_for, on_timeout = r.on_timeout, wake_at = r.wake_at, job_id = r.job_id, call = r.call,
		failing = r.failing, undo_seq = r.undo_seq, parked_from = r.parked_from, state = r.state, results = r.results,
		error = r.error, ended_at = r.ended_at, updated_at = clock_timestamp()
	where o.id = r.id;
end $$;

create or replace function chimp.workflow_set_state(r chimp.workflow_run, state jsonb) returns jsonb
language plpgsql as $$
begin
	if jsonb_typeof(state) is distinct from 'object' then
		raise exception 'workflow run "%": its state must be a JSON object, not %', r.external_id,
			coalesce(jsonb_typeof(state), 'null') using errcode = 'CH006';
	end if;
	return state;
end $$;

create or replace function chimp.workflow_job(r chimp.workflow_run, s chimp.workflow_step) returns bigint
language plpgsql as $$
begin
	return chimp.workflow_enqueue(r.definition_id, jsonb_build_object('run', r.id, 'seq', r.seq), r.wake_at,
		(s.definition ->> 'max_attempts')::int,
		case s.kind when 'action' then (s.definition ->> 'timeout_ms')::bigint end, r.trace);
end $$;
comment on function chimp.workflow_job(chimp.workflow_run, chimp.workflow_step) is
	'The job that moves a run on, at its wake_at or now.';

-- Its former wait had a time-out, or its action was to be tried again: nobody
-- needs that job any more.
create or replace function chimp.workflow_unschedule(r chimp.workflow_run) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
begin
	delete from chimp.job_scheduled s where s.job_id = r.job_id;
	if found then
		perform chimp.job_forget(array[r.job_id]);
	end if;
end $$;

-- Going on ------------------------------------------------------------------------------

create or replace function chimp.workflow_step_at(definition int, name text) returns chimp.workflow_step
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	s chimp.workflow_step;
begin
	select * into s from chimp.workflow_step o where o.definition_id = $1 and o.name = $2;
	return s;
end $$;

create or replace function chimp.workflow_take(r chimp.workflow_run) returns jsonb
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	s chimp.workflow_signal;
begin
	update chimp.workflow_signal o set consumed_seq = r.seq
	where o.id = (select m.id from chimp.workflow_signal m
		where m.run_id = r.id and m.name = r.waits_for and m.consumed_seq is null order by m.id limit 1)
	returning * into s;
	if not found then
		return null;
	end if;
	return jsonb_build_object('name', s.name, 'payload', s.payload);
end $$;
comment on function chimp.workflow_take(chimp.workflow_run) is
	'Consume the oldest signal that a run waits for; NULL if there is none.';

create or replace function chimp.workflow_result(r chimp.workflow_run, s chimp.workflow_step, result jsonb)
returns chimp.workflow_run language plpgsql as $$
begin
	if s.definition ? 'result' then
		r.results := r.results || jsonb_build_object(s.definition ->> 'result', result);
	end if;
	if s.definition ? 'state' then
		r.state := chimp.workflow_set_state(r, chimp.workflow_value(s.definition ->> 'state',
			chimp.workflow_context(r) || jsonb_build_object('result', result)));
	end if;
	return r;
end $$;

create or replace function chimp.workflow_waited(r chimp.workflow_run, s chimp.workflow_step, signal jsonb)
returns void language plpgsql as $$
declare
	payload jsonb := signal -> 'payload';
begin
	if r.wake_at is not null then
		perform chimp.workflow_unschedule(r);
	end if;
	r.waits_for := null;
	r.wake_at := null;
	if s.kind = 'workflow' and payload ->> 'status' <> 'completed' then
		perform chimp.workflow_fail(r, jsonb_build_object('message', format('workflow run "%s" is %s',
			payload ->> 'workflowId', payload ->> 'status'), 'cause', payload -> 'lastError'));
		return;
	end if;
	r.hops := 0;
	perform chimp.workflow_note(r, s.kind, payload, null, false, null);
	perform chimp.workflow_go(chimp.workflow_result(r, s, payload), s.number + 1, null);
end $$;
comment on function chimp.workflow_waited(chimp.workflow_run, chimp.workflow_step, jsonb) is
	'A run of steps has got what it waited for: go on.';

create or replace function chimp.workflow_known(name text) returns boolean
language sql stable as $$
	select exists (select from chimp.workflow w join chimp.workflow_definition d on d.workflow_id = w.id
		where w.name = $1)
$$;

create or replace function chimp.workflow_enter(r chimp.workflow_run, s chimp.workflow_step) returns void
language plpgsql as $$
declare
	timeout bigint := coalesce((s.definition ->> case s.kind when 'sleep' then 'sleep_ms' else 'timeout_ms' end)::bigint, 0);
	child text;
	signal jsonb;
begin
	r.step_id := s.id;
	r.step := nullif(s.name, '');
	r.status := case when s.kind in ('run', 'action') then 'running' when s.kind = 'sleep' then 'sleeping'
		else 'waiting_signal' end;
	child := format('%s/%s/%s', r.external_id, s.name, r.seq);
	r.waits_for := case s.kind when 'signal' then s.definition ->> 'signal'
		when 'workflow' then 'chimp.child ' || child end;
	r.on_timeout := s.definition ->> 'on_timeout';
	r.wake_at := case when s.kind not in ('run', 'action') and timeout > 0 then clock_timestamp() + timeout * interval '1 ms' end;
	if s.kind = 'signal' then
		signal := chimp.workflow_take(r);
		if signal is not null then
			r.wake_at := null;
			perform chimp.workflow_waited(r, s, signal);
			return;
		end if;
	elsif s.kind = 'workflow' then
		if not chimp.workflow_known(s.definition ->> 'workflow') then
			-- It may come with another app. Who brings it looks for parked runs
			-- behind this. One that has been there is parked itself.
			perform pg_advisory_xact_lock_shared(hashtext('chimp.registry'));
			if not chimp.workflow_known(s.definition ->> 'workflow') then
				r.status := 'parked';
				r.parked_from := 'running';
				r.waits_for := null;
				r.wake_at := null;
				r.job_id := null;
				r.error := jsonb_build_object('message', format('no live node has a workflow "%s"',
					s.definition ->> 'workflow'), 'step', s.name);
				perform chimp.workflow_save(r);
				return;
			end if;
		end if;
		if chimp.workflow_begin_run(s.definition ->> 'workflow', case when s.definition ? 'input'
			then chimp.workflow_value(s.definition ->> 'input', chimp.workflow_context(r)) else r.input end,
			child, r.id) is null then
			raise exception 'workflow run "%": there is a run "%"', r.external_id, child using errcode = 'CH003';
		end if;
	end if;
	if s.kind in ('run', 'action', 'sleep') or r.wake_at is not null then
		r.job_id := chimp.workflow_job(r, s);
	else
		r.job_id := null;
	end if;
	perform chimp.workflow_save(r);
end $$;
comment on function chimp.workflow_enter(chimp.workflow_run, chimp.workflow_step) is
	'Make a step the current one of a run: its job, its sleep, its wait, its child.';

create or replace function chimp.workflow_go(r chimp.workflow_run, number int, target text) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	s chimp.workflow_step;
	most int;
begin
	loop
		r.seq := r.seq + 1;
		r.hops := r.hops + 1;
		if target = 'end' then
			s := null;
		elsif target is not null then
			s := chimp.workflow_step_at(r.definition_id, target);
		else
			select * into s from chimp.workflow_step o where o.definition_id = r.definition_id and o.number = $2;
		end if;
		target := null;
		if s.id is null then
			r.step_id := null;
			r.step := null;
			perform chimp.workflow_end(r, 'completed');
			return;
		end if;
		number := s.number + 1;
		r.step_id := s.id;
		r.step := s.name;
		if r.hops > 10 and most is null then     -- most runs need not know
			select d.max_transitions into most from chimp.workflow_definition d where d.id = r.definition_id;
		end if;
		if r.hops > most then
			perform chimp.workflow_fail(r, jsonb_build_object('message', format(
				'more than %s transitions without sleeping or waiting: an endless loop?', most),
				'hint', 'max_transitions of the workflow bounds them'));
			return;
		end if;
		if s.definition ? 'when'
			and not coalesce(chimp.workflow_context(r) @@ (s.definition ->> 'when')::jsonpath, false) then
			perform chimp.workflow_note(r, 'passed over', null, null, false, null);
		elsif s.kind = 'goto' then
			perform chimp.workflow_note(r, 'goto', to_jsonb(s.definition ->> 'goto'), null, false, null);
			r := chimp.workflow_result(r, s, null);
			target := s.definition ->> 'goto';
		elsif s.kind = 'sleep' and s.definition -> 'sleep_ms' = '0' then
			perform chimp.workflow_note(r, 'sleep', null, null, false, null);
			r := chimp.workflow_result(r, s, null);
		else
			perform chimp.workflow_enter(r, s);
			return;
		end if;
	end loop;
end $$;
comment on function chimp.workflow_go(chimp.workflow_run, int, text) is
	'Go on with the step of this number, or of this name: through what takes no time, to the next that does, or to the end.';

create or replace function chimp.workflow_timed_out(r chimp.workflow_run, s chimp.workflow_step) returns void
language plpgsql as $$
begin
	r.wake_at := null;
	perform chimp.workflow_cancel(c.external_id, 'it has not ended in time')
	from chimp.workflow_run c where c.parent_id = r.id and c.ended_at is null;
	if coalesce(r.on_timeout, 'fail') = 'fail' then
		perform chimp.workflow_fail(r, jsonb_build_object('message', case s.kind
			when 'workflow' then format('step "%s": its child has not ended in time', r.step)
			else format('step "%s": no signal "%s" in time', r.step, r.waits_for) end));
		return;
	end if;
	perform chimp.workflow_note(r, 'timed out', null, null, false, null);
	r.waits_for := null;
	r.hops := 0;
	if r.on_timeout = 'continue' then
		perform chimp.workflow_go(r, s.number + 1, null);
	else
		perform chimp.workflow_go(r, null, substr(r.on_timeout, 6));
	end if;
end $$;

-- A step's job ---------------------------------------------------------------------------

create or replace function chimp.workflow_park(r chimp.workflow_run) returns void
language plpgsql as $$
begin
	r.parked_from := r.status;
	r.status := 'parked';
	perform chimp.workflow_save(r);
end $$;

create or replace function chimp.workflow_cancelled(r chimp.workflow_run) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	reason jsonb;
begin
	r.seq := r.seq + 1;
	update chimp.workflow_signal o set consumed_seq = r.seq
	where o.run_id = r.id and o.name = 'chimp.cancel' and o.consumed_seq is null
	returning o.payload into reason;
	perform chimp.workflow_unschedule(r);
	r.failing := 'cancelled';
	r.error := jsonb_build_object('message', reason, 'step', r.step);
	r.hops := 0;
	perform chimp.workflow_note(r, 'cancelled', null, r.error, false, null);
	-- Its child, too.
	perform chimp.workflow_cancel(c.external_id, 'its parent was cancelled')
	from chimp.workflow_run c where c.parent_id = r.id and c.ended_at is null;
	perform chimp.workflow_compensate(r);
end $$;
comment on function chimp.workflow_cancelled(chimp.workflow_run) is
	'Begin to cancel a run, as its signal chimp.cancel wants.';

create or replace function chimp.workflow_open(payload jsonb, out r chimp.workflow_run, out todo int, out signal jsonb,
	out timed_out boolean)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	run constant bigint := payload ->> 'run';
	seq constant int := payload ->> 'seq';
	s chimp.workflow_step;
	w record;
begin
	timed_out := false;
	select o as r, d.active, exists (select from chimp.workflow_signal c
		where c.run_id = o.id and c.name = 'chimp.cancel' and c.consumed_seq is null) as cancel
	into w
	from chimp.workflow_run o join chimp.workflow_definition d on d.id = o.definition_id
	where o.id = run for update of o skip locked;
	if not found then
		-- Another job of it is at work: look again, the less often the longer it takes.
		perform chimp.snooze(least(interval '1 s', greatest(interval '20 ms', (clock_timestamp()
			- case when $1 -> 'seq' is null then j.created_at else greatest(j.created_at, o.wake_at) end) / 4)))
		from chimp.workflow_run o
		left join chimp.job j on j.id = nullif(split_part(current_setting('chimp.job', true), ' ', 1), '')::bigint
		where o.id = run;
		return;
	end if;
	r := w.r;
	if r.ended_at is not null or r.status = 'parked' or seq <> r.seq then
		return;                          -- a wake that nobody needs any more
	end if;
	if payload ? 'failed' then               -- chimp.workflow_job_ended could not
		if seq is not null or r.status = 'waiting_signal' and r.waits_for = payload ->> 'signal' then
			perform chimp.workflow_fail(r, payload -> 'failed');
		end if;
		return;
	end if;
	if not w.active then
		-- Unless its version is coming back: who brings it looks for parked runs
		-- when the definition is theirs.
		perform from chimp.workflow_definition d where d.id = r.definition_id and not d.active for share;
		if not found then
			perform chimp.snooze('20 ms');
		end if;
		perform chimp.workflow_park(r);
		return;
	end if;
	if r.failing is null and w.cancel then
		perform chimp.workflow_cancelled(r);
		return;
	end if;
	if r.status = 'running' then
		if seq is not null then          -- and not the sign of a signal
			todo := case when r.failing is null then r.step_id else -r.step_id end;
			if todo is null then
				todo := 0;               -- before its first step
			end if;
		end if;
		return;
	end if;
	select * into s from chimp.workflow_step o where o.id = r.step_id;
	if r.status = 'waiting_signal' then
		if seq is null and r.waits_for is distinct from payload ->> 'signal' then
			return;
		end if;
		signal := chimp.workflow_take(r);
		if signal is null and seq is null then
			return;
		end if;
		timed_out := signal is null;
		if timed_out and (s.kind <> 'run' or r.on_timeout = 'fail') then
			perform chimp.workflow_timed_out(r, s);
		elsif s.kind <> 'run' then
			perform chimp.workflow_waited(r, s, signal);
		else
			if timed_out and r.on_timeout <> 'continue' then
				r.step := substr(r.on_timeout, 6);
			end if;
			todo := r.step_id;
		end if;
	elsif seq is not null then               -- it has slept
		if s.kind = 'run' then
			todo := r.step_id;
		else
			r.wake_at := null;
			r.hops := 0;
			perform chimp.workflow_note(r, 'sleep', null, null, false, null);
			perform chimp.workflow_go(chimp.workflow_result(r, s, null), s.number + 1, null);
		end if;
	end if;
end $$;
comment on function chimp.workflow_open(jsonb) is
	'First thing of a run''s job: hold the run''s row, and do all that needs no handler. todo: the step whose handler is to be called; less than 0: its compensation; 0: none yet, the run begins; NULL: nothing is left to be done.';

create or replace function chimp.workflow_done(r chimp.workflow_run, input jsonb, result jsonb) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	s chimp.workflow_step;
begin
	select * into s from chimp.workflow_step o where o.id = r.step_id;
	perform chimp.workflow_note(r, 'action', result, null, s.definition ? 'compensate',
		case when s.definition ? 'compensate' then input end);
	perform chimp.workflow_go(chimp.workflow_result(r, s, result), s.number + 1, null);
end $$;
comment on function chimp.workflow_done(chimp.workflow_run, jsonb, jsonb) is
	'Last thing of a step''s job: keep its result and go on.';
