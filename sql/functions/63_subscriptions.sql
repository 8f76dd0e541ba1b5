-- Subscriptions: registration, and what operators do to them.

create or replace function chimp.subscription_get(name text) returns chimp.subscription
language plpgsql stable as $$
declare
	s chimp.subscription;
begin
	select * into s from chimp.subscription o where o.name = $1;
	if not found then
		raise exception 'unknown subscription "%"', $1 using errcode = 'CH002',
			hint = 'register it in an app file: subscription "NAME" { event = "..."  sql = "schema.function" }';
	end if;
	return s;
end $$;

create or replace function chimp.tick_at(at timestamptz) returns bigint
language sql stable as $$
	-- What was published at this time or later is behind this tick.
	select greatest(e.first_tick, coalesce(
		(select t.id - 1 from chimp.tick t where t.ticked_at >= at order by t.ticked_at, t.id limit 1),
		(select t.id from chimp.tick t order by t.id desc limit 1)))
	from chimp.event_store e
$$;

create or replace function chimp.subscription_app(subscription text) returns text
language sql stable as $$
	select r.app from chimp.registration r where r.kind = 'subscription' and r.name = subscription
$$;

create or replace function chimp.event_condition(subscription text, condition text) returns jsonpath
language plpgsql as $$
declare
	match boolean;
begin
	if condition is null then
		return null;
	end if;
	match := jsonb_path_match('{}', condition::jsonpath);
	return condition::jsonpath;
exception when others then
	raise exception 'app "%": subscription "%": where = "%" is no JSON path predicate: %',
		chimp.subscription_app(subscription), subscription, condition, sqlerrm
		using errcode = 'CH002', hint = 'write a comparison of the payload, such as $.amount > 1000';
end $$;

create or replace function chimp.from_time(subscription text, "from" text) returns timestamptz
language plpgsql as $$
begin
	return "from"::timestamptz;
exception when others then
	raise exception 'app "%": subscription "%": from = "%": %', chimp.subscription_app(subscription), subscription,
		"from", sqlerrm using errcode = 'CH002', hint = 'write "now", "beginning" or a time, 2026-01-31T12:00:00Z';
end $$;

-- Keys keep their order over a change of the number of lanes: the old ones go up
-- to one tick, and the new ones begin behind it when all of the old are there.
create or replace function chimp.lanes_make(s chimp.subscription, start bigint) returns void
language plpgsql as $$
begin
	insert into chimp.lane (subscription_id, generation, lanes, number)
	select s.id, s.generation, s.lanes, n from generate_series(0, s.lanes - 1) n;
	perform chimp.lane_fence(l.id, start, 9223372036854775807) from chimp.lane l
	where (l.subscription_id, l.generation) = (s.id, s.generation);
end $$;

create or replace function chimp.subscription_put(name text, d jsonb) returns void
language plpgsql as $$
declare
	s chimp.subscription;
	wanted int := (d ->> 'lanes')::int;
	start bigint;
begin
	insert into chimp.subscription as o (name, event, key, condition, handler, mode, max_attempts, retry_delay_ms,
		retry_delay_max_ms, backoff, lanes, batch, on_failure)
	values ($1, d ->> 'event', d ->> 'key', chimp.event_condition($1, d ->> 'where'), d ->> 'sql',
		coalesce(d ->> 'mode', 'each'), (d ->> 'max_attempts')::int, (d ->> 'retry_delay_ms')::bigint,
		(d ->> 'retry_delay_max_ms')::bigint, d ->> 'backoff', wanted, (d ->> 'batch')::int, d ->> 'on_failure')
	on conflict on constraint subscription_name_key do update set
		event = excluded.event, key = excluded.key, condition = excluded.condition, handler = excluded.handler,
		mode = excluded.mode, max_attempts = excluded.max_attempts, retry_delay_ms = excluded.retry_delay_ms,
		retry_delay_max_ms = excluded.retry_delay_max_ms, backoff = excluded.backoff, batch = excluded.batch,
		on_failure = excluded.on_failure, active = true
	returning * into s;
	perform chimp.subscription_make_run(s);
	if not exists (select from chimp.lane l where l.subscription_id = s.id) then
		start := case d ->> 'from'
			when 'beginning' then (select e.first_tick from chimp.event_store e)
			when 'now' then chimp.tick()
			else chimp.tick_at(chimp.from_time($1, d ->> 'from')) end;
		perform chimp.lanes_make(s, start);
	elsif s.lanes <> wanted then
		-- Nothing moves from here to the commit, so the tick is behind all of them.
		perform chimp.lane_fence(l.id) from chimp.lane l
		where (l.subscription_id, l.generation) = (s.id, s.generation);
		start := chimp.tick();
		update chimp.lane l set until_tick = start, epoch = l.epoch + 1
		where (l.subscription_id, l.generation) = (s.id, s.generation);
		update chimp.subscription o set lanes = wanted, generation = o.generation + 1
		where o.id = s.id returning * into s;
		perform chimp.lanes_make(s, start);
		perform pg_notify('chimp_control', 'processes');
	end if;
end $$;
comment on function chimp.subscription_put(text, jsonb) is
	'Insert or update a subscription with the policies of a definition.';

-- Operators ---------------------------------------------------------------------------

create or replace function chimp.subscription_seek(name text, "position" bigint default null,
	at timestamptz default null) returns bigint
language plpgsql as $$
declare
	s chimp.subscription := chimp.subscription_get(name);
	e chimp.event;
	to_tick bigint;
	to_id bigint := 9223372036854775807;
begin
	if "position" is not null and at is not null then
		raise exception 'chimp.subscription_seek: either a position or a time' using errcode = '22023';
	end if;
	to_tick := chimp.tick();
	if "position" = 0 then
		to_tick := (select o.first_tick from chimp.event_store o);
	elsif at is not null then
		to_tick := chimp.tick_at(at);
	elsif "position" is not null then
		select * into e from chimp.event o where o.id = "position";
		if not found then
			raise exception 'unknown event %', "position" using errcode = 'CH002',
				hint = 'events are kept for event_retention; 0 is the oldest that there is';
		end if;
		select t.id, "position" - 1 into to_tick, to_id from chimp.tick t, chimp.event_store o
		where t.id >= o.first_tick and pg_visible_in_snapshot(e.xid, t.snapshot) order by t.id limit 1;
		-- It shared a tick with some that are gone: behind it is the oldest.
		if to_tick = (select o.first_tick from chimp.event_store o) then
			to_id := 9223372036854775807;
		end if;
	end if;
	-- Not while another seek or a change of the lanes is at work.
	perform pg_advisory_xact_lock(hashtext('chimp.registry'));
	-- Those of a former number of lanes as well, before they go.
	perform chimp.lane_fence(l.id, to_tick, to_id) from chimp.lane l where l.subscription_id = s.id;
	with gone as (
		delete from chimp.lane l where l.subscription_id = s.id and l.generation < s.generation returning l.id
	)
	delete from chimp.lane_cursor c using gone where c.lane_id = gone.id;
	update chimp.lane l set epoch = l.epoch + 1, attempts = 0, retry_at = null, last_error = null, paused_at = null,
		until_tick = null, gap_from = null, gap_until = null
	where l.subscription_id = s.id;
	perform pg_notify('chimp_control', 'processes');
	return to_tick;
end $$;
comment on function chimp.subscription_seek(text, bigint, timestamptz) is
	'Move a subscription: position, the id of the event that is handled next (again), with all that follow it in the stream, 0 for the oldest that is kept; or at, a time, for all that were published then or later; neither: behind all that there is now. Paused lanes go on. Returns the tick. CH002: unknown subscription or event.';

create or replace function chimp.subscription_pause(name text) returns void
language plpgsql as $$
begin
	perform chimp.subscription_get(name);
	update chimp.subscription s set paused_at = clock_timestamp(), paused_by = session_user
	where s.name = $1 and s.paused_at is null;
	perform pg_notify('chimp_control', 'processes');
end $$;
comment on function chimp.subscription_pause(text) is
	'Stop handing events to a subscription, on all nodes; what is in work ends. Nothing is missed. CH002: unknown subscription.';

create or replace function chimp.subscription_resume(name text) returns void
language plpgsql as $$
declare
	s chimp.subscription := chimp.subscription_get(name);
begin
	update chimp.subscription o set paused_at = null, paused_by = null where o.id = s.id;
	-- Lanes that a failure has paused try their event again, with all attempts. A
	-- new epoch, for an owner may have looked during the pause and found nothing.
	update chimp.lane l set epoch = l.epoch + 1, paused_at = null, attempts = 0, retry_at = null,
		last_error = null, gap_from = null, gap_until = null
	where l.subscription_id = s.id;
	perform pg_notify('chimp_control', 'processes');
end $$;
comment on function chimp.subscription_resume(text) is
	'Undo chimp.subscription_pause, have lanes that stopped at a failed event try it again, and forget a gap that was shown. CH002: unknown subscription.';

create or replace function chimp.subscription_replay(name text, event bigint default null) returns bigint
language plpgsql as $$
declare
	s chimp.subscription := chimp.subscription_get(name);
	n bigint;
begin
	with waiting as (
		update chimp.dead_event d set replay_at = clock_timestamp()
		where d.subscription_id = s.id and ($2 is null or d.event_id = $2)
		returning chimp.event_lane(d.event_id, d.key, s.lanes) as number
	), woken as (
		update chimp.lane l set replays = true, epoch = l.epoch + 1 from (select distinct w.number from waiting w) w
		where l.subscription_id = s.id and l.generation = s.generation and l.number = w.number
	)
	select count(*) into n from waiting;
	if n = 0 and event is not null then
		raise exception 'subscription "%" has no dead event %', name, event using errcode = 'CH002';
	end if;
	perform pg_notify('chimp_control', 'processes');
	return n;
end $$;
comment on function chimp.subscription_replay(text, bigint) is
	'Hand the dead events of a subscription, or one of them, to its handler again, each in one attempt: what succeeds is dead no longer. Returns how many. CH002: unknown subscription or dead event.';

create or replace function chimp.subscription_lag(s chimp.subscription)
returns table (lag_events bigint, lag_exact boolean, oldest_at timestamptz)
language plpgsql rows 1
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	few constant int := 1000;                -- of a lane: counted
	k chimp.tick;
begin
	select * into k from chimp.tick t order by t.id desc limit 1;
	select coalesce(sum(n.events), 0), coalesce(bool_and(n.events <= few), true), min(n.oldest)
	into lag_events, lag_exact, oldest_at
	from chimp.lane l
	cross join lateral chimp.lane_position(l.id) c
	cross join lateral (
		select count(*) as events, min(e.published_at) as oldest from chimp.lane_events(l, s,
			greatest(c.tick, (select o.first_tick from chimp.event_store o)), c.event_id, coalesce(l.until_tick, k.id), few + 1) e) n
	where l.subscription_id = s.id;
	-- What no tick has yet.
	select lag_events + count(*), least(oldest_at, min(e.published_at)) into lag_events, oldest_at
	from (
		select o.* from chimp.event o where o.xid >= pg_snapshot_xmax(k.snapshot)
		union all
		select o.* from pg_snapshot_xip(k.snapshot) x (xid) join chimp.event o on o.xid = x.xid) e
	where chimp.event_wanted(s.event, s.key, s.condition, e.name, e.key, e.payload);
	if not lag_exact then
		lag_events := greatest(lag_events, (select sum(t.events) from chimp.tick t
			where t.id > (select min(c.tick) from chimp.lane l, chimp.lane_position(l.id) c where l.subscription_id = s.id)));
	end if;
	return next;
end $$;
comment on function chimp.subscription_lag(chimp.subscription) is
	'Events that are committed and not handled: exact up to 1,000 of each lane, above all events of any name.';
