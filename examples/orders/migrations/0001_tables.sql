-- Orders, their audit trail, notifications and backlog snapshots.

create schema orders;

create table orders.orders (
	id bigint generated always as identity primary key,
	customer text not null check (customer <> ''),
	amount bigint not null check (amount > 0),       -- cents
	status text not null default 'pending'
		check (status in ('pending', 'assigned', 'in_progress', 'completed', 'rejected')),
	assignee text check (assignee <> ''),
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now()
);

-- Written by five subscriptions side by side, so the order of insertion means
-- nothing. The id is the event's own: one order's events are published one
-- after the other, under its row's lock, and sort by it.
create table orders.audit_trail (
	id bigint primary key,
	order_id bigint not null references orders.orders,
	event text not null,
	payload jsonb not null,
	created_at timestamptz not null
);
create index audit_trail_order on orders.audit_trail (order_id, id);

create table orders.notifications (
	id bigint generated always as identity primary key,
	order_id bigint not null references orders.orders,
	channel text not null,
	status text not null check (status in ('sent', 'failed')),
	detail text not null,
	created_at timestamptz not null default clock_timestamp()
);

create table orders.backlog_snapshots (
	id bigint generated always as identity primary key,
	pending_count bigint not null,
	in_progress_count bigint not null,
	total_count bigint not null,
	snapshot_at timestamptz not null
);
