-- Locks of handlers, with fencing tokens.
-- oldest-binary: 2

create table chimp.lock_entry (
	name text collate "C" primary key,
	token bigint not null,                   -- of chimp.token: larger than that of any holder before
	expires_at timestamptz not null          -- of clock_timestamp()
) with (fillfactor = 50);
create index lock_entry_expires on chimp.lock_entry (expires_at);
comment on table chimp.lock_entry is
	'Locks that are held, and those that have expired and are not removed yet: users read chimp.locks.';
