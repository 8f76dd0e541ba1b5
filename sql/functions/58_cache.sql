-- The cache: values that somebody can compute again. A table that is not logged,
-- which workers keep below a size: what has not been read for the longest time
-- goes first (second chance, as a clock does).

create or replace function chimp.cache_get(key text) returns jsonb
language plpgsql as $$
declare
	e record;
begin
	select o.value, o.used into e from chimp.cache_entry o
	where o.key = $1 and (o.expires_at is null or o.expires_at > clock_timestamp());
	-- Once in its round, and never by waiting for somebody.
	if e.used = false and current_setting('transaction_read_only') = 'off'
			and current_setting('transaction_isolation') = 'read committed' then
		update chimp.cache_entry o set used = true where o.ctid = any (array(
			select i.ctid from chimp.cache_entry i where i.key = $1 for update skip locked));
	end if;
	return e.value;
end $$;
comment on function chimp.cache_get(text) is
	'The cached value of a key; NULL: there is none, or it has expired or was evicted.';

create or replace function chimp.cache_set(key text, value jsonb, ttl interval default null) returns void
language plpgsql as $$
declare
	size constant int := octet_length($1) + pg_column_size($2) + 72;
	ends constant timestamptz := chimp.ttl_end($1, $3);
begin
	if $2 is null then
		raise exception 'chimp.cache_set: the value of "%" is NULL; JSON null is a value, and cache_delete takes one away', $1
			using errcode = '22023';
	end if;
	insert into chimp.cache_entry as e (key, value, bytes, expires_at) values ($1, $2, size, ends)
	on conflict on constraint cache_entry_pkey do update
		set value = excluded.value, bytes = excluded.bytes, expires_at = excluded.expires_at, used = true;
	if chimp.ttl_waited(ends, ttl) then
		update chimp.cache_entry e set expires_at = clock_timestamp() + ttl where e.key = $1;
	end if;
end $$;
comment on function chimp.cache_set(text, jsonb, interval) is
	'Cache a value under a key, for ttl or until it is evicted. It commits and is rolled back with the transaction. 22023: a key that is empty or longer than 1024 bytes, a ttl not above 0, a value that is SQL NULL.';

create or replace function chimp.cache_delete(key text) returns boolean
language plpgsql as $$
declare
	live boolean;
begin
	delete from chimp.cache_entry e where e.key = $1
	returning e.expires_at is null or e.expires_at > clock_timestamp() into live;
	return coalesce(live, false);
end $$;
comment on function chimp.cache_delete(text) is 'Take a value away; whether there was one.';

create or replace function chimp.cache_get_or(key text, ttl interval, handler text, input jsonb default null) returns jsonb
language plpgsql as $$
declare
	v jsonb := chimp.cache_get($1);
begin
	if v is not null then
		return v;
	end if;
	if current_setting('transaction_read_only') = 'on' then
		raise exception 'chimp.cache_get_or: "%" is not cached, and this transaction may not write it', $1
			using errcode = '25006', hint = 'call it from an action that is not readonly';
	end if;
	perform chimp.check_function(format('chimp.cache_get_or "%s"', $1), handler);
	-- One at a time, to its commit: the second finds what the first has cached.
	perform pg_advisory_xact_lock(hashtextextended('chimp.cache ' || $1, 0));
	v := chimp.cache_get($1);
	if v is not null then
		return v;
	end if;
	execute format('select %s($1)', to_regprocedure(handler || '(jsonb)')::regproc)
	into v using coalesce(input, jsonb_build_object('key', $1));
	if v is not null then
		perform chimp.cache_set($1, v, ttl);
	end if;
	return v;
end $$;
comment on function chimp.cache_get_or(text, interval, text, jsonb) is
	'The cached value of a key, or what handler(input) returns, cached for ttl: of many that ask at once one computes, and the others wait for its commit. input: {"key": KEY} by default. SQL NULL is not cached. CH002: no such handler. 25006: the transaction is read-only. 22023 as cache_set.';

create or replace function chimp.cache_bytes() returns bigint
language plpgsql as $$
declare
	pages constant int := 512;               -- of a sample: some milliseconds
	total constant bigint := pg_relation_size('chimp.cache_entry') / current_setting('block_size')::int;
	percent constant float8 := least(100, 100.0 * pages / greatest(total, 1));
begin
	return (select coalesce(sum(e.bytes) * 100 / percent, 0)
		from chimp.cache_entry e tablesample system (percent))::bigint;
end $$;
comment on function chimp.cache_bytes() is
	'About how much is cached: counted, or, of more than 4 MiB, estimated by a sample of its pages.';

create or replace function chimp.cache_evict(max_rows int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	goal constant bigint := (select s.max_bytes from chimp.cache_store s);
	bytes bigint;
	freed bigint := 0;
	looked int := 0;
	e record;
begin
	if pg_table_size('chimp.cache_entry') <= goal then
		return 0;
	end if;
	bytes := chimp.cache_bytes() - goal * 15 / 16;
	if bytes <= goal / 16 then
		return 0;
	end if;
	for e in
		select o.ctid, o.used, o.bytes from chimp.cache_entry o order by o.age limit max_rows for update skip locked
	loop
		exit when freed >= bytes;
		if e.used then
			update chimp.cache_entry o set used = false, age = default where o.ctid = e.ctid;
		else
			delete from chimp.cache_entry o where o.ctid = e.ctid;
			freed := freed + e.bytes;
		end if;
		looked := looked + 1;
	end loop;
	return looked;
end $$;
comment on function chimp.cache_evict(int) is
	'Above the cache''s size, remove entries that were not read for the longest time, looking at up to so many; how many it has looked at.';
