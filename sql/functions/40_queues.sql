-- Queues: enqueue, claim, close. A job's state is the table that it is in.

create or replace function chimp.wake_workers(queue text, wake regclass) returns void
language plpgsql as $$
begin
	-- A pending NOTIFY takes a cluster-wide lock at commit: only when a
	-- consumer said that it sleeps. The flag is read now and not at commit;
	-- the consumers' short re-looks find what slips through.
	if pg_sequence_last_value(wake) = 2 then
		perform pg_notify('chimp_work', queue);
	end if;
end $$;

create or replace function chimp.queue_get(name text) returns chimp.queue
language plpgsql stable as $$
declare
	q chimp.queue;
begin
	select * into q from chimp.queue o where o.name = $1;
	if not found then
		raise exception 'unknown queue "%"', $1 using errcode = 'CH002',
			hint = 'register it in an app file: queue "NAME" { sql = "schema.function" }';
	end if;
	return q;
end $$;

create or replace function chimp.unique_job(q chimp.queue, key text, id bigint, payload jsonb)
returns bigint language plpgsql as $$
declare
	first bigint;
	same boolean;
begin
	loop
		-- Waits for a concurrent holder's outcome.
		insert into chimp.job_unique (queue_id, unique_key, job_id) values (q.id, key, id)
		on conflict do nothing;
		if found then
			return null;
		end if;
		select u.job_id, j.payload = unique_job.payload into first, same
		from chimp.job_unique u left join chimp.job j on j.id = u.job_id
		where (u.queue_id, u.unique_key) = (q.id, key);
		if found then
			exit;
		end if;
	end loop;
	if not same then
		raise exception 'queue "%": unique key "%" is held by job % with another payload', q.name, key, first
			using errcode = 'CH003';
	end if;
	return first;
end $$;
comment on function chimp.unique_job(chimp.queue, text, bigint, jsonb) is
	'Take a unique key for a new job; NULL when taken, else the id of the job that holds it. CH003 when that one has another payload.';

create or replace function chimp.job_to_ready(q chimp.queue, id bigint, priority int, attempt int,
	interruptions int, run_at timestamptz)
returns void language plpgsql as $$
begin
	if run_at > clock_timestamp() then
		insert into chimp.job_scheduled (job_id, queue_id, run_at, attempt, interruptions)
		values (id, q.id, run_at, attempt, interruptions);
		-- Sleepers look again every 5 s and learn of later ones then.
		if run_at > clock_timestamp() + interval '6 s' then
			return;
		end if;
	else
		insert into chimp.job_ready (queue_id, rank, job_id, attempt, interruptions)
		values (q.id, -priority, id, attempt, interruptions);
	end if;
	perform chimp.wake_workers(q.name, q.wake);
end $$;
comment on function chimp.job_to_ready(chimp.queue, bigint, int, int, int, timestamptz) is
	'Put a job that is in no table into ready, or into scheduled when run_at is in the future.';

create or replace function chimp.enqueue(queue text, payload jsonb default '{}', delay interval default null,
	run_at timestamptz default null, priority int default null, unique_key text default null,
	ordering_key text default null, max_attempts int default null, timeout interval default null)
returns bigint language plpgsql as $$
declare
	q chimp.queue := chimp.queue_get(queue);
	id bigint := nextval('chimp.job_id_seq');
	at timestamptz := coalesce(run_at, clock_timestamp() + delay);
	prio int := coalesce(priority, q.priority);
	first bigint;
begin
	if max_attempts < 1 then
		raise exception 'chimp.enqueue: max_attempts must be at least 1, not %', max_attempts
			using errcode = '22023';
	end if;
	payload := coalesce(payload, 'null');
	if unique_key is not null then
		first := chimp.unique_job(q, unique_key, id, payload);
		if first is not null then
			return first;
		end if;
	end if;
	insert into chimp.job (id, queue_id, priority, payload, max_attempts, timeout_ms, unique_key, ordering_key)
	overriding system value
	values (id, q.id, prio, payload, coalesce(enqueue.max_attempts, q.max_attempts),
		coalesce((extract(epoch from timeout) * 1000)::bigint, q.timeout_ms),
		enqueue.unique_key, enqueue.ordering_key);
	if ordering_key is not null then
		-- One enqueuer or closer of a key at a time, to its commit.
		perform pg_advisory_xact_lock(q.id, hashtext(ordering_key));
		insert into chimp.job_key (queue_id, ordering_key, job_id) values (q.id, enqueue.ordering_key, id)
		on conflict do nothing;
		if not found then
			insert into chimp.job_held (queue_id, ordering_key, job_id, run_at)
			values (q.id, enqueue.ordering_key, id, at);
			return id;
		end if;
	end if;
	perform chimp.job_to_ready(q, id, prio, 0, 0, at);
	return id;
end $$;
comment on function chimp.enqueue(text, jsonb, interval, timestamptz, int, text, text, int, interval) is
	'Put a job into a queue; visible to workers when this transaction commits. Returns its id; with a unique_key that a job not yet ended holds, that job''s id (CH003 if its payload differs). CH002: unknown queue.';

create or replace function chimp.enqueue_many(queue text, payloads jsonb[]) returns setof bigint
language plpgsql as $$
declare
	q chimp.queue := chimp.queue_get(queue);
begin
	return query
	with jobs as (
		insert into chimp.job (queue_id, priority, payload, max_attempts, timeout_ms)
		select q.id, q.priority, coalesce(p, 'null'), q.max_attempts, q.timeout_ms
		from unnest(payloads) with ordinality as u (p, n) order by n
		returning id
	), ready as (
		insert into chimp.job_ready (queue_id, rank, job_id, attempt, interruptions)
		select q.id, -q.priority, j.id, 0, 0 from jobs j
	)
	select j.id from jobs j;
	perform chimp.wake_workers(q.name, q.wake);
end $$;
comment on function chimp.enqueue_many(text, jsonb[]) is
	'Put many jobs into a queue in one statement; returns their ids in order.';

-- Claiming -------------------------------------------------------------------

create or replace function chimp.pattern_rank(pattern text, name text) returns int
language sql immutable parallel safe as $$
	-- Larger is more specific; NULL: does not match. '*' as the last segment
	-- stands for one or more segments.
	select case
		when pattern = name then 1000000
		when pattern = '*' then 0
		when right(pattern, 2) = '.*' and starts_with(name, left(pattern, -1))
			and length(name) >= length(pattern) then length(pattern)
	end
$$;

create or replace function chimp.worker_queues(process uuid) returns int[]
language sql stable as $$
	select coalesce(array_agg(b.id order by b.id), '{}') from (
		select q.id,
			max(chimp.pattern_rank(w.pattern, q.name)) as best,
			max(chimp.pattern_rank(w.pattern, q.name)) filter (where w.process = $1) as mine
		from chimp.queue q
		cross join (select p.id as process, unnest(p.queues) as pattern
			from chimp.process p where p.role = 'worker' and p.lease_until > clock_timestamp()) w
		where q.active
		group by q.id
	) b
	where b.mine = b.best
$$;
comment on function chimp.worker_queues(uuid) is
	'Queues for which this process holds the most specific pattern over all live workers.';

-- plpgsql, which keeps its plans: SQL functions are planned at every call.
create or replace function chimp.promote(queue int) returns void
language plpgsql as $$
begin
	with due as (
		delete from chimp.job_scheduled s using (
			select o.job_id from chimp.job_scheduled o
			where o.queue_id = $1 and o.run_at <= clock_timestamp()
			order by o.run_at limit 1000 for update skip locked) d
		where s.job_id = d.job_id
		returning s.*
	)
	insert into chimp.job_ready (queue_id, rank, job_id, attempt, interruptions)
	select d.queue_id, -j.priority, d.job_id, d.attempt, d.interruptions
	from due d join chimp.job j on j.id = d.job_id;
end $$;

create or replace function chimp.claim_queue(process uuid, queue int, max_jobs int)
returns table (job bigint, token bigint, timeout_ms bigint)
language plpgsql as $$
begin
	return query with taken as (
		-- By ctid, so that no plan joins: not knowing $3, the planner takes
		-- a tenth of the table for the limit and reads all of it.
		delete from chimp.job_ready r where r.ctid = any (array(
			select o.ctid from chimp.job_ready o
			where o.queue_id = $2
			order by o.rank, o.job_id limit $3 for update skip locked))
		returning r.*
	), claimed as (
		insert into chimp.job_claim (job_id, token, process_id, queue_id, attempt, interruptions)
		select t.job_id, nextval('chimp.token'), $1, t.queue_id, t.attempt, t.interruptions
		from taken t order by t.rank, t.job_id
		returning job_claim.job_id, job_claim.token
	)
	select c.job_id, c.token, j.timeout_ms
	from claimed c join chimp.job j on j.id = c.job_id
	order by -j.priority, j.id;
end $$;

create or replace function chimp.claim(process uuid, queues int[], max_jobs int)
returns table (job bigint, token bigint, queue text, handler text, timeout_ms bigint)
language plpgsql as $$
declare
	q record;
	wanted int := max_jobs;
	found_here int;
begin
	-- Holding the row's lock, so that nobody declares the process dead between
	-- here and the commit; a dead one claims nothing.
	perform from chimp.process p where p.id = $1 for key share;
	if not found then
		raise exception 'process % is not registered', $1 using errcode = 'CH001';
	end if;
	-- In random order, so that no queue starves another.
	for q in
		select o.id, o.name, o.handler, o.wake, pg_sequence_last_value(o.wake) as sleeping
		from chimp.queue o where o.id = any(queues) and o.paused_at is null
		order by random()
	loop
		exit when wanted <= 0;
		perform chimp.promote(q.id);
		return query select c.job, c.token, q.name, q.handler, c.timeout_ms
			from chimp.claim_queue($1, q.id, wanted) c;
		get diagnostics found_here = row_count;
		wanted := wanted - found_here;
		-- Only at a change: setval writes WAL.
		if wanted > 0 and q.sleeping is distinct from 2 then
			perform setval(q.wake, 2);
		elsif wanted <= 0 and found_here > 1 and q.sleeping = 2 then
			perform setval(q.wake, 1);
		end if;
	end loop;
end $$;
comment on function chimp.claim(uuid, int[], int) is
	'Claim up to max_jobs ready jobs of these queues for a process, with a new fencing token each.';

create or replace function chimp.next_due_ms(queues int[]) returns bigint
language sql stable as $$
	select greatest(0, ceil(extract(epoch from min(d.run_at) - clock_timestamp()) * 1000))::bigint
	from unnest(queues) q cross join lateral (
		select s.run_at from chimp.job_scheduled s where s.queue_id = q order by s.run_at limit 1) d
$$;
comment on function chimp.next_due_ms(int[]) is
	'Milliseconds until the next scheduled job of these queues; NULL if there is none.';

-- Closing --------------------------------------------------------------------

create or replace function chimp.stale(what text, id bigint, token bigint) returns void
language plpgsql as $$
begin
	raise exception '% %: token % is stale', what, id, token using errcode = 'CH001',
		detail = 'The lease ended or the work was released; another process may own it.';
end $$;

create or replace function chimp.job_begin(job bigint, token bigint) returns jsonb
language plpgsql as $$
declare
	c record;
begin
	select j.payload, o.attempt, q.name into c
	from chimp.job_claim o join chimp.job j on j.id = o.job_id join chimp.queue q on q.id = o.queue_id
	where o.job_id = $1 and o.token = $2;
	if not found then
		perform chimp.stale('job', job, token);
	end if;
	perform set_config('chimp.job', jsonb_build_object('id', job, 'queue', c.name,
		'attempt', c.attempt + 1, 'token', token)::text, true);
	return c.payload;
end $$;
comment on function chimp.job_begin(bigint, bigint) is
	'First thing in a handler''s transaction: check the claim, return the payload.';

create or replace function chimp.job_close(job bigint, queue int) returns void
language plpgsql as $$
declare
	j chimp.job;
	q chimp.queue;
	next record;
begin
	select * into j from chimp.job o where o.id = $1;
	if j.unique_key is not null then
		delete from chimp.job_unique u where (u.queue_id, u.unique_key, u.job_id) = ($2, j.unique_key, $1);
	end if;
	if j.ordering_key is null then
		return;
	end if;
	perform pg_advisory_xact_lock($2, hashtext(j.ordering_key));
	delete from chimp.job_held h where (h.queue_id, h.ordering_key, h.job_id) = ($2, j.ordering_key, $1);
	delete from chimp.job_key k where (k.queue_id, k.ordering_key, k.job_id) = ($2, j.ordering_key, $1);
	if not found then
		return;                          -- it was waiting for its key
	end if;
	delete from chimp.job_held h
	where (h.queue_id, h.ordering_key) = ($2, j.ordering_key) and h.job_id = (
		select min(o.job_id) from chimp.job_held o
		where (o.queue_id, o.ordering_key) = ($2, j.ordering_key))
	returning h.job_id, h.run_at into next;
	if found then
		select * into q from chimp.queue o where o.id = $2;
		insert into chimp.job_key (queue_id, ordering_key, job_id) values ($2, j.ordering_key, next.job_id);
		perform chimp.job_to_ready(q, next.job_id, o.priority, 0, 0, next.run_at)
		from chimp.job o where o.id = next.job_id;
	end if;
end $$;
comment on function chimp.job_close(bigint, int) is
	'Free the keys of a job that has ended; the next job of its ordering key becomes ready.';

create or replace function chimp.job_done(job bigint, token bigint, result jsonb) returns void
language plpgsql as $$
declare
	c chimp.job_claim;
begin
	-- The fence: a claim that was released meanwhile is gone, and this raises,
	-- so that everything the handler wrote is rolled back.
	delete from chimp.job_claim o where o.job_id = $1 and o.token = $2 returning * into c;
	if not found then
		perform chimp.stale('job', job, token);
	end if;
	insert into chimp.job_ended (job_id, queue_id, state, attempt, interruptions, started_at, process_id, result)
	values ($1, c.queue_id, 'done', c.attempt + 1, c.interruptions, c.claimed_at, c.process_id, $3);
	perform chimp.job_close($1, c.queue_id) from chimp.job j
	where j.id = $1 and (j.unique_key is not null or j.ordering_key is not null);
end $$;
comment on function chimp.job_done(bigint, bigint, jsonb) is
	'Last thing in a handler''s transaction: close the job as done. A stale token raises CH001.';

create or replace function chimp.job_dead(c chimp.job_claim, error jsonb) returns void
language plpgsql as $$
declare
	q chimp.queue;
	dlq chimp.queue;
	body jsonb;
begin
	insert into chimp.job_ended (job_id, queue_id, state, attempt, interruptions, started_at, process_id, error)
	values (c.job_id, c.queue_id, 'dead', c.attempt, c.interruptions, c.claimed_at, c.process_id, error);
	select * into q from chimp.queue o where o.id = c.queue_id;
	select * into dlq from chimp.queue o
	where o.name = coalesce(nullif(q.dead_letter, ''), q.name || '.dlq');
	if found then
		select j.payload into body from chimp.job j where j.id = c.job_id;
		perform chimp.enqueue(dlq.name, jsonb_build_object('attempts', c.attempt,
			'error', error ->> 'message',
			'failedAt', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
			'payload', body, 'queue', q.name));
	end if;
	perform chimp.job_close(c.job_id, c.queue_id);
end $$;

create or replace function chimp.job_fail(job bigint, token bigint, sqlstate text, message text,
	detail text, hint text, context text)
returns text language plpgsql as $$
declare
	c chimp.job_claim;
	q chimp.queue;
	j chimp.job;
	error jsonb := chimp.error_json(sqlstate, message, detail, hint, context);
begin
	delete from chimp.job_claim o where o.job_id = $1 and o.token = $2 returning * into c;
	if not found then
		perform chimp.stale('job', job, token);
	end if;
	c.attempt := c.attempt + 1;
	insert into chimp.job_error (job_id, attempt, error) values ($1, c.attempt, error);
	select * into j from chimp.job o where o.id = $1;
	if c.attempt >= j.max_attempts then
		perform chimp.job_dead(c, error);
		return 'dead';
	end if;
	select * into q from chimp.queue o where o.id = c.queue_id;
	perform chimp.job_to_ready(q, $1, j.priority, c.attempt, c.interruptions, clock_timestamp()
		+ chimp.retry_delay_ms(q.backoff, q.retry_delay_ms, q.retry_delay_max_ms, c.attempt) * interval '1 ms');
	return 'retry';
end $$;
comment on function chimp.job_fail(bigint, bigint, text, text, text, text, text) is
	'Charge an attempt with its error: ''retry'' after the queue''s delay, or ''dead'' after the last. A stale token raises CH001.';

create or replace function chimp.job_release(job bigint, token bigint) returns boolean
language plpgsql as $$
declare
	c chimp.job_claim;
	q chimp.queue;
begin
	delete from chimp.job_claim o where o.job_id = $1 and o.token = $2 returning * into c;
	if not found then
		return false;
	end if;
	select * into q from chimp.queue o where o.id = c.queue_id;
	perform chimp.job_to_ready(q, $1, j.priority, c.attempt, c.interruptions + 1, null)
	from chimp.job j where j.id = $1;
	return true;
end $$;
comment on function chimp.job_release(bigint, bigint) is
	'Give a claim back uncharged; false if it was not current.';

-- For people -----------------------------------------------------------------

create or replace function chimp.cancel(job bigint) returns boolean
language plpgsql as $$
declare
	was record;
begin
	with ready as (
		delete from chimp.job_ready r using chimp.job j
		where j.id = $1 and (r.queue_id, r.rank, r.job_id) = (j.queue_id, -j.priority, $1)
		returning r.queue_id, r.attempt, r.interruptions
	), scheduled as (
		delete from chimp.job_scheduled s where s.job_id = $1
		returning s.queue_id, s.attempt, s.interruptions
	), held as (
		delete from chimp.job_held h using chimp.job j
		where j.id = $1 and (h.queue_id, h.ordering_key, h.job_id) = (j.queue_id, j.ordering_key, $1)
		returning h.queue_id, 0, 0
	), claimed as (
		-- Its handler's transaction aborts: the token is gone.
		delete from chimp.job_claim c where c.job_id = $1
		returning c.queue_id, c.attempt, c.interruptions
	)
	select * into was from (table ready union all table scheduled union all table held
		union all table claimed) u;
	if not found then
		if not exists (select from chimp.job j where j.id = $1) then
			raise exception 'unknown job %', job using errcode = 'CH002';
		end if;
		return false;
	end if;
	insert into chimp.job_ended (job_id, queue_id, state, attempt, interruptions)
	values ($1, was.queue_id, 'cancelled', was.attempt, was.interruptions);
	perform chimp.job_close($1, was.queue_id);
	return true;
end $$;
comment on function chimp.cancel(bigint) is
	'Cancel a job that has not ended; false if it has. What a running handler wrote is rolled back. CH002: unknown job.';

create or replace function chimp.retry(job bigint) returns boolean
language plpgsql as $$
declare
	j chimp.job;
	q chimp.queue;
begin
	select * into j from chimp.job o where o.id = $1;
	if not found then
		raise exception 'unknown job %', job using errcode = 'CH002';
	end if;
	delete from chimp.job_scheduled s where s.job_id = $1;
	if not found then
		delete from chimp.job_ended e where e.job_id = $1 and e.state <> 'done';
		if not found then
			return false;
		end if;
	end if;
	select * into q from chimp.queue o where o.id = j.queue_id;
	perform chimp.job_to_ready(q, $1, j.priority, 0, 0, null);
	return true;
end $$;
comment on function chimp.retry(bigint) is
	'Make a scheduled, dead or cancelled job ready now, with all its attempts; false in other states. It does not take its unique or ordering key again. CH002: unknown job.';

create or replace function chimp.pause(queue text) returns void
language plpgsql as $$
begin
	perform chimp.queue_get(queue);
	update chimp.queue q set paused_at = clock_timestamp(), paused_by = session_user
	where q.name = $1 and q.paused_at is null;
end $$;
comment on function chimp.pause(text) is
	'Stop new claims from a queue on all nodes; running jobs finish. CH002: unknown queue.';

create or replace function chimp.resume(queue text) returns void
language plpgsql as $$
begin
	perform chimp.queue_get(queue);
	update chimp.queue q set paused_at = null, paused_by = null where q.name = $1;
	perform pg_notify('chimp_work', queue);
end $$;
comment on function chimp.resume(text) is 'Undo chimp.pause.';
