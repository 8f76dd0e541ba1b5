-- Run: the handler, all that it writes and the end of its job are one
-- transaction. One job in one (job_begin, job_done), or a chunk of short ones
-- (group_begin, group_end, around a function made for each queue), each under a
-- savepoint of its own.

create or replace function chimp.stale(what text, id bigint, token bigint) returns void
language plpgsql as $$
begin
	raise exception '% %: token % is stale', what, id, token using errcode = 'CH001',
		detail = 'The lease ended or the work was released; another process may own it.';
end $$;

create or replace function chimp.job() returns jsonb
language sql stable as $$
	select jsonb_build_object('id', j.id, 'queue', q.name, 'attempt', coalesce(a.attempt, 0) + 1,
		'token', split_part(s.s, ' ', 2)::bigint)
	from (select nullif(current_setting('chimp.job', true), '') as s) s
	join chimp.job j on j.id = split_part(s.s, ' ', 1)::bigint
	join chimp.queue q on q.id = j.queue_id
	left join chimp.job_attempt a on a.job_id = j.id
$$;
comment on function chimp.job() is
	'The job that runs this transaction: id, queue, attempt (from 1), token; NULL outside of one.';

-- What a job has left in its session ends with it. Settings go back to those
-- that the session was opened with.
create or replace function chimp.session_reset() returns void
language plpgsql as $$
begin
	perform pg_advisory_unlock_all();
	if pg_my_temp_schema() <> 0 and exists (select from pg_class c where c.relnamespace = pg_my_temp_schema()) then
		discard temp;
	end if;
	reset role;                              -- which "reset all" leaves
	reset all;
end $$;
comment on function chimp.session_reset() is
	'Undo what an earlier job has done to this session: role, settings, advisory locks, temporary tables.';

create or replace function chimp.to_us(at timestamptz) returns bigint
language sql stable parallel safe as $$
	select (extract(epoch from at) * 1000000)::bigint
$$;

-- One job -------------------------------------------------------------------------

-- Few statements and few assignments: each is set up once per transaction.
create or replace function chimp.job_begin(job bigint, token bigint) returns jsonb
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	payload jsonb;
	rated text;                    -- the queue, if its rate limits starts
	age interval;
begin
	-- What it enqueues and publishes goes back to the request that it comes from.
	select (select j.payload from chimp.job j where j.id = $1
			and (j.trace is null or set_config('chimp.trace', j.trace, true) is not null)),
		(select q.name from chimp.queue q where q.id = c.queue_id and q.rate_count > 0),
		clock_timestamp() - c.claimed_at,
		set_config('chimp.job', $1 || ' ' || $2 || ' ' || chimp.to_us(clock_timestamp()), true)
	into payload, rated, age
	from chimp.job_claim c where c.token = $2 and c.jobs = array[$1];
	if payload is null then
		perform chimp.stale('job', job, token);
	elsif rated is not null and age > interval '100 ms' then
		-- Later than queue_allowance allows for.
		raise exception 'queue "%": its rate gave this job a start that has passed', rated
			using errcode = 'CH008';
	end if;
	return payload;
end $$;
comment on function chimp.job_begin(bigint, bigint) is
	'First thing in a handler''s transaction: check the claim, return the payload. CH001: stale. CH008: started too late for its queue''s rate.';

create or replace function chimp.job_done(job bigint, token bigint, result jsonb) returns bigint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	took_us bigint := chimp.to_us(clock_timestamp()) - split_part(current_setting('chimp.job', true), ' ', 3)::bigint;
	keyed boolean;
	unlocked boolean;
begin
	with c as (
		delete from chimp.job_claim o where o.token = $2 and o.jobs = array[$1] returning *
	)
	insert into chimp.job_done (bucket, queue_id, process_id, started_at, jobs, results)
	select $1 >> 10, c.queue_id, c.process_id, c.claimed_at, c.jobs,
		case when $3 is not null then array[$3] end
	from c
	returning exists (select from chimp.job j
		where j.id = $1 and (j.unique_key is not null or j.ordering_key is not null))
	into keyed;
	if keyed is null then
		-- The fence: a claim that was released meanwhile is gone, and this
		-- raises, so that everything the handler wrote is rolled back.
		perform chimp.stale('job', job, token);
	elsif keyed then
		perform chimp.job_close(j) from chimp.job j where j.id = $1;
	end if;
	unlocked := pg_advisory_unlock_all() is null;
	return took_us;
end $$;
comment on function chimp.job_done(bigint, bigint, jsonb) is
	'Last thing in a handler''s transaction: close the job as done. Microseconds since job_begin, for the worker''s next claims. A stale token raises CH001.';

-- A group -------------------------------------------------------------------------

create or replace function chimp.group_begin(process uuid, token bigint) returns chimp.job_claim
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	c chimp.job_claim;
begin
	select * into c from chimp.job_claim o where o.token = $2 and o.process_id = $1;
	if not found then
		perform chimp.stale('claim', token, token);
	end if;
	return c;
end $$;

create or replace function chimp.group_end(c chimp.job_claim, started_at timestamptz,
	done bigint[], results jsonb[], keyed bigint[])
returns table (jobs bigint[], tokens bigint[], timeouts_ms bigint[])
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
	if cardinality(done) < cardinality(c.jobs) then
		-- As at a claim: whoever ends the process comes before this and
		-- releases its jobs, or after the commit and finds the claims
		-- that are made here. First of all, as its end begins with it, too.
		perform from chimp.process p where p.id = c.process_id for key share;
		if not found then
			perform chimp.stale('claim', c.token, c.token);
		end if;
	end if;
	-- The fence, as in job_done. A job that was cancelled is not in it any more.
	delete from chimp.job_claim o where o.token = c.token and o.jobs = c.jobs;
	if not found then
		perform chimp.stale('claim', c.token, c.token);
	end if;
	insert into chimp.job_done (bucket, queue_id, process_id, started_at, jobs, results)
	select u.id >> 10, c.queue_id, c.process_id, $2, array_agg(u.id order by u.n),
		case when count(u.result) > 0 then array_agg(u.result order by u.n) end
	from unnest(done, results) with ordinality as u (id, result, n)
	group by u.id >> 10;
	if keyed <> '{}' then
		perform chimp.job_close(j) from chimp.job j where j.id = any (keyed);
	end if;
	if cardinality(done) = cardinality(c.jobs) then
		return;
	end if;
	-- The others are run one by one, in order.
	return query
	with again as (
		insert into chimp.job_claim (token, process_id, queue_id, jobs, part_of)
		select nextval('chimp.token'), c.process_id, c.queue_id, array[u.id], c.token
		from unnest(c.jobs) with ordinality as u (id, n)
		where not u.id = any (done) order by u.n
		returning job_claim.token, job_claim.jobs[1] as job
	)
	select array_agg(a.job order by a.token), array_agg(a.token order by a.token),
		array_agg(coalesce(j.timeout_ms, q.timeout_ms) order by a.token)
	from again a join chimp.job j on j.id = a.job join chimp.queue q on q.id = c.queue_id;
end $$;

create or replace function chimp.group_split(process uuid, token bigint)
returns table (jobs bigint[], tokens bigint[], timeouts_ms bigint[])
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	c chimp.job_claim;
begin
	perform from chimp.process p where p.id = $1 for key share;
	select * into c from chimp.job_claim o where o.token = $2 and o.process_id = $1 for update;
	if not found then
		perform chimp.stale('claim', token, token);
	end if;
	return query select * from chimp.group_end(c, null, '{}', '{}', '{}');
end $$;
comment on function chimp.group_split(uuid, bigint) is
	'Make a claim of several jobs one of each, to be run one by one: their tokens and time-outs, in order.';

create or replace function chimp.group_members(jobs bigint[])
returns table (id bigint, payload jsonb, alone boolean, keyed boolean, trace text)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
	return query
	select o.id, o.payload, o.timeout_ms is not null, o.unique_key is not null or o.ordering_key is not null, o.trace
	from unnest(jobs) with ordinality as u (id, n) join chimp.job o on o.id = u.id
	order by u.n;
end $$;

create or replace function chimp.queue_make_run(q chimp.queue) returns void
language plpgsql as $make$
declare
	-- Compiled with the handler's name in it, so that a call costs what a call
	-- costs; plpgsql keeps its plan, which EXECUTE would make anew.
	handler regprocedure := to_regprocedure(q.handler || '(jsonb)');
	body text := format($body$
declare
	c chimp.job_claim;
	begun timestamptz := clock_timestamp();
	-- Of one job.
	j record;
	result jsonb;
	since timestamptz;
	now timestamptz := begun;
	-- Of all.
	ids bigint[] := '{}';
	results jsonb[] := '{}';
	keyed bigint[] := '{}';
	slowest interval := '0';
	-- Assignments of these are three times as fast as PERFORM.
	setting text;
	unlocked boolean;
begin
	perform chimp.session_reset();
	c := chimp.group_begin(process, token);
	for j in
		select * from chimp.group_members(c.jobs)
	loop
		exit when now > begun + budget;
		continue when j.alone;
		since := now;
		begin
			setting := set_config('chimp.job', j.id || ' ' || token, true);
			if j.trace is not null then
				setting := set_config('chimp.trace', j.trace, true);
			end if;
			result := %s(j.payload);
			-- Nothing of it may reach the next one. What cannot be undone
			-- here is run alone.
			reset all;
			if current_user <> session_user then
				raise exception using errcode = 'CH010', message = 'to be run alone';
			elsif pg_my_temp_schema() <> 0 then
				if exists (select from pg_class o where o.relnamespace = pg_my_temp_schema()) then
					raise exception using errcode = 'CH010', message = 'to be run alone';
				end if;
			end if;
			ids := ids || j.id;
			results := results || result;
			if j.keyed then
				keyed := keyed || j.id;
			end if;
		exception
			when transaction_rollback or query_canceled or lock_not_available
				or insufficient_resources or operator_intervention or invalid_transaction_state then
				raise;
			when others then
				-- It is run alone, where it fails as it does or not at all.
				null;
		end;
		unlocked := pg_advisory_unlock_all() is null;
		now := clock_timestamp();
		slowest := greatest(slowest, now - since);
	end loop;
	select * into jobs, tokens, timeouts_ms from chimp.group_end(c, begun, ids, results, keyed);
	done := cardinality(ids);
	took_us := (extract(epoch from now - begun) * 1000000)::bigint;
	slowest_us := (extract(epoch from slowest) * 1000000)::bigint;
	return next;
end $body$, (select format('%I.%I', n.nspname, p.proname)
		from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.oid = handler));
begin
	if handler is null then
		raise exception 'queue "%": function %(jsonb) does not exist', q.name, q.handler using errcode = 'CH002';
	end if;
	-- Not at every start of a node: it has all sessions plan anew.
	if body = (select p.prosrc from pg_proc p
		where p.oid = to_regprocedure(format('chimp.run_%s(uuid, bigint, interval)', q.id))) then
		return;
	end if;
	execute format('create or replace function chimp.run_%s'
		'(process uuid, token bigint, budget interval default ''20 ms'')'
		' returns table (done int, took_us bigint, slowest_us bigint, jobs bigint[], tokens bigint[], timeouts_ms bigint[])'
		' language plpgsql as %L', q.id, body);
	execute format('comment on function chimp.run_%s(uuid, bigint, interval) is %L', q.id,
		format('Runs a claim of several jobs of queue "%s" (%s) in one transaction; none begins after budget.',
			q.name, q.handler));
end $make$;
comment on function chimp.queue_make_run(chimp.queue) is
	'Make chimp.run_ID, which runs a claim of several jobs of this queue in one transaction.';
