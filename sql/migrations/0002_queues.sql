-- Queues that do not decay: narrow ready rows, claims and ends by the chunk.
-- oldest-binary: 2
--
-- doc/queues.md says why the tables look like this, with the measurements.

-- What is in the way; functions/ brings it again.
drop view if exists chimp.jobs, chimp.queues;
drop function if exists chimp.job_to_ready(chimp.queue, bigint, int, int, int, timestamptz),
	chimp.promote(int), chimp.claim_queue(uuid, int, int), chimp.claim(uuid, int[], int),
	chimp.job_close(bigint, int), chimp.job_dead(chimp.job_claim, jsonb),
	chimp.job_done(bigint, bigint, jsonb), chimp.wake_workers(text, regclass);

-- Policies --------------------------------------------------------------------

alter table chimp.queue
	add concurrency int not null default 0,           -- running at once; 0 = no limit
	add key_concurrency int not null default 1,       -- of one ordering key
	add rate_count int not null default 0,            -- starts in any rate_ms; 0 = no limit
	add rate_ms bigint not null default 0,
	add group_max int not null default 32,            -- jobs that may share a transaction
	add unique_for_ms bigint not null default 0,      -- a key outlives its job by this
	add retention_ms bigint not null default 86400000,        -- of done and cancelled jobs
	add retention_dead_ms bigint not null default 2592000000,
	add max_ready bigint not null default 0;          -- 0 = no bound

-- Jobs ------------------------------------------------------------------------

-- NULL: as the queue says when it is asked, so that most rows are narrow.
alter table chimp.job
	alter max_attempts drop not null,
	alter timeout_ms drop not null;

-- What jobs have behind them. No row: nothing yet.
create table chimp.job_attempt (
	job_id bigint primary key,
	attempt int not null default 0,          -- attempts charged
	interruptions int not null default 0,    -- uncharged ends of claims
	crashes int not null default 0           -- of these, deaths of a process by its own fault
);
insert into chimp.job_attempt (job_id, attempt, interruptions)
select s.job_id, s.attempt, s.interruptions
from (select r.job_id, r.attempt, r.interruptions from chimp.job_ready r
	union all select o.job_id, o.attempt, o.interruptions from chimp.job_scheduled o
	union all select c.job_id, c.attempt, c.interruptions + 1 from chimp.job_claim c
	union all select e.job_id, e.attempt - (e.state = 'done')::int, e.interruptions from chimp.job_ended e) s
where s.attempt > 0 or s.interruptions > 0;

-- A binary that claimed by the job is fenced off: what it ran is rolled back.
insert into chimp.job_ready (queue_id, rank, job_id, attempt, interruptions)
select c.queue_id, -j.priority, c.job_id, 0, 0 from chimp.job_claim c join chimp.job j on j.id = c.job_id;
alter table chimp.job_ready drop attempt, drop interruptions;
alter table chimp.job_scheduled drop attempt, drop interruptions;
drop index chimp.job_scheduled_due;
create index job_scheduled_due on chimp.job_scheduled (queue_id, run_at, job_id);

-- A claim is a chunk: jobs of one queue that one connection will run, in one
-- transaction if the chunk is larger than one.
drop table chimp.job_claim;
create table chimp.job_claim (
	token bigint primary key,                -- fencing: larger than any before
	process_id uuid not null,
	queue_id int not null,
	jobs bigint[] not null,
	claimed_at timestamptz not null default clock_timestamp()
);
create index job_claim_process on chimp.job_claim (process_id);
create index job_claim_queue on chimp.job_claim (queue_id);

-- Ends ------------------------------------------------------------------------

-- Jobs that are done, by the chunk. All of one row have the same id >> 10, so
-- that a job is found among at most 1,024 others.
create table chimp.job_done (
	bucket bigint not null,                  -- id >> 10
	queue_id int not null,
	xid xid8 not null default pg_current_xact_id(),
	process_id uuid,
	started_at timestamptz,
	ended_at timestamptz not null default clock_timestamp(),
	jobs bigint[] not null,
	results jsonb[]                          -- as jobs; NULL: all are NULL
);
create index job_done_bucket on chimp.job_done (bucket);
create index job_done_xid on chimp.job_done (xid);
create index job_done_retention on chimp.job_done (queue_id, ended_at);
insert into chimp.job_done (bucket, queue_id, process_id, started_at, ended_at, jobs, results)
select e.job_id >> 10, e.queue_id, e.process_id, e.started_at, e.ended_at, array[e.job_id],
	case when e.result is not null then array[e.result] end
from chimp.job_ended e where e.state = 'done' order by e.job_id;
delete from chimp.job_ended e where e.state = 'done';

-- Those that ended otherwise have a row each.
alter table chimp.job_ended
	drop result, drop attempt, drop interruptions,
	add constraint job_ended_not_done check (state <> 'done');
drop index chimp.job_ended_dead;
create index job_ended_state on chimp.job_ended (queue_id, state, job_id);
create index job_ended_retention on chimp.job_ended (queue_id, state, ended_at);

-- Keys and limits -------------------------------------------------------------

-- Up to key_concurrency jobs hold an ordering key.
alter table chimp.job_key drop constraint job_key_pkey, add primary key (queue_id, ordering_key, job_id);

alter table chimp.job_unique add expires_at timestamptz;     -- NULL: with its job
create index job_unique_expires on chimp.job_unique (expires_at) where expires_at is not null;

-- Starts of jobs of queues that have a rate.
create table chimp.queue_start (
	queue_id int not null,
	started_at timestamptz not null,
	jobs int not null
);
create index queue_start_at on chimp.queue_start (queue_id, started_at);

-- What a running handler says of itself (chimp.progress).
create table chimp.job_progress (
	job_id bigint primary key,
	progress jsonb not null,
	at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- Statistics ------------------------------------------------------------------

-- Counts by the maintenance step. Done jobs are counted once, when a snapshot
-- first sees them; the others are walked, a bounded piece at a time.
create table chimp.queue_count (
	queue_id int primary key references chimp.queue on delete cascade,
	ready bigint not null default 0,
	scheduled bigint not null default 0,
	done bigint not null default 0,
	dead bigint not null default 0,
	cancelled bigint not null default 0
) with (fillfactor = 50);
insert into chimp.queue_count (queue_id) select q.id from chimp.queue q;

create table chimp.maintenance (
	id int primary key default 1 check (id = 1),     -- there is one row
	snapshot pg_snapshot not null,           -- done jobs that it sees are counted
	kept_at timestamptz not null default clock_timestamp(),  -- the last step
	walked_at timestamptz,                   -- the last end of a walk
	-- The walk: where it goes on, and what it has counted there.
	walk_queue int not null default 0,
	walk_state text not null default 'ready',
	walk_rank int not null default -2147483648,      -- of ready
	walk_at timestamptz not null default '-infinity',    -- of scheduled
	walk_job bigint not null default 0,
	walk_n bigint not null default 0
) with (fillfactor = 10);
-- Before everything: nothing is counted yet.
insert into chimp.maintenance (snapshot) values ('3:3:');
