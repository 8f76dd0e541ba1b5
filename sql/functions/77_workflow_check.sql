-- What a configuration would change about the workflows of a database: chimpctl
-- workflow check. It changes nothing itself.

create or replace function chimp.workflow_check_apps(apps jsonb)
returns table (name text, version int, verdict text, differences text[], open_runs bigint)
language sql stable as $$
	with given as (
		select d.definition ->> 'name' as name, (d.definition ->> 'version')::int as version, d.definition
		from chimp.app_registrations(apps) d where d.kind = 'workflow'
	), held as (
		select w.name, d.version, d.definition, d.contract, (
			select count(*) from chimp.workflow_run r where r.definition_id = d.id
			and r.status in ('running', 'sleeping', 'waiting_signal', 'parked')) as open_runs
		from chimp.workflow_definition d join chimp.workflow w on w.id = d.workflow_id
	)
	select name, version, case
			when g.definition is null then 'parks'
			when h.definition is null then 'new'
			when h.contract <> chimp.workflow_hash(g.definition) then 'breaking'
			when h.definition <> g.definition then 'changed'
			else 'unchanged' end,
		array(select x from chimp.workflow_differences(h.definition, g.definition) x
			where h.definition is not null and g.definition is not null), coalesce(h.open_runs, 0)
	from given g full join held h using (name, version)
	where g.definition is not null or h.open_runs > 0
	order by name, version
$$;
comment on function chimp.workflow_check_apps(jsonb) is
	'The versions of workflows in `apps` (chimp.register_apps), and what registering them would mean. verdict: new; unchanged; changed, in what open runs do not rely on; breaking, with the differences: a node is refused at its start; parks: not in `apps`, its open runs are parked when no node has it.';
