-- Streams: entries under a name, read in the order of their positions.
--
-- Positions come from a sequence, and transactions commit in another order: who
-- has read entry 6 would miss entry 4 of one that takes longer. So each looks
-- again at its commit (a deferred trigger), and draws new positions if a later
-- entry than its own has been committed. From that look to its end it shares a
-- lock, which a reader has alone for the instant of looking how far to read: then
-- nobody is in between, and nothing will come to be before what is seen.

create or replace function chimp.stream_commits() returns bigint
language sql immutable parallel safe as $$ select hashtextextended('chimp.stream', 0) $$;
comment on function chimp.stream_commits() is
	'The advisory lock of entries that are being committed.';

create or replace function chimp.stream_overtaken(stream text, at bigint, mine xid8) returns boolean
language plpgsql
set enable_seqscan = off as $$
begin
	-- An older snapshot than now would not show what others have committed.
	return current_setting('transaction_isolation') in ('repeatable read', 'serializable')
		or exists (select from chimp.stream_entry e where e.stream = $1 and e.position > $2 and e.xid <> $3)
		or exists (select from chimp.stream s where s.name = $1 and s.trimmed > $2);
end $$;
comment on function chimp.stream_overtaken(text, bigint, xid8) is
	'Was an entry behind this position, of another transaction, committed to the stream? True if that cannot be seen.';

create or replace function chimp.stream_redraw(stream text, at bigint) returns void
language plpgsql
set enable_seqscan = off as $$
begin
	update chimp.stream_entry e set position = nextval('chimp.stream_position') where e.stream = $1 and e.position = $2;
end $$;
comment on function chimp.stream_redraw(text, bigint) is 'Move an entry behind all others.';

create or replace function chimp.stream_commit() returns trigger
language plpgsql as $$
declare
	-- Of this transaction: streams whose entries keep their positions, or
	-- 'late' once some do not, so that they stay in the order they came in.
	kept text := current_setting('chimp.stream_kept', true);
begin
	if coalesce(kept, '') = '' then
		if pg_advisory_xact_lock_shared(chimp.stream_commits()) is not null
				and pg_sequence_last_value('chimp.stream_position') = new.position then
			return null;                     -- nobody has drawn a position since
		end if;
		kept := '[]';
	end if;
	-- What holds for its first entry in a stream does for all.
	if kept <> 'late' and not kept::jsonb ? new.stream then
		kept := set_config('chimp.stream_kept', case when chimp.stream_overtaken(new.stream, new.position, new.xid)
			then 'late' else (kept::jsonb || to_jsonb(new.stream))::text end, true);
	end if;
	if kept = 'late' then
		perform chimp.stream_redraw(new.stream, new.position);
	end if;
	return null;
end $$;

create or replace function chimp.stream_append(stream text, event text, payload jsonb default '{}') returns bigint
language plpgsql as $$
declare
	at bigint;
begin
	if octet_length($1) between 1 and 255 and octet_length($2) between 1 and 255 then
		insert into chimp.stream_entry as e (stream, event, payload) values ($1, $2, coalesce($3, 'null'))
		returning e.position into at;
		return at;
	end if;
	raise exception 'chimp.stream_append: the names of a stream and of an event have 1 to 255 bytes, not % and %',
		coalesce(octet_length($1), 0), coalesce(octet_length($2), 0) using errcode = '22023';
end $$;
comment on function chimp.stream_append(text, text, jsonb) is
	'Append an entry to a stream when this transaction commits; returns its position, which becomes a later one at the commit if another transaction has appended later and committed before. 22023: a name that is empty or longer than 255 bytes.';

create or replace function chimp.stream_readable(stream text, since bigint, max_rows int) returns bigint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan as $$
declare
	mine constant xid8 := pg_current_xact_id_if_assigned();
	upto bigint;
begin
	if not exists (select from chimp.stream_entry e where e.stream = $1 and e.position > $2 and e.xid is distinct from mine) then
		return null;
	end if;
	perform pg_advisory_xact_lock(chimp.stream_commits());
	select max(o.position) into upto from (
		select e.position from chimp.stream_entry e
		where e.stream = $1 and e.position > $2 and e.xid is distinct from mine
		order by e.position limit $3) o;
	-- The lock goes with the subtransaction, whatever happens in it.
	raise exception using errcode = 'CHP02';
exception when sqlstate 'CHP02' then
	return upto;
end $$;
comment on function chimp.stream_readable(text, bigint, int) is
	'The position of the last of the next so many entries, to which nothing will be added any more, and which others have appended; NULL if there are none.';

create or replace function chimp.stream_read(stream text, since bigint default 0, max_rows int default 100,
	wait interval default '0')
returns table ("position" bigint, event text, payload jsonb, created_at timestamptz)
language plpgsql rows 100
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan as $$
declare
	mine constant xid8 := pg_current_xact_id_if_assigned();
	until constant timestamptz := clock_timestamp() + wait;
	upto bigint;
begin
	if coalesce(max_rows, 0) < 1 or coalesce(wait, '-1 s') < interval '0' or since is null then
		raise exception 'chimp.stream_read: max_rows must be at least 1, wait 0 or more, and since a position'
			using errcode = '22023';
	elsif current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
		raise exception 'chimp.stream_read: a transaction that is % cannot see what it may read', current_setting('transaction_isolation')
			using errcode = '0A000', hint = 'read in one that is read committed';
	end if;
	loop
		upto := chimp.stream_readable(stream, since, max_rows);
		if upto is not null then
			return query
			select e.position, e.event, e.payload, e.created_at from chimp.stream_entry e
			where e.stream = $1 and e.position > $2 and e.position <= upto and e.xid is distinct from mine
			order by e.position;
			return;
		elsif clock_timestamp() >= until then
			return;
		end if;
		perform pg_sleep(least(0.02, extract(epoch from until - clock_timestamp())));
	end loop;
end $$;
comment on function chimp.stream_read(text, bigint, int, interval) is
	'Up to max_rows entries of a stream behind position since, in order; none is ever committed at a position that was read over. Where there are none it waits for some, for so long. Entries of this very transaction are not among them. 22023: max_rows below 1, wait below 0. 0A000: the transaction is repeatable read or serializable.';

-- Trimming --------------------------------------------------------------------------

create or replace function chimp.stream_cut(stream text, max_rows bigint, max_age interval, step int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan as $$
declare
	too_old constant timestamptz := clock_timestamp() - max_age;
	upto bigint := 0;
	gone bigint[];
begin
	if max_rows is not null then
		upto := (select e.position from chimp.stream_entry e where e.stream = $1
			order by e.position desc offset $2 limit 1);
	end if;
	-- In the order of positions, up to the first that is young enough.
	with oldest as (
		select e.position, bool_and(e.created_at < too_old) over (order by e.position) as is_old
		from chimp.stream_entry e where e.stream = $1 order by e.position limit step
	), cut as (
		delete from chimp.stream_entry e where e.stream = $1 and e.position = any (array(
			select o.position from oldest o where o.is_old or o.position <= upto))
		returning e.position
	)
	select coalesce(array_agg(c.position), '{}') into gone from cut c;
	update chimp.stream s set trimmed = greatest(s.trimmed, (select max(g) from unnest(gone) g))
	where s.name = $1 and gone <> '{}';
	return cardinality(gone);
end $$;
comment on function chimp.stream_cut(text, bigint, interval, int) is
	'Remove up to step entries, the first ones, that are more than max_rows or older than max_age; how many. For one who has the stream''s row of chimp.stream.';

create or replace function chimp.stream_trim(stream text, max_rows bigint default null, max_age interval default null) returns bigint
language plpgsql as $$
declare
	step constant int := 10000;
	n int;
	total bigint := 0;
begin
	if coalesce(max_rows, 0) < 0 or max_age < interval '0' or coalesce(max_rows::text, max_age::text) is null then
		raise exception 'chimp.stream_trim: to how many entries (max_rows), or to which age (max_age)? Not below 0'
			using errcode = '22023';
	end if;
	insert into chimp.stream as s (name) values ($1) on conflict on constraint stream_pkey do nothing;
	perform from chimp.stream s where s.name = $1 for update;
	loop
		n := chimp.stream_cut(stream, max_rows, max_age, step);
		total := total + n;
		exit when n < step;
	end loop;
	return total;
end $$;
comment on function chimp.stream_trim(text, bigint, interval) is
	'Remove the oldest entries of a stream: all but max_rows, and those that are older than max_age; how many. 22023: neither is given, or one is below 0.';

create or replace function chimp.stream_retention(stream text, max_rows bigint default null, max_age interval default null) returns void
language plpgsql as $$
begin
	if max_rows < 1 or max_age <= interval '0' then
		raise exception 'chimp.stream_retention: of "%" nothing would be left: max_rows and max_age are above 0, or NULL', stream
			using errcode = '22023';
	end if;
	insert into chimp.stream as s (name, max_rows, max_age) values ($1, $2, $3)
	on conflict on constraint stream_pkey do update
		set max_rows = excluded.max_rows, max_age = excluded.max_age, look_at = clock_timestamp();
end $$;
comment on function chimp.stream_retention(text, bigint, interval) is
	'Have workers keep a stream at about max_rows entries, and to entries not much older than max_age; NULL: no such limit. 22023: one is not above 0.';

create or replace function chimp.stream_retain(step int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
	s chimp.stream;
	n int;
begin
	select * into s from chimp.stream o
	where (o.max_rows is not null or o.max_age is not null) and o.look_at <= clock_timestamp()
	order by o.look_at limit 1 for update skip locked;
	if not found then
		return 0;
	end if;
	n := chimp.stream_cut(s.name, s.max_rows, s.max_age, step);
	if n < step then
		-- To find the one that is too much, all that are kept are passed:
		-- the more, the more seldom.
		update chimp.stream o
		set look_at = clock_timestamp() + interval '10 s' + coalesce(s.max_rows, 0) * interval '50 us'
		where o.name = s.name;
	end if;
	return n;
end $$;
comment on function chimp.stream_retain(int) is
	'A step of keeping streams to chimp.stream_retention, of up to so many entries; how many.';

create or replace view chimp.streams as
with recursive names (name) as (
	select min(e.stream) from chimp.stream_entry e
	union all
	select (select min(e.stream) from chimp.stream_entry e where e.stream > n.name) from names n where n.name is not null
)
select n.name, first.position as first_position, last.position as last_position, last.created_at as last_at,
	s.max_rows, s.max_age
from names n
cross join lateral (select e.position from chimp.stream_entry e where e.stream = n.name
	order by e.position limit 1) first
cross join lateral (select e.position, e.created_at from chimp.stream_entry e where e.stream = n.name
	order by e.position desc limit 1) last
left join chimp.stream s on s.name = n.name;
comment on view chimp.streams is
	'Streams that have entries: the positions of the first and the last one, when that was appended, and what is kept.';
