-- The handlers of both benches, and a table of the size of a queue with the
-- shortest loop that empties it: lock past what others hold, delete, call the
-- same function, commit. It keeps no history, no attempts, no fence.
create schema bench;

-- In plpgsql: a function in SQL would be inlined where the loop calls it.
create function bench.noop(input jsonb) returns jsonb
language plpgsql as $$ begin return null; end $$;

create table bench.effect (
	id bigint generated always as identity primary key,
	payload jsonb not null
);

create function bench.insert(input jsonb) returns jsonb
language plpgsql as $$
begin
	insert into bench.effect (payload) values (input);
	return null;
end $$;

-- When a job started, by the clock of this machine.
create table bench.started (n int not null, at timestamptz not null);

create function bench.record(input jsonb) returns jsonb
language plpgsql as $$
begin
	insert into bench.started values ((input ->> 'n')::int, clock_timestamp());
	return null;
end $$;

-- Runs until the flag is gone. That it runs is seen in pg_locks, for what it
-- writes nobody sees before its end.
create table bench.flag (up boolean not null);

create function bench.hold(input jsonb) returns jsonb
language plpgsql as $$
begin
	perform pg_advisory_xact_lock_shared(7001, (input ->> 'n')::int);
	while exists (select from bench.flag) loop
		perform pg_sleep(0.05);
	end loop;
	return null;
end $$;

create table bench.raw (
	id bigint generated always as identity primary key,
	payload jsonb not null
);

create procedure bench.drain(batch int) language plpgsql as $$
declare
	job record;
	result jsonb;
	n int;
begin
	loop
		n := 0;
		for job in
			delete from bench.raw r using (
				select o.id from bench.raw o order by o.id
				limit batch for update skip locked) d
			where r.id = d.id returning r.payload
		loop
			result := bench.noop(job.payload);
			n := n + 1;
		end loop;
		exit when n = 0;
		commit;
	end loop;
end $$;

-- bench.drain_noop and bench.drain_insert: each call under a savepoint of its own,
-- so that a job that fails takes no other with it. The handler's name stands in the
-- source, for a call by EXECUTE would cost more than the loop.
do $make$
declare
	handler text;
begin
	foreach handler in array array['noop', 'insert'] loop
		execute format($create$
create procedure bench.drain_%1$s(batch int) language plpgsql as $$
declare
	job record;
	result jsonb;
	n int;
begin
	loop
		n := 0;
		for job in
			delete from bench.raw r using (
				select o.id from bench.raw o order by o.id
				limit batch for update skip locked) d
			where r.id = d.id returning r.payload
		loop
			n := n + 1;
			begin
				result := bench.%1$s(job.payload);
			exception when others then
				raise warning '%%', sqlerrm;
			end;
		end loop;
		exit when n = 0;
		commit;
	end loop;
end $$ $create$, handler);
	end loop;
end $make$;
