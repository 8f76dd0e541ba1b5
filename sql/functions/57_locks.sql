-- Locks with a ttl, for what lasts longer than a transaction: a token for who has
-- one, larger than that of any holder before. A lock that has expired is another's
-- to take; who had it finds out where its token is checked.

create or replace function chimp.lock(name text, ttl interval) returns bigint
language plpgsql as $$
declare
	ends timestamptz := chimp.ttl_end($1, coalesce($2, '0'));
	taken bigint;
begin
	-- Held is held: no token is drawn, and nobody waits but for who is just
	-- taking or giving it.
	if exists (select from chimp.lock_entry o where o.name = $1 and o.expires_at > clock_timestamp()) then
		return null;
	end if;
	insert into chimp.lock_entry as o (name, token, expires_at) values ($1, 0, ends)
	on conflict on constraint lock_entry_pkey do update set expires_at = excluded.expires_at
		where o.expires_at <= clock_timestamp();
	if not found then
		return null;
	end if;
	-- Only now, with the row in hand: whoever drew before it waited would have a
	-- smaller one than others got meanwhile.
	update chimp.lock_entry o set token = nextval('chimp.token'), expires_at = clock_timestamp() + ttl
	where o.name = $1 returning o.token into taken;
	return taken;
end $$;
comment on function chimp.lock(text, interval) is
	'Take a lock that nobody has, for ttl from now: its fencing token, larger than any before, or NULL: another has it. It is held from the commit on, and until then nobody else can take it. 22023: a name that is empty or longer than 1024 bytes, a ttl not above 0.';

create or replace function chimp.lock_renew(name text, token bigint, ttl interval) returns boolean
language plpgsql as $$
begin
	perform chimp.ttl_end($1, coalesce($3, '0'));
	-- First the row, which lock_check of another transaction may hold.
	perform from chimp.lock_entry o
	where o.name = $1 and o.token = $2 and o.expires_at > clock_timestamp() for update;
	if not found then
		return false;
	end if;
	update chimp.lock_entry o set expires_at = clock_timestamp() + ttl where o.name = $1 and o.token = $2;
	return true;
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

create or replace view chimp.locks as
select o.name, o.token, o.expires_at from chimp.lock_entry o where o.expires_at > clock_timestamp();
comment on view chimp.locks is 'Locks that are held: their tokens, and when they expire if they are not renewed.';
