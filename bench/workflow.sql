-- What bench/workflow calls: three actions with an effect each, and runs that
-- sleep, made at once in the form in which the engine leaves them.
create schema bench;

-- Numbers of runs; theirs is the input {"n": ...}.
create sequence bench.run;

-- Without a key, so that an effect that came twice is seen by the script.
create table bench.effect (
	n bigint not null,
	step int not null,
	at timestamptz not null default clock_timestamp()
);

do $make$
begin
	for step in 1..3 loop
		execute format($create$
create function bench.step_%1$s(input jsonb) returns jsonb
language plpgsql as $$
begin
	insert into bench.effect (n, step) values ((input ->> 'n')::bigint, %1$s);
	return null;
end $$ $create$, step);
	end loop;
end $make$;

-- Copies of a sleeping run, of its job and of when that is due.
create function bench.sleep_many(runs int) returns void
language plpgsql as $$
begin
	with sleeper as (
		select o as r, j from chimp.workflow_run o join chimp.job j on j.id = o.job_id
		where o.status = 'sleeping' order by o.id limit 1
	), made as materialized (
		select nextval('chimp.workflow_run_id_seq') as run, nextval('chimp.job_id_seq') as job,
			gen_random_uuid()::text as name, nextval('bench.run') as n, clock_timestamp() as at
		from generate_series(1, runs)
	), copied as (
		insert into chimp.workflow_run (id, external_id, definition_id, status, seq, hops, step_id, step, on_timeout,
			wake_at, job_id, input, created_at, updated_at)
		overriding system value
		select m.run, m.name, (s.r).definition_id, (s.r).status, (s.r).seq, (s.r).hops, (s.r).step_id, (s.r).step,
			(s.r).on_timeout, m.at + interval '10 days', m.job, jsonb_build_object('n', m.n), m.at, m.at
		from made m, sleeper s
	), enqueued as (
		insert into chimp.job (id, queue_id, priority, payload, created_at, max_attempts, timeout_ms, trace)
		overriding system value
		select m.job, (s.j).queue_id, (s.j).priority, jsonb_build_object('run', m.run, 'seq', (s.r).seq), m.at,
			(s.j).max_attempts, (s.j).timeout_ms, (s.j).trace
		from made m, sleeper s
	)
	insert into chimp.job_scheduled (job_id, queue_id, run_at)
	select m.job, (s.j).queue_id, m.at + interval '10 days' from made m, sleeper s;
end $$;

-- Rows of sleeping runs without what is a run's own; one, if all look the same.
create view bench.sleeper as
select distinct to_jsonb(r) - array['id', 'external_id', 'input', 'job_id', 'wake_at', 'created_at', 'updated_at'] as run,
	to_jsonb(j) - array['id', 'payload', 'created_at'] as job,
	to_jsonb(s) - array['job_id', 'run_at'] as due,
	j.payload - 'run' as payload, (j.payload ->> 'run')::bigint = r.id as its_own, s.run_at = r.wake_at as in_time
from chimp.workflow_run r
left join chimp.job j on j.id = r.job_id
left join chimp.job_scheduled s on s.job_id = r.job_id
where r.status = 'sleeping';
