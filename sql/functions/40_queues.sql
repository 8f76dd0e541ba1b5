-- Queues: what every other file of queues uses. A job's state is the table that
-- it is in: held, scheduled, ready, claimed (a row for several), done (likewise),
-- ended. doc/queues.md says why.
--
-- These tables are empty now and full in a minute, and statistics follow later:
-- what reads them has "set enable_seqscan = off", so that no plan that was made
-- for an empty table walks over all that is and was in a full one. "jit" goes with
-- it: where only a sequential scan is left, its price would have it compiled.

create or replace function chimp.wake_workers(q chimp.queue) returns void
language plpgsql as $$
begin
	-- A pending NOTIFY takes a cluster-wide lock at commit: only when a
	-- consumer said that it sleeps. The flag is read now and not at commit;
	-- the consumers' short re-looks find what slips through.
	-- A paused queue wakes them when it is resumed.
	if q.paused_at is null and pg_sequence_last_value(q.wake) = 2 then
		perform pg_notify('chimp_work', q.name);
	end if;
end $$;

create or replace function chimp.wake_workers_of(queues int[]) returns void
language plpgsql as $$
begin
	-- Beyond a few, one NOTIFY has every worker look at all of its queues.
	if cardinality(queues) > 16 then
		perform pg_notify('chimp_work', '');
	else
		perform chimp.wake_workers(q) from chimp.queue q where q.id = any (queues);
	end if;
end $$;
comment on function chimp.wake_workers_of(int[]) is
	'Wake the workers that sleep on these queues, in which jobs have become ready.';

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

create or replace function chimp.job_get(id bigint) returns chimp.job
language plpgsql stable as $$
declare
	j chimp.job;
begin
	select * into j from chimp.job o where o.id = $1;
	if not found then
		raise exception 'unknown job %', $1 using errcode = 'CH002',
			hint = 'ended jobs are kept for the retention of their queue';
	end if;
	return j;
end $$;

create or replace function chimp.job_to_ready(q chimp.queue, id bigint, priority int, run_at timestamptz)
returns void language plpgsql as $$
begin
	if run_at > clock_timestamp() then
		insert into chimp.job_scheduled (job_id, queue_id, run_at) values (id, q.id, run_at);
		-- Sleepers look again every 5 s and learn of later ones then.
		if run_at > clock_timestamp() + interval '6 s' then
			return;
		end if;
	else
		insert into chimp.job_ready (queue_id, rank, job_id) values (q.id, -priority, id);
	end if;
	perform chimp.wake_workers(q);
end $$;
comment on function chimp.job_to_ready(chimp.queue, bigint, int, timestamptz) is
	'Put a job that is in no table into ready, or into scheduled when run_at is in the future.';

create or replace function chimp.job_admit(q chimp.queue, j chimp.job, run_at timestamptz) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
	if j.ordering_key is not null then
		-- One enqueuer or closer of a key at a time, to its commit.
		perform pg_advisory_xact_lock(q.id, hashtext(j.ordering_key));
		if (select count(*) from chimp.job_key k
			where (k.queue_id, k.ordering_key) = (q.id, j.ordering_key)) >= q.key_concurrency
			or exists (select from chimp.job_held h
				where (h.queue_id, h.ordering_key) = (q.id, j.ordering_key)) then
			insert into chimp.job_held (queue_id, ordering_key, job_id, run_at)
			values (q.id, j.ordering_key, j.id, run_at);
			return;
		end if;
		insert into chimp.job_key (queue_id, ordering_key, job_id) values (q.id, j.ordering_key, j.id);
	end if;
	perform chimp.job_to_ready(q, j.id, j.priority, run_at);
end $$;
comment on function chimp.job_admit(chimp.queue, chimp.job, timestamptz) is
	'Put a job that is in no table behind the others of its ordering key, or into ready or scheduled.';

create or replace function chimp.job_close(j chimp.job) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	q chimp.queue;
	next record;
begin
	if j.unique_key is not null then
		delete from chimp.job_unique u
		where (u.queue_id, u.unique_key, u.job_id) = (j.queue_id, j.unique_key, j.id)
		and (u.expires_at is null or u.expires_at <= clock_timestamp());
	end if;
	if j.ordering_key is null then
		return;
	end if;
	perform pg_advisory_xact_lock(j.queue_id, hashtext(j.ordering_key));
	delete from chimp.job_held h where (h.queue_id, h.ordering_key, h.job_id) = (j.queue_id, j.ordering_key, j.id);
	delete from chimp.job_key k where (k.queue_id, k.ordering_key, k.job_id) = (j.queue_id, j.ordering_key, j.id);
	if not found then
		return;                          -- it was waiting for its key
	end if;
	select * into q from chimp.queue o where o.id = j.queue_id;
	-- More than one when key_concurrency has grown.
	for next in
		select h.job_id, h.run_at, o.priority from chimp.job_held h join chimp.job o on o.id = h.job_id
		where (h.queue_id, h.ordering_key) = (j.queue_id, j.ordering_key)
		order by h.job_id
		limit greatest(0, q.key_concurrency - (select count(*) from chimp.job_key k
			where (k.queue_id, k.ordering_key) = (j.queue_id, j.ordering_key)))
	loop
		delete from chimp.job_held h
		where (h.queue_id, h.ordering_key, h.job_id) = (j.queue_id, j.ordering_key, next.job_id);
		insert into chimp.job_key (queue_id, ordering_key, job_id)
		values (j.queue_id, j.ordering_key, next.job_id);
		perform chimp.job_to_ready(q, next.job_id, next.priority, next.run_at);
	end loop;
end $$;
comment on function chimp.job_close(chimp.job) is
	'Free the keys of a job that has ended; the next job of its ordering key becomes ready.';

create or replace function chimp.open_job(id bigint) returns table (job_id bigint)
language sql stable as $$
	select j.id from chimp.job j where j.id = $1 and (
		exists (select from chimp.job_ready r where (r.queue_id, r.rank, r.job_id) = (j.queue_id, -j.priority, j.id))
		or exists (select from chimp.job_scheduled s where s.job_id = j.id)
		or exists (select from chimp.job_suspect u where u.job_id = j.id)
		or exists (select from chimp.job_held h
			where (h.queue_id, h.ordering_key, h.job_id) = (j.queue_id, j.ordering_key, j.id))
		or exists (select from chimp.job_claim c where c.queue_id = j.queue_id and j.id = any (c.jobs)))
$$;
comment on function chimp.open_job(bigint) is
	'The job, if it exists and has not ended; in a query''s FROM the planner sees through it.';

create or replace function chimp.job_is_open(id bigint) returns boolean
language sql stable as $$
	select exists (select from chimp.open_job($1))
$$;
comment on function chimp.job_is_open(bigint) is 'The job exists and has not ended.';

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
