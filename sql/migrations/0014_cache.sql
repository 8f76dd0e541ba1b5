-- The cache.
-- oldest-binary: 2

-- A crash of the server empties it, and that is all it does.
create unlogged table chimp.cache_entry (
	key text collate "C" primary key,
	value jsonb not null,
	bytes int not null,                      -- of key and value, as they lie there, with what a row costs
	expires_at timestamptz,                  -- of clock_timestamp(); null: never
	age bigint generated always as identity, -- the smallest is looked at first for eviction
	used boolean not null default false      -- read since then
) with (fillfactor = 80);
create index cache_entry_expires on chimp.cache_entry (expires_at) where expires_at is not null;
create index cache_entry_age on chimp.cache_entry (age);
comment on table chimp.cache_entry is
	'What is cached, with what has expired and is not removed yet.';

create table chimp.cache_store (
	id int primary key default 1 check (id = 1),     -- there is one row
	max_bytes bigint not null default 67108864
);
insert into chimp.cache_store default values;
