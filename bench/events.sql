-- What bench/events calls: handlers that note which event came to which
-- subscription and when, and the table that publishing is compared with.
create schema bench;

-- Unlogged and without an index: the note is how the script knows that each event
-- came exactly once, and shall cost as little as it can.
create unlogged table bench.noted (
	id bigint not null,
	subscription int not null,
	at timestamptz not null default clock_timestamp()
);

-- bench.note_N and bench.note_all_N, for subscription N: one event, an array of them.
do $make$
begin
	for n in 1..10 loop
		execute format($create$
create function bench.note_%1$s(input jsonb) returns jsonb
language plpgsql as $$
begin
	insert into bench.noted (id, subscription) values ((input ->> 'id')::bigint, %1$s);
	return null;
end $$ $create$, n);
		execute format($create$
create function bench.note_all_%1$s(input jsonb) returns jsonb
language plpgsql as $$
begin
	insert into bench.noted (id, subscription)
	select (e ->> 'id')::bigint, %1$s from jsonb_array_elements(input) e;
	return null;
end $$ $create$, n);
	end loop;
end $make$;

-- When a consumer of PgQ began.
create table bench.consumer (started_at timestamptz not null default clock_timestamp());

-- What an event needs at least: its columns, and the index by which a reader finds
-- what has become visible.
create table bench.raw (
	id bigint generated always as identity primary key,
	xid xid8 not null default pg_current_xact_id(),
	name text not null,
	key text,
	payload jsonb not null,
	published_at timestamptz not null default clock_timestamp()
);
create index raw_xid on bench.raw (xid, id);
