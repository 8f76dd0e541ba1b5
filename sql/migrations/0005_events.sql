-- Events in rotated partitions; cursors that are inserted and never updated.
-- oldest-binary: 2
--
-- doc/events.md says why the tables look like this.

-- What is in the way; functions/ brings it again.
drop view if exists chimp.events, chimp.dead_events, chimp.subscriptions;
drop function if exists chimp.lane_events(chimp.lane, chimp.subscription, bigint, int),
	chimp.lanes_claim(uuid, bigint[]);

-- Events ----------------------------------------------------------------------

-- Four partitions are written one after the other; the one to be written next
-- is empty. Nothing is ever created or dropped while events are published.
alter table chimp.dead_event drop constraint dead_event_event_id_fkey;
alter table chimp.event rename to event_before;
create sequence chimp.event_id;
create table chimp.event (
	ring smallint not null,
	id bigint not null default nextval('chimp.event_id'),
	xid xid8 not null default pg_current_xact_id(),
	name text not null,
	key text,
	payload jsonb not null,
	published_at timestamptz not null default clock_timestamp()
) partition by list (ring);
alter sequence chimp.event_id owned by chimp.event.id;
create table chimp.event_1 partition of chimp.event for values in (1);
create table chimp.event_2 partition of chimp.event for values in (2);
create table chimp.event_3 partition of chimp.event for values in (3);
create table chimp.event_4 partition of chimp.event for values in (4);
create index event_by_id on chimp.event (id);
create index event_by_xid on chimp.event (xid, id);
insert into chimp.event (ring, id, xid, name, key, payload, published_at)
select 1, e.id, e.xid, e.name, e.key, e.payload, e.published_at from chimp.event_before e;
select setval('chimp.event_id', max(e.id)) from chimp.event_before e having max(e.id) is not null;

-- The partition that is written, visible at once to everybody.
create sequence chimp.event_ring;
select setval('chimp.event_ring', 1);

create table chimp.event_store (
	id int primary key default 1 check (id = 1),     -- there is one row
	retention_ms bigint not null default 604800000,
	first_tick bigint not null default 0     -- cursors before it have missed something
);
insert into chimp.event_store default values;
create table chimp.event_partition (
	ring smallint primary key,
	since timestamptz,                       -- written from; NULL: empty
	until timestamptz                        -- written until; NULL: it is the one
);
insert into chimp.event_partition (ring, since)
values (1, clock_timestamp()), (2, null), (3, null), (4, null);

alter table chimp.tick
	-- Ids of the events whose transactions began after the tick before.
	add first_id bigint not null default 0,
	add last_id bigint not null default 9223372036854775807,
	add events bigint not null default 1;    -- in all
create index tick_at on chimp.tick (ticked_at);

-- Subscriptions ---------------------------------------------------------------

alter table chimp.subscription
	add key text,                            -- NULL: of any key
	add condition jsonpath,                  -- NULL: with any payload
	add mode text not null default 'each' check (mode in ('each', 'batch')),
	add generation int not null default 1,   -- of its newest lanes
	add paused_at timestamptz,
	add paused_by text;

-- A lane's position: the row with the highest number. Whoever moves it inserts
-- the next one, and a second one with that number is refused.
create table chimp.lane_cursor (
	lane_id bigint not null,
	seq bigint not null,
	tick bigint not null,
	event_id bigint not null,
	moved_at timestamptz not null default clock_timestamp(),
	primary key (lane_id, seq)
);
insert into chimp.lane_cursor (lane_id, seq, tick, event_id)
select l.id, 1, l.tick, l.event_id from chimp.lane l;

alter table chimp.lane
	drop tick, drop event_id,
	add lanes int,                           -- how many there are of its generation
	add generation int not null default 1,
	add until_tick bigint,                   -- the next generation begins behind it
	add replays boolean not null default false,      -- dead events wait for it
	add gap_from timestamptz,                -- events of this time were not kept
	add gap_until timestamptz,               -- for it
	drop constraint lane_subscription_id_number_key,
	add unique (subscription_id, generation, number);
update chimp.lane l set lanes = s.lanes from chimp.subscription s where s.id = l.subscription_id;
alter table chimp.lane alter lanes set not null;

-- Dead events outlive the partition of their event.
alter table chimp.dead_event
	add name text not null default '',
	add key text,
	add payload jsonb not null default 'null',
	add published_at timestamptz not null default clock_timestamp(),
	add replay_at timestamptz;               -- since when it waits to be handled again
update chimp.dead_event d
set name = e.name, key = e.key, payload = e.payload, published_at = e.published_at
from chimp.event_before e where e.id = d.event_id;
create index dead_event_replay on chimp.dead_event (subscription_id, event_id) where replay_at is not null;

drop table chimp.event_before;
