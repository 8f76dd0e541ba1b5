-- A workflow's steps as a flowchart in the language of Mermaid. Names may hold
-- anything: nodes go by numbers, and what users wrote stands in quotes.

create or replace function chimp.mermaid(label text) returns text
language plpgsql immutable as $label$
declare
	c text;
begin
	-- "#" first: it begins the others. ":" and "%" are for what Mermaid looks for
	-- before it parses: styles, directives and links.
	foreach c in array array['#', '&', '<', '>', '"', '|', '`', ':', '%', '\'] loop
		label := replace(label, c, case c when '#' then '#35;' else format('#%s;', ascii(c)) end);
	end loop;
	return regexp_replace(replace(label, '$$', '$#36;'), '\s+', ' ', 'g');
end $label$;
comment on function chimp.mermaid(text) is 'Text for a label of Mermaid that is in quotes.';

create or replace function chimp.workflow_graph_ms(ms bigint) returns text
language sql immutable as $$
	select case when ms % 86400000 = 0 then ms / 86400000 || ' d' when ms % 3600000 = 0 then ms / 3600000 || ' h'
		when ms % 60000 = 0 then ms / 60000 || ' m' when ms % 1000 = 0 then ms / 1000 || ' s' else ms || ' ms' end
$$;

create or replace function chimp.workflow_graph_node(s chimp.workflow_step) returns text
language sql stable as $$
	select format(case s.kind when 'signal' then 's%s{{"%s"}}' when 'sleep' then 's%s("%s")' when 'goto' then 's%s{"%s"}'
		when 'workflow' then 's%s[["%s"]]' else 's%s["%s"]' end, s.number, concat_ws('<br/>',
		chimp.mermaid(nullif(s.name, '')), case s.kind
			when 'action' then 'action ' || chimp.mermaid(s.definition ->> 'action')
			when 'signal' then 'waits for ' || chimp.mermaid(s.definition ->> 'signal')
			when 'sleep' then 'sleeps ' || chimp.workflow_graph_ms((s.definition ->> 'sleep_ms')::bigint)
			when 'workflow' then 'workflow ' || chimp.mermaid(s.definition ->> 'workflow')
			when 'run' then (select chimp.mermaid(d.definition ->> 'sql') from chimp.workflow_definition d
				where d.id = s.definition_id) || '<br/>what it waits for, its handler says' end,
		case when s.kind <> 'goto' then 'only when ' || chimp.mermaid(s.definition ->> 'when') end))
$$;

-- Where a step leads: a node, and what stands at the edge.
create or replace function chimp.workflow_graph_edges(s chimp.workflow_step)
returns table (arrow text, label text, target text) language plpgsql stable as $$
declare
	d constant jsonb := s.definition;
	following constant text := coalesce((select 's' || o.number from chimp.workflow_step o
		where o.definition_id = s.definition_id and o.number = s.number + 1), 'e');
	time_out constant text := coalesce(d ->> 'on_timeout', 'fail');
begin
	if s.kind = 'run' then
		return query values ('-->', 'its next step', 's' || s.number), ('-->', null, 'e');
		return;
	end if;
	if s.kind = 'goto' then
		return query select '-->', chimp.mermaid(d ->> 'when'),
			coalesce('s' || (chimp.workflow_step_at(s.definition_id, d ->> 'goto')).number, 'e');
		if not d ? 'when' then
			return;
		end if;
	end if;
	return query select '-->', case s.kind when 'goto' then 'otherwise' end, following;
	if s.kind in ('signal', 'workflow') and coalesce((d ->> 'timeout_ms')::bigint, 0) > 0 then
		return query select '-->', 'after ' || chimp.workflow_graph_ms((d ->> 'timeout_ms')::bigint), case time_out
			when 'fail' then 'f' when 'continue' then following
			else coalesce('s' || (chimp.workflow_step_at(s.definition_id, substr(time_out, 6))).number, 'e') end;
	end if;
	if d ? 'compensate' then
		return query select '-.->', 'compensates', 'c' || s.number;
	end if;
end $$;

create or replace function chimp.workflow_graph_definition(name text, version int) returns chimp.workflow_definition
language plpgsql stable as $$
declare
	w chimp.workflow;
	d chimp.workflow_definition;
begin
	select * into w from chimp.workflow o where o.name = $1;
	if not found then
		raise exception 'unknown workflow "%"', $1 using errcode = 'CH002',
			hint = 'register it in an app file: workflow "NAME" { ... }';
	end if;
	select * into d from chimp.workflow_definition o
	where o.workflow_id = w.id and ($2 is null or o.version = $2)
	-- The one that new runs take, if there is one.
	order by o.active desc, o.version desc limit 1;
	if not found then
		raise exception 'workflow "%" has no version %', $1, $2 using errcode = 'CH002', hint = (
			select 'its versions are ' || string_agg(o.version::text, ', ' order by o.version)
			from chimp.workflow_definition o where o.workflow_id = w.id);
	end if;
	return d;
end $$;

create or replace function chimp.workflow_graph(name text, version int default null) returns text
language plpgsql stable as $$
declare
	d chimp.workflow_definition := chimp.workflow_graph_definition(name, version);
	nodes text;
	edges text;
begin
	select string_agg(format(E'\t%s\n', chimp.workflow_graph_node(s)), '' order by s.number)
		|| coalesce(string_agg(format(E'\tc%s["%s"]\n', s.number, chimp.mermaid(s.definition ->> 'compensate')), ''
			order by s.number) filter (where s.definition ? 'compensate'), '')
	into nodes from chimp.workflow_step s where s.definition_id = d.id;
	select string_agg(format(E'\ts%s %s%s %s\n', s.number, e.arrow, coalesce('|"' || e.label || '"|', ''), e.target), ''
		order by s.number, e.n)
	into edges
	from chimp.workflow_step s, chimp.workflow_graph_edges(s) with ordinality e (arrow, label, target, n)
	where s.definition_id = d.id;
	return format(E'flowchart TD\n\tb(["%s, version %s"])\n', chimp.mermaid(name), d.version) || nodes
		|| E'\te(["completed"])\n' || case when edges ~ ' f\n' then E'\tf(["failed"])\n' else '' end
		|| E'\tb --> s1\n' || rtrim(edges, E'\n');
end $$;
comment on function chimp.workflow_graph(text, int) is
	'The steps of a version of a workflow, by default the newest that a live node has, as a flowchart in the language of Mermaid. CH002: unknown workflow or version.';
