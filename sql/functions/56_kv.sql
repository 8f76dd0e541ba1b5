-- Key-value state: JSON under a name, written in the caller's transaction. What
-- has expired is not there, from the very instant on (clock_timestamp(), also
-- within a long transaction), and is removed some time later.

-- Of keys, of the cache and of locks.
create or replace function chimp.ttl_fail(name text, ttl interval) returns timestamptz
language plpgsql as $$
begin
	if coalesce(name, '') = '' or octet_length(name) > 1024 then
		raise exception 'chimp: a key or the name of a lock has 1 to 1024 bytes, not %', coalesce(octet_length(name), 0)
			using errcode = '22023';
	end if;
	raise exception 'chimp: the ttl of "%" is %: it must be more than nothing', name, ttl using errcode = '22023';
end $$;
comment on function chimp.ttl_fail(text, interval) is
	'Say what is wrong with a name or its ttl. 22023.';

create or replace function chimp.ttl_end(name text, ttl interval) returns timestamptz
language sql volatile as $$
	select case when octet_length(name) between 1 and 1024 and (ttl is null or ttl > interval '0')
		then clock_timestamp() + ttl
		else chimp.ttl_fail(name, ttl) end
$$;
comment on function chimp.ttl_end(text, interval) is
	'When what is written now ends, NULL if never; 22023: its name is empty or longer than 1024 bytes, or the ttl not above 0.';

create or replace function chimp.ttl_waited(ends timestamptz, ttl interval) returns boolean
language sql volatile as $$ select clock_timestamp() > ends - ttl + interval '10 ms' $$;
comment on function chimp.ttl_waited(timestamptz, interval) is
	'Is `ends`, which ttl_end gave, too early, because its write had to wait for another?';

create or replace function chimp.remove_old(entries regclass, instant name, until timestamptz, max_rows int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	n int;
begin
	execute format('delete from %1$s e where e.ctid = any (array(select o.ctid from %1$s o'
		' where o.%2$I <= $1 order by o.%2$I limit $2 for update skip locked))', entries, instant)
	using until, max_rows;
	get diagnostics n = row_count;
	return n;
end $$;
comment on function chimp.remove_old(regclass, name, timestamptz, int) is
	'Remove up to so many rows of a table whose column `instant` is not behind `until`, and that nobody is at; how many.';

create or replace function chimp.remove_expired(entries regclass, max_rows int) returns int
language sql as $$ select chimp.remove_old(entries, 'expires_at', now(), max_rows) $$;
comment on function chimp.remove_expired(regclass, int) is
	'Remove up to so many rows of a table whose expires_at has passed, and that nobody is at; how many.';

create or replace function chimp.kv_get(key text) returns jsonb
language plpgsql stable as $$
declare
	found_value jsonb;
begin
	select e.value into found_value from chimp.kv_entry e
	where e.key = $1 and (e.expires_at is null or e.expires_at > clock_timestamp());
	return found_value;
end $$;
comment on function chimp.kv_get(text) is
	'The value of a key; NULL if there is none or it has expired.';

create or replace function chimp.kv_get_many(keys text[]) returns table (key text, value jsonb)
language plpgsql stable
set enable_seqscan = off as $$
begin
	return query
	select e.key, e.value from unnest(keys) with ordinality as u (key, n)
	join chimp.kv_entry e on e.key = u.key
	where e.expires_at is null or e.expires_at > clock_timestamp()
	order by u.n;
end $$;
comment on function chimp.kv_get_many(text[]) is
	'Those of these keys that have a value, in their order.';

create or replace function chimp.kv_end_again(key text, ends timestamptz, ttl interval) returns void
language sql as $$
	update chimp.kv_entry e set expires_at = clock_timestamp() + ttl where e.key = $1 and e.expires_at = $2
$$;
comment on function chimp.kv_end_again(text, timestamptz, interval) is
	'Count the ttl of a key that was just written anew, from now.';

create or replace function chimp.kv_set(key text, value jsonb, ttl interval default null) returns void
language plpgsql as $$
declare
	ends timestamptz := chimp.ttl_end($1, $3);
begin
	insert into chimp.kv_entry as e (key, value, expires_at) values ($1, coalesce($2, 'null'), ends)
	on conflict on constraint kv_entry_pkey do update
		set value = excluded.value, expires_at = excluded.expires_at;
	if chimp.ttl_waited(ends, ttl) then
		perform chimp.kv_end_again(key, ends, ttl);
	end if;
end $$;
comment on function chimp.kv_set(text, jsonb, interval) is
	'Set the value of a key, in place of what was there; it ends after ttl, or never. SQL NULL is JSON null. 22023: a key that is empty or longer than 1024 bytes, a ttl not above 0.';

create or replace function chimp.kv_delete(key text) returns boolean
language plpgsql as $$
declare
	live boolean;
begin
	delete from chimp.kv_entry e where e.key = $1
	returning e.expires_at is null or e.expires_at > clock_timestamp() into live;
	return coalesce(live, false);
end $$;
comment on function chimp.kv_delete(text) is 'Delete a key; whether it had a value.';

create or replace function chimp.kv_expire(key text, ttl interval) returns boolean
language plpgsql as $$
declare
	ends timestamptz := chimp.ttl_end($1, $2);
	done boolean;
begin
	update chimp.kv_entry e set expires_at = ends
	where e.key = $1 and (e.expires_at is null or e.expires_at > clock_timestamp());
	done := found;
	if done and chimp.ttl_waited(ends, ttl) then
		perform chimp.kv_end_again(key, ends, ttl);
	end if;
	return done;
end $$;
comment on function chimp.kv_expire(text, interval) is
	'Let a key end after ttl from now, or never (NULL); whether it has a value. 22023 as kv_set.';

create or replace function chimp.kv_compare_and_set(key text, expected jsonb, value jsonb, ttl interval default null)
returns boolean
language plpgsql as $$
declare
	ends timestamptz := chimp.ttl_end($1, $4);
	done boolean;
begin
	if expected is not null then
		update chimp.kv_entry e set value = coalesce($3, 'null'), expires_at = ends
		where e.key = $1 and e.value = $2 and (e.expires_at is null or e.expires_at > clock_timestamp());
	else
		insert into chimp.kv_entry as e (key, value, expires_at) values ($1, coalesce($3, 'null'), ends)
		on conflict on constraint kv_entry_pkey do update
			set value = excluded.value, expires_at = excluded.expires_at
			where e.expires_at <= clock_timestamp();
	end if;
	done := found;
	if done and chimp.ttl_waited(ends, ttl) then
		perform chimp.kv_end_again(key, ends, ttl);
	end if;
	return done;
end $$;
comment on function chimp.kv_compare_and_set(text, jsonb, jsonb, interval) is
	'kv_set if the key has the value expected, or none where that is NULL; whether it had. It waits for others that are at the key. 22023 as kv_set.';

create or replace function chimp.kv_no_number(key text, value jsonb) returns jsonb
language plpgsql as $$
begin
	raise exception 'chimp.kv_increment: the value of "%" is a %, not a number', key, jsonb_typeof(value)
		using errcode = '22023';
end $$;

create or replace function chimp.kv_increment(key text, by numeric default 1, ttl interval default null) returns numeric
language plpgsql as $$
declare
	ends timestamptz := chimp.ttl_end($1, $3);
	total numeric;
begin
	if coalesce(by, 'NaN') in ('NaN', 'Infinity', '-Infinity') then
		raise exception 'chimp.kv_increment: cannot add % to "%"', coalesce(by::text, 'NULL'), key
			using errcode = '22023';
	end if;
	insert into chimp.kv_entry as e (key, value, expires_at) values ($1, to_jsonb(by), ends)
	on conflict on constraint kv_entry_pkey do update set
		value = case
			when e.expires_at <= clock_timestamp() then excluded.value
			when jsonb_typeof(e.value) <> 'number' then chimp.kv_no_number(e.key, e.value)
			else to_jsonb(e.value::numeric + by) end,
		expires_at = case when e.expires_at <= clock_timestamp() then excluded.expires_at else e.expires_at end
	returning e.value::numeric into total;
	if chimp.ttl_waited(ends, ttl) then
		perform chimp.kv_end_again(key, ends, ttl);    -- if it is the one that has begun
	end if;
	return total;
end $$;
comment on function chimp.kv_increment(text, numeric, interval) is
	'Add to the number under a key, which is 0 if there is none, and return the sum. ttl is for one that begins: it goes on when others add. 22023: the value is no number; as kv_set.';

create or replace function chimp.kv_list(prefix text default '', max_rows int default 100, after text default null)
returns table (key text, value jsonb)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
	e record;
	n int := 0;
begin
	if max_rows is null or max_rows < 1 then
		raise exception 'chimp.kv_list: max_rows must be at least 1' using errcode = '22023';
	end if;
	for e in
		select o.key, o.value, o.expires_at from chimp.kv_entry o
		where o.key >= coalesce(prefix, '') collate "C" and o.key > coalesce(after, '') collate "C"
		order by o.key
	loop
		exit when not starts_with(e.key, coalesce(prefix, ''));
		continue when e.expires_at <= clock_timestamp();
		key := e.key;
		value := e.value;
		return next;
		n := n + 1;
		exit when n = max_rows;
	end loop;
end $$;
comment on function chimp.kv_list(text, int, text) is
	'Up to max_rows keys that begin with prefix, as it is written (% and _ are letters), and their values, by the bytes of the keys; after: only those behind that key, so that a list goes on where another ended.';

create or replace view chimp.kv as
select e.key, e.value, e.expires_at from chimp.kv_entry e
where e.expires_at is null or e.expires_at > clock_timestamp();
comment on view chimp.kv is 'Key-value state: what kv_get would find, and when it ends.';
