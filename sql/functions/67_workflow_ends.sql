-- Workflows: how a run ends, and how it is compensated before that.

create or replace function chimp.workflow_end(r chimp.workflow_run, status text) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
begin
	r.status := $2;
	r.wake_at := null;
	r.job_id := null;
	r.ended_at := clock_timestamp();
	perform chimp.workflow_note(r, $2, null, case when $2 <> 'completed' then r.error end, false, null);
	perform chimp.workflow_save(r);
	if r.parent_id is not null then
		perform chimp.workflow_tell(p, 'chimp.child ' || r.external_id, jsonb_build_object('workflowId', r.external_id,
			'status', r.status, 'state', r.state, 'results', r.results, 'lastError', r.error), null)
		from chimp.workflow_run p where p.id = r.parent_id and p.ended_at is null;
	end if;
end $$;

create or replace function chimp.workflow_fail(r chimp.workflow_run, error jsonb) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
begin
	if r.failing is null then
		r.failing := 'failed';
		r.error := error || jsonb_build_object('step', r.step);
		perform chimp.workflow_note(r, 'step failed', null, r.error, false, null);
	else
		-- What cannot be compensated is said; the others are all the same.
		r.error := r.error || jsonb_build_object('compensation', error || jsonb_build_object('step', r.step));
		update chimp.workflow_history h set undo = false where h.run_id = r.id and h.seq = r.undo_seq;
		perform chimp.workflow_note(r, 'compensation failed', null, error, false, null);
	end if;
	r.seq := r.seq + 1;
	perform chimp.workflow_compensate(r);
end $$;
comment on function chimp.workflow_fail(chimp.workflow_run, jsonb) is
	'The current step of a run, or its compensation, has failed for the last time: compensate what is left, the latest first, then end it.';

create or replace function chimp.workflow_compensate(r chimp.workflow_run) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	h chimp.workflow_history;
	s chimp.workflow_step;
begin
	select * into h from chimp.workflow_history o where o.run_id = r.id and o.undo order by o.seq desc limit 1;
	if not found then
		r.seq := r.seq + 1;
		r.undo_seq := null;
		r.step := coalesce(r.error ->> 'step', r.step);
		perform chimp.workflow_end(r, r.failing);
		return;
	end if;
	s := chimp.workflow_step_at(r.definition_id, h.step);
	r.seq := r.seq + 1;
	r.status := 'running';
	r.step_id := s.id;
	r.step := s.name;
	r.undo_seq := h.seq;
	r.waits_for := null;
	r.wake_at := null;
	r.job_id := chimp.workflow_job(r, s);
	perform chimp.workflow_save(r);
end $$;

create or replace function chimp.workflow_undo_context(r chimp.workflow_run) returns jsonb
language sql stable as $$
	select chimp.workflow_context(r) || jsonb_build_object('result', h.result, 'stepInput', h.input)
	from chimp.workflow_history h where h.run_id = r.id and h.seq = r.undo_seq
$$;

create or replace function chimp.workflow_undone(r chimp.workflow_run, result jsonb) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
begin
	update chimp.workflow_history h set undo = false where h.run_id = r.id and h.seq = r.undo_seq;
	perform chimp.workflow_note(r, 'compensated', result, null, false, null);
	perform chimp.workflow_compensate(r);
end $$;

create or replace function chimp.workflow_job_ended(j chimp.job, state text, error jsonb) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	run constant bigint := j.payload ->> 'run';
	seq constant int := j.payload ->> 'seq';
	why constant jsonb := coalesce(error, j.payload -> 'failed', jsonb_build_object('message', 'its job was cancelled'));
	r chimp.workflow_run;
begin
	select * into r from chimp.workflow_run o where o.id = run for update skip locked;
	if not found then
		-- Its handler is at work, or gone with the run. It would wait for this
		-- transaction, which has its claim: another job says so.
		perform chimp.workflow_enqueue(o.definition_id, j.payload || jsonb_build_object('failed', why), null, null, null,
			j.trace)
		from chimp.workflow_run o where o.id = run;
	elsif r.ended_at is null and r.status <> 'parked' and (seq = r.seq
		or seq is null and r.status = 'waiting_signal' and r.waits_for = j.payload ->> 'signal') then
		r.job_id := j.id;
		perform chimp.workflow_fail(r, why);
	end if;
end $$;
comment on function chimp.workflow_job_ended(chimp.job, text, jsonb) is
	'A run''s job is dead or was cancelled: the step has failed.';
