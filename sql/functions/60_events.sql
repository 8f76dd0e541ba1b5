-- Events: publish, ticks, rotation. doc/events.md says why.
--
-- As in queues, what reads has "set enable_seqscan = off": its plans are made
-- while tables are empty.

create or replace function chimp.publish(event text, payload jsonb default '{}', key text default null)
returns bigint language plpgsql as $$
declare
	now bigint := pg_sequence_last_value('chimp.event_now');
	id bigint;
begin
	if coalesce(event, '') = '' then
		raise exception 'chimp.publish: an event needs a name' using errcode = '22023';
	end if;
	insert into chimp.event as e (ring, name, key, payload)
	values (now / 2, $1, $3, coalesce($2, 'null'))
	returning e.id into id;
	if now % 2 = 1 then
		perform pg_notify('chimp_event', '');
	end if;
	return id;
end $$;
comment on function chimp.publish(text, jsonb, text) is
	'Publish an event when this transaction commits; returns its id. Events of one key stay in order within a subscription.';

-- Which events a subscription wants -------------------------------------------------

create or replace function chimp.event_matches(pattern text, name text) returns boolean
language sql immutable parallel safe as $$
	select pattern = name or pattern = '*'
		or (right(pattern, 2) = '.*' and starts_with(name, left(pattern, -1)))
$$;

create or replace function chimp.event_lane(id bigint, key text, lanes int) returns int
language sql immutable parallel safe as $$
	-- Without a key there is no order to keep: spread by id.
	select coalesce(abs(hashtextextended(key, 0) % lanes), id % lanes)::int
$$;

create or replace function chimp.event_wanted(pattern text, only_key text, condition jsonpath,
	name text, key text, payload jsonb) returns boolean
language sql immutable parallel safe as $$
	select chimp.event_matches(pattern, name) and (only_key is null or key = only_key)
		and (condition is null or coalesce(payload @@ condition, false))
$$;
comment on function chimp.event_wanted(text, text, jsonpath, text, text, jsonb) is
	'Does a subscription with this pattern, key and condition want an event?';

create or replace function chimp.event_json(id bigint, name text, key text, payload jsonb, published_at timestamptz,
	trace text)
returns jsonb language sql stable as $$
	select case when trace is null
		then jsonb_build_object('id', id, 'event', name, 'key', key, 'payload', payload,
			'publishedAt', to_char(published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
		else jsonb_build_object('id', id, 'event', name, 'key', key, 'payload', payload,
			'publishedAt', to_char(published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
			'requestId', split_part(trace, ' ', 1), 'traceparent', split_part(trace, ' ', 2)) end
$$;
comment on function chimp.event_json(bigint, text, text, jsonb, timestamptz, text) is 'An event as its handlers get it.';

-- Ticks -------------------------------------------------------------------------------

create or replace function chimp.tick() returns bigint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
declare
	last chimp.tick;
	new chimp.tick;
begin
	-- One after the other, so that each snapshot contains the one before.
	perform pg_advisory_xact_lock(hashtext('chimp.tick'));
	select * into last from chimp.tick t order by t.id desc limit 1;
	-- One statement: the snapshot recorded is the one that was looked with.
	select last.id + 1, pg_current_snapshot(), clock_timestamp(), coalesce(min(e.id) filter (where e.young), 0),
		coalesce(max(e.id) filter (where e.young), 0), count(*), bit_or(1 << e.ring)
	into new.id, new.snapshot, new.ticked_at, new.first_id, new.last_id, new.events, new.rings
	from (
		select o.id, o.ring, true as young from chimp.event o
		where o.xid >= pg_snapshot_xmax(last.snapshot)
		union all
		-- What was open then; those that still are have nothing to be seen.
		select o.id, o.ring, false from pg_snapshot_xip(last.snapshot) x (xid)
		join chimp.event o on o.xid = x.xid
		where pg_visible_in_snapshot(x.xid, pg_current_snapshot())) e;
	if new.events = 0 then
		return last.id;
	end if;
	insert into chimp.tick select new.*;
	-- Publishers may have been told not to NOTIFY: whoever cuts tells the rest.
	if (select count(*) from chimp.process p where p.role = 'subscriber') > 1 then
		perform pg_notify('chimp_event', new.id::text);
	end if;
	return new.id;
end $$;
comment on function chimp.tick() is
	'Cut the stream: record a snapshot as the next tick if events have become visible since the last. Returns the newest tick''s number.';

create or replace function chimp.events_between(p pg_snapshot, k pg_snapshot) returns setof chimp.event
language plpgsql stable rows 100
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
begin
	return query
	select o.* from chimp.event o
	where o.xid >= pg_snapshot_xmax(p) and o.xid < pg_snapshot_xmax(k) and pg_visible_in_snapshot(o.xid, k)
	union all
	select o.* from pg_snapshot_xip(p) x (xid) join chimp.event o on o.xid = x.xid
	where pg_visible_in_snapshot(x.xid, k);
end $$;
comment on function chimp.events_between(pg_snapshot, pg_snapshot) is
	'Events that snapshot k shows and snapshot p did not.';

drop function if exists chimp.tick_news(uuid, bigint, boolean);
create or replace function chimp.tick_news(process uuid, seen bigint, cut boolean)
returns table (tick bigint, lanes bigint[], events bigint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
declare
	p pg_snapshot;
	k pg_snapshot;
	names text[];
begin
	if cut then
		tick := chimp.tick();
	else
		select t.id into tick from chimp.tick t order by t.id desc limit 1;
	end if;
	select t.snapshot into p from chimp.tick t where t.id = seen;
	select t.snapshot into k from chimp.tick t where t.id = tick_news.tick;
	select coalesce(sum(t.events), 0) into events from chimp.tick t where t.id > seen and t.id <= tick_news.tick;
	if tick <= seen then
		lanes := '{}';
	elsif p is not null and events <= 200 then
		lanes := array(
			select distinct l.id from chimp.events_between(p, k) e
			join chimp.subscription s on s.active and chimp.event_wanted(s.event, s.key, s.condition, e.name, e.key, e.payload)
			join chimp.lane l on l.subscription_id = s.id and l.process_id = $1
			where l.number = chimp.event_lane(e.id, e.key, l.lanes));
	elsif p is not null and events <= 20000 then
		-- Of so many, by their names only: all lanes of whoever may want one.
		names := array(select distinct e.name from chimp.events_between(p, k) e);
		lanes := array(
			select l.id from chimp.subscription s join chimp.lane l on l.subscription_id = s.id and l.process_id = $1
			where s.active and exists (select from unnest(names) n (name) where chimp.event_matches(s.event, n.name)));
	end if;
	return next;
end $$;
comment on function chimp.tick_news(uuid, bigint, boolean) is
	'Cut the stream if so wanted; returns the newest tick, which lanes of this process may have events behind tick `seen` (NULL if that is too much to look for), and how many events those are.';

-- Rotation ----------------------------------------------------------------------------

create or replace function chimp.events_forget(p chimp.event_partition) returns boolean
language plpgsql as $$
declare
	newest xid8;
	first bigint;
begin
	-- First, so that nobody who has still published into it is overlooked.
	set local lock_timeout = '100ms';
	execute format('lock table chimp.event_%s in access exclusive mode', p.ring);
	execute format('select e.xid from chimp.event_%s e order by e.xid desc limit 1', p.ring) into newest;
	-- The first tick that has all of it: cursors before it point at what is gone.
	select t.id into first from chimp.tick t
	where t.ticked_at >= p.until and pg_snapshot_xmin(t.snapshot) > newest order by t.id limit 1;
	if first is null and newest is not null then
		if pg_snapshot_xmin(pg_current_snapshot()) <= newest then
			return false;                    -- a transaction as old is still open
		end if;
		first := chimp.tick();
	end if;
	execute format('truncate chimp.event_%s', p.ring);
	update chimp.event_store o set first_tick = first where o.first_tick < first;
	update chimp.event_partition o set since = null, until = null where o.ring = p.ring;
	return true;
exception when lock_not_available then
	return false;                            -- somebody reads it: next time
end $$;

create or replace function chimp.event_now_set(ring bigint, sleeping boolean) returns void
language plpgsql as $$
declare
	now bigint;
begin
	perform pg_advisory_xact_lock(hashtext('chimp.event_now'));
	now := pg_sequence_last_value('chimp.event_now');
	perform setval('chimp.event_now', coalesce(ring, now / 2) * 2 + coalesce(sleeping::int, now % 2));
end $$;
comment on function chimp.event_now_set(bigint, boolean) is
	'Change what publishers read, for everybody at once: the partition that is written, and whether they are to NOTIFY; NULL leaves it.';

create or replace function chimp.events_rotate() returns text
language plpgsql as $$
declare
	now timestamptz := clock_timestamp();
	keep interval := (select o.retention_ms * interval '1 ms' from chimp.event_store o);
	p chimp.event_partition;
	following smallint;
begin
	if not pg_try_advisory_xact_lock(hashtext('chimp.events_rotate')) then
		return null;
	end if;
	for p in
		select * from chimp.event_partition o where o.until < now - keep order by o.until
	loop
		if chimp.events_forget(p) then
			return format('chimp.event_%s is empty again', p.ring);
		end if;
	end loop;
	-- Ticks in front of the first that is needed, in pieces.
	delete from chimp.tick t where t.id in (
		select o.id from chimp.tick o, chimp.event_store e
		where o.id < e.first_tick order by o.id limit 10000);
	if found then
		return 'old ticks';
	end if;
	select * into p from chimp.event_partition o where o.since is not null and o.until is null;
	following := p.ring % 4 + 1;
	if p.since < now - keep / 2
		and exists (select from chimp.event_partition o where o.ring = following and o.since is null) then
		update chimp.event_partition o set until = now where o.ring = p.ring;
		update chimp.event_partition o set since = now where o.ring = following;
		perform chimp.event_now_set(following, null);
		return format('chimp.event_%s is written', following);
	end if;
	return null;
end $$;
comment on function chimp.events_rotate() is
	'One step of keeping events for event_retention: empty the oldest partition, or go on to the next one. Returns what it did; NULL when there is nothing to do.';

create or replace function chimp.events_sleep(sleeping boolean) returns void
language plpgsql as $$
begin
	if (pg_sequence_last_value('chimp.event_now') % 2 = 1) is distinct from sleeping then
		perform chimp.event_now_set(null, sleeping);
	end if;
end $$;
