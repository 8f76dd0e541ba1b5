-- Registrations: what the apps of the live nodes have named.

create or replace function chimp.check_function(what text, handler text)
returns void language plpgsql as $$
declare
	f regprocedure;
begin
	begin
		f := to_regprocedure(handler || '(jsonb)');
	exception when others then
		f := null;
	end;
	if f is null then
		raise exception '%: function %(jsonb) does not exist', what, handler
			using errcode = 'CH002',
			hint = 'create it in a migration of the app, with exactly one parameter of type jsonb';
	end if;
	if (select p.prorettype <> 'jsonb'::regtype or p.proretset from pg_proc p where p.oid = f) then
		raise exception '%: function %(jsonb) must return jsonb', what, handler
			using errcode = 'CH002';
	end if;
end $$;
comment on function chimp.check_function(text, text) is
	'Raise CH002, about `what`, unless the handler exists as function(jsonb) returns jsonb.';

create or replace function chimp.check_handler(app text, kind text, name text, handler text)
returns void language sql as $$
	select chimp.check_function(format('app "%s": %s "%s"', app, kind, name), handler)
$$;

create or replace function chimp.registry_sweep() returns void
language sql as $$
	update chimp.registration r set active = false
	where r.active and not exists (
		select from chimp.node_registration n where (n.kind, n.name) = (r.kind, r.name));
	update chimp.schedule s set active = r.active
	from chimp.registration r
	where r.kind = 'schedule' and r.name = s.name and s.active <> r.active and not s.run_time;
	update chimp.queue q set active = r.active
	from chimp.registration r
	where r.kind = 'queue' and r.name = q.name and q.active <> r.active;
	update chimp.subscription s set active = r.active
	from chimp.registration r
	where r.kind = 'subscription' and r.name = s.name and s.active <> r.active;
	update chimp.workflow_definition d set active = r.active
	from chimp.registration r, chimp.workflow w
	where w.id = d.workflow_id and r.kind = 'workflow' and r.name = w.name || '@' || d.version and d.active <> r.active;
$$;
comment on function chimp.registry_sweep() is
	'End registrations that no live node has, in all tables that carry them. Queues keep accepting jobs, subscriptions keep their cursors.';

-- One row per registration of all apps: kind, name, app, definition.
create or replace function chimp.app_registrations(apps jsonb)
returns table (kind text, name text, app text, definition jsonb)
language sql immutable as $$
	select k.kind, coalesce(d.value ->> 'name', d.value ->> 'pattern') || case k.kind
		when 'workflow' then '@' || (d.value ->> 'version') else '' end, a.value ->> 'name', d.value
	from jsonb_array_elements(apps -> 'apps') a,
	(values ('action', 'actions'), ('route', 'routes'), ('queue', 'queues'),
		('subscription', 'subscriptions'), ('schedule', 'schedules'), ('workflow', 'workflows')) k (kind, member),
	jsonb_array_elements(coalesce(a.value -> k.member, '[]')) d
$$;

create or replace function chimp.queue_put(name text, d jsonb) returns int
language plpgsql as $$
declare
	q chimp.queue;
	flag text;
begin
	insert into chimp.queue as o (name, handler, max_attempts, retry_delay_ms, retry_delay_max_ms,
		backoff, timeout_ms, dead_letter, priority, concurrency, key_concurrency, rate_count, rate_ms,
		group_max, unique_for_ms, retention_ms, retention_dead_ms, max_ready)
	values ($1, d ->> 'sql', (d ->> 'max_attempts')::int, (d ->> 'retry_delay_ms')::bigint,
		(d ->> 'retry_delay_max_ms')::bigint, d ->> 'backoff', (d ->> 'timeout_ms')::bigint,
		d ->> 'dead_letter', (d ->> 'priority')::int, coalesce((d ->> 'concurrency')::int, 0),
		coalesce((d ->> 'key_concurrency')::int, 1), coalesce((d ->> 'rate_count')::int, 0),
		coalesce((d ->> 'rate_ms')::bigint, 0), coalesce((d ->> 'group')::int, 32),
		coalesce((d ->> 'unique_for_ms')::bigint, 0), coalesce((d ->> 'retention_ms')::bigint, 86400000),
		coalesce((d ->> 'retention_dead_ms')::bigint, 2592000000), coalesce((d ->> 'max_ready')::bigint, 0))
	on conflict on constraint queue_name_key do update set
		handler = excluded.handler, max_attempts = excluded.max_attempts,
		retry_delay_ms = excluded.retry_delay_ms, retry_delay_max_ms = excluded.retry_delay_max_ms,
		backoff = excluded.backoff, timeout_ms = excluded.timeout_ms,
		dead_letter = excluded.dead_letter, priority = excluded.priority,
		concurrency = excluded.concurrency, key_concurrency = excluded.key_concurrency,
		rate_count = excluded.rate_count, rate_ms = excluded.rate_ms, group_max = excluded.group_max,
		unique_for_ms = excluded.unique_for_ms, retention_ms = excluded.retention_ms,
		retention_dead_ms = excluded.retention_dead_ms, max_ready = excluded.max_ready, active = true
	returning * into q;
	if q.wake is null then
		flag := format('chimp.wake_queue_%s', q.id);
		execute format('create sequence %s', flag);
		perform setval(flag::regclass, 2);
		update chimp.queue o set wake = flag::regclass where o.id = q.id;
		insert into chimp.queue_count (queue_id) values (q.id);
	end if;
	perform chimp.queue_make_run(q);
	return q.id;
end $$;
comment on function chimp.queue_put(text, jsonb) is
	'Insert or update a queue with the policies of a definition; returns its id.';

create or replace function chimp.schedule_queue(name text, handler text) returns int
language sql as $$
	select chimp.queue_put('cron:' || $1, jsonb_build_object('sql', $2,
		'max_attempts', 5, 'retry_delay_ms', 1000, 'retry_delay_max_ms', 3600000,
		'backoff', 'exponential', 'timeout_ms', 0, 'dead_letter', '', 'priority', 0))
$$;
comment on function chimp.schedule_queue(text, text) is
	'Insert or update the queue of a schedule''s jobs; returns its id.';

create or replace function chimp.schedule_put(name text, d jsonb) returns void
language plpgsql as $$
declare
	queue int := chimp.schedule_queue(name, d ->> 'sql');
begin
	insert into chimp.schedule as s (name, expression, timezone, misfire, overlap, jitter_ms, queue_id)
	values ($1, d ->> 'schedule', d ->> 'timezone', d ->> 'misfire', d ->> 'overlap',
		(d ->> 'jitter_ms')::bigint, queue)
	on conflict on constraint schedule_name_key do update set
		-- Another expression or zone is a new revision, planned anew; so is
		-- one that was made at run time and is unset.
		planned = s.planned and (s.expression, s.timezone, false) = (excluded.expression, excluded.timezone, s.run_time),
		revision = s.revision
			+ ((s.expression, s.timezone, false) <> (excluded.expression, excluded.timezone, s.run_time))::int,
		next_at = case when (s.expression, s.timezone, false)
			= (excluded.expression, excluded.timezone, s.run_time) then s.next_at end,
		error = case when (s.expression, s.timezone, false)
			= (excluded.expression, excluded.timezone, s.run_time) then s.error end,
		expression = excluded.expression, timezone = excluded.timezone,
		misfire = excluded.misfire, overlap = excluded.overlap, jitter_ms = excluded.jitter_ms,
		queue_id = excluded.queue_id, active = true, run_time = false
	where not (s.run_time and s.active);
	if not found then
		raise exception 'app "%": cron "%" was made at run time, by chimp.cron_set', (select r.app
			from chimp.registration r where (r.kind, r.name) = ('schedule', $1)), name using errcode = 'CH002',
			hint = format('choose another name, or remove that one: select chimp.cron_unset(%L)', name);
	end if;
end $$;
comment on function chimp.schedule_put(text, jsonb) is
	'Insert or update the schedule of an app. CH002: one that was made at run time has its name.';

create or replace function chimp.register_apps(node_id uuid, node text, apps jsonb) returns void
language plpgsql as $$
declare
	r record;
begin
	-- Nodes that start at the same time register one after the other.
	perform pg_advisory_xact_lock(hashtext('chimp.registry'));
	delete from chimp.node o
	where o.registered_at < clock_timestamp() - interval '1 minute'
	and not exists (select from chimp.process p where p.node_id = o.id and p.lease_until > clock_timestamp());
	insert into chimp.node as o (id, name) values ($1, $2)
	on conflict on constraint node_pkey do update set registered_at = clock_timestamp();

	for r in
		select n.kind, n.name, n.app, o.app as owner
		from chimp.app_registrations(apps) n
		join chimp.registration o on (o.kind, o.name) = (n.kind, n.name)
		where o.app <> n.app
		and exists (select from chimp.node_registration x
			where (x.kind, x.name) = (o.kind, o.name) and x.node_id <> $1)
	loop
		raise exception 'app "%": % "%" belongs to app "%" on this database', r.app, r.kind, r.name, r.owner
			using errcode = 'CH002',
			hint = 'names are global in a database: choose another name, or stop the nodes that run that app';
	end loop;
	for r in select * from chimp.app_registrations(apps) n where n.kind <> 'workflow' loop
		perform chimp.check_handler(r.app, r.kind, r.name, r.definition ->> 'sql');
	end loop;

	insert into chimp.registration as o (kind, name, app, definition)
	select n.kind, n.name, n.app, n.definition from chimp.app_registrations(apps) n
	on conflict on constraint registration_pkey do update set
		app = excluded.app, definition = excluded.definition, active = true,
		revision = o.revision + (o.definition <> excluded.definition)::int,
		updated_at = clock_timestamp();
	delete from chimp.node_registration o where o.node_id = $1;
	insert into chimp.node_registration (node_id, kind, name)
	select $1, n.kind, n.name from chimp.app_registrations(apps) n;

	perform chimp.queue_put(n.name, n.definition) from chimp.app_registrations(apps) n where n.kind = 'queue';
	perform chimp.schedule_put(n.name, n.definition) from chimp.app_registrations(apps) n where n.kind = 'schedule';
	perform chimp.subscription_put(n.name, n.definition) from chimp.app_registrations(apps) n where n.kind = 'subscription';
	-- With their actions, which may have changed.
	perform chimp.workflow_put(n.definition ->> 'name', n.definition) from chimp.app_registrations(apps) n where n.kind = 'workflow';
	perform chimp.registry_sweep();
	perform chimp.workflow_queue_put(w.name) from chimp.workflow w;
	perform chimp.workflows_unpark();
	-- As this binary makes it; nobody's missing function may stop a node.
	perform chimp.queue_make_run(q) from chimp.schedule s join chimp.queue q on q.id = s.queue_id
	where s.run_time and s.active and to_regprocedure(q.handler || '(jsonb)') is not null;
	update chimp.event_store e set retention_ms = (apps ->> 'event_retention_ms')::bigint
	where e.retention_ms <> (apps ->> 'event_retention_ms')::bigint;
	update chimp.cache_store s set max_bytes = (apps ->> 'cache_max_bytes')::bigint
	where s.max_bytes <> (apps ->> 'cache_max_bytes')::bigint;
	update chimp.telemetry_store s set retention_ms = (apps ->> 'telemetry_retention_ms')::bigint
	where s.retention_ms <> (apps ->> 'telemetry_retention_ms')::bigint;
	perform chimp.registry_sweep();
	perform pg_notify('chimp_control', 'registry');
	perform pg_notify('chimp_control', 'schedules');
end $$;
comment on function chimp.register_apps(uuid, text, jsonb) is
	'Make the registrations of a node those of `apps`. The newest call wins. Raises CH002 when a handler is missing or a name belongs to another app.';
