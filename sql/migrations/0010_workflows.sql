-- Workflows: long-running processes, a job for each step.
-- oldest-binary: 2

-- One for each name; its runs' steps are jobs of the queue workflow:NAME.
create table chimp.workflow (
	id int generated always as identity primary key,
	name text not null unique,
	queue_id int                             -- NULL only while it is being made
);
alter table chimp.queue add workflow_id int;         -- NULL: an ordinary queue

create table chimp.workflow_definition (
	id int generated always as identity primary key,
	workflow_id int not null references chimp.workflow,
	version int not null,
	definition jsonb not null,
	contract text not null,                  -- chimp.workflow_contract, hashed
	max_transitions int not null,
	retention_ms bigint not null,
	active boolean not null default true,    -- a live node has it
	registered_at timestamptz not null default clock_timestamp(),
	unique (workflow_id, version)
);

create table chimp.workflow_step (
	id int generated always as identity primary key,
	definition_id int not null references chimp.workflow_definition,
	number int not null,                     -- from 1
	name text not null,                      -- '' = the handler of the run form
	kind text not null check (kind in ('run', 'action', 'signal', 'sleep', 'goto', 'workflow')),
	definition jsonb not null,
	unique (definition_id, number)
);

create table chimp.workflow_run (
	id bigint generated always as identity primary key,
	external_id text not null unique,        -- what users call it by
	definition_id int not null,
	status text not null check (status in ('running', 'sleeping', 'waiting_signal', 'completed', 'failed',
		'cancelled', 'parked')),
	seq int not null default 0,              -- transitions made; a wake carries its number
	hops int not null default 0,             -- of these, since it slept or waited last
	step_id int,                             -- NULL: before the first, behind the last
	step text,                               -- its name; in the run form as the handler says
	waits_for text,                          -- name of a signal
	on_timeout text,
	wake_at timestamptz,
	job_id bigint,                           -- that will move it on; NULL: only a signal does
	call jsonb,                              -- run form: an action to call, or its result
	failing text,                            -- compensating: what it will end as
	undo_seq int,                            -- the step that is being compensated
	parked_from text,                        -- status to go back to
	input jsonb not null,
	state jsonb not null default '{}',
	results jsonb not null default '{}',
	error jsonb,
	parent_id bigint,
	created_at timestamptz not null default clock_timestamp(),
	updated_at timestamptz not null default clock_timestamp(),
	ended_at timestamptz,
	trace text default nullif(current_setting('chimp.trace', true), '')
) with (fillfactor = 80);
create index workflow_run_status on chimp.workflow_run (definition_id, status, id);
create index workflow_run_ended on chimp.workflow_run (definition_id, ended_at) where ended_at is not null;
create index workflow_run_parent on chimp.workflow_run (parent_id) where parent_id is not null;

-- Kept until its run is forgotten, so that a dedup id is known as long.
create table chimp.workflow_signal (
	id bigint generated always as identity primary key,
	run_id bigint not null,
	name text not null,
	payload jsonb,
	dedup_id text,
	received_at timestamptz not null default clock_timestamp(),
	consumed_seq int                         -- the transition that it has caused
);
create index workflow_signal_run on chimp.workflow_signal (run_id, name, id);
create unique index workflow_signal_dedup on chimp.workflow_signal (run_id, dedup_id) where dedup_id is not null;

-- One row for each transition, only ever appended but for undo.
create table chimp.workflow_history (
	run_id bigint not null,
	seq int not null,
	step text,
	what text not null,
	at timestamptz not null default clock_timestamp(),
	job_id bigint,
	attempts int,                            -- of that job
	undo boolean not null default false,     -- is to be compensated when the run fails
	input jsonb,                             -- where undo is to have it
	result jsonb,
	error jsonb,
	primary key (run_id, seq)
);

-- What chimp.step has recorded.
create table chimp.workflow_memo (
	workflow_id text not null,
	key text not null,
	handler text not null,
	result jsonb,
	at timestamptz not null default clock_timestamp(),
	primary key (workflow_id, key)
);

alter table chimp.registration drop constraint registration_kind_check,
	add constraint registration_kind_check check (kind in ('action', 'route', 'queue', 'subscription', 'schedule',
		'workflow'));
