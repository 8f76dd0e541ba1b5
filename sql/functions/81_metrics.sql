-- What GET /metrics shows that the process which answers does not know itself:
-- lines of Prometheus' text format, without comments, in no order. One function
-- for each part, so that a part that takes long does not take the others along.

create or replace function chimp.process_stats_set(id uuid, stats text) returns void
language sql as $$
	insert into chimp.process_stats as s (process_id, stats)
	select $1, $2 where exists (select from chimp.process p where p.id = $1)
	on conflict on constraint process_stats_pkey do update set at = clock_timestamp(), stats = excluded.stats
$$;
comment on function chimp.process_stats_set(uuid, text) is
	'Keep a process''s figures, as lines of Prometheus'' text format, for the other processes of its node.';

create or replace function chimp.metric_label(name text) returns text
language sql immutable parallel safe as $$
	select replace(replace(replace(name, '\', '\\'), '"', '\"'), e'\n', '\n')
$$;
comment on function chimp.metric_label(text) is 'A label''s value as it stands between its quotes.';

create or replace function chimp.metrics_processes(node uuid, process uuid) returns text
language sql stable
set jit = off as $$
	-- During a replacement a place has two processes; the younger one counts.
	select coalesce(string_agg(s.stats, e'\n'), '') from (
		select distinct on (p.role, p.class, p.slot) p.id from chimp.process p
		where p.node_id = $1 and not exists (select from chimp.process o where o.id = $2
			and (o.role, coalesce(o.class, ''), o.slot) = (p.role, coalesce(p.class, ''), p.slot))
		order by p.role, p.class, p.slot, p.started_at desc) p
	join chimp.process_stats s on s.process_id = p.id
	where s.at > clock_timestamp() - interval '30 s'
$$;
comment on function chimp.metrics_processes(uuid, uuid) is
	'For GET /metrics: what the other processes of a node have said of themselves.';

create or replace function chimp.metrics_queues(max_rows int) returns text
language sql stable
set jit = off as $$
	select concat(string_agg(concat(
		'chimpd_queue_jobs{queue="', q.l, '",state="ready"} ', q.ready,
		e'\nchimpd_queue_jobs{queue="', q.l, '",state="scheduled"} ', q.scheduled,
		e'\nchimpd_queue_jobs{queue="', q.l, '",state="running"} ', q.running,
		e'\nchimpd_queue_jobs{queue="', q.l, '",state="done"} ', q.done,
		e'\nchimpd_queue_jobs{queue="', q.l, '",state="dead"} ', q.dead,
		e'\nchimpd_queue_jobs{queue="', q.l, '",state="cancelled"} ', q.cancelled,
		e'\nchimpd_queue_oldest_ready_age_seconds{queue="', q.l, '"} ',
			coalesce(extract(epoch from q.oldest_ready_age), 0),
		e'\nchimpd_queue_consumers{queue="', q.l, '"} ', q.consumers,
		e'\nchimpd_queue_paused{queue="', q.l, '"} ', (q.paused_at is not null)::int), e'\n'),
		e'\nchimpd_metrics_left_out{kind="queue"} ',
		greatest((select count(*) from chimp.queue) - max_rows, 0))
	from (
		select o.*, chimp.metric_label(o.name) as l from chimp.queues o
		where o.name in (select n.name from chimp.queue n order by n.name limit max_rows) offset 0) q
$$;
comment on function chimp.metrics_queues(int) is 'For GET /metrics: the first max_rows queues by name.';

create or replace function chimp.metrics_subscriptions(max_rows int) returns text
language sql stable
set jit = off as $$
	select concat(string_agg(concat(
		'chimpd_subscription_lag_events{subscription="', s.l, '"} ', s.lag_events,
		e'\nchimpd_subscription_lag_seconds{subscription="', s.l, '"} ', extract(epoch from s.lag),
		e'\nchimpd_subscription_dead_events{subscription="', s.l, '"} ', s.dead,
		e'\nchimpd_subscription_lanes{subscription="', s.l, '"} ', s.lanes,
		e'\nchimpd_subscription_lanes_paused{subscription="', s.l, '"} ', s.paused), e'\n'),
		e'\nchimpd_metrics_left_out{kind="subscription"} ',
		greatest((select count(*) from chimp.subscription o where o.active) - max_rows, 0))
	from (
		select o.*, chimp.metric_label(o.name) as l from chimp.subscriptions o
		where o.name in (select n.name from chimp.subscription n where n.active order by n.name limit max_rows)
		offset 0) s
$$;
comment on function chimp.metrics_subscriptions(int) is 'For GET /metrics: the first max_rows subscriptions by name.';

create or replace function chimp.metrics_schedules(max_rows int) returns text
language sql stable
set jit = off as $$
	select concat(string_agg(concat(
		'chimpd_schedule_paused{schedule="', s.l, '"} ', (s.paused_at is not null)::int,
		e'\nchimpd_schedule_unreadable{schedule="', s.l, '"} ', (s.error is not null)::int,
		-- NULL when it has not fired yet, or never will again.
		e'\nchimpd_schedule_lateness_seconds{schedule="' || s.l || '"} ' || extract(epoch from s.last_fired_at - s.last_at),
		e'\nchimpd_schedule_next_timestamp_seconds{schedule="' || s.l || '"} ' || extract(epoch from s.next_at)), e'\n'),
		e'\nchimpd_metrics_left_out{kind="schedule"} ',
		greatest((select count(*) from chimp.schedule o where o.active) - max_rows, 0))
	from (
		select o.*, chimp.metric_label(o.name) as l from chimp.schedules o
		where o.name in (select n.name from chimp.schedule n where n.active order by n.name limit max_rows)
		offset 0) s
$$;
comment on function chimp.metrics_schedules(int) is 'For GET /metrics: the first max_rows schedules by name.';

create or replace function chimp.metrics_state(max_rows int) returns text
language sql stable
set jit = off as $$
	select concat(string_agg('chimpd_state_bytes{kind="' || b.kind || '"} ' || b.bytes, e'\n'), (
		select string_agg(e'\nchimpd_state_value{counter="' || chimp.metric_label(c.name) || '"} ' || chimp.counter_get(c.name), '')
		from (select o.name from chimp.counter_value o order by o.name limit max_rows) c),
		e'\nchimpd_metrics_left_out{kind="counter"} ',
		greatest((select count(*) from chimp.counter_value) - max_rows, 0))
	from (
		select k.kind, sum(pg_total_relation_size(k.t)) as bytes from (
			values ('kv', 'chimp.kv_entry'::regclass), ('cache', 'chimp.cache_entry'), ('streams', 'chimp.stream_entry'),
				('counters', 'chimp.counter_value'), ('counters', 'chimp.counter_change'),
				('logs', 'chimp.log_entry'), ('metrics', 'chimp.metric_sample')
			union all
			select 'collections', format('chimp.documents_%s', c.id)::regclass from chimp.collection c) k (kind, t)
		group by k.kind) b
$$;
comment on function chimp.metrics_state(int) is
	'For GET /metrics: bytes of state on disk by kind, and the first max_rows counters by name, once their first changes are folded.';
