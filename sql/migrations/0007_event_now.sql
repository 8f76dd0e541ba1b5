-- What publishers read with every event, in one sequence instead of two: the
-- partition that is written, and whether somebody asked for a NOTIFY.
-- oldest-binary: 2

create sequence chimp.event_now;
select setval('chimp.event_now', pg_sequence_last_value('chimp.event_ring') * 2 + 1);
drop sequence chimp.event_ring, chimp.wake_event;
