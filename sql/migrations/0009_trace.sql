-- Which HTTP request a job or an event comes from; what processes say of
-- themselves for /metrics.
-- oldest-binary: 2

-- chimp.group_jobs(bigint[]) and chimp.event_json of five arguments stay for the
-- processes that are at work meanwhile; nothing new calls them.

-- "REQUEST-ID TRACEPARENT", by the setting that requests are run with, and jobs
-- and events that have one. As a default, so that an insert says nothing of it;
-- added without one, so that no row is touched.
alter table chimp.job add trace text;
alter table chimp.job alter trace set default nullif(current_setting('chimp.trace', true), '');
alter table chimp.event add trace text;
alter table chimp.event alter trace set default nullif(current_setting('chimp.trace', true), '');
alter table chimp.dead_event add trace text;

-- Lost in a crash, and said anew within seconds.
create unlogged table chimp.process_stats (
	process_id uuid primary key,
	at timestamptz not null default clock_timestamp(),
	stats text not null                      -- lines of Prometheus' text format
) with (fillfactor = 50);
comment on table chimp.process_stats is
	'Figures of processes, a few seconds old: what GET /metrics shows of the other processes of its node.';
