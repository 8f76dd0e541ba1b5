-- Poison (G7): a job whose handler takes its process with it is found and put
-- away. All that ran when a process died by its own fault are suspects. A
-- suspect runs in a process that runs nothing else, so that the next death has
-- one cause. Three such deaths, the last of them alone, and the job is dead.

create or replace function chimp.job_crashed(jobs bigint[], how text) returns void
language sql as $$
	insert into chimp.job_attempt as a (job_id, interruptions, crashes) select u.id, 1, 1 from unnest($1) u (id)
	on conflict on constraint job_attempt_pkey do update
		set interruptions = a.interruptions + 1, crashes = a.crashes + 1;
	insert into chimp.job_error (job_id, attempt, error)
	select a.job_id, a.attempt, jsonb_build_object('kind', 'crash', 'message', $2,
		'jobs', cardinality($1), 'crashes', a.crashes)
	from chimp.job_attempt a where a.job_id = any ($1);
$$;

create or replace function chimp.process_crashed(id uuid, started bigint[], how text) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	crashes_max constant int := 3;           -- G7
	c chimp.job_claim;
	j chimp.job;
	a chimp.job_attempt;
	jobs bigint[] := '{}';
begin
	for c in
		delete from chimp.job_claim o
		where o.process_id = $1 and (started is null or o.token = any (started)) returning *
	loop
		jobs := jobs || c.jobs;
	end loop;
	if jobs <> '{}' then
		perform chimp.job_crashed(jobs, how);
		-- Alone, it has done it.
		select * into a from chimp.job_attempt o
		where o.job_id = jobs[1] and cardinality(jobs) = 1 and o.crashes >= crashes_max;
		if found then
			select * into j from chimp.job o where o.id = jobs[1];
			perform chimp.job_dead(j, c, a.attempt, jsonb_build_object('kind', 'poison',
				'message', format('it ran when its process died by its own fault, %s times', a.crashes),
				'detail', how));
		else
			insert into chimp.job_suspect (job_id, queue_id)
			select o.id, o.queue_id from chimp.job o where o.id = any (jobs);
		end if;
		perform pg_notify('chimp_control', 'suspects');
	end if;
	return cardinality(jobs) + chimp.process_end($1);
end $$;
comment on function chimp.process_crashed(uuid, bigint[], text) is
	'process_end of a process that died by its own fault: jobs of the claims that it had started (their tokens; NULL: all) are charged a crash, and are dead (poison) after the third if the last was theirs alone, else suspects. how: its end in words. Idempotent. Returns the number of jobs taken from it.';

create or replace function chimp.claim_suspect(process uuid, queues int[])
returns table (token bigint, queue_id int, queue text, handler text, timeout_ms bigint, group_max int,
	floor bigint, jobs bigint[])
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	s chimp.job_suspect;
	q chimp.queue;
begin
	perform from chimp.process p where p.id = $1 for key share;
	if not found then
		raise exception 'process % is not registered', $1 using errcode = 'CH001';
	end if;
	for s in
		select o.* from chimp.job_suspect o where o.queue_id = any ($2)
		order by o.job_id limit 100 for update skip locked
	loop
		select * into q from chimp.queue o where o.id = s.queue_id and o.paused_at is null;
		continue when not found or chimp.queue_allowance(q, 1) = 0;
		delete from chimp.job_suspect o where o.job_id = s.job_id;
		if q.rate_count > 0 then
			insert into chimp.queue_start (queue_id, started_at, jobs) values (q.id, clock_timestamp(), 1);
		end if;
		insert into chimp.job_claim (token, process_id, queue_id, jobs)
		values (nextval('chimp.token'), $1, q.id, array[s.job_id])
		returning job_claim.token into token;
		return query select token, q.id, q.name, q.handler,
			coalesce((select j.timeout_ms from chimp.job j where j.id = s.job_id), q.timeout_ms),
			q.group_max, 0::bigint, array[s.job_id];
		return;
	end loop;
end $$;
comment on function chimp.claim_suspect(uuid, int[]) is
	'Claim one suspect of these queues for a process that runs nothing else, and will not until the suspect has ended. Columns as of chimp.claim; no row: there is none that may run.';
