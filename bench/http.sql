-- What bench/http calls: a read by primary key, a write that publishes, a wait.
create schema bench;

create table bench.items (
	id int primary key,
	name text not null,
	price int not null
);
insert into bench.items (id, name, price)
select n, 'item ' || n, 1250 from generate_series(1, 10000) n;

create table bench.notes (
	id bigint generated always as identity primary key,
	n bigint not null,
	text text not null
);

create function bench.get_item(input jsonb) returns jsonb
language plpgsql stable as $$
begin
	return (
		select jsonb_build_object('id', i.id, 'name', i.name, 'price', i.price)
		from bench.items i
		where i.id = (input ->> 'id')::int
	);
end $$;

-- The same behind a millisecond of work: what too much load is measured with. At twice
-- the peak a client's request and its refusal cost some 40 µs of these processors (which
-- is bench/load's part, too), so that of cheaper work they would be a large part.
create function bench.get_report(input jsonb) returns jsonb
language plpgsql stable as $$
begin
	perform sum(n) from generate_series(1, 12500) n;
	return bench.get_item(input);
end $$;

create function bench.create_note(input jsonb) returns jsonb
language plpgsql as $$
begin
	insert into bench.notes (n, text)
	values ((input ->> 'n')::bigint, input ->> 'text');
	perform chimp.publish('bench.noted', jsonb_build_object('n', input -> 'n'));
	return jsonb_build_object('n', input -> 'n');
end $$;

-- A slow query, for an action and as the handler of a subscription to an event that
-- nobody publishes.
create function bench.wait(input jsonb) returns jsonb
language plpgsql as $$
begin
	perform pg_sleep(1);
	return jsonb_build_object('waited', true);
end $$;
