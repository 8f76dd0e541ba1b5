-- Schedules made at run time, pauses, what cannot be read, retention of firings.
-- oldest-binary: 2

alter table chimp.schedule
	add run_time boolean not null default false,     -- made by chimp.cron_set, not by an app
	add paused_at timestamptz,
	add paused_by text,
	add error text,                          -- why a cron process cannot read this revision
	-- Slots up to here may have fired though their row is gone: they never fire.
	add forgotten_until timestamptz not null default '-infinity';

-- The newest that have a job, however many were skipped since (overlap).
create index firing_job on chimp.firing (schedule_id, slot_at) where job_id is not null;

-- Runs by hand. No foreign key: a run locks no schedule.
create table chimp.manual_run (
	job_id bigint primary key,
	schedule_id bigint not null,
	run_at timestamptz not null default clock_timestamp(),
	run_by text not null default session_user
);
create index manual_run_schedule on chimp.manual_run (schedule_id, run_at);

alter table chimp.maintenance
	add firings_at timestamptz not null default '-infinity';     -- the last time none was too old
