-- Key-value state.
-- oldest-binary: 2

create table chimp.kv_entry (
	-- By bytes, so that a prefix is a range of the index whatever the
	-- database's language.
	key text collate "C" primary key,
	value jsonb not null,
	expires_at timestamptz                   -- of clock_timestamp(); null: never
) with (fillfactor = 80);
create index kv_entry_expires on chimp.kv_entry (expires_at) where expires_at is not null;
comment on table chimp.kv_entry is
	'Key-value state, with what has expired and is not removed yet: users read chimp.kv.';
