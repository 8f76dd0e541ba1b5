-- Deliver: handlers, all that they write and the move of the lane are one
-- transaction. Several events in one (chimp.deliver_ID, made for each
-- subscription), each under a savepoint of its own, also of several lanes that
-- stand at one position: what is read is looked through once, not once for each
-- lane. Where that fails, one by one (lane_read, lane_advance, lane_fail).

-- Several events ------------------------------------------------------------------

create or replace function chimp.replay_failed(subscription bigint, event bigint, message text, sqlstate text)
returns void language sql as $$
	update chimp.dead_event d set replay_at = null, attempts = d.attempts + 1, parked_at = clock_timestamp(),
		error = jsonb_build_object('message', $3, 'sqlstate', $4)
	where (d.subscription_id, d.event_id) = ($1, $2)
$$;

create or replace function chimp.replays(l chimp.lane) returns table (event_id bigint, event jsonb)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
	return query
	select d.event_id, chimp.event_json(d.event_id, d.name, d.key, d.payload, d.published_at, d.trace)
	from chimp.dead_event d
	where d.subscription_id = l.subscription_id and d.replay_at is not null
	and chimp.event_lane(d.event_id, d.key, l.lanes) = l.number
	order by d.event_id limit 1;
	if not found then
		-- Whoever asks for more of them at this moment sets it again.
		perform from chimp.lane o where o.id = l.id for update;
		update chimp.lane o set replays = false
		where o.id = l.id and not exists (
			select from chimp.dead_event d where d.subscription_id = l.subscription_id and d.replay_at is not null);
	end if;
end $$;
comment on function chimp.replays(chimp.lane) is
	'The next dead event that a lane is to hand to its handler again: one in a transaction, so that it may do what it likes to its session.';

create or replace function chimp.event_begin(event jsonb) returns jsonb
language sql volatile as $$
	-- What its handler enqueues and publishes goes back to the same request.
	select case when event ? 'traceparent' and set_config('chimp.trace',
		(event ->> 'requestId') || ' ' || (event ->> 'traceparent'), true) is null
		then null else event end
$$;
comment on function chimp.event_begin(jsonb) is
	'First thing for one event''s handler: make chimp.trace() answer; returns the event.';

create or replace function chimp.subscription_make_run(s chimp.subscription) returns void
language plpgsql as $make$
declare
	handler regprocedure := to_regprocedure(s.handler || '(jsonb)');
	name text := (select format('%I.%I', n.nspname, p.proname)
		from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.oid = handler);
	-- One event, or an array of them.
	one text := case s.mode when 'batch' then 'jsonb_build_array(e.event)' else 'e.event' end;
	-- Nothing of one event may reach the next one. What cannot be undone here is
	-- run alone.
	clean constant text := $part$
			reset all;
			if current_user <> session_user then
				raise exception using errcode = 'CH010', message = 'to be run alone';
			elsif pg_my_temp_schema() <> 0 then
				if exists (select from pg_class o where o.relnamespace = pg_my_temp_schema()) then
					raise exception using errcode = 'CH010', message = 'to be run alone';
				end if;
			end if;
$part$;
	-- One by one they go through in the order of the stream; in arrays too, each
	-- up to batch.
	work text := case s.mode when 'batch' then format($part$
	for e in
		select count(*)::int as n, jsonb_agg(x.event order by x.nr) as events,
			max(x.tick) as tick, (array_agg(x.id order by x.nr desc))[1] as id
		from (select o.*, row_number() over (order by o.tick, o.id) as nr
			from chimp.lane_events(w.l, w.s, (w.at).tick, (w.at).event_id, w.newest, most, numbers) o) x
		group by (x.nr - 1) / (w.s).batch order by 3, 4
	loop
		n := n + e.n;
		exit when handled > 0 and clock_timestamp() > begun + budget;
		result := %s(e.events);
		reset role;
		tick := e.tick;
		event_id := e.id;
		handled := n;
		-- Nothing of one array may reach the next one either.
		reset all;
		unlocked := pg_advisory_unlock_all() is null;
		if pg_my_temp_schema() <> 0 then
			more := exists (select from pg_class o where o.relnamespace = pg_my_temp_schema());
			exit when more;
		end if;
	end loop;
	more := more or n > handled or n = most;
$part$, name) else format($part$
	for e in
		select * from chimp.lane_events(w.l, w.s, (w.at).tick, (w.at).event_id, w.newest, most, numbers)
	loop
		n := n + 1;
		exit when handled > 0 and clock_timestamp() > begun + budget;
		begin
			if e.event ? 'traceparent' then
				event := chimp.event_begin(e.event);
			end if;
			result := %s(%s);
%s
			tick := e.tick;
			event_id := e.id;
			handled := handled + 1;
		exception
			when transaction_rollback or query_canceled or lock_not_available
				or insufficient_resources or operator_intervention or invalid_transaction_state then
				raise;
			when others then
				-- It is run alone, where it fails as it does or not at all.
				alone := chimp.event_lane(e.id, e.event ->> 'key', (w.l).lanes);
		end;
		unlocked := pg_advisory_unlock_all() is null;
		exit when alone is not null;
	end loop;
	more := n > handled or n = most;
$part$, name, one, clean) end;
	body text := format($body$
declare
	w record;
	e record;
	begun timestamptz := clock_timestamp();
	event jsonb;
	result jsonb;
	unlocked boolean;
	n int := 0;
	most int;
	numbers int[];
	seqs bigint[];
begin
	handled := 0;
	more := false;
	waits := false;
	perform chimp.session_reset();
	select * into w from chimp.lane_open(lanes[1], epochs[1]);
	if not found then
		waits := true;                   -- and has not been looked through
		return next;
		return;
	end if;
	numbers := array[(w.l).number];
	seqs := array[(w.at).seq];
	if cardinality(lanes) > 1 then
		select a.seqs, a.numbers into seqs, numbers from chimp.lanes_at(w.l, w.at, lanes, epochs) a;
		if not found then
			waits := true;
			return next;
			return;
		end if;
	end if;
	-- Several arrays of small ones, but no more than are handled in time: what is
	-- read and not handled is read again.
	most := greatest((w.s).batch, least((w.s).batch * cardinality(lanes), 400));
	tick := (w.at).tick;
	event_id := (w.at).event_id;
	if (w.l).replays then
		for e in select * from chimp.replays(w.l) loop
			begin
				event := chimp.event_begin(e.event);
				result := %s(%s);
				reset role;
				delete from chimp.dead_event d
				where (d.subscription_id, d.event_id) = ((w.l).subscription_id, e.event_id);
			exception when others or query_canceled then
				perform chimp.replay_failed((w.l).subscription_id, e.event_id, sqlerrm, sqlstate);
			end;
			handled := handled + 1;
		end loop;
		if handled > 0 then
			perform chimp.lane_move(w.l, (w.at).seq, (w.at).tick, (w.at).event_id);
			more := true;
			return next;
			return;
		end if;
	end if;
%s
	if not more then
		tick := w.newest;                -- all of it is handled
		event_id := 9223372036854775807;
	end if;
	if (tick, event_id) > ((w.at).tick, (w.at).event_id) then
		perform chimp.lanes_move(w.l, lanes, epochs, seqs, tick, event_id);
	end if;
	return next;
end $body$, name, one, work);
begin
	if handler is null then
		raise exception 'subscription "%": function %(jsonb) does not exist', s.name, s.handler using errcode = 'CH002';
	end if;
	-- Not at every start of a node: it has all sessions plan anew.
	if body = (select p.prosrc from pg_proc p
		where p.oid = to_regprocedure(format('chimp.deliver_%s(bigint[], bigint[], interval)', s.id))) then
		return;
	end if;
	-- An earlier version's may return something else.
	execute format('drop function if exists chimp.deliver_%s(bigint, bigint, interval)', s.id);
	execute format('drop function if exists chimp.deliver_%s(bigint[], bigint[], interval)', s.id);
	execute format('create function chimp.deliver_%s'
		'(lanes bigint[], epochs bigint[], budget interval default ''20 ms'')'
		' returns table (handled int, more boolean, alone int, waits boolean, tick bigint, event_id bigint)'
		' language plpgsql as %L', s.id, E'\n#variable_conflict use_column' || body);
	execute format('comment on function chimp.deliver_%s(bigint[], bigint[], interval) is %L', s.id,
		format('Runs the next events of lanes of subscription "%s" (%s) in one transaction; after budget none begins but the first.',
			s.name, s.handler));
end $make$;
comment on function chimp.subscription_make_run(chimp.subscription) is
	'Make chimp.deliver_ID, which runs the next events of lanes of this subscription in one transaction: of one, or of several that stand at one position. It returns how many, whether there are more, the number of the lane whose next event is to be run alone, and where the lanes are then; or that they wait, with nothing said about what is in them: one is paused or waits for a retry, or several are not to be run together.';

-- One by one ----------------------------------------------------------------------

create or replace function chimp.lane_read(lane bigint, epoch bigint, max_rows int)
returns table (tick bigint, id bigint, from_tick bigint, from_id bigint, event text)
language plpgsql as $$
declare
	w record;
begin
	select * into w from chimp.lane_open(lane, epoch);
	if not found then
		return;
	end if;
	return query
	select e.tick, e.id, coalesce(lag(e.tick) over o, (w.at).tick), coalesce(lag(e.id) over o, (w.at).event_id),
		(case (w.s).mode when 'batch' then jsonb_build_array(e.event) else e.event end)::text
	from chimp.lane_events(w.l, w.s, (w.at).tick, (w.at).event_id, w.newest, $3) e
	window o as (order by e.tick, e.id)
	order by e.tick, e.id;
	if not found and (w.newest, 9223372036854775807) > ((w.at).tick, (w.at).event_id) then
		perform chimp.lane_move(w.l, (w.at).seq, w.newest, 9223372036854775807);
	end if;
end $$;
comment on function chimp.lane_read(bigint, bigint, int) is
	'The next events of a lane, each as its handler takes it and with the position that the lane must have when it is handled. CH001: the epoch is not current.';

create or replace function chimp.lane_advance(lane bigint, epoch bigint, from_tick bigint, from_id bigint,
	tick bigint, id bigint, result jsonb)
returns void language plpgsql as $$
declare
	l chimp.lane;
	at chimp.lane_cursor := chimp.lane_position(lane);
begin
	select * into l from chimp.lane o where o.id = $1 and o.epoch = $2;
	if not found or (at.tick, at.event_id) <> ($3, $4) then
		perform chimp.stale('lane', lane, epoch);
	end if;
	perform chimp.lane_move(l, at.seq, $5, $6);
end $$;
comment on function chimp.lane_advance(bigint, bigint, bigint, bigint, bigint, bigint, jsonb) is
	'Last thing in the transaction of an event''s handler: move the lane. CH001 unless the epoch is current and the lane stands where it should, so that nothing runs after a failed event or for a resigned owner.';

create or replace function chimp.lane_fail(lane bigint, epoch bigint, tick bigint, id bigint,
	sqlstate text, message text, detail text, hint text, context text)
returns table (action text, delay_ms bigint) language plpgsql as $$
declare
	l chimp.lane;
	s chimp.subscription;
	at chimp.lane_cursor;
	error jsonb := chimp.error_json(sqlstate, message, detail, hint, context);
begin
	select * into l from chimp.lane o where o.id = $1 and o.epoch = $2 and o.process_id is not null for update;
	at := chimp.lane_position(lane);
	-- Behind it: a backend whose client died has handled it meanwhile.
	if l.id is null or (at.tick, at.event_id) >= ($3, $4) then
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
		insert into chimp.dead_event (subscription_id, event_id, lane, attempts, error, name, key, payload, published_at, trace)
		select l.subscription_id, e.id, l.number, l.attempts, error, e.name, e.key, e.payload, e.published_at, e.trace
		from chimp.event e where e.id = $4
		on conflict do nothing;
		perform chimp.lane_move(l, at.seq, $3, $4);
		action := 'parked';
	end if;
	delay_ms := coalesce(delay_ms, 0);
	return next;
end $$;
comment on function chimp.lane_fail(bigint, bigint, bigint, bigint, text, text, text, text, text) is
	'Count a failure of the event at (tick, id): ''retry'' after delay_ms, ''parked'' as a dead event, or ''paused'', by the subscription''s policy.';
