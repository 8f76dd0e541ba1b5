-- What a handler can ask about its call, and how chimp speaks to itself.

create or replace function chimp.request() returns jsonb
language sql stable parallel safe as $$
	select nullif(current_setting('chimp.request', true), '')::jsonb
$$;
comment on function chimp.request() is
	'The HTTP request that runs this transaction: method, path, scheme, headers, query, peer, requestId, traceparent, tracestate if there is one; NULL outside of one.';

create or replace function chimp.trace() returns jsonb
language sql stable parallel safe as $$
	select jsonb_build_object('requestId', split_part(t, ' ', 1), 'traceparent', split_part(t, ' ', 2))
	from nullif(current_setting('chimp.trace', true), '') t where t is not null
$$;
comment on function chimp.trace() is
	'The HTTP request that this transaction goes back to: requestId, traceparent. In the request''s own, in the runs of jobs that it has enqueued and of events that it has published, and so on; NULL elsewhere.';

create or replace function chimp.respond(status int, body jsonb default null, headers jsonb default '{}')
returns void language plpgsql as $$
begin
	if status is null or status not between 200 and 599 then
		raise exception 'chimp.respond: status must be from 200 to 599, not %', status
			using errcode = '22023';
	end if;
	if jsonb_typeof(coalesce(headers, '{}')) <> 'object' then
		raise exception 'chimp.respond: headers must be a JSON object'
			using errcode = '22023';
	end if;
	perform set_config('chimp.response', jsonb_build_object('status', status,
		'body', body, 'headers', coalesce(headers, '{}'))::text, true);
end $$;
comment on function chimp.respond(int, jsonb, jsonb) is
	'Set the HTTP answer: status 200 to 599, a JSON body (NULL: none), headers as {"name": "value"}. The last call wins; the handler''s result is not sent.';

create or replace function chimp.retry_delay_ms(backoff text, delay_ms bigint, max_ms bigint, attempt int)
returns bigint language sql volatile as $$
	-- Full jitter as in M. Brooker, "Exponential Backoff And Jitter" (AWS
	-- Architecture Blog, 2015). 2^40 s is beyond every cap.
	select case backoff
		when 'constant' then least(delay_ms, max_ms)
		when 'linear' then least(delay_ms * attempt, max_ms)
		else (random() * least(delay_ms * power(2, least(attempt - 1, 40)), max_ms))::bigint
	end
$$;
comment on function chimp.retry_delay_ms(text, bigint, bigint, int) is
	'Milliseconds to wait after the failure of attempt number `attempt` (from 1).';

create or replace function chimp.error_json(sqlstate text, message text, detail text, hint text, context text)
returns jsonb language sql immutable as $$
	select jsonb_strip_nulls(jsonb_build_object('sqlstate', sqlstate, 'message', message,
		'detail', detail, 'hint', hint, 'context', context))
$$;

create or replace function chimp.to_ms(at timestamptz) returns bigint
language sql immutable parallel safe as $$
	select (extract(epoch from at) * 1000)::bigint
$$;
comment on function chimp.to_ms(timestamptz) is 'Milliseconds since 1970.';

create or replace function chimp.from_ms(ms bigint) returns timestamptz
language sql immutable parallel safe as $$
	select to_timestamp(ms / 1000.0)
$$;

create or replace function chimp.name_check(what text, name text) returns void
language plpgsql immutable as $$
begin
	if octet_length(name) between 1 and 255 then
		return;
	end if;
	raise exception '%: a name has 1 to 255 bytes, not %', what, coalesce(octet_length(name), 0) using errcode = '22023';
end $$;
comment on function chimp.name_check(text, text) is
	'Is it a name, of 1 to 255 bytes? 22023: it is not; `what` says of what.';
