-- The tables of chimp: registry, queues, cron, events.
-- oldest-binary: 1

-- Nodes and processes -------------------------------------------------------

create table chimp.node (
	id uuid primary key,                     -- of the master's birth
	name text not null,
	registered_at timestamptz not null default clock_timestamp()
);
comment on table chimp.node is
	'Masters that registered their apps; gone when they have had no live process for a minute.';

create table chimp.process (
	id uuid primary key,                     -- unique per birth; names are labels
	node_id uuid not null,
	node text not null,
	role text not null,
	class text,                              -- of a worker
	slot int not null,
	pid int not null,
	version text not null,
	queues text[],                           -- a worker's patterns
	busy int not null default 0,
	status text not null default '',
	started_at timestamptz not null default clock_timestamp(),
	lease_until timestamptz not null
) with (fillfactor = 50);
comment on table chimp.process is
	'Live processes. Claims and lanes carry the id; when lease_until has passed by this database''s clock, any other process releases them.';

-- Registry ------------------------------------------------------------------

create table chimp.registration (
	kind text not null check (kind in ('action', 'route', 'queue', 'subscription', 'schedule')),
	name text not null,
	app text not null,
	definition jsonb not null,
	revision bigint not null default 1,      -- grows when the definition changes
	active boolean not null default true,    -- some live node has it
	updated_at timestamptz not null default clock_timestamp(),
	primary key (kind, name)
);

create table chimp.node_registration (
	node_id uuid not null references chimp.node on delete cascade,
	kind text not null,
	name text not null,
	primary key (node_id, kind, name),
	foreign key (kind, name) references chimp.registration
);

-- Queues --------------------------------------------------------------------
--
-- A job's body (chimp.job) is immutable. Its state is the one table, of the
-- five below, in which it has a row: held, scheduled, ready, claim, ended.
-- Moving a job is deleting it in one and inserting it in another, so a job
-- cannot be in two states, and the claim scan sees ready jobs only.

create table chimp.queue (
	id int generated always as identity primary key,
	name text not null unique,
	handler text not null,                   -- schema.function
	max_attempts int not null,
	retry_delay_ms bigint not null,
	retry_delay_max_ms bigint not null,
	backoff text not null check (backoff in ('constant', 'linear', 'exponential')),
	timeout_ms bigint not null,              -- 0 = none
	dead_letter text not null,               -- '' = NAME.dlq, if there is one
	priority int not null,
	wake regclass,                           -- sequence: 2 = somebody sleeps
	active boolean not null default true,
	paused_at timestamptz,
	paused_by text
);
comment on column chimp.queue.wake is
	'A sequence used as a flag outside of transactions: 1 = consumers are busy, 2 = one of them sleeps and wants a NOTIFY. Visible at once, no dead rows.';

create table chimp.job (
	id bigint generated always as identity primary key,
	queue_id int not null,
	priority int not null,
	payload jsonb not null,
	created_at timestamptz not null default clock_timestamp(),
	max_attempts int not null,
	timeout_ms bigint not null,
	unique_key text,
	ordering_key text
);

create table chimp.job_ready (
	queue_id int not null,
	rank int not null,                       -- -priority: lowest first
	job_id bigint not null,
	attempt int not null,                    -- attempts charged so far
	interruptions int not null,              -- uncharged ends of claims
	primary key (queue_id, rank, job_id)
);

create table chimp.job_scheduled (
	job_id bigint primary key,
	queue_id int not null,
	run_at timestamptz not null,
	attempt int not null,
	interruptions int not null
);
create index job_scheduled_due on chimp.job_scheduled (queue_id, run_at);

create table chimp.job_claim (
	job_id bigint primary key,
	token bigint not null,                   -- fencing: larger than any before
	process_id uuid not null,
	queue_id int not null,
	attempt int not null,
	interruptions int not null,
	claimed_at timestamptz not null default clock_timestamp()
);
create index job_claim_process on chimp.job_claim (process_id);
create sequence chimp.token;

-- Jobs whose ordering key is held by an earlier one.
create table chimp.job_held (
	queue_id int not null,
	ordering_key text not null,
	job_id bigint not null,
	run_at timestamptz,                      -- NULL = at once
	primary key (queue_id, ordering_key, job_id)
);
-- The job that holds its ordering key, from ready to ended.
create table chimp.job_key (
	queue_id int not null,
	ordering_key text not null,
	job_id bigint not null,
	primary key (queue_id, ordering_key)
);

create table chimp.job_ended (
	job_id bigint primary key,
	queue_id int not null,
	state text not null check (state in ('done', 'dead', 'cancelled')),
	attempt int not null,
	interruptions int not null,
	started_at timestamptz,
	ended_at timestamptz not null default clock_timestamp(),
	process_id uuid,
	result jsonb,
	error jsonb
);
create index job_ended_dead on chimp.job_ended (queue_id, job_id) where state = 'dead';

create table chimp.job_unique (
	queue_id int not null,
	unique_key text not null,
	job_id bigint not null,
	primary key (queue_id, unique_key)
);

create table chimp.job_error (
	job_id bigint not null,
	attempt int not null,
	failed_at timestamptz not null default clock_timestamp(),
	error jsonb not null,                    -- sqlstate, message, detail, hint, context
	primary key (job_id, attempt, failed_at)
);

-- Cron ----------------------------------------------------------------------

create table chimp.schedule (
	id bigint generated always as identity primary key,
	name text not null unique,
	expression text not null,
	timezone text not null,
	misfire text not null,
	overlap text not null,
	jitter_ms bigint not null,
	queue_id int not null references chimp.queue,
	revision bigint not null default 1,
	planned boolean not null default false,  -- next_at is known
	next_at timestamptz,                     -- NULL and planned: never again
	active boolean not null default true
) with (fillfactor = 50);

create table chimp.firing (
	schedule_id bigint not null references chimp.schedule on delete cascade,
	slot_at timestamptz not null,
	fired_at timestamptz not null default clock_timestamp(),
	job_id bigint,                           -- NULL: skipped for overlap
	primary key (schedule_id, slot_at)
);

-- Events --------------------------------------------------------------------
--
-- Sequence order is not commit order. A tick is a snapshot taken under a lock,
-- one after the other; what is visible in tick n and not in tick n-1 is the
-- n-th piece of the stream. Position in the stream is (tick, event id).

create table chimp.event (
	id bigint generated always as identity primary key,
	xid xid8 not null default pg_current_xact_id(),
	name text not null,
	key text,
	payload jsonb not null,
	published_at timestamptz not null default clock_timestamp()
);
create index event_xid on chimp.event (xid, id);

create table chimp.tick (
	id bigint primary key,                   -- without gaps
	snapshot pg_snapshot not null,
	ticked_at timestamptz not null default clock_timestamp()
);
insert into chimp.tick (id, snapshot) values (0, pg_current_snapshot());

create sequence chimp.wake_event;                -- as chimp.queue.wake
select setval('chimp.wake_event', 2);

create table chimp.subscription (
	id bigint generated always as identity primary key,
	name text not null unique,
	event text not null,                     -- exact name, or 'order.*'
	handler text not null,
	max_attempts int not null,
	retry_delay_ms bigint not null,
	retry_delay_max_ms bigint not null,
	backoff text not null,
	lanes int not null check (lanes > 0),
	batch int not null,
	on_failure text not null check (on_failure in ('park', 'pause')),
	active boolean not null default true
);

create table chimp.lane (
	id bigint generated always as identity primary key,
	subscription_id bigint not null references chimp.subscription,
	number int not null,
	tick bigint not null,                    -- cursor: everything up to
	event_id bigint not null,                -- (tick, event_id) is handled
	process_id uuid,                         -- owner
	epoch bigint not null default 0,         -- fencing: grows per owner
	attempts int not null default 0,         -- failures of the next event
	retry_at timestamptz,
	paused_at timestamptz,                   -- on_failure = pause
	last_error jsonb,
	unique (subscription_id, number)
) with (fillfactor = 50);

create table chimp.dead_event (
	subscription_id bigint not null references chimp.subscription,
	event_id bigint not null references chimp.event,
	lane int not null,
	attempts int not null,
	error jsonb not null,
	parked_at timestamptz not null default clock_timestamp(),
	primary key (subscription_id, event_id)
);
