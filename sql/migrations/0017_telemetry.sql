-- Counters, and what handlers log and measure.
-- oldest-binary: 2

create table chimp.counter_value (
	name text collate "C" primary key,
	value numeric not null
);
-- What is not in there yet. Only inserted into, so that nobody waits for anybody.
create table chimp.counter_change (
	name text collate "C" not null,
	change numeric not null
);
create index counter_change_of on chimp.counter_change (name);

create table chimp.log_entry (
	id bigint primary key generated always as identity,
	at timestamptz not null default clock_timestamp(),
	level text not null check (level in ('error', 'warn', 'info', 'debug')),
	message text not null,
	attrs jsonb not null,
	job_id bigint,
	queue text,
	request_id text
);
create index log_entry_at on chimp.log_entry (at);
create index log_entry_job on chimp.log_entry (job_id) where job_id is not null;

create table chimp.metric_sample (
	id bigint primary key generated always as identity,
	at timestamptz not null default clock_timestamp(),
	name text collate "C" not null,
	value float8 not null,
	labels jsonb not null
);
create index metric_sample_at on chimp.metric_sample (at);
create index metric_sample_of on chimp.metric_sample (name, at);

create table chimp.telemetry_store (
	id int primary key default 1 check (id = 1),     -- there is one row
	retention_ms bigint not null default 604800000
);
insert into chimp.telemetry_store default values;
