-- Enqueue: one job, or many in one statement.

create or replace function chimp.queue_check_room(q chimp.queue) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	n bigint;
begin
	-- The walk's count where that is deep and fresh, else an exact one.
	select c.ready into n from chimp.queue_count c, chimp.maintenance m
	where c.queue_id = q.id and c.ready > 1000 and m.walked_at > clock_timestamp() - interval '5 s';
	if not found then
		select count(*) into n from (
			select from chimp.job_ready r where r.queue_id = q.id limit q.max_ready) r;
	end if;
	if n >= q.max_ready then
		raise exception 'queue "%" is full: % jobs are ready', q.name, n using errcode = 'CH004',
			hint = 'try again later; max_ready of the queue bounds it';
	end if;
end $$;
comment on function chimp.queue_check_room(chimp.queue) is
	'Raise CH004 when the queue has max_ready ready jobs. Concurrent enqueuers may exceed it by what they do at once, and a deep queue by what a second brings.';

create or replace function chimp.unique_job(q chimp.queue, key text, id bigint, payload jsonb)
returns bigint language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	u chimp.job_unique;
	j chimp.job;
	until timestamptz := case when q.unique_for_ms > 0
		then clock_timestamp() + q.unique_for_ms * interval '1 ms' end;
begin
	loop
		-- Waits for a concurrent holder's outcome.
		insert into chimp.job_unique (queue_id, unique_key, job_id, expires_at) values (q.id, key, id, until)
		on conflict do nothing;
		if found then
			return null;
		end if;
		select * into u from chimp.job_unique o where (o.queue_id, o.unique_key) = (q.id, key);
		continue when not found;
		exit when u.expires_at is null or u.expires_at > clock_timestamp() or chimp.job_is_open(u.job_id);
		delete from chimp.job_unique o where (o.queue_id, o.unique_key, o.job_id) = (q.id, key, u.job_id);
	end loop;
	select * into j from chimp.job o where o.id = u.job_id;
	if j.payload <> payload then
		raise exception 'queue "%": unique key "%" is held by job % with another payload', q.name, key, u.job_id
			using errcode = 'CH003';
	end if;
	return u.job_id;
end $$;
comment on function chimp.unique_job(chimp.queue, text, bigint, jsonb) is
	'Take a unique key for a new job; NULL when taken, else the id of the job that holds it. CH003 when that one has another payload.';

create or replace function chimp.enqueue_special(queue text, payload jsonb, delay interval, run_at timestamptz,
	priority int, unique_key text, ordering_key text, max_attempts int, timeout interval)
returns bigint language plpgsql as $$
declare
	q chimp.queue;
	j chimp.job;
	first bigint;
begin
	select * into q from chimp.queue o where o.name = queue;
	if not found then
		q := chimp.queue_get(queue);     -- says what is wrong
	end if;
	if max_attempts < 1 or delay < interval '0' or timeout < interval '1 ms' or not isfinite(run_at) then
		raise exception 'chimp.enqueue: max_attempts must be at least 1, delay not negative, timeout at least 1 ms, run_at finite'
			using errcode = '22023';
	end if;
	if q.max_ready > 0 then
		perform chimp.queue_check_room(q);
	end if;
	j.id := nextval('chimp.job_id_seq');
	j.queue_id := q.id;
	j.priority := coalesce(priority, q.priority);
	j.payload := coalesce(payload, 'null');
	j.unique_key := unique_key;
	j.ordering_key := ordering_key;
	if unique_key is not null then
		first := chimp.unique_job(q, unique_key, j.id, j.payload);
		if first is not null then
			return first;
		end if;
	end if;
	insert into chimp.job (id, queue_id, priority, payload, max_attempts, timeout_ms, unique_key, ordering_key)
	overriding system value
	values (j.id, j.queue_id, j.priority, j.payload, enqueue_special.max_attempts,
		(extract(epoch from timeout) * 1000)::bigint, enqueue_special.unique_key, enqueue_special.ordering_key);
	perform chimp.job_admit(q, j, coalesce(run_at, clock_timestamp() + delay));
	return j.id;
end $$;
comment on function chimp.enqueue_special(text, jsonb, interval, timestamptz, int, text, text, int, interval) is
	'chimp.enqueue of a job that asks for something, or of a queue that does.';

create or replace function chimp.enqueue(queue text, payload jsonb default '{}', delay interval default null,
	run_at timestamptz default null, priority int default null, unique_key text default null,
	ordering_key text default null, max_attempts int default null, timeout interval default null)
returns bigint language plpgsql as $$
declare
	queue_id int;
	rank int;
	asleep boolean;
	job bigint;
begin
	-- What most jobs are, in as few steps as it takes: they cost as much as the rows.
	if num_nonnulls(delay, run_at, unique_key, ordering_key, max_attempts, timeout) = 0 then
		select q.id, -coalesce($5, q.priority), q.paused_at is null and pg_sequence_last_value(q.wake) = 2
		into queue_id, rank, asleep
		from chimp.queue q where q.name = $1 and q.max_ready = 0;
		if found then
			insert into chimp.job as j (queue_id, priority, payload) values (queue_id, -rank, coalesce($2, 'null'))
			returning j.id into job;
			insert into chimp.job_ready (queue_id, rank, job_id) values (queue_id, rank, job);
			if asleep then
				perform pg_notify('chimp_work', $1);
			end if;
			return job;
		end if;
	end if;
	return chimp.enqueue_special($1, $2, $3, $4, $5, $6, $7, $8, $9);
end $$;
comment on function chimp.enqueue(text, jsonb, interval, timestamptz, int, text, text, int, interval) is
	'Put a job into a queue; visible to workers when this transaction commits. Returns its id; with a unique_key that a job not yet ended holds, that job''s id (CH003 if its payload differs). CH002: unknown queue. CH004: the queue has max_ready ready jobs.';

create or replace function chimp.enqueue_many(queue text, payloads jsonb[]) returns setof bigint
language plpgsql as $$
declare
	q chimp.queue := chimp.queue_get(queue);
begin
	if q.max_ready > 0 then
		perform chimp.queue_check_room(q);
	end if;
	return query
	with jobs as (
		insert into chimp.job (queue_id, priority, payload)
		select q.id, q.priority, coalesce(p, 'null')
		from unnest(payloads) with ordinality as u (p, n) order by n
		returning id
	), ready as (
		insert into chimp.job_ready (queue_id, rank, job_id)
		select q.id, -q.priority, j.id from jobs j
	)
	select j.id from jobs j;
	perform chimp.wake_workers(q);
end $$;
comment on function chimp.enqueue_many(text, jsonb[]) is
	'Put many jobs into a queue in one statement; returns their ids in order.';
