-- Claim: which queues a process serves, and jobs for it, by the chunk.

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

create or replace function chimp.served_queues(process uuid)
returns table (id int, name text, limited boolean)
language plpgsql stable as $$
begin
	return query
	select q.id, q.name, q.concurrency > 0 or q.rate_count > 0
		or exists (select from chimp.job_key k where k.queue_id = q.id)
	from unnest(chimp.worker_queues($1)) s (id) join chimp.queue q on q.id = s.id
	order by q.id;
end $$;
comment on function chimp.served_queues(uuid) is
	'The queues of worker_queues by name; limited: the end of a job may let another one start.';

-- plpgsql, which keeps its plans: SQL functions are planned at every call. And
-- now(), which an index can be asked for; clock_timestamp() is another in every row.
create or replace function chimp.promote(queue int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
declare
	n int;
begin
	with due as (
		delete from chimp.job_scheduled s using (
			select o.job_id from chimp.job_scheduled o
			where o.queue_id = $1 and o.run_at <= now()
			order by o.run_at limit 1000 for update skip locked) d
		where s.job_id = d.job_id
		returning s.job_id, s.queue_id
	)
	insert into chimp.job_ready (queue_id, rank, job_id)
	select d.queue_id, -j.priority, d.job_id from due d join chimp.job j on j.id = d.job_id;
	get diagnostics n = row_count;
	return n;
end $$;
comment on function chimp.promote(int) is 'Make up to 1000 due jobs of a queue ready; how many.';

create or replace function chimp.queue_allowance(q chimp.queue, max_jobs int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
declare
	n int := max_jobs;
	over timestamptz;
begin
	if q.concurrency = 0 and q.rate_count = 0 then
		return n;
	end if;
	-- One claimer at a time, to its commit, so that it sees what the others
	-- took. It does not wait, so that two that want two queues cannot block
	-- each other; it will look again soon.
	if not pg_try_advisory_xact_lock(hashtext('chimp.limit'), q.id) then
		return 0;
	end if;
	if q.concurrency > 0 then
		n := least(n, q.concurrency - (select coalesce(sum(cardinality(c.jobs)), 0)
			from chimp.job_claim c where c.queue_id = q.id));
	end if;
	if q.rate_count > 0 then
		-- A claim may start up to 100 ms after it was counted (job_begin).
		over := clock_timestamp() - (q.rate_ms + 100) * interval '1 ms';
		delete from chimp.queue_start s where s.queue_id = q.id and s.started_at <= over;
		n := least(n, q.rate_count - (select coalesce(sum(s.jobs), 0)
			from chimp.queue_start s where s.queue_id = q.id and s.started_at > over));
	end if;
	return greatest(n, 0);
end $$;
comment on function chimp.queue_allowance(chimp.queue, int) is
	'How many jobs of a queue may be claimed now, by its concurrency and rate over all nodes. With either, the caller is alone at it until its commit. A start is the moment at which job_begin gives a job to its handler.';

create or replace function chimp.claim_queue(process uuid, q chimp.queue, floor bigint, group_max int, max_jobs int)
returns table (token bigint, jobs bigint[], top bigint, timeout_ms bigint)
language plpgsql
-- The planner does not know the limit, and takes a tenth of the table for it.
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
	return query with taken as (
		-- By ctid, so that no plan joins. Jobs of the queue's own priority
		-- are looked for above the floor: below, there are none but those
		-- that a full look finds. Entries of jobs that were claimed stay in
		-- the index for as long as any transaction may want to see them.
		delete from chimp.job_ready r where r.ctid = any (array(
			select s.ctid from (
				select a.ctid from (select o.ctid from chimp.job_ready o
					where o.queue_id = q.id and o.rank < -q.priority
					order by o.rank, o.job_id limit $5 for update skip locked) a
				union all
				select b.ctid from (select o.ctid from chimp.job_ready o
					where o.queue_id = q.id and o.rank = -q.priority and o.job_id > $3
					order by o.job_id limit $5 for update skip locked) b
				union all
				select c.ctid from (select o.ctid from chimp.job_ready o
					where o.queue_id = q.id and o.rank > -q.priority
					order by o.rank, o.job_id limit $5 for update skip locked) c
			) s limit $5))
		returning r.rank, r.job_id
	), numbered as (
		select t.rank, t.job_id, (row_number() over (order by t.rank, t.job_id) - 1) / $4 as chunk from taken t
	), chunks as (
		select nextval('chimp.token') as token, c.jobs, c.top from (
			select array_agg(n.job_id order by n.rank, n.job_id) as jobs,
				max(n.job_id) filter (where n.rank = -q.priority) as top
			from numbered n group by n.chunk order by n.chunk) c
	), claimed as (
		insert into chimp.job_claim (token, process_id, queue_id, jobs)
		select c.token, $1, q.id, c.jobs from chunks c
	)
	-- A time-out of its own has a job that runs alone (group_members).
	select c.token, c.jobs, c.top, coalesce((select j.timeout_ms from chimp.job j
		where j.id = c.jobs[1] and cardinality(c.jobs) = 1), q.timeout_ms)
	from chunks c order by c.token;
end $$;

create or replace function chimp.leap() returns void
language plpgsql as $$
begin
	-- One at a time, or the second would set the sequence back.
	perform pg_advisory_xact_lock(hashtext('chimp.token'));
	perform setval('chimp.token', nextval('chimp.token') + 1000000);
	perform set_config('chimp.leapt', 'yes', false);
end $$;
comment on function chimp.leap() is
	'Before the first claim of a session, which must commit synchronously: leap over the tokens of the claims that a crash of the server may have taken back. Those are of the last 3 * wal_writer_delay (PostgreSQL, "Asynchronous Commit"): a million in 600 ms is more than any server draws.';

create or replace function chimp.claim(process uuid, queues int[], max_claims int,
	groups int[] default null, limits int[] default null, floors bigint[] default null,
	rests boolean[] default null)
returns table (token bigint, queue_id int, queue text, handler text, timeout_ms bigint, group_max int,
	floor bigint, jobs bigint[])
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
declare
	c record;
	q chimp.queue;
	wanted int := max_claims;
	ended int[];                   -- to be waited for: nothing is left
	limited boolean := false;      -- a limit has counted what was claimed
	leaps boolean := current_setting('chimp.leapt', true) is distinct from 'yes';
	promoted boolean;
	size int;
	share int;
	claims int;
	found_here int;
	top bigint;
begin
	-- Holding the row's lock, so that nobody declares the process dead between
	-- here and the commit; a dead one claims nothing.
	perform from chimp.process p where p.id = $1 for key share;
	if not found then
		raise exception 'process % is not registered', $1 using errcode = 'CH001';
	end if;
	if leaps then
		perform chimp.leap();
	end if;
	ended := array(select u.id from unnest(queues, rests) as u (id, rest) where coalesce(u.rest, true));
	-- In random order and equal shares, so that no queue starves another.
	for c in
		select o as queue, coalesce(u.floor, 0) as floor, coalesce(u.grp, 1) as grp,
			coalesce(u.most, 1000000) as most, due.yes as due,
			count(*) over () - row_number() over () + 1 as queues_left
		from unnest($2, $4, $5, $6) as u (id, grp, most, floor)
		join chimp.queue o on o.id = u.id
		cross join lateral (select exists (select from chimp.job_scheduled s
			where s.queue_id = u.id and s.run_at <= now()) as yes) due
		where o.paused_at is null and (due.yes
			or exists (select from chimp.job_ready r where r.queue_id = u.id and r.rank < -o.priority)
			or exists (select from chimp.job_ready r
				where r.queue_id = u.id and r.rank = -o.priority and r.job_id > coalesce(u.floor, 0))
			or exists (select from chimp.job_ready r where r.queue_id = u.id and r.rank > -o.priority))
		order by random()
	loop
		if wanted <= 0 or c.most <= 0 then
			ended := array_remove(ended, (c.queue).id);
			continue;
		end if;
		q := c.queue;
		promoted := c.due and chimp.promote(q.id) > 0;
		-- What a rate has counted as one start is not to be started twice.
		group_max := case when q.rate_count > 0 then 1 else q.group_max end;
		size := least(c.grp, group_max);
		share := chimp.queue_allowance(q,
			least(c.most, ceil(wanted::numeric / c.queues_left)::int) * size);
		if share = 0 then
			ended := array_remove(ended, q.id);
			continue;
		end if;
		queue_id := q.id;
		queue := q.name;
		handler := q.handler;
		found_here := 0;
		claims := 0;
		for token, jobs, top, timeout_ms in
			select t.token, t.jobs, t.top, t.timeout_ms
			from chimp.claim_queue($1, q, case when promoted then 0 else c.floor end, size, share) t
		loop
			found_here := found_here + cardinality(jobs);
			claims := claims + 1;
			floor := coalesce(top, 0);
			return next;
		end loop;
		wanted := wanted - claims;
		limited := limited or q.concurrency > 0 or q.rate_count > 0;
		if q.rate_count > 0 and found_here > 0 then
			insert into chimp.queue_start (queue_id, started_at, jobs)
			values (q.id, clock_timestamp(), found_here);
		end if;
		if found_here = share or found_here > 0 and not q.id = any (ended) then
			ended := array_remove(ended, q.id);
			-- Only at a change: setval writes WAL.
			if pg_sequence_last_value(q.wake) = 2 then
				perform setval(q.wake, 1);
			end if;
		end if;
	end loop;
	if ended <> '{}' then
		perform setval(o.wake, 2) from chimp.queue o
		where o.id = any (ended) and pg_sequence_last_value(o.wake) is distinct from 2;
	end if;
	-- A crash of the server may take the claim back, and the jobs are ready
	-- again; what a limit has counted must not be.
	if not leaps and not limited then
		perform set_config('synchronous_commit', 'off', true);
	end if;
end $$;
comment on function chimp.claim(uuid, int[], int, int[], int[], bigint[], boolean[]) is
	'Make up to max_claims claims of ready jobs of these queues for a process, each with a new fencing token, on one job or several. groups[i]: the most jobs of queues[i] in one claim, as fast as they have been; limits[i]: the most claims of it; floors[i]: a job id of its own priority that no ready job is known to be below (NULL or 0: look at all); rests[i]: with nothing left of queues[i], the process waits for a NOTIFY (NULL: it does), otherwise it will look again within 10 ms, and enqueuers need not send one.';

create or replace function chimp.hand_over(queues int[]) returns void
language plpgsql as $$
begin
	perform setval(q.wake, 2), pg_notify('chimp_work', q.name) from chimp.queue q
	where q.id = any ($1) and pg_sequence_last_value(q.wake) is distinct from 2;
end $$;
comment on function chimp.hand_over(int[]) is
	'A process that has said that it will look at these queues (chimp.claim) cannot: others look, and enqueuers send a NOTIFY again.';

create or replace function chimp.next_due_ms(queues int[]) returns bigint
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
begin
	return (select greatest(0, ceil(extract(epoch from min(d.at) - clock_timestamp()) * 1000))::bigint
	from unnest(queues) q cross join lateral (
		(select s.run_at as at from chimp.job_scheduled s where s.queue_id = q order by s.run_at limit 1)
		union all
		-- When a rate's window gives the next start free.
		(select s.started_at + (o.rate_ms + 100) * interval '1 ms'
		from chimp.queue o join chimp.queue_start s on s.queue_id = o.id
		where o.id = q and o.rate_count > 0 order by s.started_at limit 1)) d);
end $$;
comment on function chimp.next_due_ms(int[]) is
	'Milliseconds until the next scheduled job of these queues, or the next start that a rate allows; NULL if there is none.';
