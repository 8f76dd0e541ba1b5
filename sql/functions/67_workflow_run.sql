-- Workflows in the run form: one handler says by a directive what comes next.

create or replace function chimp.workflow_run_input(r chimp.workflow_run, signal jsonb, timed_out boolean) returns jsonb
language sql volatile as $$
	select jsonb_build_object('input', r.input, 'state', r.state, 'workflowId', r.external_id, 'step', r.step,
		'signal', coalesce(signal, case when r.call ? 'result'
			then jsonb_build_object('name', 'action', 'payload', r.call -> 'result') end),
		'timedOut', timed_out, 'now', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
$$;
comment on function chimp.workflow_run_input(chimp.workflow_run, jsonb, boolean) is
	'What the handler of the run form gets.';

create or replace function chimp.workflow_called(r chimp.workflow_run) returns void
language plpgsql as $$
declare
	action constant text := r.call ->> 'action';
	handler text;
	result jsonb;
begin
	-- As for a step, whether a live node has it or not: that may be a deploy.
	select o.definition ->> 'sql' into handler from chimp.registration o
	where o.kind = 'action' and o.name = action;
	if not found then
		raise exception 'workflow run "%": unknown action "%"', r.external_id, action using errcode = 'CH006',
			hint = 'register it in an app file: action "NAME" { ... }';
	end if;
	execute format('select %s($1)', handler) into result using r.call -> 'input';
	perform chimp.workflow_note(r, 'action', result, null, false, null);
	r.call := jsonb_build_object('action', action, 'result', result);
	r.seq := r.seq + 1;
	r.job_id := chimp.workflow_job(r, (select s from chimp.workflow_step s where s.id = r.step_id));
	perform chimp.workflow_save(r);
end $$;
comment on function chimp.workflow_called(chimp.workflow_run) is
	'Call the action that a directive has named; its handler gets the result next.';

create or replace function chimp.workflow_ms(r chimp.workflow_run, directive jsonb, member text) returns bigint
language plpgsql as $$
declare
	value constant jsonb := directive -> member;
begin
	if jsonb_typeof(value) is distinct from 'number' or value::numeric < 0 or value::numeric > 3660::numeric * 86400000 then
		raise exception 'workflow run "%": directive "%": % must be milliseconds, from 0 to ten years, not %',
			r.external_id, directive ->> 'directive', member, coalesce(value, 'null') using errcode = 'CH006';
	end if;
	return value::numeric::bigint;
end $$;

create or replace function chimp.workflow_text(r chimp.workflow_run, directive jsonb, member text) returns text
language plpgsql as $$
begin
	if jsonb_typeof(directive -> member) is distinct from 'string' or directive ->> member = '' then
		raise exception 'workflow run "%": directive "%": % must be a string, not %',
			r.external_id, directive ->> 'directive', member, coalesce(directive -> member, 'null') using errcode = 'CH006';
	end if;
	return directive ->> member;
end $$;

create or replace function chimp.workflow_await(r chimp.workflow_run, s chimp.workflow_step, d jsonb) returns void
language plpgsql as $$
begin
	r.status := 'waiting_signal';
	r.waits_for := chimp.workflow_text(r, d, 'signal');
	if starts_with(r.waits_for, 'chimp.') then
		raise exception 'workflow run "%": directive "waitForSignal": signal must not begin with "chimp.", as "%" does',
			r.external_id, r.waits_for using errcode = 'CH006';
	end if;
	r.on_timeout := coalesce(d ->> 'onTimeout', 'continue');
	if r.on_timeout not in ('fail', 'continue') and r.on_timeout !~ '^step:.' then
		raise exception 'workflow run "%": directive "waitForSignal": onTimeout must be "fail", "continue" or "step:NAME", not "%"',
			r.external_id, r.on_timeout using errcode = 'CH006';
	end if;
	r.wake_at := case when d -> 'timeoutMs' <> 'null'
		then clock_timestamp() + chimp.workflow_ms(r, d, 'timeoutMs') * interval '1 ms' end;
	r.job_id := null;
	if exists (select from chimp.workflow_signal o
		where o.run_id = r.id and o.name = r.waits_for and o.consumed_seq is null) then
		-- Here already: the next call has it.
		perform chimp.workflow_enqueue(r.definition_id,
			jsonb_build_object('run', r.id, 'signal', r.waits_for), null, null, null, r.trace);
	end if;
	if r.wake_at is not null then
		r.job_id := chimp.workflow_job(r, s);
	end if;
	perform chimp.workflow_save(r);
end $$;
comment on function chimp.workflow_await(chimp.workflow_run, chimp.workflow_step, jsonb) is
	'Have a run wait for a signal, as the directive waitForSignal says.';

create or replace function chimp.workflow_wait_again(r chimp.workflow_run, s chimp.workflow_step) returns void
language sql volatile as $$
	select chimp.workflow_await(r, s, h.result || '{"directive": "waitForSignal"}')
	from (select o.result from chimp.workflow_history o
		where o.run_id = r.id and o.what like '%waitForSignal' order by o.seq desc limit 1) h
$$;
comment on function chimp.workflow_wait_again(chimp.workflow_run, chimp.workflow_step) is
	'Have a run wait again as its last directive waitForSignal says, from now on.';

create or replace function chimp.workflow_directive(r chimp.workflow_run, d jsonb, timed_out boolean) returns void
language plpgsql as $$
declare
	what constant text := d ->> 'directive';
	s chimp.workflow_step;
	most int;
begin
	if jsonb_typeof(d) is distinct from 'object' or what is null or what not in
		('complete', 'fail', 'sleep', 'transition', 'waitForSignal', 'action') then
		raise exception 'workflow run "%": its handler must return a directive, {"directive": "complete" | "fail" | "sleep" | "transition" | "waitForSignal" | "action", ...}, not %',
			r.external_id, left(coalesce(d::text, 'null'), 200) using errcode = 'CH006';
	end if;
	select * into s from chimp.workflow_step o where o.id = r.step_id;
	if r.wake_at is not null then
		perform chimp.workflow_unschedule(r);
	end if;
	if d -> 'state' <> 'null' then
		r.state := chimp.workflow_set_state(r, d -> 'state');
	end if;
	r.call := null;
	r.waits_for := null;
	r.wake_at := null;
	r.hops := case when r.status = 'running' then r.hops + 1 else 1 end;
	r.status := 'running';
	if what = 'fail' then
		perform chimp.workflow_fail(r, case jsonb_typeof(d -> 'error') when 'object' then d -> 'error'
			else jsonb_build_object('message', coalesce(d -> 'error', '"its handler said so"')) end);
		return;
	end if;
	perform chimp.workflow_note(r, case when timed_out then 'timed out, ' else '' end || what, d - 'directive' - 'state',
		null, false, null);
	r.seq := r.seq + 1;
	if what = 'complete' then
		r.step_id := null;
		perform chimp.workflow_end(r, 'completed');
		return;
	end if;
	if d -> 'stepId' <> 'null' then
		r.step := chimp.workflow_text(r, d, 'stepId');
	elsif what = 'transition' then
		perform chimp.workflow_text(r, d, 'stepId');
	end if;
	select o.max_transitions into most from chimp.workflow_definition o where o.id = r.definition_id;
	if r.hops > most then
		perform chimp.workflow_fail(r, jsonb_build_object('message', format(
			'more than %s transitions without sleeping or waiting: an endless loop?', most),
			'hint', 'max_transitions of the workflow bounds them'));
		return;
	elsif what = 'waitForSignal' then
		perform chimp.workflow_await(r, s, d);
		return;
	elsif what = 'sleep' then
		if chimp.workflow_ms(r, d, 'delayMs') > 0 then
			r.wake_at := clock_timestamp() + chimp.workflow_ms(r, d, 'delayMs') * interval '1 ms';
			r.status := 'sleeping';
		end if;
	elsif what = 'action' then
		r.call := jsonb_build_object('action', chimp.workflow_text(r, d, 'action'), 'input', coalesce(d -> 'input', '{}'));
	end if;
	r.job_id := chimp.workflow_job(r, s);
	perform chimp.workflow_save(r);
end $$;
comment on function chimp.workflow_directive(chimp.workflow_run, jsonb, boolean) is
	'Do as the handler of the run form has said.';
