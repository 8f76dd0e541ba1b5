-- Workflows: what an app file says of one. A version's contract does not change
-- while runs may hold it.

create or replace function chimp.workflow_contract(d jsonb) returns jsonb
language sql immutable as $$
	-- What a run relies on; time-outs, retries and policies may change under it.
	select case when jsonb_array_length(coalesce(d -> 'steps', '[]')) = 0 then '{"form": "run"}'::jsonb
		else jsonb_build_object('form', 'steps', 'steps', (
			select jsonb_agg(s - '{timeout_ms,max_attempts,retry_delay_ms,retry_delay_max_ms,backoff,sleep_ms}'::text[]
				order by n)
			from jsonb_array_elements(d -> 'steps') with ordinality x (s, n))) end
$$;
comment on function chimp.workflow_contract(jsonb) is
	'What the runs of a version rely on: its steps, their order, inputs, results, signals and compensations.';

create or replace function chimp.workflow_hash(d jsonb) returns text
language sql immutable as $$
	select encode(sha256(convert_to(chimp.workflow_contract(d)::text, 'UTF8')), 'hex')
$$;

create or replace function chimp.workflow_differences(old jsonb, new jsonb) returns setof text
language plpgsql immutable as $$
declare
	o jsonb := chimp.workflow_contract(old);
	n jsonb := chimp.workflow_contract(new);
	was text[] := array(select x.s ->> 'name' from jsonb_array_elements(o -> 'steps') with ordinality x (s, i) order by i);
	is_now text[] := array(select x.s ->> 'name' from jsonb_array_elements(n -> 'steps') with ordinality x (s, i) order by i);
begin
	if o ->> 'form' <> n ->> 'form' then
		return next format('it was of the %s form, and is of the %s form', o ->> 'form', n ->> 'form');
		return;
	end if;
	return query select format('step "%s" is gone', x) from unnest(was) x where x <> all (is_now);
	return query select format('step "%s" is new', x) from unnest(is_now) x where x <> all (was);
	if array(select x from unnest(was) x where x = any (is_now)) <> array(select x from unnest(is_now) x where x = any (was)) then
		return next 'the steps have another order';
	end if;
	return query
	select format('step "%s": %s was %s, is %s', a.s ->> 'name', k.key, coalesce((a.s -> k.key)::text, 'not given'),
		coalesce((b.s -> k.key)::text, 'not given'))
	from jsonb_array_elements(o -> 'steps') a (s)
	join jsonb_array_elements(n -> 'steps') b (s) on b.s -> 'name' = a.s -> 'name'
	cross join lateral (
		select jsonb_object_keys(a.s) as key union select jsonb_object_keys(b.s) order by 1) k
	where a.s -> k.key is distinct from b.s -> k.key;
end $$;
comment on function chimp.workflow_differences(jsonb, jsonb) is
	'Differences between the contracts of two definitions, in words; none when the new one may take the place of the old one.';

create or replace function chimp.workflow_action(d jsonb, step text, action text) returns text
language plpgsql stable as $$
declare
	handler text;
begin
	select o.definition ->> 'sql' into handler from chimp.registration o where (o.kind, o.name) = ('action', $3);
	if handler is null then
		raise exception 'workflow "%": step "%": unknown action "%"', d ->> 'name', step, action using errcode = 'CH002';
	end if;
	-- A function that is gone by now is missed by the step that calls it.
	return coalesce((select format('%I.%I', n.nspname, p.proname) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		where p.oid = to_regprocedure(handler || '(jsonb)')), handler);
end $$;

create or replace function chimp.workflow_step_body(d chimp.workflow_definition, s chimp.workflow_step) returns text
language plpgsql stable as $$
declare
	t constant jsonb := s.definition;
	body text;
begin
	if s.kind = 'run' then
		return format($part$	when %1$s then
		if r.call ? 'input' then
			perform chimp.workflow_called(r);
		else
			result := %2$s(chimp.workflow_run_input(r, o.signal, o.timed_out));
			perform chimp.workflow_directive(r, result, o.timed_out);
		end if;
$part$, s.id, d.definition ->> 'sql');
	elsif s.kind = 'workflow' then           -- that could not begin when it was its turn
		return format($part$	when %1$s then
		perform chimp.workflow_enter(r, (select s from chimp.workflow_step s where s.id = %1$s));
$part$, s.id);
	elsif s.kind <> 'action' then
		return '';
	end if;
	body := format($part$	when %1$s then
%2$s		result := %3$s(input);
		perform chimp.workflow_done(r, input, result);
$part$, s.id, case when t ? 'input' then format($part$		input := chimp.workflow_context(r);
		input := %s;
$part$, chimp.workflow_sql(t ->> 'input', 'input')) else $part$		input := r.input;
$part$ end,
		chimp.workflow_action(d.definition, s.name, t ->> 'action'));
	if t ? 'compensate' then
		body := body || format($part$	when -%1$s then
		input := chimp.workflow_undo_context(r);
		result := %3$s(%2$s);
		perform chimp.workflow_undone(r, result);
$part$, s.id, case when t ? 'compensate_input' then chimp.workflow_sql(t ->> 'compensate_input', 'input')
			else $part$jsonb_build_object('input', input -> 'stepInput', 'result', input -> 'result')$part$ end,
			chimp.workflow_action(d.definition, s.name, t ->> 'compensate'));
	end if;
	return body;
end $$;

create or replace function chimp.workflow_make(w chimp.workflow) returns void
language plpgsql as $make$
declare
	initial text;
	steps text;
	body text;
begin
	select string_agg(format($part$		when %s then r.state := chimp.workflow_set_state(r, %s(r.input));
$part$, d.id, d.definition ->> 'initial'), '' order by d.id) into initial
	from chimp.workflow_definition d
	where d.workflow_id = w.id and d.active and d.definition ? 'initial';
	select string_agg(chimp.workflow_step_body(d, s), '' order by s.id) into steps
	from chimp.workflow_definition d join chimp.workflow_step s on s.definition_id = d.id
	where d.workflow_id = w.id and d.active;
	body := format($body$
declare
	o record;
	r chimp.workflow_run;
	input jsonb;
	result jsonb;
begin
	o := chimp.workflow_open(payload);
	if o.todo is null then
		return null;
	end if;
	r := o.r;
%s	case o.todo
%s	when 0 then
		perform chimp.workflow_go(r, 1, null);
	end case;
	return null;
end $body$, case when initial is null then '' else format($part$	if r.seq = 0 or o.todo = 0 then
		case r.definition_id
%s		else null;
		end case;
	end if;
$part$, initial) end, steps);
	if body is distinct from (select p.prosrc from pg_proc p
		where p.oid = to_regprocedure(format('chimp.workflow_%s(jsonb)', w.id))) then
		execute format('create or replace function chimp.workflow_%s(payload jsonb) returns jsonb language plpgsql as %L',
			w.id, body);
		execute format('comment on function chimp.workflow_%s(jsonb) is %L', w.id,
			format('Moves a run of workflow "%s" on: a job''s handler.', w.name));
	end if;
end $make$;
comment on function chimp.workflow_make(chimp.workflow) is
	'Make chimp.workflow_ID, the handler of the queue workflow:NAME, with the steps of all versions that a live node has.';

create or replace function chimp.workflow_check(name text, d jsonb) returns void
language plpgsql as $$
declare
	x record;
	path jsonpath;
begin
	for x in
		select '' as step, k as key, d ->> k as value from unnest(array['sql', 'initial']) k
		union all
		select format(': step "%s"', s ->> 'name'), k, s ->> k
		from jsonb_array_elements(d -> 'steps') s, unnest(array['when', 'input', 'state', 'compensate_input']) k
	loop
		continue when x.value is null;
		begin
			if x.key = 'when' then
				path := x.value;
			elsif x.value ~ '^\s*[${[]' then
				perform chimp.workflow_sql(x.value, '$1');
			end if;
		exception when syntax_error or invalid_text_representation then
			raise exception 'workflow "%"%: % is no JSON path, nor JSON with such: %', name, x.step, x.key, sqlerrm using errcode = 'CH002',
				hint = 'a JSON path begins with $; https://www.postgresql.org/docs/current/functions-json.html has its language';
		end;
		if x.key <> 'when' and x.value !~ '^\s*[${[]' then
			perform chimp.check_function(format('workflow "%s"%s: %s', name, x.step, x.key), x.value);
		end if;
	end loop;
end $$;
comment on function chimp.workflow_check(text, jsonb) is
	'Raise CH002 unless the functions that a definition names exist and its JSON paths can be read.';

create or replace function chimp.workflow_put(name text, d jsonb) returns void
language plpgsql as $$
declare
	w chimp.workflow;
	o chimp.workflow_definition;
	of constant int := d ->> 'version';
	hash constant text := chimp.workflow_hash(d);
	changes text;
begin
	perform chimp.workflow_check(name, d);
	insert into chimp.workflow as x (name) values ($1) on conflict on constraint workflow_name_key do nothing;
	select * into w from chimp.workflow x where x.name = $1;
	select * into o from chimp.workflow_definition x where (x.workflow_id, x.version) = (w.id, of);
	if found and o.contract <> hash then
		select string_agg(x, '; ') into changes from chimp.workflow_differences(o.definition, d) x;
		raise exception 'workflow "%" version % is not what it was: %', name, of, changes using errcode = 'CH002',
			hint = format('its runs rely on it: make this version %s, and keep the old one beside it while it has open runs', of + 1);
	end if;
	insert into chimp.workflow_definition as x (workflow_id, version, definition, contract, max_transitions, retention_ms)
	values (w.id, of, d, hash, coalesce((d ->> 'max_transitions')::int, 10000),
		coalesce((d ->> 'retention_ms')::bigint, 2592000000))
	on conflict on constraint workflow_definition_workflow_id_version_key do update set definition = excluded.definition,
		max_transitions = excluded.max_transitions, retention_ms = excluded.retention_ms, active = true
	returning * into o;
	insert into chimp.workflow_step as x (definition_id, number, name, kind, definition)
	select o.id, s.n, s.s ->> 'name', s.s ->> 'kind', s.s
	from jsonb_array_elements(d -> 'steps') with ordinality s (s, n)
	union all
	select o.id, 1, '', 'run', '{}' where jsonb_array_length(coalesce(d -> 'steps', '[]')) = 0
	on conflict on constraint workflow_step_definition_id_number_key do update set definition = excluded.definition;
end $$;
comment on function chimp.workflow_put(text, jsonb) is
	'Insert or update a version of a workflow. CH002: its contract is not the one that it had, with the differences.';

create or replace function chimp.workflow_queue_put(name text) returns void
language plpgsql as $$
declare
	w chimp.workflow;
	d jsonb;
	queue int;
begin
	select * into w from chimp.workflow x where x.name = $1;
	perform chimp.workflow_make(w);
	-- Of the newest version: what a run of an older one needs more its steps say.
	select o.definition into d from chimp.workflow_definition o
	where o.workflow_id = w.id and o.active order by o.version desc limit 1;
	if not found then
		return;
	end if;
	queue := chimp.queue_put('workflow:' || w.name, d || jsonb_build_object('sql', 'chimp.workflow_' || w.id,
		'dead_letter', '', 'priority', 0, 'retention_ms', 3600000));
	update chimp.queue q set workflow_id = w.id where q.id = queue and q.workflow_id is distinct from w.id;
	update chimp.workflow x set queue_id = queue where x.id = w.id and x.queue_id is distinct from queue;
end $$;

create or replace function chimp.workflows_unpark() returns void
language plpgsql as $$
declare
	r chimp.workflow_run;
	s chimp.workflow_step;
begin
	for r in
		select o.* from chimp.workflow_run o join chimp.workflow_definition d on d.id = o.definition_id
		where o.status = 'parked' and d.active order by o.id for update of o
	loop
		r.status := r.parked_from;
		r.parked_from := null;
		if r.failing is null then
			r.error := null;
		end if;
		if r.status <> 'waiting_signal' or r.wake_at is not null then
			perform chimp.workflow_unschedule(r);
			select * into s from chimp.workflow_step o where o.id = r.step_id;
			r.job_id := chimp.workflow_job(r, s);
		end if;
		perform chimp.workflow_save(r);
		-- What it was sent meanwhile.
		perform chimp.workflow_enqueue(r.definition_id, jsonb_build_object('run', r.id, 'signal', x.name), null,
			null, null, r.trace)
		from (select distinct m.name from chimp.workflow_signal m where m.run_id = r.id and m.consumed_seq is null) x;
	end loop;
end $$;
comment on function chimp.workflows_unpark() is
	'Have parked runs go on whose version a live node has again.';

create or replace function chimp.workflow_retry_ms(q chimp.queue, j chimp.job, attempt int) returns bigint
language sql volatile as $$
	select chimp.retry_delay_ms(coalesce(s.d ->> 'backoff', q.backoff),
		coalesce((s.d ->> 'retry_delay_ms')::bigint, q.retry_delay_ms),
		coalesce((s.d ->> 'retry_delay_max_ms')::bigint, q.retry_delay_max_ms), attempt)
	from (select (select s.definition from chimp.workflow_run r join chimp.workflow_step s on s.id = r.step_id
		where r.id = (j.payload ->> 'run')::bigint)) s (d)
$$;
comment on function chimp.workflow_retry_ms(chimp.queue, chimp.job, int) is
	'chimp.retry_delay_ms by the policy of the job''s step, and of its workflow where that says nothing.';

create or replace function chimp.workflow_retain(max_runs int) returns int
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	gone bigint[];
	ids text[];
begin
	with old as (
		delete from chimp.workflow_run r where r.id = any (array(
			select o.id from chimp.workflow_definition d
			cross join lateral (
				select x.id from chimp.workflow_run x
				where x.definition_id = d.id and x.ended_at < clock_timestamp() - d.retention_ms * interval '1 ms'
				order by x.ended_at limit max_runs for update skip locked) o
			limit max_runs))
		returning r.id, r.external_id
	)
	select coalesce(array_agg(o.id), '{}'), coalesce(array_agg(o.external_id), '{}') into gone, ids from old o;
	if gone = '{}' then
		return 0;
	end if;
	delete from chimp.workflow_signal s where s.run_id = any (gone);
	delete from chimp.workflow_history h where h.run_id = any (gone);
	delete from chimp.workflow_memo m where m.workflow_id = any (ids);
	return cardinality(gone);
end $$;
comment on function chimp.workflow_retain(int) is
	'Delete up to so many runs that have ended longer ago than the retention of their workflow, with all that is kept of them; how many.';
