-- chimp.step: durable steps inside of a handler.

create or replace function chimp.step(workflow text, key text, handler text, input jsonb default '{}') returns jsonb
language plpgsql as $$
declare
	m chimp.workflow_memo;
	result jsonb;
begin
	if coalesce(workflow, '') = '' or coalesce(key, '') = '' then
		raise exception 'chimp.step: a step needs a workflow and a key' using errcode = '22023';
	end if;
	-- One at a time, to its commit: the second finds what the first has recorded.
	perform pg_advisory_xact_lock(hashtextextended('chimp.step ' || workflow || ' ' || key, 0));
	select * into m from chimp.workflow_memo o where (o.workflow_id, o.key) = ($1, $2);
	if found then
		if m.handler <> handler then
			raise exception 'chimp.step: step "%" of "%" was run by %, not by %', key, workflow, m.handler, handler
				using errcode = 'CH003', hint = 'give each step of a workflow a key of its own';
		end if;
		return m.result;
	end if;
	perform chimp.check_function(format('chimp.step "%s"', key), handler);
	execute format('select %s($1)', to_regprocedure(handler || '(jsonb)')::regproc) into result using input;
	insert into chimp.workflow_memo (workflow_id, key, handler, result) values ($1, $2, $3, result);
	return result;
end $$;
comment on function chimp.step(text, text, text, jsonb) is
	'Run handler(input) once for this workflow and key, and return what it has returned then: recorded with its effects when the caller commits, so that code that is run again goes on where it was. CH002: no such handler. CH003: the key was another handler''s.';

create or replace function chimp.step_forget(workflow text) returns int
language plpgsql as $$
declare
	n int;
begin
	if exists (select from chimp.workflow_run r where r.external_id = $1 and r.ended_at is null) then
		raise exception 'chimp.step_forget: "%" is a run that has not ended: it needs its steps', workflow
			using errcode = 'CH003', hint = 'cancel it first';
	end if;
	delete from chimp.workflow_memo m where m.workflow_id = $1;
	get diagnostics n = row_count;
	return n;
end $$;
comment on function chimp.step_forget(text) is
	'Forget what chimp.step has recorded for this workflow; how many steps. Those of runs go with their retention; those under another name stay until this is called. CH003: it is a run that has not ended.';
