-- Streams: entries under a name, read in the order of their positions.
--
-- Positions come from a sequence, and transactions commit in another order: who
-- has read entry 6 would miss entry 4 of one that takes longer. So each looks
-- again at its commit (a deferred trigger), and draws new positions if a later
-- entry than its own has been committed. From that look to its end it shares a
-- lock, which a reader has alone for the instant of looking where the stream ends:
-- then nobody is in between, and nothing will come to be before what is seen.

create or replace function chimp.stream_commits(stream text) returns bigint
language sql immutable parallel safe as $$
	-- 64 of them, for however many streams a transaction appends to.
	select hashtextextended('chimp.stream', 0) + (hashtextextended(stream, 0) & 63)
$$;
comment on function chimp.stream_commits(text) is
	'The advisory lock of entries of a stream, and of others, that are being committed.';

create or replace function chimp.stream_settle(stream text, at bigint, mine xid8) returns void
language plpgsql
set enable_seqscan = off as $$
begin
	-- An older snapshot than now would not show what others have committed.
	-- A transaction of another server, before a restore, may have had our number.
	if current_setting('transaction_isolation') not in ('repeatable read', 'serializable')
		and not exists (select from chimp.stream_entry e where e.stream = $1 and e.position > $2
			and (e.xid <> $3 or e.created_at < now()))
		and not exists (select from chimp.stream s where s.name = $1 and s.trimmed > $2)
	then
		return;
	end if;
	with late as materialized (
		select o.ctid, nextval('chimp.stream_position') as position from (
			select e.ctid from chimp.stream_entry e
			where e.stream = $1 and e.position >= $2 and e.xid = $3 and e.created_at >= now()
			order by e.position) o
	)
	update chimp.stream_entry e set position = l.position from late l where e.ctid = l.ctid;
end $$;
comment on function chimp.stream_settle(text, bigint, xid8) is
	'At the commit: move this transaction''s entries of a stream, from position `at` on, behind all others if another transaction has committed a later one, or that cannot be seen.';

create or replace function chimp.stream_commit() returns trigger
language plpgsql as $$
declare
	-- Streams that this transaction has settled.
	settled text := coalesce(current_setting('chimp.stream_settled', true), '');
begin
	if pg_advisory_xact_lock_shared(chimp.stream_commits(new.stream)) is not null and settled = ''
			and pg_sequence_last_value('chimp.stream_position') = new.position then
		return null;                             -- nobody has drawn a position since
	end if;
	-- Of very many streams some are looked at again, which changes nothing.
	if octet_length(settled) not between 1 and 4096 then
		settled := '[]';
	end if;
	if not settled::jsonb ? new.stream then
		perform chimp.stream_settle(new.stream, new.position, new.xid);
		perform set_config('chimp.stream_settled', (settled::jsonb || to_jsonb(new.stream))::text, true);
	end if;
	return null;
end $$;

create or replace function chimp.stream_append(stream text, event text, payload jsonb default '{}') returns bigint
language plpgsql as $$
declare
	at bigint;
begin
	-- Called only for what is none: a call costs as much as a tenth of the rest.
	if octet_length($1) between 1 and 255 and octet_length($2) between 1 and 255 then
		insert into chimp.stream_entry as e (stream, event, payload) values ($1, $2, coalesce($3, 'null'))
		returning e.position into at;
		return at;
	end if;
	perform chimp.name_check('chimp.stream_append', $1);
	perform chimp.name_check('chimp.stream_append, of an event', $2);
	return null;
end $$;
comment on function chimp.stream_append(text, text, jsonb) is
	'Append an entry to a stream when this transaction commits; returns its position, which becomes a later one at the commit if another transaction has appended later and committed before. 22023: a name that is empty or longer than 255 bytes.';

create or replace function chimp.stream_end(stream text) returns bigint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
	upto bigint;
begin
	-- Whoever comes to commit meanwhile waits behind us, so not for long.
	perform set_config('lock_timeout', '20ms', true);
	perform pg_advisory_xact_lock(chimp.stream_commits(stream));
	upto := (select e.position from chimp.stream_entry e
		where e.stream = $1 and (e.xid is distinct from pg_current_xact_id_if_assigned() or e.created_at < now())
		order by e.position desc limit 1);
	-- The lock goes with the subtransaction, whatever happens in it.
	raise exception using errcode = 'CHP02';
exception
	when sqlstate 'CHP02' then
		return upto;
	when lock_not_available then
		return null;
end $$;
comment on function chimp.stream_end(text) is
	'The last position of a stream, of another transaction, before which nothing will come to be any more; NULL: there is none, or somebody''s commit takes long.';

create or replace function chimp.stream_read(stream text, since bigint default 0, max_rows int default 100,
	wait interval default '0')
returns table ("position" bigint, event text, payload jsonb, created_at timestamptz)
language plpgsql rows 100
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan as $$
declare
	mine constant xid8 := pg_current_xact_id_if_assigned();
	until constant timestamptz := clock_timestamp() + wait;
	pause float8 := 0.02;
	upto bigint;
begin
	if coalesce(max_rows, 0) < 1 or coalesce(wait, '-1 s') < interval '0' or since is null then
		raise exception 'chimp.stream_read: max_rows must be at least 1, wait 0 or more, and since a position'
			using errcode = '22023';
	elsif current_setting('transaction_isolation') in ('repeatable read', 'serializable') or pg_is_in_recovery() then
		raise exception 'chimp.stream_read: a standby, or a transaction that is repeatable read or serializable, cannot see how far it may read'
			using errcode = '0A000', hint = 'read from the primary server, in a transaction that is read committed';
	end if;
	-- In front of that there may be rows which vacuum has not removed yet.
	since := greatest(since, (select s.trimmed from chimp.stream s where s.name = $1));
	loop
		if exists (select from chimp.stream_entry e where e.stream = $1 and e.position > $2
				and (e.xid is distinct from mine or e.created_at < now())) then
			upto := chimp.stream_end(stream);
			return query
			select e.position, e.event, e.payload, e.created_at from chimp.stream_entry e
			where e.stream = $1 and e.position > $2 and e.position <= upto
			and (e.xid is distinct from mine or e.created_at < now())
			order by e.position limit max_rows;
			if found then
				return;
			end if;
			pause := least(pause * 2, 0.5);
		elsif clock_timestamp() >= until then
			return;
		end if;
		perform pg_sleep(greatest(least(pause, extract(epoch from until - clock_timestamp())), 0.01));
	end loop;
end $$;
comment on function chimp.stream_read(text, bigint, int, interval) is
	'Up to max_rows entries of a stream behind position since, in order; none is ever committed at a position that was read over. Where there are none it waits for some, for so long. Entries of this very transaction are not among them. 22023: max_rows below 1, wait below 0. 0A000: on a standby, or in a transaction that is repeatable read or serializable.';

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
	perform chimp.name_check('chimp.stream_trim', stream);
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
	'Remove the oldest entries of a stream: all but max_rows, and those that are older than max_age; how many. 22023: neither is given, or one is below 0; a name that is none.';

create or replace function chimp.stream_retention(stream text, max_rows bigint default null, max_age interval default null) returns void
language plpgsql as $$
begin
	if max_rows < 1 or max_age <= interval '0' then
		raise exception 'chimp.stream_retention: of "%" nothing would be left: max_rows and max_age are above 0, or NULL', stream
			using errcode = '22023';
	end if;
	perform chimp.name_check('chimp.stream_retention', stream);
	insert into chimp.stream as s (name, max_rows, max_age) values ($1, $2, $3)
	on conflict on constraint stream_pkey do update
		set max_rows = excluded.max_rows, max_age = excluded.max_age, look_at = clock_timestamp();
end $$;
comment on function chimp.stream_retention(text, bigint, interval) is
	'Have workers keep a stream at about max_rows entries, and to entries not much older than max_age; NULL: no such limit. 22023: one is not above 0; a name that is none.';

create or replace function chimp.stream_retain(step int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
	looks int := 100;                        -- some milliseconds
	left_over int := step;
	s chimp.stream;
	n int;
begin
	for s in
		select * from chimp.stream o
		where (o.max_rows is not null or o.max_age is not null) and o.look_at <= clock_timestamp()
		order by o.look_at limit looks for update skip locked
	loop
		n := chimp.stream_cut(s.name, s.max_rows, s.max_age, left_over);
		left_over := left_over - n;
		exit when left_over = 0;
		-- To find the one that is too much, all that are kept are passed:
		-- the more, the more seldom.
		update chimp.stream o
		set look_at = clock_timestamp() + interval '10 s' + coalesce(s.max_rows, 0) * interval '50 us'
		where o.name = s.name;
		looks := looks - 1;
	end loop;
	return case when looks = 0 then step else step - left_over end;
end $$;
comment on function chimp.stream_retain(int) is
	'A step of keeping streams to chimp.stream_retention, of up to so many entries and 100 streams; how many entries, or step where there may be more to do.';

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
