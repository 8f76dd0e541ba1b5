-- Maintenance of queues: bounded steps, by whichever process has time. One at a
-- time does it, and nobody waits for it.

create or replace function chimp.done_uncounted(seen pg_snapshot) returns table (queue_id int, jobs bigint)
language plpgsql stable rows 10
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	counted pg_snapshot := (select m.snapshot from chimp.maintenance m);
begin
	-- What is visible now and was not then: each end is counted once,
	-- whatever the order of commits.
	return query
	select d.queue_id, sum(cardinality(d.jobs)) from (
		select o.queue_id, o.jobs from chimp.job_done o
		where o.xid >= pg_snapshot_xmax(counted) and pg_visible_in_snapshot(o.xid, seen)
		union all
		select o.queue_id, o.jobs from chimp.job_done o
		where o.xid = any (array(select pg_snapshot_xip(counted))) and pg_visible_in_snapshot(o.xid, seen)) d
	group by d.queue_id;
end $$;
comment on function chimp.done_uncounted(pg_snapshot) is
	'Jobs by queue that this snapshot sees as done and that are not in chimp.queue_count yet.';

create or replace function chimp.count_done() returns void
language plpgsql as $$
declare
	seen pg_snapshot := pg_current_snapshot();
begin
	update chimp.queue_count c set done = c.done + n.jobs
	from chimp.done_uncounted(seen) n where n.queue_id = c.queue_id;
	-- What is not counted yet is little: the view adds it.
	if found then
		update chimp.maintenance m set snapshot = seen, kept_at = clock_timestamp();
	else
		update chimp.maintenance m set snapshot = seen, kept_at = clock_timestamp()
		where m.kept_at < clock_timestamp() - interval '1 min';
	end if;
end $$;

create or replace function chimp.queue_counts(queue int)
returns table (ready bigint, scheduled bigint, running bigint, dead bigint, cancelled bigint, oldest_ready_at timestamptz)
language plpgsql stable rows 1
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	-- By the last round of the walk; counted here while there are few.
	c chimp.queue_count;
	few constant int := 1000;
begin
	select * into c from chimp.queue_count o where o.queue_id = queue;
	select count(*) into ready from (select from chimp.job_ready r where r.queue_id = queue limit few + 1) x;
	select count(*) into scheduled from (select from chimp.job_scheduled s where s.queue_id = queue limit few + 1) x;
	select count(*) into dead from (select from chimp.job_ended e
		where (e.queue_id, e.state) = (queue, 'dead') limit few + 1) x;
	select count(*) into cancelled from (select from chimp.job_ended e
		where (e.queue_id, e.state) = (queue, 'cancelled') limit few + 1) x;
	ready := case when ready > few then greatest(ready, c.ready) else ready end
		+ (select count(*) from (select from chimp.job_suspect s where s.queue_id = queue limit few) x);
	scheduled := case when scheduled > few then greatest(scheduled, c.scheduled) else scheduled end
		+ (select count(*) from (select from chimp.job_held h where h.queue_id = queue limit 100000) x);
	dead := case when dead > few then greatest(dead, c.dead) else dead end;
	cancelled := case when cancelled > few then greatest(cancelled, c.cancelled) else cancelled end;
	running := (select coalesce(sum(cardinality(o.jobs)), 0) from chimp.job_claim o where o.queue_id = queue);
	oldest_ready_at := (select j.created_at from chimp.job j where j.id = (
		select r.job_id from chimp.job_ready r where r.queue_id = queue order by r.rank, r.job_id limit 1));
	return next;
end $$;
comment on function chimp.queue_counts(int) is
	'Jobs of a queue by state but done: exact up to 1,000 of a state, above as the last round of maintenance counted them.';

create or replace function chimp.retain(max_jobs int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	done bigint[];
	ended bigint[];
	now timestamptz := clock_timestamp();
begin
	-- Rows have up to 32 jobs: as many as make max_jobs, of all queues in
	-- random order, and only what is counted, so that it can be taken off.
	with old as (
		delete from chimp.job_done d where d.ctid = any (array(
			select s.ctid from (
				select o.ctid, sum(o.n) over (order by q.turn, o.ended_at rows unbounded preceding) as n
				from (select random() as turn, x.id, x.retention_ms from chimp.queue x) q
				cross join lateral (
					select j.ctid, j.ended_at, cardinality(j.jobs) as n
					from chimp.job_done j, chimp.maintenance m
					where j.queue_id = q.id and j.ended_at < now - q.retention_ms * interval '1 ms'
					and pg_visible_in_snapshot(j.xid, m.snapshot)
					order by j.ended_at limit max_jobs) o) s
			where s.n <= max_jobs))
		returning d.queue_id, d.jobs
	), counted as (
		update chimp.queue_count c set done = c.done - o.n
		from (select x.queue_id, sum(cardinality(x.jobs)) as n from old x group by x.queue_id) o
		where c.queue_id = o.queue_id
	)
	select coalesce(array_agg(u.id), '{}') into done from old o, unnest(o.jobs) u (id);
	with old as (
		delete from chimp.job_ended e where e.ctid = any (array(
			select o.ctid from chimp.queue q
			cross join lateral (values ('dead', q.retention_dead_ms), ('cancelled', q.retention_ms)) k (state, ms)
			cross join lateral (
				select j.ctid from chimp.job_ended j
				where (j.queue_id, j.state) = (q.id, k.state) and j.ended_at < now - k.ms * interval '1 ms'
				order by j.ended_at limit max_jobs for update skip locked) o
			limit max_jobs))
		returning e.job_id
	)
	select coalesce(array_agg(o.job_id), '{}') into ended from old o;
	if done || ended <> '{}' then
		perform chimp.job_forget(done || ended);
	end if;
	delete from chimp.job_unique u where (u.queue_id, u.unique_key) in (
		select o.queue_id, o.unique_key from chimp.job_unique o
		where o.expires_at < now and not chimp.job_is_open(o.job_id)
		limit max_jobs for update skip locked);
	return cardinality(done) + cardinality(ended);
end $$;
comment on function chimp.retain(int) is
	'Delete up to max_jobs jobs that are done, as many that ended otherwise, and as many unique keys, whose time is over; the number of jobs.';

-- One piece of the walk that counts what has no cheaper count: ready, scheduled,
-- dead and cancelled jobs, queue by queue. True at the end of a round.
create or replace function chimp.walk(max_rows int) returns boolean
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
	m chimp.maintenance;
	n bigint;
	rest int := max_rows;
begin
	select * into m from chimp.maintenance;
	loop
		if m.walk_state = 'ready' then
			select count(*), (array_agg(r.rank))[count(*)], (array_agg(r.job_id))[count(*)]
			into n, m.walk_rank, m.walk_job from (
				select o.rank, o.job_id from chimp.job_ready o where o.queue_id = m.walk_queue
				and (o.rank, o.job_id) > (m.walk_rank, m.walk_job)
				order by o.rank, o.job_id limit rest) r;
		elsif m.walk_state = 'scheduled' then
			select count(*), (array_agg(r.run_at))[count(*)], (array_agg(r.job_id))[count(*)]
			into n, m.walk_at, m.walk_job from (
				select o.run_at, o.job_id from chimp.job_scheduled o where o.queue_id = m.walk_queue
				and (o.run_at, o.job_id) > (m.walk_at, m.walk_job)
				order by o.run_at, o.job_id limit rest) r;
		else
			select count(*), max(r.job_id) into n, m.walk_job from (
				select o.job_id from chimp.job_ended o
				where (o.queue_id, o.state) = (m.walk_queue, m.walk_state) and o.job_id > m.walk_job
				order by o.job_id limit rest) r;
		end if;
		m.walk_n := m.walk_n + n;
		rest := rest - n;
		exit when rest <= 0;
		update chimp.queue_count c set
			ready = case m.walk_state when 'ready' then m.walk_n else c.ready end,
			scheduled = case m.walk_state when 'scheduled' then m.walk_n else c.scheduled end,
			dead = case m.walk_state when 'dead' then m.walk_n else c.dead end,
			cancelled = case m.walk_state when 'cancelled' then m.walk_n else c.cancelled end
		where c.queue_id = m.walk_queue and m.walk_n <> case m.walk_state when 'ready' then c.ready
			when 'scheduled' then c.scheduled when 'dead' then c.dead else c.cancelled end;
		m.walk_n := 0;
		m.walk_rank := -2147483648;
		m.walk_at := '-infinity';
		m.walk_job := 0;
		m.walk_state := case m.walk_state when 'ready' then 'scheduled' when 'scheduled' then 'dead'
			when 'dead' then 'cancelled' else 'ready' end;
		if m.walk_state = 'ready' then
			m.walk_queue := coalesce((select min(q.id) from chimp.queue q where q.id > m.walk_queue), 0);
			if m.walk_queue = 0 then
				m.walked_at := clock_timestamp();
				exit;
			end if;
		end if;
	end loop;
	update chimp.maintenance o set walked_at = m.walked_at, walk_queue = m.walk_queue,
		walk_state = m.walk_state, walk_rank = m.walk_rank, walk_at = m.walk_at,
		walk_job = m.walk_job, walk_n = m.walk_n;
	return m.walk_queue = 0;
end $$;

create or replace function chimp.maintain_state(max_rows int) returns int
language plpgsql as $$
begin
	return chimp.remove_expired('chimp.kv_entry', max_rows) + chimp.remove_expired('chimp.lock_entry', max_rows)
		+ chimp.remove_expired('chimp.cache_entry', max_rows) + chimp.cache_evict(max_rows)
		+ chimp.stream_retain(max_rows) + chimp.telemetry_retain(max_rows)
		-- A whole step of them: there are more.
		+ chimp.counters_fold(max_rows * 5) / (max_rows * 5);
exception when others then
	-- Jobs must not suffer from what a handler has stored.
	raise info 'maintenance of state failed: % (%)', sqlerrm, sqlstate using errcode = 'CHP03', detail = 'error';
	return 0;
end $$;
comment on function chimp.maintain_state(int) is
	'A step of what state needs, of up to so many rows of each kind; how many, 0 if it failed, which is logged.';

create or replace function chimp.maintain(max_rows int default 10000) returns boolean
language plpgsql as $$
declare
	firings int := 0;
	runs int;
	entries int;
begin
	if not pg_try_advisory_xact_lock(hashtext('chimp.maintain')) then
		return false;
	end if;
	perform chimp.count_done();
	-- They grow slowly: once a minute, and on until none is too old.
	if (select m.firings_at < clock_timestamp() - interval '1 min' from chimp.maintenance m) then
		firings := chimp.retain_firings(least(max_rows / 10, 1000));
		if firings = 0 then
			update chimp.maintenance m set firings_at = clock_timestamp();
		end if;
	end if;
	-- Deleting a job costs more than counting one, and whoever asks has other
	-- things to do on this connection: some 20 ms.
	runs := chimp.workflow_retain(least(max_rows / 10, 1000));
	entries := chimp.maintain_state(max_rows / 10);
	return chimp.retain(max_rows / 5) >= max_rows / 10 or firings > 0 or runs > 0 or entries > 0;
end $$;
comment on function chimp.maintain(int) is
	'A step of maintenance, bounded by max_rows: counts of done jobs, retention of jobs, firings and runs of workflows, removal of key-value entries and locks that have expired, the size of the cache, the retention of streams, logs and metrics, and the values of counters. True: there is more to do. False too when another process is at it.';

create or replace function chimp.count_open(max_rows int default 50000) returns boolean
language plpgsql as $$
begin
	return pg_try_advisory_xact_lock(hashtext('chimp.maintain')) and not chimp.walk(max_rows);
end $$;
comment on function chimp.count_open(int) is
	'A step, bounded by max_rows, of counting all jobs but the done ones. True: there is more to do. False too when another process is at it.';
