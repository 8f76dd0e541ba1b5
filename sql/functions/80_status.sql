-- Everything at a glance, for chimpctl status.

create or replace function chimp.status() returns jsonb
language sql volatile
-- Its parts are many and small: compiling them took a second and more.
set jit = off as $$
	select jsonb_build_object(
	'nodes', (select coalesce(jsonb_agg(jsonb_build_object('name', n.name, 'alive', n.alive,
			'processes', (select coalesce(jsonb_agg(jsonb_build_object(
				'name', concat_ws('/', p.role, p.class, p.slot), 'role', p.role, 'class', p.class,
				'slot', p.slot, 'pid', p.pid, 'busy', p.busy, 'status', p.status,
				'alive', p.lease_until > clock_timestamp(),
				'since_ms', chimp.to_ms(p.started_at)) order by p.role, p.class, p.slot), '[]')
				from chimp.process p where p.node_id = n.id)) order by n.name), '[]')
		from chimp.nodes n where n.processes > 0),
	'queues', (select coalesce(jsonb_agg(jsonb_build_object('name', q.name, 'ready', q.ready,
			'scheduled', q.scheduled, 'running', q.running, 'done', q.done, 'dead', q.dead,
			'cancelled', q.cancelled,
			'oldest_ready_ms', (extract(epoch from q.oldest_ready_age) * 1000)::bigint,
			'paused', q.paused_at is not null, 'consumers', q.consumers) order by q.name), '[]')
		from chimp.queues q),
	'schedules', (select coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'schedule', s.schedule,
			'timezone', s.timezone, 'next_at', s.next_at, 'last_at', s.last_at, 'state', s.state) order by s.name), '[]')
		from chimp.schedules s where s.active),
	'subscriptions', (select coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'event', s.event,
			'lanes', s.lanes, 'lag_events', s.lag_events,
			'lag_ms', (extract(epoch from s.lag) * 1000)::bigint, 'paused', s.paused, 'dead', s.dead,
			'state', s.state)
			order by s.name), '[]')
		from chimp.subscriptions s where s.active))
$$;
comment on function chimp.status() is
	'Nodes with their processes, queues, schedules and subscriptions, as chimpctl status shows them.';
