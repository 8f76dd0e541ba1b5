-- Locks with a ttl, for what lasts longer than a transaction: a token for who has
-- one, larger than that of any holder before. A lock that has expired is another's
-- to take; who had it finds out where its token is checked.

create or replace function chimp.lock_fail(name text, ttl interval) returns timestamptz
language plpgsql as $$
begin
	if coalesce(name, '') = '' or octet_length(name) > 1024 then
		raise exception 'chimp.lock: a name has 1 to 1024 bytes, not %', coalesce(octet_length(name), 0)
			using errcode = '22023';
	end if;
	raise exception 'chimp.lock: the ttl of "%" is %: it must be more than nothing', name, coalesce(ttl::text, 'NULL')
		using errcode = '22023';
end $$;
comment on function chimp.lock_fail(text, interval) is
	'Say what is wrong with a lock''s name or its ttl. 22023.';

create or replace function chimp.lock_end(name text, ttl interval) returns timestamptz
language sql volatile as $$
	select case when octet_length(name) between 1 and 1024 and ttl > interval '0'
		then clock_timestamp() + ttl
		else chimp.lock_fail(name, ttl) end
$$;
comment on function chimp.lock_end(text, interval) is
	'When a lock that is taken now expires; 22023: its name is empty or longer than 1024 bytes, or its ttl not above 0.';

create or replace function chimp.lock(name text, ttl interval) returns bigint
language plpgsql as $$
declare
	ends timestamptz := chimp.lock_end($1, $2);
	taken bigint;
begin
	-- Held is held: no token is drawn, and nobody waits but for who is just
	-- taking or giving it.
	if exists (select from chimp.lock_entry o where o.name = $1 and o.expires_at > clock_timestamp()) then
		return null;
	end if;
	insert into chimp.lock_entry as o (name, token, expires_at) values ($1, nextval('chimp.token'), ends)
	on conflict on constraint lock_entry_pkey do update
		set token = nextval('chimp.token'), expires_at = clock_timestamp() + ttl
		where o.expires_at <= clock_timestamp()
	returning o.token into taken;
	return taken;
end $$;
comment on function chimp.lock(text, interval) is
	'Take a lock that nobody has, for ttl from now: its fencing token, larger than any before, or NULL: another has it. It is held from the commit on, and until then nobody else can take it. 22023: a name that is empty or longer than 1024 bytes, a ttl not above 0.';

create or replace function chimp.lock_renew(name text, token bigint, ttl interval) returns boolean
language plpgsql as $$
begin
	update chimp.lock_entry o set expires_at = chimp.lock_end($1, $3)
	where o.name = $1 and o.token = $2 and o.expires_at > clock_timestamp();
	return found;
end $$;
comment on function chimp.lock_renew(text, bigint, interval) is
	'Hold a lock for ttl from now; false: it is not held with this token any more. 22023 as lock.';

create or replace function chimp.unlock(name text, token bigint) returns boolean
language plpgsql as $$
declare
	held boolean;
begin
	delete from chimp.lock_entry o where o.name = $1 and o.token = $2
	returning o.expires_at > clock_timestamp() into held;
	return coalesce(held, false);
end $$;
comment on function chimp.unlock(text, bigint) is
	'Give a lock back; false: it was not held with this token any more.';

create or replace function chimp.lock_check(name text, token bigint) returns void
language plpgsql as $$
begin
	perform from chimp.lock_entry o
	where o.name = $1 and o.token = $2 and o.expires_at > clock_timestamp() for share;
	if not found then
		raise exception 'lock "%": token % is stale', name, token using errcode = 'CH001',
			detail = 'It has expired or was given back; another may hold it.';
	end if;
end $$;
comment on function chimp.lock_check(text, bigint) is
	'The fence: nobody else takes the lock before the end of this transaction, so that what it writes is written by the holder. CH001: it is not held with this token any more.';

create or replace function chimp.locks_retain(max_rows int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	n int;
begin
	delete from chimp.lock_entry e where e.ctid = any (array(
		select o.ctid from chimp.lock_entry o where o.expires_at <= now()
		order by o.expires_at limit max_rows for update skip locked));
	get diagnostics n = row_count;
	return n;
end $$;
comment on function chimp.locks_retain(int) is 'Remove up to so many locks that have expired; how many.';

create or replace view chimp.locks as
select o.name, o.token, o.expires_at from chimp.lock_entry o where o.expires_at > clock_timestamp();
comment on view chimp.locks is 'Locks that are held: their tokens, and when they expire if they are not renewed.';
