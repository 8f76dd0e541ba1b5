-- Lanes: who owns them, and where they stand. A lane's position is the newest row
-- of chimp.lane_cursor. Each move inserts the next number, so that of two movers
-- one is refused, and what a long transaction keeps alive is never walked over.

create or replace function chimp.lane_position(lane bigint) returns chimp.lane_cursor
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	c chimp.lane_cursor;
begin
	select * into c from chimp.lane_cursor o where o.lane_id = lane order by o.seq desc limit 1;
	return c;
end $$;

create or replace function chimp.lane_fence(lane bigint, tick bigint default null, event_id bigint default null)
returns void language plpgsql as $$
declare
	c chimp.lane_cursor;
begin
	loop
		c := chimp.lane_position(lane);
		insert into chimp.lane_cursor (lane_id, seq, tick, event_id)
		values ($1, coalesce(c.seq, 0) + 1, coalesce($2, c.tick), coalesce($3, c.event_id))
		on conflict do nothing;
		exit when found;                 -- else the owner has moved it meanwhile
	end loop;
end $$;
comment on function chimp.lane_fence(bigint, bigint, bigint) is
	'Refuse what the owner of a lane has in work: its move has the number that this one takes. With a position, go there.';

-- Owners ----------------------------------------------------------------------------

create or replace function chimp.lanes_open() returns setof chimp.lane
language sql stable as $$
	-- Of a subscription whose number of lanes has changed, the old ones first.
	select l.* from chimp.lane l join chimp.subscription s on s.id = l.subscription_id
	where s.active and l.generation = (
		select min(o.generation) from chimp.lane o where o.subscription_id = l.subscription_id)
$$;

create or replace function chimp.lanes_retire() returns void
language plpgsql as $$
begin
	with gone as (
		delete from chimp.lane l where (l.subscription_id, l.generation) in (
			select o.subscription_id, o.generation
			from chimp.lane o, chimp.lane_position(o.id) c
			where o.until_tick is not null
			group by 1, 2
			having bool_and(c.tick >= o.until_tick and c.event_id = 9223372036854775807))
		returning l.id
	)
	delete from chimp.lane_cursor c using gone where c.lane_id = gone.id;
end $$;
comment on function chimp.lanes_retire() is
	'Delete the lanes of a former number of lanes when all of them are at their end.';

drop function if exists chimp.lanes_claim(uuid, bigint[]);
create or replace function chimp.lanes_claim(process uuid, idle bigint[])
returns table (lane bigint, epoch bigint, subscription text, number int, handler text, batch int,
	subscription_id bigint, retry_ms bigint, tick bigint, event_id bigint, owned int)
language plpgsql as $$
declare
	members int;
	share int;
	mine int;
begin
	perform from chimp.process p where p.id = $1 for key share;
	if not found then
		raise exception 'process % is not registered', $1 using errcode = 'CH001';
	end if;
	if exists (select from chimp.lane l where l.until_tick is not null) then
		perform chimp.lanes_retire();
	end if;
	select count(*) into members from chimp.process p
	where p.role = 'subscriber' and p.lease_until > clock_timestamp();
	select ceil(count(*)::numeric / greatest(members, 1)), count(*) filter (where l.process_id = $1)
	into share, mine
	from chimp.lanes_open() l;
	if mine > share then
		update chimp.lane l set process_id = null
		where l.id in (select o.id from chimp.lane o
			where o.process_id = $1 and o.id = any(idle) limit mine - share);
		if found then
			perform pg_notify('chimp_control', 'processes');
		end if;
	elsif mine < share then
		with taken as (
			update chimp.lane l set process_id = $1, epoch = l.epoch + 1
			where l.id in (select o.id from chimp.lane o
				where o.process_id is null and o.id in (select x.id from chimp.lanes_open() x)
				order by o.id limit share - mine for update skip locked)
			returning l.id
		)
		select count(chimp.lane_fence(t.id)) into mine from taken t;
	end if;
	return query
	select l.id, l.epoch, s.name, l.number, s.handler, s.batch, s.id,
		greatest(0, ceil(extract(epoch from l.retry_at - clock_timestamp()) * 1000))::bigint,
		c.tick, c.event_id, (count(*) over (partition by s.id))::int
	from chimp.lanes_open() l join chimp.subscription s on s.id = l.subscription_id
	cross join lateral chimp.lane_position(l.id) c
	where l.process_id = $1 and l.paused_at is null and s.paused_at is null;
end $$;
comment on function chimp.lanes_claim(uuid, bigint[]) is
	'Take free lanes up to the fair share of this process, give back surplus ones out of `idle`; returns all that it owns now.';

create or replace function chimp.lane_release(lane bigint, epoch bigint) returns void
language sql as $$
	update chimp.lane l set process_id = null where l.id = $1 and l.epoch = $2
$$;
comment on function chimp.lane_release(bigint, bigint) is 'Give a lane back.';

-- Reading -----------------------------------------------------------------------------

create or replace function chimp.lane_open(lane bigint, epoch bigint)
returns table (l chimp.lane, s chimp.subscription, at chimp.lane_cursor, newest bigint)
language plpgsql rows 1
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
declare
	w record;
begin
	select o as l, u as s, c as at, t.id as newest, e.first_tick, o.paused_at is not null
		or u.paused_at is not null or o.retry_at > clock_timestamp() as waits, o.until_tick
	into w
	from chimp.lane o
	join chimp.subscription u on u.id = o.subscription_id
	join chimp.event_store e on e.id = 1
	cross join lateral (select * from chimp.lane_cursor p where p.lane_id = o.id order by p.seq desc limit 1) c
	cross join (select m.id from chimp.tick m order by m.id desc limit 1) t
	where o.id = $1 and o.epoch = $2 and o.process_id is not null;
	if not found then
		perform chimp.stale('lane', lane, epoch);
	end if;
	if w.waits then
		return;
	end if;
	l := w.l;
	s := w.s;
	at := w.at;
	newest := least(w.newest, w.until_tick);
	if at.tick < w.first_tick then
		-- Its events were not kept so long. Say so, and go on with what there is.
		update chimp.lane o set gap_from = coalesce(o.gap_from, at.moved_at),
			gap_until = (select t.ticked_at from chimp.tick t where t.id = w.first_tick)
		where o.id = lane;
		at.tick := w.first_tick;
		at.event_id := 9223372036854775807;
	end if;
	return next;
end $$;
comment on function chimp.lane_open(bigint, bigint) is
	'A lane that this owner may work at, its position, and the newest tick for it; no row while it is paused or waits for a retry. CH001: the epoch is not current.';

create or replace function chimp.lanes_at(l chimp.lane, at chimp.lane_cursor, lanes bigint[], epochs bigint[])
returns table (seqs bigint[], numbers int[])
language plpgsql rows 1
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
begin
	select array_agg(c.seq order by u.n), array_agg(o.number) into seqs, numbers
	from unnest(lanes, epochs) with ordinality u (lane, epoch, n)
	cross join lateral (select * from chimp.lane p where p.id = u.lane offset 0) o
	cross join lateral (select * from chimp.lane_cursor p where p.lane_id = u.lane order by p.seq desc limit 1) c
	where o.epoch = u.epoch and o.process_id is not null and o.paused_at is null
	and o.attempts = 0 and not o.replays and o.until_tick is null
	and (o.subscription_id, o.generation) = (l.subscription_id, l.generation)
	and (c.tick, c.event_id) = (at.tick, at.event_id);
	if cardinality(numbers) = cardinality(lanes) then
		return next;
	end if;
end $$;
comment on function chimp.lanes_at(chimp.lane, chimp.lane_cursor, bigint[], bigint[]) is
	'The numbers of lanes of one subscription that stand at one position, and the numbers of their positions; no row unless all of them do, and none has anything to do but the next events.';

drop function if exists chimp.lane_events(chimp.lane, chimp.subscription, bigint, bigint, bigint, int);
create or replace function chimp.lane_events(l chimp.lane, s chimp.subscription, after_tick bigint,
	after_id bigint, newest bigint, max_rows int, numbers int[] default null)
returns table (tick bigint, id bigint, event jsonb, published_at timestamptz)
language plpgsql rows 32
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
-- Sorted within each tick, not all that there is to get a few.
set enable_sort = off set enable_incremental_sort = on set jit = off
set plan_cache_mode = force_generic_plan as $$
declare
	-- A field of a row is taken out of it anew for each event.
	pattern text := s.event;
	only_key text := s.key;
	condition jsonpath := s.condition;
	lanes int := l.lanes;
	lane_numbers int[] := coalesce(numbers, array[l.number]);
	-- Of its only lane it has all.
	whole boolean := l.lanes = 1;
	-- Partitions that they lie in; one that is not needed (0) is not opened.
	rings int := 30;
	r1 smallint;
	r2 smallint;
	r3 smallint;
	r4 smallint;
begin
	if newest - after_tick < 1000 then
		select bit_or(t.rings) into rings from chimp.tick t where t.id >= after_tick and t.id <= newest;
	end if;
	r1 := (rings >> 1) & 1;
	r2 := (rings >> 1) & 2;
	r3 := ((rings >> 3) & 1) * 3;
	r4 := ((rings >> 4) & 1) * 4;
	-- Tick by tick, in order; what tick k shows and the tick before did not.
	return query
	select k.id, e.id, chimp.event_json(e.id, e.name, e.key, e.payload, e.published_at, e.trace), e.published_at
	from (
		select o.id, o.first_id, o.last_id, o.snapshot, pg_snapshot_xmin(o.snapshot) as settled,
			p.snapshot as before, pg_snapshot_xmax(p.snapshot) as begun,
			case when o.id = after_tick then after_id else 0 end as done
		from chimp.tick o
		-- By its number, also where the plan is made while there are few.
		cross join lateral (select b.snapshot from chimp.tick b where b.id = o.id - 1 offset 0) p
		where o.id >= after_tick and o.id <= newest and o.events > 0
		order by o.id offset 0      -- not once for each event
	) k
	cross join lateral (
		-- Of transactions that began after the tick before.
		(select o.id, o.name, o.key, o.payload, o.published_at, o.trace from chimp.event o
		where (o.ring = r1 or o.ring = r2 or o.ring = r3 or o.ring = r4)
		and o.id > k.done and o.id >= k.first_id and o.id <= k.last_id
		and (o.xid >= k.begun) is true -- not by the index of xids
		and (o.xid < k.settled or pg_visible_in_snapshot(o.xid, k.snapshot))
		and (whole or chimp.event_lane(o.id, o.key, lanes) = any(lane_numbers))
		and chimp.event_wanted(pattern, only_key, condition, o.name, o.key, o.payload)
		order by o.id limit max_rows)
		union all
		-- Of those that were open then and had ended by tick k.
		(select o.* from pg_snapshot_xip(k.before) x (xid)
		cross join lateral (
			select o.id, o.name, o.key, o.payload, o.published_at, o.trace from chimp.event o
			where (o.ring = r1 or o.ring = r2 or o.ring = r3 or o.ring = r4)
			and o.xid = x.xid and o.id > k.done
			and (whole or chimp.event_lane(o.id, o.key, lanes) = any(lane_numbers))
			and chimp.event_wanted(pattern, only_key, condition, o.name, o.key, o.payload)
			order by o.id limit max_rows) o
		where pg_visible_in_snapshot(x.xid, k.snapshot))
		order by 1 limit max_rows
	) e
	order by k.id, e.id
	limit max_rows;
	-- A partition that was emptied meanwhile must not be taken for one without
	-- events.
	if after_tick < (select o.first_tick from chimp.event_store o) then
		perform chimp.stale('lane', l.id, l.epoch);
	end if;
end $$;
comment on function chimp.lane_events(chimp.lane, chimp.subscription, bigint, bigint, bigint, int, int[]) is
	'The events of a lane, or of all lanes with these numbers, behind a position and up to tick `newest`, in the order of the stream.';

-- Moving ------------------------------------------------------------------------------

create or replace function chimp.lane_move(l chimp.lane, seq bigint, tick bigint, event_id bigint) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off
set plan_cache_mode = force_generic_plan as $$
begin
	insert into chimp.lane_cursor (lane_id, seq, tick, event_id)
	select o.id, $2 + 1, $3, $4 from chimp.lane o
	where o.id = l.id and o.epoch = l.epoch and o.process_id is not null and o.paused_at is null
	on conflict do nothing;
	if not found then
		perform chimp.stale('lane', l.id, l.epoch);
	end if;
	if l.attempts > 0 then
		update chimp.lane o set attempts = 0, retry_at = null, last_error = null where o.id = l.id;
	end if;
	if seq % 64 = 0 then
		-- Old ones, some at a time; never those that it has looked at before.
		delete from chimp.lane_cursor o
		where o.lane_id = l.id and o.seq > lane_move.seq - 1024 and o.seq <= lane_move.seq - 64;
	end if;
end $$;
comment on function chimp.lane_move(chimp.lane, bigint, bigint, bigint) is
	'Move a lane from position number seq, in the transaction of the handlers. CH001: another has moved it, or owns it.';

create or replace function chimp.lanes_move(l chimp.lane, lanes bigint[], epochs bigint[], seqs bigint[],
	tick bigint, event_id bigint) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	moved int;
begin
	if cardinality(lanes) = 1 then
		perform chimp.lane_move(l, seqs[1], tick, event_id);
		return;
	end if;
	insert into chimp.lane_cursor (lane_id, seq, tick, event_id)
	select o.id, u.seq + 1, $5, $6
	from unnest(lanes, epochs, seqs) u (lane, epoch, seq)
	cross join lateral (select * from chimp.lane p where p.id = u.lane offset 0) o
	where o.epoch = u.epoch and o.process_id is not null and o.paused_at is null
	order by o.id
	on conflict do nothing;
	get diagnostics moved = row_count;
	if moved < cardinality(lanes) then
		perform chimp.stale('lane', l.id, l.epoch);
	end if;
	delete from chimp.lane_cursor o
	using unnest(lanes, seqs) u (lane, seq)
	where u.seq % 64 = 0 and o.lane_id = u.lane and o.seq > u.seq - 1024 and o.seq <= u.seq - 64;
end $$;
comment on function chimp.lanes_move(chimp.lane, bigint[], bigint[], bigint[], bigint, bigint) is
	'Move lanes that chimp.lanes_at has given, all to one position, as chimp.lane_move does one.';

create or replace function chimp.lanes_skip(lanes bigint[], epochs bigint[], ticks bigint[]) returns void
language plpgsql as $$
begin
	perform chimp.lane_move(l, c.seq, u.tick, 9223372036854775807)
	from unnest(lanes, epochs, ticks) u (lane, epoch, tick)
	join chimp.lane l on l.id = u.lane and l.epoch = u.epoch and l.attempts = 0
		and l.process_id is not null and l.paused_at is null
	cross join lateral chimp.lane_position(l.id) c
	where (c.tick, c.event_id) < (u.tick, 9223372036854775807) and u.tick <= coalesce(l.until_tick, u.tick);
end $$;
comment on function chimp.lanes_skip(bigint[], bigint[], bigint[]) is
	'Move idle lanes of this owner over ticks that have nothing for them.';
