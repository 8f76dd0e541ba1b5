-- Rates of routes, answers kept for Idempotency-Key, and the sweep of both.
-- doc/http.md says what holds.

-- The number of the oldest start that is still in the window, from `lo` on,
-- which is no younger. As a rule it is one of the next few; after a pause it is
-- looked for, as they are in order: log2 of their number.
create or replace function chimp.http_rate_oldest(rate bigint, lo bigint, starts bigint, count int, since timestamptz)
returns bigint language plpgsql stable as $$
declare
	low bigint := lo;
	high bigint := starts;
	n bigint := lo;
begin
	while low < high loop
		-- What a sweep has taken was old.
		if coalesce((select s.at from chimp.http_rate_start s
			where (s.rate_id, s.slot) = (rate, (n % count)::int)), '-infinity') < since then
			low := n + 1;
		else
			high := n;
		end if;
		n := case when low < lo + 3 then low else (low + high) / 2 end;
	end loop;
	return low;
end $$;

create or replace function chimp.http_limit(key bytea, count int, window_ms bigint)
returns table (allowed boolean, remaining int, reset_ms bigint)
language plpgsql rows 1
-- Whoever waits longer behind others of its key keeps a connection from them.
set lock_timeout = '200ms' as $$
declare
	span constant interval := window_ms * interval '1 ms';
	r chimp.http_rate;
	first bigint;
	first_at timestamptz;
	now timestamptz;
begin
	loop
		-- What is refused is so for certain, and needs no lock. Of one
		-- snapshot: another one's start may take the slot any moment.
		select s.at into first_at from chimp.http_rate o
		join chimp.http_rate_start s on (s.rate_id, s.slot) = (o.id, (o.starts % count)::int)
		where o.key = $1;
		now := clock_timestamp();
		exit when first_at >= now - span;
		select * into r from chimp.http_rate o where o.key = $1 for update;
		if not found then
			insert into chimp.http_rate (key, idle_at) values ($1, now + span) on conflict do nothing;
			continue;
		end if;
		select s.at into first_at from chimp.http_rate_start s
		where (s.rate_id, s.slot) = (r.id, (r.starts % count)::int);
		now := clock_timestamp();
		exit when first_at >= now - span;

		first := chimp.http_rate_oldest(r.id, greatest(r.oldest, r.starts + 1 - count), r.starts, count, now - span);
		first_at := (select s.at from chimp.http_rate_start s
			where first < r.starts and (s.rate_id, s.slot) = (r.id, (first % count)::int));
		insert into chimp.http_rate_start as s (rate_id, slot, at) values (r.id, (r.starts % count)::int, now)
		on conflict on constraint http_rate_start_pkey do update set at = excluded.at;
		update chimp.http_rate o set starts = o.starts + 1, oldest = first, idle_at = now + span where o.key = $1;
		allowed := true;
		remaining := count - (r.starts + 1 - first);
		reset_ms := ceil(extract(epoch from coalesce(first_at, now) + span - now) * 1000);
		return next;
		return;
	end loop;
	allowed := false;
	remaining := 0;
	-- The window is over when more than its length has passed.
	reset_ms := floor(extract(epoch from first_at + span - now) * 1000) + 1;
	return next;
end $$;
comment on function chimp.http_limit(bytea, int, bigint) is
	'Count a start for a key unless `count` have been in the window that ends now; those that are refused do not count. How many more could start now, and milliseconds until that is one more.';

create or replace function chimp.idempotency_begin(key bytea, fingerprint bytea, retention_ms bigint) returns int
language plpgsql as $$
declare
	a chimp.http_answer;
begin
	loop
		select * into a from chimp.http_answer o where o.key = $1 and o.expires_at > clock_timestamp();
		exit when found;
		-- Waits for the outcome of one that runs.
		insert into chimp.http_answer as o (key, fingerprint, expires_at)
		values ($1, $2, clock_timestamp() + $3 * interval '1 ms')
		on conflict on constraint http_answer_pkey do update set
			fingerprint = excluded.fingerprint, status = null, result = null, response = null,
			expires_at = excluded.expires_at
		where o.expires_at <= clock_timestamp();
		if found then
			return null;
		end if;
	end loop;
	if a.fingerprint <> fingerprint then
		raise exception 'this Idempotency-Key came before with another path, query or body'
			using errcode = 'PT409', hint = 'take a new key for each new request';
	end if;
	return a.status;
end $$;
comment on function chimp.idempotency_begin(bytea, bytea, bigint) is
	'First thing in the transaction of a request with a key: NULL if its handler is to run, else the status of the answer that is kept. PT409: the key has another request''s answer.';

create or replace function chimp.idempotency_keep(key bytea, status int, result jsonb) returns jsonb
language plpgsql as $$
begin
	update chimp.http_answer o set status = $2, result = $3,
		response = nullif(current_setting('chimp.response', true), '')
	where o.key = $1;
	return result;
end $$;
comment on function chimp.idempotency_keep(bytea, int, jsonb) is
	'Keep the handler''s answer, in its transaction; the result.';

create or replace function chimp.idempotency_replay(key bytea, fingerprint bytea) returns jsonb
language plpgsql as $$
declare
	a chimp.http_answer;
begin
	select * into a from chimp.http_answer o
	where (o.key, o.fingerprint) = ($1, $2) and o.status is not null;
	if not found then
		raise exception 'the answer has just expired' using errcode = '40001';
	end if;
	perform set_config('chimp.response', coalesce(a.response, ''), true);
	return a.result;
end $$;
comment on function chimp.idempotency_replay(bytea, bytea) is
	'The answer that is kept, as if its handler had just made it. 40001: its time ended just now, try again.';

create or replace function chimp.http_sweep(after bytea, max_rows int default 5000)
returns table (next bytea, more boolean)
language plpgsql rows 1 as $$
declare
	few constant int := max_rows / 10;
	answers int;
	starts int;
	seen int;
	last bytea;
	idle bytea[];
	ids bigint[];
begin
	next := after;
	more := false;
	if not pg_try_advisory_xact_lock(hashtext('chimp.http_sweep')) then
		return next;
		return;
	end if;
	delete from chimp.http_answer a where a.key in (
		select o.key from chimp.http_answer o where o.expires_at <= clock_timestamp()
		order by o.expires_at limit few for update skip locked);
	get diagnostics answers = row_count;

	-- No index on idle_at, which every start would have to maintain: a walk.
	select count(*), (array_agg(p.key order by p.key))[count(*)] into seen, last from (
		select o.key from chimp.http_rate o where o.key > coalesce(after, '') order by o.key limit max_rows) p;
	-- Who starts again meanwhile waits for this short moment.
	select coalesce(array_agg(p.key order by p.key), '{}'), array_agg(p.id) into idle, ids from (
		select o.key, o.id from chimp.http_rate o
		where o.key > coalesce(after, '') and o.key <= last and o.idle_at < clock_timestamp()
		order by o.key limit few for update skip locked) p;
	-- A ring may be large; what is missing in it counts as old.
	delete from chimp.http_rate_start s where s.ctid = any (array(
		select o.ctid from chimp.http_rate_start o where o.rate_id = any (ids) limit max_rows));
	get diagnostics starts = row_count;
	if starts < max_rows then
		delete from chimp.http_rate o where o.key = any (idle);
		next := case when cardinality(idle) >= few then idle[few] when seen >= max_rows then last end;
	end if;
	more := answers >= few or starts >= max_rows or next is not null;
	return next;
end $$;
comment on function chimp.http_sweep(bytea, int) is
	'A step, bounded by max_rows, of deleting answers and rates whose time is over; from where to go on (NULL: at the start), and whether there is more to do. Does nothing when another process is at it.';
