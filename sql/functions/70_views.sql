-- What users and operators read.

create or replace view chimp.jobs as
select j.id, q.name as queue, s.state, j.priority, coalesce(a.attempt, 0) + s.more as attempt,
	coalesce(j.max_attempts, q.max_attempts) as max_attempts, s.run_at, j.created_at,
	s.started_at, s.ended_at, j.payload, s.result,
	coalesce(s.error, (select e.error from chimp.job_error e where e.job_id = j.id
		order by e.failed_at desc limit 1)) as error,
	j.unique_key, j.ordering_key, p.node, coalesce(a.interruptions, 0) as interruptions,
	coalesce(j.timeout_ms, q.timeout_ms) as timeout_ms, o.progress, s.process_id,
	split_part(j.trace, ' ', 1) as request_id, split_part(j.trace, ' ', 2) as traceparent
from chimp.job j
join chimp.queue q on q.id = j.queue_id
-- Once for all jobs: while a transaction is held open, claims that have ended are
-- still walked over.
left join (
	select u.id, c.claimed_at, c.process_id from chimp.job_claim c, unnest(c.jobs) u (id)
) c on c.id = j.id
join lateral (
	select 'ready' as state, 0 as more, j.created_at as run_at, null::timestamptz as started_at,
		null::timestamptz as ended_at, null::jsonb as result, null::jsonb as error, null::uuid as process_id
	from chimp.job_ready r where (r.queue_id, r.rank, r.job_id) = (j.queue_id, -j.priority, j.id)
	union all
	select 'ready', 0, j.created_at, null, null, null, null, null
	from chimp.job_suspect u where u.job_id = j.id
	union all
	select 'scheduled', 0, s.run_at, null, null, null, null, null
	from chimp.job_scheduled s where s.job_id = j.id
	union all
	select 'scheduled', 0, h.run_at, null, null, null, null, null
	from chimp.job_held h where (h.queue_id, h.ordering_key, h.job_id) = (j.queue_id, j.ordering_key, j.id)
	union all
	select 'running', 1, j.created_at, c.claimed_at, null, null, null, c.process_id
	where c.id is not null
	union all
	select 'done', 1, j.created_at, d.started_at, d.ended_at, d.results[array_position(d.jobs, j.id)], null, d.process_id
	from chimp.job_done d where d.bucket = j.id >> 10 and j.id = any (d.jobs)
	union all
	select e.state, 0, j.created_at, e.started_at, e.ended_at, null, e.error, e.process_id
	from chimp.job_ended e where e.job_id = j.id
) s on true
left join chimp.job_attempt a on a.job_id = j.id
left join chimp.job_progress o on o.job_id = j.id
left join chimp.process p on p.id = s.process_id;
comment on view chimp.jobs is
	'All jobs. state: ready, scheduled (in the future, or waiting for its ordering key), running (or claimed to run at once), done, dead, cancelled. attempt: attempts charged, the running one included; interruptions: runs that ended by no fault of the job. request_id, traceparent: of the HTTP request that it goes back to.';

create or replace view chimp.queues as
select q.name, q.priority, q.handler, n.ready, n.scheduled, n.running,
	(c.done + coalesce(d.jobs, 0))::bigint as done, n.dead, n.cancelled,
	clock_timestamp() - n.oldest_ready_at as oldest_ready_age,
	q.paused_at, q.paused_by, coalesce(w.processes, 0) as consumers,
	q.concurrency, q.key_concurrency, q.rate_count, q.rate_ms, q.max_ready, q.active
from chimp.queue q
join chimp.queue_count c on c.queue_id = q.id
cross join lateral chimp.queue_counts(q.id) n
left join chimp.done_uncounted(pg_current_snapshot()) d on d.queue_id = q.id
left join (
	select s.queue_id, count(*) as processes
	from chimp.process p, unnest(chimp.worker_queues(p.id)) as s (queue_id)
	where p.role = 'worker' and p.lease_until > clock_timestamp()
	group by s.queue_id) w on w.queue_id = q.id;
comment on view chimp.queues is
	'Queues with counts per state: exact up to 1,000 ready, scheduled, dead or cancelled jobs, above as the last round of maintenance counted them. oldest_ready_age: of the job that is next. consumers: live worker processes that serve it.';

create or replace view chimp.schedules as
select s.name, s.expression as schedule, s.timezone, s.misfire, s.overlap, s.next_at,
	l.slot_at as last_at, s.active, chimp.schedule_state(s) as state,
	case when s.run_time then 'run time' else r.app end as app, q.handler,
	s.jitter_ms * interval '1 ms' as jitter, s.revision, s.error, s.paused_at, s.paused_by,
	l.fired_at as last_fired_at, l.job_id as last_job
from chimp.schedule s
join chimp.queue q on q.id = s.queue_id
left join chimp.registration r on (r.kind, r.name) = ('schedule', s.name)
left join lateral (
	select f.slot_at, f.fired_at, f.job_id from chimp.firing f
	where f.schedule_id = s.id order by f.slot_at desc limit 1) l on true;
comment on view chimp.schedules is
	'Schedules with their state (chimp.schedule_state) and their next and last slot. app: the one that registered it, ''run time'' when chimp.cron_set made it. revision: grows with another expression or zone. error: why a cron process cannot read it. last_job: NULL when the last slot was skipped for overlap.';

create or replace view chimp.firings as
select s.name, f.slot_at, f.fired_at, f.job_id, f.job_id is null as skipped, null::text as run_by
from chimp.firing f join chimp.schedule s on s.id = f.schedule_id
union all
select s.name, null, m.run_at, m.job_id, false, m.run_by
from chimp.manual_run m join chimp.schedule s on s.id = m.schedule_id;
comment on view chimp.firings is
	'Slots that have fired, of the last 7 days and at least two of each schedule; skipped: an earlier run was not over (overlap). run_by: who has called chimp.cron_run, which is no slot.';

create or replace view chimp.events as
select e.id, e.name as event, e.key, e.payload, e.published_at,
	split_part(e.trace, ' ', 1) as request_id, split_part(e.trace, ' ', 2) as traceparent
from chimp.event e;
comment on view chimp.events is
	'Published events. request_id, traceparent: of the HTTP request that one goes back to.';

create or replace view chimp.dead_events as
select s.name as subscription, d.event_id, d.name as event, d.key, d.payload, d.lane, d.attempts, d.error, d.parked_at,
	d.published_at, d.replay_at,
	split_part(d.trace, ' ', 1) as request_id, split_part(d.trace, ' ', 2) as traceparent
from chimp.dead_event d join chimp.subscription s on s.id = d.subscription_id;
comment on view chimp.dead_events is
	'Events parked after their last attempt; replay_at: since when one waits to be handled again.';

create or replace view chimp.subscriptions as
select s.name, s.event, s.key, s.condition::text as "where", s.handler, s.mode, s.lanes, s.batch, g.lag_events, g.lag_exact,
	case when s.paused_at is not null then greatest(l.paused, l.lanes) else l.paused end as paused, l.owned, l.retrying,
	(select count(*) from chimp.dead_event d where d.subscription_id = s.id) as dead, s.active,
	coalesce(clock_timestamp() - g.oldest_at, interval '0') as lag, s.paused_at as paused_since, s.paused_by,
	l.gap_from, l.gap_until,
	case when not s.active then 'unregistered' when s.paused_at is not null then 'paused' when l.paused > 0 then 'stopped'
		when l.retrying > 0 then 'retrying' when g.lag_events > 0 then 'behind' else 'up to date' end as state
from chimp.subscription s
cross join lateral chimp.subscription_lag(s) g
cross join lateral (
	select count(*) as lanes, count(*) filter (where o.paused_at is not null) as paused, count(o.process_id) as owned,
		count(*) filter (where o.retry_at > clock_timestamp()) as retrying,
		min(o.gap_from) as gap_from, max(o.gap_until) as gap_until
	from chimp.lane o where o.subscription_id = s.id) l;
comment on view chimp.subscriptions is
	'Subscriptions with their lag: events committed and not handled, and the age of the oldest. lag_exact false: there are many, and lag_events counts all events behind the cursor, of any name. gap_from, gap_until: events of this time were not kept for it. state: unregistered, paused (by an operator), stopped (a lane, by a failed event), retrying, behind, up to date.';

create or replace view chimp.lanes as
select s.name as subscription, l.number, l.lanes, l.generation = s.generation as newest, c.tick,
	nullif(c.event_id, 9223372036854775807) as event_id, c.moved_at, p.node, concat_ws('/', p.role, p.slot) as process,
	p.pid, l.attempts, l.retry_at, l.paused_at, l.last_error as error, l.until_tick, l.gap_from, l.gap_until, l.id
from chimp.lane l
join chimp.subscription s on s.id = l.subscription_id
cross join lateral chimp.lane_position(l.id) c
left join chimp.process p on p.id = l.process_id;
comment on view chimp.lanes is
	'Lanes of subscriptions: everything up to (tick, event_id) is handled, all of the tick where event_id is NULL. node, process, pid: the owner. error: why the next event failed. newest false: of a former number of lanes, at work up to until_tick.';

create or replace view chimp.processes as
select p.id, p.node, p.role, p.class, p.slot, p.pid, p.version, p.busy, p.status, p.started_at, p.lease_until,
	p.lease_until > clock_timestamp() as alive
from chimp.process p;
comment on view chimp.processes is 'Processes of all nodes; alive: the lease has not run out.';

create or replace view chimp.nodes as
select n.name, n.id, min(p.started_at) as started_at, count(p.id) as processes,
	coalesce(bool_or(p.lease_until > clock_timestamp()), false) as alive
from chimp.node n left join chimp.process p on p.node_id = n.id
group by n.id, n.name;
comment on view chimp.nodes is 'Masters that have registered, with the number of their processes.';

create or replace view chimp.workflows as
select r.external_id as id, w.name, d.version, r.status, r.input, r.state, r.results, r.step as current_step, r.waits_for,
	r.wake_at, r.error, p.external_id as parent, r.created_at, r.updated_at, r.ended_at
from chimp.workflow_run r
join chimp.workflow_definition d on d.id = r.definition_id
join chimp.workflow w on w.id = d.workflow_id
left join chimp.workflow_run p on p.id = r.parent_id;
comment on view chimp.workflows is 'Runs of workflows: those that are open, and ended ones for the retention of their workflow.';

create or replace view chimp.workflow_events as
select r.external_id as id, h.seq, h.step, h.what, h.at, h.attempts, h.job_id, h.result, h.error
from chimp.workflow_history h join chimp.workflow_run r on r.id = h.run_id;
comment on view chimp.workflow_events is 'What runs of workflows have gone through, a row for each transition.';
