-- Cron: slots are computed in C (src/roles/cron), judged and fired here.

-- plpgsql, which keeps its plans: SQL functions are planned at every call.
create or replace function chimp.cron_due(max_rows int)
returns table (schedule bigint, revision bigint, name text, expression text, timezone text,
	misfire text, slot_ms bigint, now_ms bigint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	now timestamptz := clock_timestamp();
begin
	-- Each part reads its own index. Those that could not be read come last,
	-- so that they take nobody's place in the round.
	return query
	select s.id, s.revision, s.name, s.expression, s.timezone, s.misfire,
		case when s.planned then chimp.to_ms(s.next_at) end, chimp.to_ms(now)
	from (
		(select o.* from chimp.schedule o where o.active and not o.planned and o.error is null limit $1)
		union all
		(select o.* from chimp.schedule o
		where o.active and o.planned and o.paused_at is null and o.error is null and o.next_at <= now
		order by o.next_at limit $1)
		union all
		(select o.* from chimp.schedule o
		where o.active and o.error is not null
		and (not o.planned or (o.paused_at is null and o.next_at <= now)) limit $1)
	) s
	limit $1;
end $$;
comment on function chimp.cron_due(int) is
	'Schedules whose slot is due; those never planned have slot_ms NULL.';

create or replace function chimp.cron_wait_ms() returns bigint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
	if exists (select from chimp.cron_due(1)) then
		return 0;
	end if;
	return (
		select greatest(0, ceil(extract(epoch from next.at - clock_timestamp()) * 1000))::bigint
		from (
			(select o.next_at as at from chimp.schedule o
			where o.active and o.planned and o.paused_at is null and o.error is null and o.next_at is not null
			order by o.next_at limit 1)
			union all
			(select o.next_at from chimp.schedule o
			where o.active and o.planned and o.paused_at is null and o.error is not null and o.next_at is not null)
		) next order by next.at limit 1);
end $$;
comment on function chimp.cron_wait_ms() is
	'Milliseconds until the next slot of any schedule, 0 when one is due or not planned, NULL when there is none.';

create or replace function chimp.cron_plan(schedule bigint, revision bigint, next_ms bigint) returns boolean
language plpgsql as $$
begin
	perform from chimp.schedule s where s.id = $1 and s.revision = $2 and not s.planned
	for no key update skip locked;
	if not found then
		return false;
	end if;
	update chimp.schedule s set planned = true, next_at = chimp.from_ms(next_ms), error = null where s.id = $1;
	return true;
end $$;
comment on function chimp.cron_plan(bigint, bigint, bigint) is
	'Set the first slot of an unplanned schedule; NULL: it never fires again. False: another process did or has it in hand, or the revision is old.';

create or replace function chimp.cron_unreadable(schedule bigint, revision bigint, error text) returns void
language plpgsql as $$
begin
	perform from chimp.schedule s where s.id = $1 and s.revision = $2 and s.error is distinct from $3
	for no key update skip locked;
	if found then
		update chimp.schedule s set error = $3 where s.id = $1;
	end if;
end $$;
comment on function chimp.cron_unreadable(bigint, bigint, text) is
	'Keep why a process could not read a revision of a schedule, until one can or it has another revision.';

create or replace function chimp.cron_skip(schedule bigint, revision bigint, next_ms bigint) returns boolean
language plpgsql as $$
begin
	perform from chimp.schedule s
	where s.id = $1 and s.revision = $2 and s.active and s.planned and s.paused_at is null
	and s.next_at <= clock_timestamp() and (next_ms is null or chimp.from_ms(next_ms) > s.next_at)
	for no key update skip locked;
	if not found then
		return false;
	end if;
	update chimp.schedule s set next_at = chimp.from_ms(next_ms), error = null where s.id = $1;
	return true;
end $$;
comment on function chimp.cron_skip(bigint, bigint, bigint) is
	'Leave out the slots that were missed (misfire = skip): go on to next_ms without firing. False: another process did or has it in hand, or the revision is old.';

create or replace function chimp.cron_may_fire(s chimp.schedule, due_ms bigint, slot timestamptz) returns boolean
language sql volatile as $$
	select s.active and s.planned and s.paused_at is null
		-- As the caller saw it: no slot between is jumped over.
		and chimp.to_ms(s.next_at) = due_ms
		and s.next_at <= slot and slot <= clock_timestamp()
$$;

create or replace function chimp.cron_input(name text, expression text, slot timestamptz) returns jsonb
language sql volatile as $$
	select jsonb_build_object('name', $1, 'schedule', $2,
		'fireAt', to_char($3 at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
		'fireAtMs', chimp.to_ms($3),
		'firedAt', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
$$;

create or replace function chimp.cron_open(schedule bigint) returns table (n bigint)
language sql stable as $$
	select count(*) from (
		select f.job_id from chimp.firing f
		where f.schedule_id = $1 and f.job_id is not null
		order by f.slot_at desc limit 2) f
	cross join lateral chimp.open_job(f.job_id) o
$$;
comment on function chimp.cron_open(bigint) is
	'How many of the last two jobs of a schedule have not ended.';

create or replace function chimp.cron_overlaps(s chimp.schedule) returns boolean
language sql stable as $$
	select case s.overlap when 'allow' then false
		else (select o.n >= case s.overlap when 'skip' then 1 else 2 end from chimp.cron_open(s.id) o) end
$$;

create or replace function chimp.cron_fire(schedule bigint, revision bigint, due_ms bigint, slot_ms bigint,
	next_ms bigint) returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	s chimp.schedule;
	slot timestamptz := chimp.from_ms(slot_ms);
	job bigint;
	late interval;
begin
	select * into s from chimp.schedule o
	where o.id = $1 and o.revision = $2 and chimp.cron_may_fire(o, due_ms, slot)
	for no key update skip locked;
	if not found then
		return false;
	end if;
	insert into chimp.firing (schedule_id, slot_at) select $1, slot where slot > s.forgotten_until
	on conflict do nothing;
	if found and not chimp.cron_overlaps(s) then
		if s.jitter_ms > 0 then
			-- The same for every process and every try.
			late := mod(abs(hashtextextended(s.name || slot_ms, 0)), s.jitter_ms) * interval '1 ms';
		end if;
		job := chimp.enqueue('cron:' || s.name, chimp.cron_input(s.name, s.expression, slot),
			run_at => slot + late);
		update chimp.firing f set job_id = job where f.schedule_id = $1 and f.slot_at = slot;
	end if;
	update chimp.schedule o set next_at = chimp.from_ms(next_ms), error = null where o.id = $1;
	return true;
end $$;
comment on function chimp.cron_fire(bigint, bigint, bigint, bigint, bigint) is
	'Fire one slot: its row (unique), its job and the advance to next_ms, together. False: the next slot is not due_ms any more, another process has the schedule in hand, it is paused, or the revision is old; or the slot is not due by this database''s clock.';

-- As binaries call it that do not know migration 0006.
create or replace function chimp.cron_fire(schedule bigint, revision bigint, slot_ms bigint, next_ms bigint)
returns boolean language sql as $$
	select chimp.cron_fire($1, $2, chimp.to_ms(s.next_at), $3, $4) from chimp.schedule s where s.id = $1
$$;
comment on function chimp.cron_fire(bigint, bigint, bigint, bigint) is
	'chimp.cron_fire with the next slot as it is.';
