-- Less to do for an event and for a delivery.
-- oldest-binary: 2

-- What publishers read with every event, in one sequence instead of two: the
-- partition that is written, and whether somebody asked for a NOTIFY.
create sequence chimp.event_now;
select setval('chimp.event_now', pg_sequence_last_value('chimp.event_ring') * 2 + 1);
drop sequence chimp.event_ring, chimp.wake_event;

-- Which partitions a tick's events lie in, so that the others are not opened.
alter table chimp.tick
	add rings int not null default 30;       -- bit n: partition n
