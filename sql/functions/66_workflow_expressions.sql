-- Workflows: the expressions of steps. SQL is made of them once, where a version is
-- registered; those that are seldom evaluated are made into SQL when they are.

create or replace function chimp.workflow_sql(expression text, context text) returns text
language plpgsql immutable as $$
declare
	t jsonb;
begin
	if expression ~ '^\$' then
		return format('jsonb_path_query_first(%s, %L)', context, expression::jsonpath);
	elsif expression !~ '^\s*[{\[]' then
		return format('%s(%s)', expression, context);
	end if;
	t := expression::jsonb;
	-- A call has 100 arguments at most.
	if jsonb_typeof(t) = 'array' then
		return coalesce((select string_agg(p.sql, ' || ' order by p.part) from (
			select (n - 1) / 50 as part,
				format('jsonb_build_array(%s)', string_agg(chimp.workflow_sql_value(e, context), ', ' order by n)) as sql
			from jsonb_array_elements(t) with ordinality x (e, n) group by 1) p), $sql$'[]'::jsonb$sql$);
	end if;
	return coalesce((select string_agg(p.sql, ' || ' order by p.part) from (
		select (n - 1) / 50 as part, format('jsonb_build_object(%s)', string_agg(format('%L, %s', x.key,
			chimp.workflow_sql_value(x.value, context)), ', ' order by n)) as sql
		from jsonb_each(t) with ordinality x (key, value, n) group by 1) p), $sql$'{}'::jsonb$sql$);
end $$;
comment on function chimp.workflow_sql(text, text) is
	'SQL for an expression of a step: a JSON path ("$..."), a JSON text with paths as strings, or a function''s name.';

create or replace function chimp.workflow_sql_value(value jsonb, context text) returns text
language sql immutable as $$
	select case
		when jsonb_typeof(value) in ('object', 'array') then chimp.workflow_sql(value::text, context)
		when jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^\$' then chimp.workflow_sql(value #>> '{}', context)
		else format('%L::jsonb', value) end
$$;

create or replace function chimp.workflow_value(expression text, context jsonb) returns jsonb
language plpgsql as $$
declare
	value jsonb;
begin
	execute 'select ' || chimp.workflow_sql(expression, '$1') into value using context;
	return value;
end $$;

create or replace function chimp.workflow_context(r chimp.workflow_run) returns jsonb
language plpgsql stable as $$
begin
	return jsonb_build_object('input', r.input, 'state', r.state, 'results', r.results);
end $$;
