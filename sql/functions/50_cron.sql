-- Cron: slots are computed in C (src/roles/cron), judged and fired here.

create or replace function chimp.cron_due(max_rows int)
returns table (schedule bigint, revision bigint, name text, expression text, timezone text,
	misfire text, slot_ms bigint, now_ms bigint)
language sql volatile as $$
	select s.id, s.revision, s.name, s.expression, s.timezone, s.misfire,
		case when s.planned then chimp.to_ms(s.next_at) end, chimp.to_ms(clock_timestamp())
	from chimp.schedule s
	where s.active and (not s.planned or (s.paused_at is null and s.next_at <= clock_timestamp()))
	-- Those that could not be read take nobody's place in the round.
	order by s.error is not null, s.next_at nulls first
	limit $1
	-- One that an open transaction changes would hold up all others behind it.
	for no key update skip locked
$$;
comment on function chimp.cron_due(int) is
	'Schedules whose slot is due; those never planned have slot_ms NULL. Without those that another transaction holds.';

create or replace function chimp.cron_wait_ms() returns bigint
language sql volatile as $$
	select case when exists (select from chimp.cron_due(1)) then 0
		-- Due, but held by another transaction.
		when bool_or(not s.planned) or min(s.next_at) <= clock_timestamp() then 50
		else ceil(extract(epoch from min(s.next_at) - clock_timestamp()) * 1000)::bigint end
	from chimp.schedule s
	where s.active and not (s.planned and (s.next_at is null or s.paused_at is not null))
$$;
comment on function chimp.cron_wait_ms() is
	'Milliseconds until the next slot of any schedule, 0 when one is due or not planned, 50 when another transaction holds those, NULL when there is none.';

create or replace function chimp.cron_plan(schedule bigint, revision bigint, next_ms bigint) returns boolean
language plpgsql as $$
begin
	update chimp.schedule s set planned = true, next_at = chimp.from_ms(next_ms), error = null
	where s.id = $1 and s.revision = $2 and not s.planned;
	return found;
end $$;
comment on function chimp.cron_plan(bigint, bigint, bigint) is
	'Set the first slot of an unplanned schedule; NULL: it never fires again. False: another process did, or the revision is old.';

create or replace function chimp.cron_unreadable(schedule bigint, revision bigint, error text) returns void
language sql as $$
	update chimp.schedule s set error = $3
	where s.id = $1 and s.revision = $2 and s.error is distinct from $3
$$;
comment on function chimp.cron_unreadable(bigint, bigint, text) is
	'Keep why a process could not read a revision of a schedule, until one can or it has another revision.';

create or replace function chimp.cron_skip(schedule bigint, revision bigint, next_ms bigint) returns boolean
language plpgsql as $$
begin
	update chimp.schedule s set next_at = chimp.from_ms(next_ms), error = null
	where s.id = $1 and s.revision = $2 and s.planned and s.next_at <= clock_timestamp()
	and (next_ms is null or chimp.from_ms(next_ms) > s.next_at);
	return found;
end $$;
comment on function chimp.cron_skip(bigint, bigint, bigint) is
	'Leave out the slots that were missed (misfire = skip): go on to next_ms without firing. False: another process did, or the revision is old.';

create or replace function chimp.cron_overlaps(s chimp.schedule) returns boolean
language sql stable as $$
	select case s.overlap when 'allow' then false when 'skip' then open.n >= 1 else open.n >= 2 end
	from (
		select count(*) as n from (
			select f.job_id from chimp.firing f
			where f.schedule_id = s.id and f.job_id is not null
			order by f.slot_at desc limit 2) f
		where chimp.job_is_open(f.job_id)
	) open
$$;

create or replace function chimp.cron_fire(schedule bigint, revision bigint, slot_ms bigint, next_ms bigint)
returns boolean language plpgsql as $$
declare
	s chimp.schedule;
	slot timestamptz := chimp.from_ms(slot_ms);
	job bigint;
	late interval;
begin
	select * into s from chimp.schedule o
	where o.id = $1 and o.revision = $2 and o.active and o.paused_at is null
	and o.next_at <= slot and slot <= clock_timestamp()
	for update;
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
		job := chimp.enqueue('cron:' || s.name, jsonb_build_object('name', s.name,
			'schedule', s.expression,
			'fireAt', to_char(slot at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
			'fireAtMs', slot_ms,
			'firedAt', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
			run_at => slot + late);
		update chimp.firing f set job_id = job where f.schedule_id = $1 and f.slot_at = slot;
	end if;
	update chimp.schedule o set next_at = chimp.from_ms(next_ms), error = null where o.id = $1;
	return true;
end $$;
comment on function chimp.cron_fire(bigint, bigint, bigint, bigint) is
	'Fire one slot: its row (unique), its job and the advance to next_ms, together. False: it was fired already, is not due by this database''s clock, or the revision is old.';
