-- Schedules: made at run time, paused, run by hand; how long firings are kept.

create or replace function chimp.schedule_get(name text) returns chimp.schedule
language plpgsql stable as $$
declare
	s chimp.schedule;
begin
	select * into s from chimp.schedule o where o.name = $1;
	if not found then
		raise exception 'unknown schedule "%"', $1 using errcode = 'CH002',
			hint = 'register it in an app file: cron "NAME" { ... }, or make it with chimp.cron_set';
	end if;
	return s;
end $$;

create or replace function chimp.schedule_state(s chimp.schedule) returns text
language sql stable as $$
	select case when not s.active then case when s.run_time then 'unset' else 'unregistered' end
		when s.paused_at is not null then 'paused'
		when s.error is not null then 'error'
		when not s.planned then 'unplanned'
		when s.next_at is null then 'never'
		when s.next_at < clock_timestamp() - interval '5 s' then 'overdue'
		else 'waiting' end
$$;
comment on function chimp.schedule_state(chimp.schedule) is
	'unset, unregistered (no live node has it), paused, error (no cron process could read it), unplanned (a cron process will plan it at once), never (no slot follows), overdue (by more than 5 s), waiting for its next slot.';

-- Run time --------------------------------------------------------------------

-- As chimpd.conf has it; the expression is read by the cron processes.
create or replace function chimp.cron_check(name text, schedule text, sql text, timezone text,
	misfire text, overlap text, jitter interval) returns void
language plpgsql as $$
declare
	wrong text := case
		when name is null or octet_length(name) > 128 or name !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'
		then 'a name is made of letters, digits, _ and -, with dots between, at most 128 bytes'
		when schedule is null or schedule !~ '^[ -~\t]*[!-~][ -~\t]*$' or octet_length(schedule) > 255
		then 'schedule must be a cron expression like */15 * * * *'
		when sql is null or sql !~ '^[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}$'
		then 'sql must name a function as schema.function'
		-- The view reads all files there are, some 50 ms: not for one in use.
		when timezone is null or (timezone <> 'UTC'
			and not exists (select from chimp.schedule s where s.timezone = cron_check.timezone)
			and not exists (select from pg_timezone_names z where z.name = cron_check.timezone))
		then format('time zone "%s" is unknown to this database; names are like Europe/Berlin', timezone)
		when misfire is null or misfire !~ '^(skip|latest|all\(([1-9][0-9]{0,2}|1000)\))$'
		then 'misfire must be skip, latest or all(N) with N from 1 to 1000'
		when overlap is null or overlap not in ('allow', 'skip', 'queue_one')
		then 'overlap must be allow, skip or queue_one'
		when jitter is null or jitter < interval '0' or jitter > interval '1 day'
		then 'jitter must be from 0 to 1 day' end;
begin
	if wrong is not null then
		raise exception 'schedule "%": %', name, wrong using errcode = '22023';
	end if;
	perform chimp.check_function(format('schedule "%s"', name), sql);
end $$;

create or replace function chimp.cron_set(name text, schedule text, sql text, timezone text default 'UTC',
	misfire text default 'latest', overlap text default 'skip', jitter interval default '0')
returns bigint language plpgsql as $$
declare
	s chimp.schedule;
	queue int;
	late_ms bigint := (extract(epoch from jitter) * 1000)::bigint;
begin
	perform chimp.cron_check(name, schedule, sql, timezone, misfire, overlap, jitter);
	select o.* into s from chimp.schedule o join chimp.queue q on q.id = o.queue_id
	where o.name = $1 and o.run_time and o.active and q.handler = $3
	and (o.expression, o.timezone, o.misfire, o.overlap, o.jitter_ms) = ($2, $4, $5, $6, late_ms);
	if found then
		return s.revision;       -- locks nothing, wakes nobody
	end if;
	if not exists (select from chimp.schedule o where o.name = $1 and not o.run_time) then
		queue := chimp.schedule_queue(name, sql);
		insert into chimp.schedule as o (name, expression, timezone, misfire, overlap, jitter_ms, queue_id, run_time)
		values ($1, $2, $4, $5, $6, late_ms, queue, true)
		on conflict on constraint schedule_name_key do update set
			-- What was unset, or is another, is planned from now on.
			revision = o.revision + (not o.active or (o.expression, o.timezone) <> ($2, $4))::int,
			planned = o.planned and o.active and (o.expression, o.timezone) = ($2, $4),
			next_at = case when o.active and (o.expression, o.timezone) = ($2, $4) then o.next_at end,
			error = case when o.active and (o.expression, o.timezone) = ($2, $4) then o.error end,
			expression = $2, timezone = $4, misfire = $5, overlap = $6, jitter_ms = late_ms,
			queue_id = queue, active = true
		where o.run_time
		returning * into s;
	end if;
	if s.id is null then
		raise exception 'schedule "%" belongs to app "%"', name, (select r.app from chimp.registration r
			where (r.kind, r.name) = ('schedule', $1)) using errcode = 'CH002',
			hint = 'choose another name, or change it in the file of that app';
	end if;
	perform pg_notify('chimp_control', 'registry');
	perform pg_notify('chimp_control', 'schedules');
	return s.revision;
end $$;
comment on function chimp.cron_set(text, text, text, text, text, text, interval) is
	'Make or change a schedule at run time, from the commit of this transaction on: fires sql, a function(jsonb) returns jsonb, at the slots of a cron expression. Returns its revision, a new one when expression or zone have changed: that is planned from now on. CH002: an app has a schedule of this name, or the function is missing. 22023: a value is wrong. The expression is read by a cron process: chimp.schedules.error says what is wrong with it.';

create or replace function chimp.cron_unset(name text) returns void
language plpgsql as $$
declare
	s chimp.schedule := chimp.schedule_get(name);
begin
	-- One that an app has left behind is nobody's any more.
	delete from chimp.registration r where (r.kind, r.name) = ('schedule', $1) and not r.active;
	if exists (select from chimp.registration r where (r.kind, r.name) = ('schedule', $1)) then
		raise exception 'schedule "%" belongs to app "%"', name, (select r.app from chimp.registration r
			where (r.kind, r.name) = ('schedule', $1)) using errcode = 'CH002',
			hint = 'remove it from the file of that app, or pause it with chimp.cron_pause';
	end if;
	-- The row stays while it has young firings, so that no slot fires again.
	update chimp.schedule o set active = false, run_time = true, paused_at = null, paused_by = null
	where o.id = s.id;
end $$;
comment on function chimp.cron_unset(text) is
	'End a schedule that chimp.cron_set has made, or forget one whose app no live node has. Jobs that it has enqueued go on. CH002: unknown, or a live app has it.';

-- By hand ---------------------------------------------------------------------

create or replace function chimp.cron_pause(name text) returns void
language plpgsql as $$
begin
	perform chimp.schedule_get(name);
	update chimp.schedule s set paused_at = clock_timestamp(), paused_by = session_user
	where s.name = $1 and s.paused_at is null;
end $$;
comment on function chimp.cron_pause(text) is
	'Have a schedule fire nothing, on all nodes, over restarts and new registrations, until chimp.cron_resume. CH002: unknown schedule.';

create or replace function chimp.cron_resume(name text) returns void
language plpgsql as $$
begin
	perform chimp.schedule_get(name);
	update chimp.schedule s set paused_at = null, paused_by = null where s.name = $1 and s.paused_at is not null;
	perform pg_notify('chimp_control', 'schedules');
end $$;
comment on function chimp.cron_resume(text) is
	'Undo chimp.cron_pause: misfire decides which of the slots that were missed fire now.';

create or replace function chimp.cron_run(name text) returns bigint
language plpgsql as $$
declare
	s chimp.schedule := chimp.schedule_get(name);
	now_ms bigint := chimp.to_ms(clock_timestamp());
	now text := to_char(chimp.from_ms(now_ms) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
	job bigint;
begin
	job := chimp.enqueue('cron:' || s.name, jsonb_build_object('name', s.name, 'schedule', s.expression,
		'fireAt', now, 'fireAtMs', now_ms, 'firedAt', now, 'runBy', session_user));
	insert into chimp.manual_run (job_id, schedule_id) values (job, s.id);
	return job;
end $$;
comment on function chimp.cron_run(text) is
	'Enqueue the job of a schedule now, with the current time as fireAt and runBy in its input; returns its id. It is no slot: a pause, overlap, misfire and jitter do not hold it, it holds no slot, and the next slot stays. chimp.firings shows it with run_by and without a slot. CH002: unknown schedule.';

-- Retention -------------------------------------------------------------------

create or replace function chimp.firings_kept(schedule bigint) returns timestamptz[]
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
	-- The newest two, and the newest two with a job: overlap looks at those.
	select array((select f.slot_at from chimp.firing f
			where f.schedule_id = $1 order by f.slot_at desc limit 2)
		union all (select f.slot_at from chimp.firing f
			where f.schedule_id = $1 and f.job_id is not null order by f.slot_at desc limit 2))
$$;
comment on function chimp.firings_kept(bigint) is 'Slots of a schedule whose rows stay, however old.';

create or replace function chimp.retain_firings(max_rows int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	young timestamptz := clock_timestamp() - interval '7 days';
	old record;
	piece int;
	last timestamptz;
	n int := 0;
begin
	for old in
		select s.id, k.kept from chimp.schedule s
		cross join lateral (select chimp.firings_kept(s.id) as kept) k
		-- Not "exists": that would be joined to all firings that there are.
		where (select true from chimp.firing f
			where f.schedule_id = s.id and f.slot_at < young and f.slot_at <> all (k.kept) limit 1)
		order by random()
	loop
		-- Not behind a transaction that changes the schedule.
		perform from chimp.schedule s where s.id = old.id for no key update skip locked;
		continue when not found;
		with gone as (
			delete from chimp.firing f where f.ctid = any (array(
				select o.ctid from chimp.firing o
				where o.schedule_id = old.id and o.slot_at < young and o.slot_at <> all (old.kept)
				order by o.slot_at limit max_rows - n))
			returning f.slot_at)
		select count(*), max(g.slot_at) into piece, last from gone g;
		update chimp.schedule s set forgotten_until = greatest(s.forgotten_until, last) where s.id = old.id;
		n := n + piece;
		exit when n >= max_rows;
	end loop;
	delete from chimp.manual_run m where m.job_id in (
		select o.job_id from chimp.manual_run o where o.run_at < young
		limit max_rows for update skip locked);
	delete from chimp.schedule s where s.id in (
		select o.id from chimp.schedule o where o.run_time and not o.active
		and not exists (select from chimp.firing f where f.schedule_id = o.id and f.slot_at >= young)
		-- Only those kept are left: its rows go with it.
		and not exists (select from chimp.firing f where f.schedule_id = o.id offset 4)
		limit max_rows for update skip locked);
	return n;
end $$;
comment on function chimp.retain_firings(int) is
	'Delete up to max_rows firings older than 7 days, but of no schedule its newest two, nor the newest two with a job; likewise runs by hand, and schedules that are unset and have no younger firing. The number of firings.';
