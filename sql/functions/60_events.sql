-- Events: publish, ticks, lanes.

create or replace function chimp.publish(event text, payload jsonb default '{}', key text default null)
returns bigint language plpgsql as $$
declare
	id bigint;
begin
	if coalesce(event, '') = '' then
		raise exception 'chimp.publish: an event needs a name' using errcode = '22023';
	end if;
	insert into chimp.event as e (name, key, payload) values ($1, $3, coalesce($2, 'null'))
	returning e.id into id;
	if pg_sequence_last_value('chimp.wake_event') = 2 then
		perform pg_notify('chimp_event', '');
	end if;
	return id;
end $$;
comment on function chimp.publish(text, jsonb, text) is
	'Publish an event when this transaction commits; returns its id. Events of one key stay in order within a subscription.';

create or replace function chimp.tick() returns bigint
language plpgsql as $$
declare
	last chimp.tick;
	cur pg_snapshot;
	news boolean;
begin
	-- One after the other, so that each snapshot contains the one before.
	perform pg_advisory_xact_lock(hashtext('chimp.tick'));
	select * into last from chimp.tick t order by t.id desc limit 1;
	-- One statement: the snapshot recorded is the one that was looked with.
	select pg_current_snapshot(), exists (
		select from chimp.event e
		where e.xid >= pg_snapshot_xmax(last.snapshot)
		union all
		select from chimp.event e
		where e.xid = any (array(select pg_snapshot_xip(last.snapshot)))
	) into cur, news;
	if not news then
		return last.id;
	end if;
	insert into chimp.tick (id, snapshot) values (last.id + 1, cur);
	-- Publishers may have been told not to NOTIFY: whoever cuts tells the rest.
	if (select count(*) from chimp.process p where p.role = 'subscriber') > 1 then
		perform pg_notify('chimp_event', (last.id + 1)::text);
	end if;
	return last.id + 1;
end $$;
comment on function chimp.tick() is
	'Cut the stream: record a snapshot as the next tick if events have become visible since the last. Returns the newest tick''s number.';

create or replace function chimp.event_matches(pattern text, name text) returns boolean
language sql immutable parallel safe as $$
	select pattern = name or pattern = '*'
		or (right(pattern, 2) = '.*' and starts_with(name, left(pattern, -1)))
$$;

create or replace function chimp.event_lane(id bigint, key text, lanes int) returns int
language sql immutable parallel safe as $$
	-- Without a key there is no order to keep: spread by id.
	select case when lanes = 1 then 0
		else mod(coalesce(abs(hashtextextended(key, 0) % lanes), id), lanes)::int end
$$;

create or replace function chimp.lanes_claim(process uuid, idle bigint[])
returns table (lane bigint, epoch bigint, subscription text, number int, handler text, batch int)
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
	select count(*) into members from chimp.process p
	where p.role = 'subscriber' and p.lease_until > clock_timestamp();
	select ceil(count(*)::numeric / greatest(members, 1)), count(*) filter (where l.process_id = $1)
	into share, mine
	from chimp.lane l join chimp.subscription s on s.id = l.subscription_id
	where s.active;
	if mine > share then
		update chimp.lane l set process_id = null
		where l.id in (select o.id from chimp.lane o
			where o.process_id = $1 and o.id = any(idle) limit mine - share);
		if found then
			perform pg_notify('chimp_control', 'processes');
		end if;
	elsif mine < share then
		update chimp.lane l set process_id = $1, epoch = l.epoch + 1
		where l.id in (select o.id from chimp.lane o
			join chimp.subscription s on s.id = o.subscription_id
			where s.active and o.process_id is null
			order by o.id limit share - mine for update of o skip locked);
	end if;
	return query
	select l.id, l.epoch, s.name, l.number, s.handler, s.batch
	from chimp.lane l join chimp.subscription s on s.id = l.subscription_id
	where l.process_id = $1 and s.active and l.paused_at is null;
end $$;
comment on function chimp.lanes_claim(uuid, bigint[]) is
	'Take free lanes up to the fair share of this process, give back surplus ones out of `idle`; returns all that it owns now.';

create or replace function chimp.lane_events(l chimp.lane, s chimp.subscription, newest bigint, max_rows int)
returns table (tick bigint, id bigint, name text, key text, payload jsonb, published_at timestamptz)
language sql stable as $$
	-- Tick by tick, in order; what tick k shows and tick k-1 did not.
	select k.id, e.*
	from chimp.tick k
	join chimp.tick p on p.id = k.id - 1
	cross join lateral (
		select x.id, x.name, x.key, x.payload, x.published_at from (
			select o.* from chimp.event o
			where o.xid >= pg_snapshot_xmax(p.snapshot) and o.xid < pg_snapshot_xmax(k.snapshot)
			union all
			select o.* from chimp.event o
			where o.xid = any (array(select pg_snapshot_xip(p.snapshot)))
		) x
		where pg_visible_in_snapshot(x.xid, k.snapshot)
		and not pg_visible_in_snapshot(x.xid, p.snapshot)
		and chimp.event_matches(s.event, x.name)
		and chimp.event_lane(x.id, x.key, s.lanes) = l.number
		and (k.id > l.tick or x.id > l.event_id)
		order by x.id limit max_rows
	) e
	where k.id >= l.tick and k.id <= newest
	order by k.id, e.id
	limit max_rows
$$;

create or replace function chimp.lane_read(lane bigint, epoch bigint, max_rows int)
returns table (tick bigint, id bigint, from_tick bigint, from_id bigint, event text)
language plpgsql as $$
declare
	l chimp.lane;
	s chimp.subscription;
	newest bigint;
begin
	select * into l from chimp.lane o where o.id = $1 and o.epoch = $2 and o.process_id is not null;
	if not found then
		perform chimp.stale('lane', lane, epoch);
	end if;
	if l.paused_at is not null or l.retry_at > clock_timestamp() then
		return;
	end if;
	select * into s from chimp.subscription o where o.id = l.subscription_id;
	select max(t.id) into newest from chimp.tick t;
	if l.tick = newest and l.event_id = 9223372036854775807 then
		return;
	end if;
	return query
	select e.tick, e.id, coalesce(lag(e.tick) over w, l.tick), coalesce(lag(e.id) over w, l.event_id),
		jsonb_build_object('id', e.id, 'event', e.name, 'key', e.key, 'payload', e.payload,
			'publishedAt', to_char(e.published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text
	from chimp.lane_events(l, s, newest, $3) e
	window w as (order by e.tick, e.id)
	order by e.tick, e.id;
	if not found then
		-- Nothing for this lane up to here: do not look there again.
		update chimp.lane o set tick = newest, event_id = 9223372036854775807
		where o.id = $1 and o.epoch = $2 and (o.tick, o.event_id) = (l.tick, l.event_id);
	end if;
end $$;
comment on function chimp.lane_read(bigint, bigint, int) is
	'The next events of a lane after its cursor, each with the position that the cursor must have when it is handled. CH001: the epoch is not current.';

create or replace function chimp.lane_advance(lane bigint, epoch bigint, from_tick bigint, from_id bigint,
	tick bigint, id bigint, result jsonb)
returns void language plpgsql as $$
begin
	update chimp.lane l set tick = $5, event_id = $6, attempts = 0, retry_at = null, last_error = null
	where l.id = $1 and l.epoch = $2 and l.tick = $3 and l.event_id = $4
	and l.process_id is not null and l.paused_at is null;
	if not found then
		perform chimp.stale('lane', lane, epoch);
	end if;
end $$;
comment on function chimp.lane_advance(bigint, bigint, bigint, bigint, bigint, bigint, jsonb) is
	'Last thing in the transaction of an event''s handler: move the cursor. CH001 unless the epoch is current and the cursor stands where it should, so that nothing runs after a failed event or for a resigned owner.';

create or replace function chimp.lane_fail(lane bigint, epoch bigint, tick bigint, id bigint,
	sqlstate text, message text, detail text, hint text, context text)
returns table (action text, delay_ms bigint) language plpgsql as $$
declare
	l chimp.lane;
	s chimp.subscription;
	error jsonb := chimp.error_json(sqlstate, message, detail, hint, context);
begin
	-- Behind the cursor: a backend whose client died has handled it meanwhile.
	select * into l from chimp.lane o where o.id = $1 and o.epoch = $2 and o.process_id is not null
	and (o.tick, o.event_id) < ($3, $4) for update;
	if not found then
		perform chimp.stale('lane', lane, epoch);
	end if;
	select * into s from chimp.subscription o where o.id = l.subscription_id;
	l.attempts := l.attempts + 1;
	if l.attempts < s.max_attempts then
		delay_ms := chimp.retry_delay_ms(s.backoff, s.retry_delay_ms, s.retry_delay_max_ms, l.attempts);
		update chimp.lane o set attempts = l.attempts, last_error = error,
			retry_at = clock_timestamp() + lane_fail.delay_ms * interval '1 ms'
		where o.id = $1;
		action := 'retry';
	elsif s.on_failure = 'pause' then
		update chimp.lane o set attempts = l.attempts, last_error = error, paused_at = clock_timestamp()
		where o.id = $1;
		action := 'paused';
	else
		insert into chimp.dead_event (subscription_id, event_id, lane, attempts, error)
		values (l.subscription_id, $4, l.number, l.attempts, error)
		on conflict do nothing;
		update chimp.lane o set tick = $3, event_id = $4, attempts = 0, retry_at = null, last_error = null
		where o.id = $1;
		action := 'parked';
	end if;
	delay_ms := coalesce(delay_ms, 0);
	return next;
end $$;
comment on function chimp.lane_fail(bigint, bigint, bigint, bigint, text, text, text, text, text) is
	'Count a failure of the event at (tick, id): ''retry'' after delay_ms, ''parked'' as a dead event, or ''paused'', by the subscription''s policy.';

create or replace function chimp.lane_release(lane bigint, epoch bigint) returns void
language sql as $$
	update chimp.lane l set process_id = null where l.id = $1 and l.epoch = $2
$$;
comment on function chimp.lane_release(bigint, bigint) is 'Give a lane back.';

create or replace function chimp.events_sleep(sleeping boolean) returns void
language plpgsql as $$
begin
	if pg_sequence_last_value('chimp.wake_event') is distinct from (sleeping::int + 1) then
		perform setval('chimp.wake_event', sleeping::int + 1);
	end if;
end $$;
