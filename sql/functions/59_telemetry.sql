-- Counters, and what handlers log and measure.

-- Counters ---------------------------------------------------------------------------

create or replace function chimp.counter_add(name text, by numeric default 1) returns void
language plpgsql as $$
begin
	perform chimp.name_check('chimp.counter_add', name);
	-- Of numbers without a bound a sum may be none.
	if by is null or by = 'NaN' or abs(by) > 1e100 then
		raise exception 'chimp.counter_add: cannot add % to "%"', coalesce(by::text, 'NULL'), name using errcode = '22023';
	end if;
	insert into chimp.counter_change (name, change) values ($1, $2);
end $$;
comment on function chimp.counter_add(text, numeric) is
	'Add to a counter when this transaction commits. It waits for nobody who adds to the same one. 22023: no such name, or a number beyond 1e100.';

create or replace view chimp.counters as
select c.name, sum(c.value) as value from (
	select v.name, v.value from chimp.counter_value v
	union all
	select h.name, h.change from chimp.counter_change h) c
group by c.name;
comment on view chimp.counters is 'Counters, with all that is committed.';

create or replace function chimp.counter_get(name text) returns numeric
language sql stable as $$
	select coalesce((select v.value from chimp.counter_value v where v.name = $1), 0)
		+ coalesce((select sum(h.change) from chimp.counter_change h where h.name = $1), 0)
$$;
comment on function chimp.counter_get(text) is 'The sum of all that was added to a counter; 0 if nothing was.';

create or replace function chimp.counter_delete(name text) returns boolean
language plpgsql as $$
declare
	had_changes boolean;
begin
	-- First, so that who is folding them has put them into the value.
	delete from chimp.counter_change h where h.name = $1;
	had_changes := found;
	delete from chimp.counter_value v where v.name = $1;
	return found or had_changes;
end $$;
comment on function chimp.counter_delete(text) is
	'Let a counter begin anew; whether there was one. What others are just adding stays.';

create or replace function chimp.counters_fold(max_rows int) returns int
language sql as $$
	with folded as (
		delete from chimp.counter_change h where h.ctid = any (array(
			select o.ctid from chimp.counter_change o limit max_rows for update skip locked))
		returning h.name, h.change
	), sums as (
		insert into chimp.counter_value as v (name, value)
		select f.name, sum(f.change) from folded f group by f.name order by f.name
		on conflict on constraint counter_value_pkey do update set value = v.value + excluded.value
	)
	select count(*)::int from folded
$$;
comment on function chimp.counters_fold(int) is
	'Put up to so many changes of counters into their values; how many.';

-- Logs and metrics -------------------------------------------------------------------

create or replace function chimp.log(level text, message text, attrs jsonb default '{}') returns void
language plpgsql as $$
declare
	job constant jsonb := chimp.job();
	request_id constant text := chimp.trace() ->> 'requestId';
begin
	if level is null or level not in ('error', 'warn', 'info', 'debug') then
		raise exception 'chimp.log: the level is error, warn, info or debug, not %', coalesce(level, 'NULL')
			using errcode = '22023';
	elsif message is null or jsonb_typeof(coalesce(attrs, '{}')) <> 'object' then
		raise exception 'chimp.log: a message, and attrs as an object' using errcode = '22023';
	end if;
	-- In the log of the process at once, whatever becomes of the transaction.
	raise info '%', concat(left(concat(message, ' ' || nullif(attrs, '{}')::text), 2000),
			' (job ' || (job ->> 'id') || ' of ' || (job ->> 'queue') || ')', ' (request ' || request_id || ')')
		using errcode = 'CHP03', detail = level;
	if current_setting('transaction_read_only') = 'off' then
		insert into chimp.log_entry (level, message, attrs, job_id, queue, request_id)
		values ($1, $2, coalesce($3, '{}'), (job -> 'id')::bigint, job ->> 'queue', request_id);
	end if;
end $$;
comment on function chimp.log(text, text, jsonb) is
	'Log a message, of level error, warn, info or debug: in the log of the process that runs this at once, and in chimp.logs when this transaction commits, unless it is read-only. 22023: another level, no message, attrs that are no object.';

create or replace view chimp.logs as
select e.id, e.at, e.level, e.message, e.attrs, e.job_id, e.queue, e.request_id from chimp.log_entry e;
comment on view chimp.logs is 'What handlers have logged, for telemetry_retention: by which job, for which HTTP request.';

create or replace function chimp.metric(name text, value float8, labels jsonb default '{}') returns void
language plpgsql as $$
begin
	perform chimp.name_check('chimp.metric', name);
	if coalesce(value, 'NaN') in ('NaN', 'Infinity', '-Infinity') or jsonb_typeof(coalesce(labels, '{}')) <> 'object' then
		raise exception 'chimp.metric: "%" needs a number, and labels as an object', name using errcode = '22023';
	end if;
	insert into chimp.metric_sample (name, value, labels) values ($1, $2, coalesce($3, '{}'));
end $$;
comment on function chimp.metric(text, float8, jsonb) is
	'Record a value of a metric when this transaction commits. 22023: no such name or number, labels that are no object.';

create or replace view chimp.metric_samples as
select s.id, s.at, s.name, s.value, s.labels from chimp.metric_sample s;
comment on view chimp.metric_samples is 'What handlers have measured, for telemetry_retention.';

create or replace function chimp.telemetry_retain(max_rows int) returns int
language plpgsql as $$
declare
	until constant timestamptz := clock_timestamp() - (select s.retention_ms * interval '1 ms' from chimp.telemetry_store s);
begin
	return chimp.remove_old('chimp.log_entry', 'at', until, max_rows)
		+ chimp.remove_old('chimp.metric_sample', 'at', until, max_rows);
end $$;
comment on function chimp.telemetry_retain(int) is
	'A step of keeping logs and metrics for telemetry_retention, of up to so many rows of each; how many.';
