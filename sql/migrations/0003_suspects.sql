-- Poison (G7): jobs that ran when their process died by its own fault.
-- oldest-binary: 2

-- They are ready, but run only in a process that runs nothing else.
create table chimp.job_suspect (
	job_id bigint primary key,
	queue_id int not null,
	since timestamptz not null default clock_timestamp()
);
create index job_suspect_queue on chimp.job_suspect (queue_id, job_id);
