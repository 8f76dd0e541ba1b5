-- Why a run of a workflow is where it is. The form is that of 75_why.sql.

create or replace function chimp.why_message(error jsonb) returns text
language sql immutable as $$
	select coalesce(error ->> 'message', error::text, 'no message')
$$;
comment on function chimp.why_message(jsonb) is 'What an error says, in one line.';

-- Which is not always noted in the run: its first job, and that of one that was
-- parked, are looked for among the open ones of its queue.
create or replace function chimp.workflow_open_job(r chimp.workflow_run) returns bigint
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	queue constant int := (select w.queue_id from chimp.workflow_definition d join chimp.workflow w on w.id = d.workflow_id
		where d.id = r.definition_id);
	job bigint;
begin
	select j.id into job from chimp.jobs v join chimp.job j on j.id = v.id
	where v.id = r.job_id and v.state in ('ready', 'scheduled', 'running') and (j.payload ->> 'seq')::int = r.seq;
	if job is null then
		select j.id into job from (
			select o.job_id from chimp.job_ready o where o.queue_id = queue
			union all select o.job_id from chimp.job_scheduled o where o.queue_id = queue
			union all select o.job_id from chimp.job_suspect o where o.queue_id = queue
			union all select unnest(c.jobs) from chimp.job_claim c where c.queue_id = queue) o (id)
		join chimp.job j on j.id = o.id
		where j.payload = jsonb_build_object('run', r.id, 'seq', r.seq) limit 1;
	end if;
	return job;
end $$;
comment on function chimp.workflow_open_job(chimp.workflow_run) is
	'The job that is to move a run on, NULL if there is none.';

create or replace function chimp.why_run_job(r chimp.workflow_run, q chimp.queue) returns setof jsonb
language plpgsql stable as $$
declare
	job constant bigint := chimp.workflow_open_job(r);
	w jsonb;
begin
	if job is null then
		return query select * from chimp.why_queue(q);
		return;
	end if;
	w := chimp.why_job(job);
	return next chimp.why('job', format('its job %s is %s, attempt %s of %s', job, w ->> 'state', w ->> 'attempt',
		w ->> 'max_attempts'), jsonb_build_object('job', job, 'state', w -> 'state', 'errors', w -> 'errors'));
	return query select * from jsonb_array_elements(w -> 'reasons');
	return query select chimp.why('error', format('it failed at %s: %s', date_trunc('second', (e ->> 'at')::timestamptz),
			chimp.why_message(e -> 'error')), e)
		from jsonb_array_elements(w -> 'errors') with ordinality x (e, n) order by n;
	-- What waits for its time says nothing of its queue, which may be paused then.
	if w ->> 'state' = 'scheduled' then
		return query select * from chimp.why_queue(q);
	end if;
end $$;
comment on function chimp.why_run_job(chimp.workflow_run, chimp.queue) is
	'How the job that moves a run on stands, and what keeps its queue.';

create or replace function chimp.why_time_out(r chimp.workflow_run, s chimp.workflow_step) returns setof jsonb
language sql stable as $$
	select chimp.why('time-out', format('it waits until %s, then %s', r.wake_at, case
			when r.on_timeout = 'continue' and s.kind = 'run' then 'its handler is told that the time is over'
			when r.on_timeout = 'continue' then 'it goes on with the next step'
			when r.on_timeout like 'step:%' then format('it goes on with step "%s"', substr(r.on_timeout, 6))
			else 'it fails' end),
		jsonb_build_object('until', r.wake_at, 'on_timeout', coalesce(r.on_timeout, 'fail')))
	where r.wake_at is not null
$$;
comment on function chimp.why_time_out(chimp.workflow_run, chimp.workflow_step) is 'How long a run waits, and what comes then.';

create or replace function chimp.why_child(r chimp.workflow_run, since timestamptz) returns jsonb
language plpgsql stable as $$
declare
	child constant text := substr(r.waits_for, length('chimp.child ') + 1);
	v record;
begin
	select * into v from chimp.workflows o where o.id = child;
	return chimp.why('child', format('it waits since %s for its child, run "%s"%s', date_trunc('second', since), child,
		coalesce(format(' of workflow "%s", which is %s', v.name, v.status), ', which is no longer kept')),
		jsonb_build_object('since', since, 'run', child, 'workflow', v.name, 'status', v.status));
end $$;
comment on function chimp.why_child(chimp.workflow_run, timestamptz) is 'The child that a run waits for.';

create or replace function chimp.why_signal(r chimp.workflow_run, s chimp.workflow_step, q chimp.queue) returns setof jsonb
language plpgsql stable as $$
declare
	since timestamptz := coalesce((select h.at from chimp.workflow_history h where h.run_id = r.id
		order by h.seq desc limit 1), r.created_at);
	others text;
begin
	if r.waits_for like 'chimp.child %' then
		return next chimp.why_child(r, since);
	else
		return next chimp.why('signal', format('it waits since %s for signal "%s"', date_trunc('second', since), r.waits_for),
			jsonb_build_object('since', since, 'signal', r.waits_for));
	end if;
	return query select * from chimp.why_time_out(r, s);
	if exists (select from chimp.workflow_signal m
		where m.run_id = r.id and m.name = r.waits_for and m.consumed_seq is null) then
		return next chimp.why('signal here', 'what it waits for is here: the next job of its queue has it go on');
		return query select * from chimp.why_queue(q);
	end if;
	select string_agg(format('"%s" (%s)', x.name, x.n), ', ' order by x.name) into others
	from (select m.name, count(*) as n from chimp.workflow_signal m
		where m.run_id = r.id and m.consumed_seq is null and m.name <> r.waits_for and m.name <> 'chimp.cancel'
		group by m.name) x;
	if others is not null then
		return next chimp.why('other signals', format('signals that are here have other names: %s', others));
	end if;
	if r.wake_at <= clock_timestamp() then
		return query select * from chimp.why_run_job(r, q);
	else
		return query select x from chimp.why_queue(q) x where x ->> 'kind' in ('no consumer', 'paused');
	end if;
end $$;
comment on function chimp.why_signal(chimp.workflow_run, chimp.workflow_step, chimp.queue) is
	'What a run waits for, until when, and what it has been sent instead.';

create or replace function chimp.why_compensated(r chimp.workflow_run) returns setof jsonb
language sql stable as $$
	select chimp.why('compensated', format('what these steps had done was compensated: %s',
		string_agg(format('"%s"', h.step), ', ' order by h.seq)), jsonb_build_object('steps', jsonb_agg(h.step order by h.seq)))
	from chimp.workflow_history h where h.run_id = r.id and h.what = 'compensated' having count(*) > 0
	union all
	(select chimp.why('compensation failed', format('what step "%s" had done could not be compensated: %s', h.step,
		chimp.why_message(h.error)), jsonb_build_object('step', h.step, 'error', h.error))
	from chimp.workflow_history h where h.run_id = r.id and h.what = 'compensation failed' order by h.seq)
$$;
comment on function chimp.why_compensated(chimp.workflow_run) is 'What was compensated of a run that fails, and what was not.';

create or replace function chimp.why_ended(r chimp.workflow_run) returns setof jsonb
language plpgsql stable as $$
begin
	return next chimp.why('ended', format('it is %s since %s%s%s', r.status, date_trunc('second', r.ended_at),
		case when r.status = 'failed' then ', at step "' || (r.error ->> 'step') || '"' end,
		case when r.status <> 'completed' then ': ' || chimp.why_message(r.error) end),
		jsonb_build_object('since', r.ended_at, 'step', r.error -> 'step', 'error', r.error));
	return query select * from chimp.why_compensated(r);
end $$;
comment on function chimp.why_ended(chimp.workflow_run) is 'How a run ended.';

create or replace function chimp.why_unserved(r chimp.workflow_run) returns setof jsonb
language sql stable as $$
	select chimp.why(case when r.status = 'parked' then 'parked' else 'unregistered' end, format(
		'no live node has version %s of workflow "%s"%s', d.version, w.name, coalesce('; live nodes have ' || (
			select string_agg(o.version::text, ', ' order by o.version) from chimp.workflow_definition o
			where o.workflow_id = d.workflow_id and o.active), ', nor any other'))
		|| case when r.status = 'parked' then format('. It is parked, and was %s: it goes on when one has it again', r.parked_from)
			else '. It is parked when its next job runs' end,
		jsonb_build_object('version', d.version, 'was', r.parked_from))
	from chimp.workflow_definition d join chimp.workflow w on w.id = d.workflow_id
	where d.id = r.definition_id and not d.active
	union all
	select chimp.why('parked', format('%s: it goes on with step "%s" when one has', chimp.why_message(r.error), r.step),
		jsonb_build_object('step', r.step))
	from chimp.workflow_definition d
	where d.id = r.definition_id and d.active and r.status = 'parked'
$$;
comment on function chimp.why_unserved(chimp.workflow_run) is 'Whether no live node has the version of a run, or the child that it is to start.';

create or replace function chimp.why_failing(r chimp.workflow_run) returns setof jsonb
language sql stable as $$
	select chimp.why('failing', format('it has %s: %s', case r.failing when 'cancelled' then 'been cancelled'
			else 'failed' || coalesce(' at step "' || (r.error ->> 'step') || '"', '') end, chimp.why_message(r.error)),
		jsonb_build_object('step', r.error -> 'step', 'error', r.error))
	where r.failing is not null
	union all
	select * from chimp.why_compensated(r) where r.failing is not null
	union all
	select chimp.why('compensating', format('it compensates what step "%s" has done', r.step), jsonb_build_object('step', r.step))
	where r.undo_seq is not null
	union all
	select chimp.why('cancel', format('it is to be cancelled since %s: %s', date_trunc('second', m.received_at),
		m.payload #>> '{}'), jsonb_build_object('since', m.received_at))
	from chimp.workflow_signal m where m.run_id = r.id and m.name = 'chimp.cancel' and m.consumed_seq is null
$$;
comment on function chimp.why_failing(chimp.workflow_run) is 'How far a run is that fails, or that somebody has cancelled.';

create or replace function chimp.why_open_run(r chimp.workflow_run, q chimp.queue) returns setof jsonb
language plpgsql stable as $$
declare
	s chimp.workflow_step;
begin
	select * into s from chimp.workflow_step o where o.id = r.step_id;
	return query select * from chimp.why_unserved(r);
	return query select * from chimp.why_failing(r);
	if r.status = 'waiting_signal' then
		return query select * from chimp.why_signal(r, s, q);
	elsif r.status = 'sleeping' then
		return next chimp.why('sleep', format('it sleeps until %s%s', r.wake_at, case when r.wake_at <= clock_timestamp()
			then ', which has passed' end), jsonb_build_object('until', r.wake_at));
		-- Until then its job, which waits for the same instant, has nothing to add.
		return query select x from chimp.why_run_job(r, q) x
		where r.wake_at <= clock_timestamp() or x ->> 'kind' in ('no consumer', 'paused');
	elsif r.status = 'running' then
		return query select * from chimp.why_run_job(r, q);
	end if;
end $$;
comment on function chimp.why_open_run(chimp.workflow_run, chimp.queue) is 'What a run that has not ended waits for.';

create or replace function chimp.why_workflow(id text) returns jsonb
language plpgsql stable as $$
declare
	r chimp.workflow_run := chimp.workflow_find(id);
	v record;
	q chimp.queue;
	reasons jsonb;
begin
	select w.name, d.version, w.queue_id into v
	from chimp.workflow_definition d join chimp.workflow w on w.id = d.workflow_id where d.id = r.definition_id;
	if r.ended_at is not null then
		select jsonb_agg(x) into reasons from chimp.why_ended(r) x;
	else
		select * into q from chimp.queue o where o.id = v.queue_id;
		select jsonb_agg(x) into reasons from chimp.why_open_run(r, q) x;
	end if;
	return jsonb_build_object('id', r.external_id, 'name', v.name, 'version', v.version, 'status', r.status,
		'step', r.step, 'reasons', coalesce(reasons, '[]'));
end $$;
comment on function chimp.why_workflow(text) is
	'Why a run of a workflow is where it is: reasons [{kind, why, ...}] about what it waits for and until when, its job and that one''s errors, its version, what was compensated, or how it ended. CH002: unknown run.';
