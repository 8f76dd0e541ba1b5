-- The stream as its readers see it that are no subscription: chimpctl event tail.

create or replace function chimp.events_after(after_tick bigint, after_id bigint, pattern text default '*', max_rows int default 1000)
returns table (tick bigint, id bigint, event jsonb)
language plpgsql rows 100
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	-- As a subscription with one lane would get them.
	l constant chimp.lane := jsonb_populate_record(null::chimp.lane, '{"lanes": 1, "number": 0}');
	s constant chimp.subscription := jsonb_populate_record(null::chimp.subscription, jsonb_build_object('event', pattern));
	newest constant bigint := (select t.id from chimp.tick t order by t.id desc limit 1);
begin
	if after_tick < (select o.first_tick from chimp.event_store o) then
		raise exception 'the events behind tick % are not kept any longer', $1 using errcode = 'CH002',
			hint = 'events are kept for event_retention; begin at a position of chimp.events_back';
	end if;
	return query
	select e.tick, e.id, e.event from chimp.lane_events(l, s, after_tick, after_id, newest, max_rows) e order by e.tick, e.id;
end $$;
comment on function chimp.events_after(bigint, bigint, text, int) is
	'Events behind a position, up to the newest tick, in the order of the stream and with the position of each. (T, 9223372036854775807) is behind all of tick T. CH002: events behind the position are gone.';

create or replace function chimp.events_back(pattern text, events int)
returns table (tick bigint, id bigint)
language plpgsql rows 1
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	first bigint := (select o.first_tick from chimp.event_store o);
	k record;
	ids bigint[];
begin
	tick := chimp.tick();
	id := 9223372036854775807;
	for k in
		select t.*, b.snapshot as before from chimp.tick t join chimp.tick b on b.id = t.id - 1
		where t.id > first order by t.id desc
	loop
		exit when events <= 0;
		ids := array(
			select o.id from chimp.event o
			where o.id between k.first_id and k.last_id and o.xid >= pg_snapshot_xmax(k.before)
			and pg_visible_in_snapshot(o.xid, k.snapshot) and chimp.event_matches(pattern, o.name)
			union all
			select o.id from pg_snapshot_xip(k.before) x (xid) join chimp.event o on o.xid = x.xid
			where pg_visible_in_snapshot(x.xid, k.snapshot) and chimp.event_matches(pattern, o.name)
			order by 1 desc limit events + 1);
		tick := k.id - 1;
		if cardinality(ids) > events then
			tick := k.id;
			id := ids[events + 1];
		end if;
		events := events - cardinality(ids);
	end loop;
	return next;
end $$;
comment on function chimp.events_back(text, int) is
	'The position behind which the last so many events lie, or all that are kept.';
