-- Streams: entries that readers go through, each at its own pace.
-- oldest-binary: 2

create sequence chimp.stream_position;
create table chimp.stream_entry (
	stream text collate "C" not null,
	position bigint not null default nextval('chimp.stream_position'),
	xid xid8 not null default pg_current_xact_id(),
	event text not null,
	payload jsonb not null,
	created_at timestamptz not null default clock_timestamp(),
	primary key (stream, position)
);
alter sequence chimp.stream_position owned by chimp.stream_entry.position;
comment on table chimp.stream_entry is 'Entries of all streams: users call chimp.stream_read.';

-- functions/ has what it does.
create function chimp.stream_commit() returns trigger language plpgsql as $$ begin return null; end $$;
create constraint trigger stream_commit after insert on chimp.stream_entry
	deferrable initially deferred for each row execute function chimp.stream_commit();

-- Streams that are trimmed, or were.
create table chimp.stream (
	name text collate "C" primary key,
	max_rows bigint check (max_rows >= 1),           -- entries that are kept; null: any number
	max_age interval check (max_age > interval '0'), -- how long they are; null: for ever
	trimmed bigint not null default 0,               -- entries up to this position may be gone
	look_at timestamptz not null default clock_timestamp()   -- when to look what is too much
);
create index stream_look_at on chimp.stream (look_at) where max_rows is not null or max_age is not null;
