-- What cron looks for, found by an index however many schedules there are.
-- oldest-binary: 2

create index schedule_due on chimp.schedule (next_at)
	where active and planned and paused_at is null and error is null;
create index schedule_unplanned on chimp.schedule (id) where active and not planned and error is null;
create index schedule_unreadable on chimp.schedule (id) where active and error is not null;
