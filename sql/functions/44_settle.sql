-- Settle: jobs that end, or go back, other than by their handler's success.

-- What handlers say -----------------------------------------------------------------

create or replace function chimp.snooze(delay interval) returns void
language plpgsql as $$
begin
	if delay is null or delay < interval '0' then
		raise exception 'chimp.snooze: delay must not be negative' using errcode = '22023';
	end if;
	raise exception 'snoozed for %', delay using errcode = 'CH005',
		detail = (extract(epoch from delay) * 1000)::bigint::text;
end $$;
comment on function chimp.snooze(interval) is
	'In a job''s handler: end this run here, roll back what it wrote, and run it again after `delay`. No attempt is charged.';

create or replace function chimp.fail(message text) returns void
language plpgsql as $$
begin
	raise exception '%', coalesce(message, 'failed') using errcode = 'CH006';
end $$;
comment on function chimp.fail(text) is
	'In a job''s handler: the job is dead, whatever attempts it has left. What this run wrote is rolled back.';

create or replace function chimp.cancel() returns void
language plpgsql as $$
begin
	raise exception 'cancelled by its handler' using errcode = 'CH007';
end $$;
comment on function chimp.cancel() is
	'In a job''s handler: the job is cancelled. What this run wrote is rolled back.';

create or replace function chimp.progress(progress jsonb) returns void
language plpgsql as $$
begin
	-- A row would be seen when the handler has ended. The worker that gets
	-- this message writes it at once.
	raise info '%', progress using errcode = 'CHP01',
		detail = split_part(coalesce(current_setting('chimp.job', true), ''), ' ', 1);
end $$;
comment on function chimp.progress(jsonb) is
	'In a job''s handler: say how far it is, for chimp.jobs.progress; seen while it runs, kept whatever comes of it.';

create or replace function chimp.job_progress_set(job bigint, token bigint, progress jsonb, process uuid) returns void
language sql as $$
	insert into chimp.job_progress as o (job_id, progress)
	select $1, $3 where exists (select from chimp.job_claim c where c.token = $2 and $1 = any (c.jobs))
		or exists (select from chimp.job_done d
			where d.bucket = $1 >> 10 and $1 = any (d.jobs) and d.process_id = $4)
	on conflict on constraint job_progress_pkey do update set progress = excluded.progress, at = clock_timestamp()
$$;
comment on function chimp.job_progress_set(bigint, bigint, jsonb, uuid) is
	'Keep what a job has said of itself; nothing when the token is stale, unless the job is done and this process has done it.';

-- What workers say ------------------------------------------------------------------

create or replace function chimp.job_charge(job bigint, n int) returns int
language sql as $$
	insert into chimp.job_attempt as a (job_id, attempt) values ($1, $2)
	on conflict on constraint job_attempt_pkey do update set attempt = a.attempt + $2
	returning attempt
$$;

create or replace function chimp.job_interrupted(jobs bigint[]) returns void
language sql as $$
	insert into chimp.job_attempt as a (job_id, interruptions) select u.id, 1 from unnest($1) u (id)
	on conflict on constraint job_attempt_pkey do update set interruptions = a.interruptions + 1
$$;

create or replace function chimp.job_end(j chimp.job, c chimp.job_claim, state text, error jsonb) returns void
language plpgsql as $$
begin
	insert into chimp.job_ended (job_id, queue_id, state, started_at, process_id, error)
	values (j.id, j.queue_id, $3, c.claimed_at, c.process_id, $4);
	perform chimp.job_close(j);
	perform chimp.workflow_job_ended(j, state, error) from chimp.queue q
	where q.id = j.queue_id and q.workflow_id is not null;
end $$;

create or replace function chimp.job_dead(j chimp.job, c chimp.job_claim, attempts int, error jsonb) returns void
language plpgsql as $$
declare
	q chimp.queue;
	dlq chimp.queue;
	letter bigint;
begin
	perform chimp.job_end(j, c, 'dead', error);
	select * into q from chimp.queue o where o.id = j.queue_id;
	select * into dlq from chimp.queue o
	where o.name = coalesce(nullif(q.dead_letter, ''), q.name || '.dlq');
	if found then
		-- Whatever max_ready says: what is dead has nowhere else to go.
		insert into chimp.job (queue_id, priority, trace, payload)
		values (dlq.id, dlq.priority, j.trace, jsonb_build_object('attempts', attempts,
			'error', error ->> 'message',
			'failedAt', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
			'payload', j.payload, 'queue', q.name))
		returning id into letter;
		perform chimp.job_to_ready(dlq, letter, dlq.priority, null);
	end if;
end $$;

create or replace function chimp.job_fail(job bigint, token bigint, sqlstate text, message text,
	detail text, hint text, context text)
returns text language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	c chimp.job_claim;
	q chimp.queue;
	j chimp.job;
	n int;
	error jsonb := chimp.error_json(sqlstate, message, detail, hint, context);
begin
	delete from chimp.job_claim o where o.token = $2 and o.jobs = array[$1] returning * into c;
	if not found then
		perform chimp.stale('job', job, token);
	end if;
	select * into j from chimp.job o where o.id = $1;
	select * into q from chimp.queue o where o.id = c.queue_id;
	if sqlstate = 'CH005' then
		perform chimp.job_to_ready(q, job, j.priority, clock_timestamp() + detail::bigint * interval '1 ms');
		return 'snoozed';
	end if;
	if sqlstate = 'CH007' then
		perform chimp.job_end(j, c, 'cancelled', error);
		return 'cancelled';
	end if;
	n := chimp.job_charge(job, 1);
	insert into chimp.job_error (job_id, attempt, error) values (job, n, error);
	if sqlstate = 'CH006' or n >= coalesce(j.max_attempts, q.max_attempts) then
		perform chimp.job_dead(j, c, n, error);
		return 'dead';
	end if;
	perform chimp.job_to_ready(q, job, j.priority, clock_timestamp()
		+ case when q.workflow_id is null
			then chimp.retry_delay_ms(q.backoff, q.retry_delay_ms, q.retry_delay_max_ms, n)
			else chimp.workflow_retry_ms(q, j, n) end * interval '1 ms');
	return 'retry';
end $$;
comment on function chimp.job_fail(bigint, bigint, text, text, text, text, text) is
	'End a run with its error: ''retry'' after the queue''s delay, ''dead'' after the last attempt or chimp.fail, ''snoozed'' and ''cancelled'' as the handler said. A stale token raises CH001.';

create or replace function chimp.claims_release(tokens bigint[], process uuid) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	gone bigint[];
begin
	if process is null then
		with mine as (delete from chimp.job_claim c where c.token = any ($1) returning c.jobs)
		select coalesce(array_agg(u.id), '{}') into gone from mine m, unnest(m.jobs) u (id);
	else
		with mine as (delete from chimp.job_claim c where c.process_id = $2 returning c.jobs)
		select coalesce(array_agg(u.id), '{}') into gone from mine m, unnest(m.jobs) u (id);
	end if;
	if gone = '{}' then
		return 0;
	end if;
	perform chimp.job_interrupted(gone);
	insert into chimp.job_ready (queue_id, rank, job_id)
	select j.queue_id, -j.priority, j.id from chimp.job j where j.id = any (gone);
	perform chimp.wake_workers(q) from chimp.queue q
	where q.id in (select j.queue_id from chimp.job j where j.id = any (gone));
	return cardinality(gone);
end $$;
comment on function chimp.claims_release(bigint[], uuid) is
	'Give claims back uncharged, those with these tokens, or all of a process if one is given; the number of jobs.';

create or replace function chimp.job_release(job bigint, token bigint) returns boolean
language sql as $$
	select chimp.claims_release(array[$2], null) > 0
$$;
comment on function chimp.job_release(bigint, bigint) is
	'Give a claim back uncharged; false if it was not current.';

create or replace function chimp.group_release(process uuid, token bigint) returns boolean
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
	-- Where its transaction is just committing, what it leaves is seen behind it.
	perform from chimp.job_claim c where c.token = $2 for update;
	return chimp.claims_release(array(select c.token from chimp.job_claim c
		where c.process_id = $1 and (c.token = $2 or c.part_of = $2)), null) > 0;
end $$;
comment on function chimp.group_release(uuid, bigint) is
	'Give a claim of several jobs back uncharged, or what is left of it: whether its transaction has committed need not be known. False if nothing was.';

-- What people say -------------------------------------------------------------------

create or replace function chimp.cancel_claimed(job bigint, queue int) returns chimp.job_claim
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	c chimp.job_claim;
begin
	loop
		select * into c from chimp.job_claim o where o.queue_id = queue and job = any (o.jobs) limit 1;
		if not found then
			return null;
		end if;
		-- A group that runs ends within milliseconds; what it leaves of its
		-- claim has another token.
		if cardinality(c.jobs) = 1 then
			delete from chimp.job_claim o where o.token = c.token and o.jobs = c.jobs;
		else
			update chimp.job_claim o set jobs = array_remove(o.jobs, job)
			where o.token = c.token and o.jobs = c.jobs;
		end if;
		if found then
			-- Its handler's transaction will abort; this ends it now.
			perform pg_notify('chimp_control', 'cancel ' || c.token);
			return c;
		end if;
	end loop;
end $$;

create or replace function chimp.cancel(job bigint) returns boolean
language plpgsql as $$
declare
	j chimp.job := chimp.job_get(job);
	c chimp.job_claim;
	found_it boolean;
begin
	-- Again when it has moved from one table to another between two looks.
	loop
		with ready as (
			delete from chimp.job_ready r
			where (r.queue_id, r.rank, r.job_id) = (j.queue_id, -j.priority, j.id) returning 1
		), scheduled as (
			delete from chimp.job_scheduled s where s.job_id = j.id returning 1
		), suspect as (
			delete from chimp.job_suspect s where s.job_id = j.id returning 1
		), held as (
			delete from chimp.job_held h
			where (h.queue_id, h.ordering_key, h.job_id) = (j.queue_id, j.ordering_key, j.id) returning 1
		)
		select true into found_it
		from (table ready union all table scheduled union all table suspect union all table held) u limit 1;
		exit when found_it;
		c := chimp.cancel_claimed(j.id, j.queue_id);
		exit when c.token is not null;
		if not chimp.job_is_open(j.id) then
			return false;
		end if;
	end loop;
	perform chimp.job_end(j, c, 'cancelled', null);
	return true;
end $$;
comment on function chimp.cancel(bigint) is
	'Cancel a job that has not ended; false if it has. What a running handler wrote is rolled back, and its query is cancelled. CH002: unknown job.';

create or replace function chimp.retry(job bigint) returns boolean
language plpgsql as $$
declare
	j chimp.job := chimp.job_get(job);
	q chimp.queue;
	first bigint;
begin
	select * into q from chimp.queue o where o.id = j.queue_id;
	delete from chimp.job_scheduled s where s.job_id = j.id;
	if found then
		delete from chimp.job_attempt a where a.job_id = j.id;
		perform chimp.job_to_ready(q, j.id, j.priority, null);
		return true;
	end if;
	delete from chimp.job_ended e where e.job_id = j.id;
	if not found then
		return false;
	end if;
	delete from chimp.job_attempt a where a.job_id = j.id;
	if j.unique_key is not null then
		first := chimp.unique_job(q, j.unique_key, j.id, j.payload);
		if first <> j.id then
			raise exception 'job %: its unique key "%" is held by job %', j.id, j.unique_key, first
				using errcode = 'CH003', hint = 'cancel that job first';
		end if;
	end if;
	perform chimp.job_admit(q, j, null);
	return true;
end $$;
comment on function chimp.retry(bigint) is
	'Make a scheduled, dead or cancelled job ready now, with all its attempts, or, when another job holds its ordering key, the next of those that wait for it by age; false in other states. CH002: unknown job. CH003: another job has its unique key by now.';

create or replace function chimp.drain(queue text, max_jobs int default 1000) returns int
language plpgsql as $$
declare
	q chimp.queue := chimp.queue_get(queue);
	n int;
begin
	select count(*) filter (where chimp.cancel(w.job_id)) into n from (
		(select r.job_id from chimp.job_ready r where r.queue_id = q.id limit max_jobs)
		union all
		(select s.job_id from chimp.job_scheduled s where s.queue_id = q.id limit max_jobs)
		union all
		(select s.job_id from chimp.job_suspect s where s.queue_id = q.id limit max_jobs)
		union all
		(select h.job_id from chimp.job_held h where h.queue_id = q.id limit max_jobs)
		limit max_jobs) w;
	return n;
end $$;
comment on function chimp.drain(text, int) is
	'Cancel up to max_jobs waiting jobs of a queue; how many. Running ones go on. Call it until it returns 0. CH002: unknown queue.';

create or replace function chimp.redrive(queue text, max_jobs int default 1000) returns int
language plpgsql as $$
declare
	q chimp.queue := chimp.queue_get(queue);
	n int;
begin
	select count(*) filter (where chimp.retry(d.job_id)) into n from (
		select e.job_id from chimp.job_ended e
		where e.queue_id = q.id and e.state = 'dead' and not exists (
			select from chimp.job j join chimp.job_unique u
			on (u.queue_id, u.unique_key) = (j.queue_id, j.unique_key) and u.job_id <> j.id
			where j.id = e.job_id)
		order by e.job_id limit max_jobs) d;
	return n;
end $$;
comment on function chimp.redrive(text, int) is
	'Make up to max_jobs dead jobs of a queue ready again, the oldest first, but those whose unique key another job has by now; how many. CH002: unknown queue.';

create or replace function chimp.job_forget(jobs bigint[]) returns void
language sql as $$
	delete from chimp.job_error e where e.job_id = any (jobs);
	delete from chimp.job_attempt a where a.job_id = any (jobs);
	delete from chimp.job_progress p where p.job_id = any (jobs);
	delete from chimp.job j where j.id = any (jobs);
$$;

create or replace function chimp.purge(queue text, max_jobs int default 1000) returns int
language plpgsql as $$
declare
	q chimp.queue := chimp.queue_get(queue);
	gone bigint[];
begin
	with dead as (
		delete from chimp.job_ended e where e.job_id = any (array(
			select o.job_id from chimp.job_ended o
			where o.queue_id = q.id and o.state = 'dead' order by o.job_id limit max_jobs for update skip locked))
		returning e.job_id
	)
	select coalesce(array_agg(d.job_id), '{}') into gone from dead d;
	perform chimp.job_forget(gone);
	return cardinality(gone);
end $$;
comment on function chimp.purge(text, int) is
	'Delete up to max_jobs dead jobs of a queue, the oldest first; how many. CH002: unknown queue.';
