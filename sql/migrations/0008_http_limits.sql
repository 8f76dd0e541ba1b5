-- Rates of routes, and answers kept for Idempotency-Key.
-- oldest-binary: 2

-- A rate's starts: a row that serializes, and a ring of the last ones. A crash
-- of the server empties both: counting begins anew.
create unlogged table chimp.http_rate (
	key bytea primary key,                   -- sha256 of route, rate and who is counted
	id bigint not null generated always as identity,
	starts bigint not null default 0,        -- so far; number n lies in slot n % count
	oldest bigint not null default 0,        -- those of smaller numbers have left the window
	idle_at timestamptz not null             -- the newest start has left the window
) with (fillfactor = 50);
comment on table chimp.http_rate is
	'Who was counted by the rate of a route; no row can say who that was.';

create unlogged table chimp.http_rate_start (
	rate_id bigint not null,
	slot int not null,
	at timestamptz not null,
	primary key (rate_id, slot)
) with (fillfactor = 50);

-- It guards effects, so it survives a crash.
create table chimp.http_answer (
	key bytea primary key,                   -- sha256 of route, Authorization and Idempotency-Key
	fingerprint bytea not null,              -- sha256 of path, query and body
	status int,                              -- of the result; null only while its request runs
	result jsonb,
	response text,                           -- what chimp.respond set, or null
	expires_at timestamptz not null
) with (fillfactor = 90);
create index http_answer_expires on chimp.http_answer (expires_at);
comment on table chimp.http_answer is
	'Answers kept for their Idempotency-Key, each written in the transaction of its action.';
