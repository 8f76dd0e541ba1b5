-- Cron: the schedules of a round, fired together.

create or replace function chimp.cron_fire_set(schedules bigint[], revisions bigint[], dues_ms bigint[],
	slots_ms bigint[], nexts_ms bigint[]) returns int
language plpgsql
-- A plan for these arrays would read all of them for each schedule.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
	n int;
	queues int[];
begin
	-- One statement, and no part joined to another: none is indexed.
	with mine as materialized (
		select s.id, s.name, s.expression, s.overlap, s.forgotten_until, q.id as queue_id, q.priority,
			chimp.from_ms(u.slot_ms) as slot, chimp.from_ms(u.next_ms) as next_at
		from unnest(schedules, revisions, dues_ms, slots_ms, nexts_ms)
			u (schedule, revision, due_ms, slot_ms, next_ms)
		join chimp.schedule s on s.id = u.schedule and s.revision = u.revision
		join chimp.queue q on q.id = s.queue_id
		where chimp.cron_may_fire(s, u.due_ms, chimp.from_ms(u.slot_ms))
		and s.jitter_ms = 0 and q.max_ready = 0
		for no key update of s skip locked
	), shots as materialized (
		-- As cron_overlaps, which costs ten times as much: a call each.
		select m.*, case when open.n is null or open.n < case m.overlap when 'skip' then 1 else 2 end
			then nextval('chimp.job_id_seq') end as job_id
		from mine m
		left join lateral (select o.n from chimp.cron_open(m.id) o where m.overlap <> 'allow') open on true
		where m.slot > m.forgotten_until and not exists (select from chimp.firing f
			where f.schedule_id = m.id and f.slot_at = m.slot)
	), fired as (
		insert into chimp.firing (schedule_id, slot_at, job_id)
		select o.id, o.slot, o.job_id from shots o
	), jobs as (
		insert into chimp.job (id, queue_id, priority, payload) overriding system value
		select o.job_id, o.queue_id, o.priority, chimp.cron_input(o.name, o.expression, o.slot)
		from shots o where o.job_id is not null
	), ready as (
		insert into chimp.job_ready (queue_id, rank, job_id)
		select o.queue_id, -o.priority, o.job_id from shots o where o.job_id is not null
	), advanced as (
		update chimp.schedule s set next_at = m.next_at, error = null from mine m where s.id = m.id
	)
	select (select count(*) from mine), array(select o.queue_id from shots o where o.job_id is not null)
	into n, queues;
	perform chimp.wake_workers_of(queues);
	return n;
end $$;
comment on function chimp.cron_fire_set(bigint[], bigint[], bigint[], bigint[], bigint[]) is
	'cron_fire for those schedules whose jobs are simply ready: without jitter and max_ready; how many.';

create or replace function chimp.cron_fire_many(schedules bigint[], revisions bigint[], dues_ms bigint[],
	slots_ms bigint[], nexts_ms bigint[]) returns int
language plpgsql
-- A plan for these arrays would read all of them for each schedule.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
	n int := chimp.cron_fire_set(schedules, revisions, dues_ms, slots_ms, nexts_ms);
begin
	if n < cardinality(schedules) then
		n := n + (
			select count(*) filter (where
				chimp.cron_fire(u.schedule, u.revision, u.due_ms, u.slot_ms, u.next_ms))
			from unnest(schedules, revisions, dues_ms, slots_ms, nexts_ms)
				u (schedule, revision, due_ms, slot_ms, next_ms)
			join chimp.schedule s on s.id = u.schedule
			join chimp.queue q on q.id = s.queue_id
			where s.jitter_ms > 0 or q.max_ready > 0);
	end if;
	return n;
end $$;
comment on function chimp.cron_fire_many(bigint[], bigint[], bigint[], bigint[], bigint[]) is
	'Fire one slot each of many schedules, together; returns how many. Those that another process has in hand are left to it, as cron_fire leaves those that are not due. If it fails, none is fired.';
