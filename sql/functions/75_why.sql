-- Why: what a job or a schedule waits for, or how it ended, in words and for programs.

-- A reason: its kind, a sentence, and what it speaks of.
create or replace function chimp.why(kind text, sentence text, more jsonb default '{}') returns jsonb
language sql immutable as $$
	select jsonb_build_object('kind', kind, 'why', sentence) || jsonb_strip_nulls(more)
$$;

create or replace function chimp.why_queue(q chimp.queue) returns setof jsonb
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	running int;
	starts int;
	next_start timestamptz;
begin
	if not q.active then
		return next chimp.why('unregistered', format('no live node has queue "%s" in its configuration', q.name));
	elsif not exists (select from chimp.process p
		where p.role = 'worker' and p.lease_until > clock_timestamp() and q.id = any (chimp.worker_queues(p.id))) then
		return next chimp.why('no consumer', format('no worker on any node serves queue "%s"', q.name));
	end if;
	if q.paused_at is not null then
		return next chimp.why('paused', format('queue "%s" is paused since %s by %s', q.name,
			date_trunc('second', q.paused_at), q.paused_by),
			jsonb_build_object('since', q.paused_at, 'by', q.paused_by));
	end if;
	if q.concurrency > 0 then
		select coalesce(sum(cardinality(c.jobs)), 0) into running from chimp.job_claim c where c.queue_id = q.id;
		if running >= q.concurrency then
			return next chimp.why('concurrency', format('%s of %s jobs run that queue "%s" may run at once',
				running, q.concurrency, q.name), jsonb_build_object('limit', q.concurrency, 'jobs',
				(select jsonb_agg(h.id) from (select u.id from chimp.job_claim c, unnest(c.jobs) u (id)
					where c.queue_id = q.id order by c.token limit 20) h)));
		end if;
	end if;
	if q.rate_count > 0 then
		select coalesce(sum(s.jobs), 0), min(s.started_at) + (q.rate_ms + 100) * interval '1 ms'
		into starts, next_start from chimp.queue_start s
		where s.queue_id = q.id and s.started_at > clock_timestamp() - (q.rate_ms + 100) * interval '1 ms';
		if starts >= q.rate_count then
			return next chimp.why('rate', format('queue "%s" has started the %s jobs that it may in %s ms; the next at %s',
				q.name, q.rate_count, q.rate_ms, next_start), jsonb_build_object('until', next_start));
		end if;
	end if;
end $$;
comment on function chimp.why_queue(chimp.queue) is 'Reasons for which no job of a queue is claimed now.';

create or replace function chimp.why_waiting(j chimp.job, q chimp.queue) returns setof jsonb
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	due timestamptz;
	attempts int := (select a.attempt from chimp.job_attempt a where a.job_id = j.id);
	ahead int;
begin
	select s.run_at into due from chimp.job_scheduled s where s.job_id = j.id;
	if found then
		return next chimp.why(case when attempts > 0 then 'retry' else 'future' end,
			format(case when attempts > 0 then 'it waits until %s to be tried again' else 'it is for %s' end, due)
			|| case when due <= clock_timestamp() then ', which has passed: the next look of a worker takes it' else '' end,
			jsonb_build_object('until', due));
	end if;
	if exists (select from chimp.job_held h
		where (h.queue_id, h.ordering_key, h.job_id) = (j.queue_id, j.ordering_key, j.id)) then
		return next chimp.why('ordering key', format('its ordering key "%s" is held by %s', j.ordering_key,
			(select string_agg('job ' || k.job_id, ', ' order by k.job_id) from chimp.job_key k
			where (k.queue_id, k.ordering_key) = (j.queue_id, j.ordering_key))), jsonb_build_object('jobs',
			(select jsonb_agg(k.job_id order by k.job_id) from chimp.job_key k
			where (k.queue_id, k.ordering_key) = (j.queue_id, j.ordering_key)), 'limit', q.key_concurrency));
	end if;
	if exists (select from chimp.job_suspect s where s.job_id = j.id) then
		return next chimp.why('suspect', 'it ran when its process died, and waits for a process that runs nothing else');
	end if;
	if exists (select from chimp.job_ready r
		where (r.queue_id, r.rank, r.job_id) = (j.queue_id, -j.priority, j.id)) then
		select count(*) into ahead from (
			(select from chimp.job_ready r where r.queue_id = j.queue_id and r.rank < -j.priority limit 1000)
			union all
			(select from chimp.job_ready r
			where r.queue_id = j.queue_id and r.rank = -j.priority and r.job_id < j.id limit 1000)
			limit 1000) x;
		return next case when ahead = 0 then chimp.why('next', 'it is the next of its queue')
			else chimp.why('ahead', format('%s%s jobs of its queue are before it', ahead,
				case when ahead = 1000 then ' or more' else '' end), jsonb_build_object('ahead', ahead)) end;
	end if;
	return query select * from chimp.why_queue(q);
end $$;
comment on function chimp.why_waiting(chimp.job, chimp.queue) is 'What a job that waits waits for.';

create or replace function chimp.why_running(job bigint) returns setof jsonb
language sql stable as $$
	select chimp.why('running', format('it runs on %s in %s (pid %s), claimed at %s', coalesce(p.node, 'a node that is gone'),
			coalesce(p.role || '/' || p.class || '/' || p.slot, 'a process that is gone'), p.pid,
			date_trunc('second', v.started_at)),
			jsonb_build_object('node', p.node, 'pid', p.pid, 'since', v.started_at, 'progress', v.progress))
	from chimp.jobs v left join chimp.process p on p.id = v.process_id where v.id = $1
	union all
	select chimp.why('process silent', format('that process has not been heard since its lease ended at %s; others will take its jobs',
			p.lease_until), jsonb_build_object('until', p.lease_until))
	from chimp.jobs v join chimp.process p on p.id = v.process_id
	where v.id = $1 and p.lease_until < clock_timestamp()
$$;
comment on function chimp.why_running(bigint) is 'Where a job runs.';

create or replace function chimp.why_job(job bigint) returns jsonb
language plpgsql stable as $$
declare
	j chimp.job := chimp.job_get(job);
	q chimp.queue;
	v record;
	reasons jsonb;
begin
	select * into q from chimp.queue o where o.id = j.queue_id;
	select * into v from chimp.jobs o where o.id = j.id;
	if v.state in ('ready', 'scheduled') then
		select jsonb_agg(r) into reasons from chimp.why_waiting(j, q) r;
	elsif v.state = 'running' then
		select jsonb_agg(r) into reasons from chimp.why_running(j.id) r;
	elsif v.state is not null then
		reasons := jsonb_build_array(chimp.why('ended', format('it is %s since %s%s', v.state,
			date_trunc('second', v.ended_at), coalesce(': ' || (v.error ->> 'message'), '')),
			jsonb_build_object('since', v.ended_at, 'error', v.error)));
	end if;
	return jsonb_build_object('id', j.id, 'queue', q.name, 'state', v.state, 'attempt', v.attempt,
		'max_attempts', v.max_attempts, 'interruptions', v.interruptions,
		'reasons', coalesce(reasons, '[]'), 'errors', (
			select coalesce(jsonb_agg(jsonb_build_object('at', e.failed_at, 'attempt', e.attempt, 'error', e.error)
				order by e.failed_at desc), '[]')
			from (select * from chimp.job_error o where o.job_id = j.id order by o.failed_at desc limit 5) e));
end $$;
comment on function chimp.why_job(bigint) is
	'Why a job is where it is: reasons [{kind, why, ...}], attempts, and its last errors, the newest first. CH002: unknown job.';

-- The last slot of a schedule, and how its job stands.
create or replace function chimp.why_fired(s chimp.schedule) returns setof jsonb
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	last chimp.firing;
	before chimp.firing;
	state text;
begin
	select * into last from chimp.firing f where f.schedule_id = s.id order by f.slot_at desc limit 1;
	if not found then
		return next chimp.why('not fired', 'it has not fired yet');
		return;
	end if;
	if last.job_id is null then
		select * into before from chimp.firing f
		where f.schedule_id = s.id and f.job_id is not null order by f.slot_at desc limit 1;
		state := (select v.state from chimp.jobs v where v.id = before.job_id);
		return next chimp.why('skipped', format('its slot of %s was skipped (overlap = "%s"): job %s, of the slot of %s, had not ended; it is %s',
			last.slot_at, s.overlap, before.job_id, before.slot_at, coalesce(state, 'no longer kept')),
			jsonb_build_object('slot', last.slot_at, 'job', before.job_id, 'state', state));
		return;
	end if;
	state := (select v.state from chimp.jobs v where v.id = last.job_id);
	return next chimp.why('fired', format('its slot of %s fired at %s: job %s is %s', last.slot_at,
		date_trunc('second', last.fired_at), last.job_id, coalesce(state, 'no longer kept')),
		jsonb_build_object('slot', last.slot_at, 'at', last.fired_at, 'job', last.job_id, 'state', state));
end $$;
comment on function chimp.why_fired(chimp.schedule) is 'The last slot of a schedule, and how its job stands.';

create or replace function chimp.why_planned(s chimp.schedule) returns setof jsonb
language plpgsql stable as $$
begin
	if not s.active then
		return next case when s.run_time then chimp.why('unset', 'chimp.cron_unset has ended it')
			else chimp.why('unregistered', format('no live node has schedule "%s" in its configuration', s.name)) end;
		return;
	end if;
	if s.paused_at is not null then
		return next chimp.why('paused', format('it is paused since %s by %s', date_trunc('second', s.paused_at), s.paused_by),
			jsonb_build_object('since', s.paused_at, 'by', s.paused_by));
	end if;
	if s.error is not null then
		return next chimp.why('error', format('a cron process cannot read it: %s', s.error));
	end if;
	if not exists (select from chimp.process p where p.role = 'cron' and p.lease_until > clock_timestamp()) then
		return next chimp.why('no cron process', 'no live node has a cron process');
	end if;
	if not s.planned then
		return next chimp.why('unplanned', 'it is new or changed: a cron process is to plan its next slot');
	elsif s.next_at is null then
		return next chimp.why('never', 'no slot follows, ever');
	else
		return next chimp.why(case when s.next_at > clock_timestamp() then 'next' else 'due' end,
			format(case when s.next_at > clock_timestamp() then 'its next slot is at %s'
				else 'its slot of %s is due' end, s.next_at), jsonb_build_object('slot', s.next_at));
	end if;
end $$;
comment on function chimp.why_planned(chimp.schedule) is 'When a schedule fires next, and what keeps it from that.';

create or replace function chimp.why_schedule(name text) returns jsonb
language plpgsql stable as $$
declare
	s chimp.schedule := chimp.schedule_get(name);
	q chimp.queue;
begin
	select * into q from chimp.queue o where o.id = s.queue_id;
	return jsonb_build_object('name', s.name, 'schedule', s.expression, 'timezone', s.timezone,
		'state', chimp.schedule_state(s), 'revision', s.revision, 'next_at', s.next_at, 'reasons', (
			select jsonb_agg(x.r order by x.n) from (
				select 1 as n, r from chimp.why_planned(s) r
				union all select 2, r from chimp.why_fired(s) r
				union all select 3, r from chimp.why_queue(q) r) x));
end $$;
comment on function chimp.why_schedule(text) is
	'Why a schedule fires or does not: reasons [{kind, why, ...}] about its next slot, its last one and that one''s job, and the queue of its jobs. CH002: unknown schedule.';
