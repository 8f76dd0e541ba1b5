-- What subscriptions, queues and cron call. Each runs in the transaction that
-- moves the cursor or closes the job, so its writes are applied exactly once.

-- An event: {id, event, key, payload, publishedAt}. Replaying a subscription
-- (chimp.subscription_seek) meets rows that are there already.
create function orders.audit(input jsonb) returns jsonb
language sql as $$
	insert into orders.audit_trail (id, order_id, event, payload, created_at)
	values ((input ->> 'id')::bigint, (input -> 'payload' ->> 'id')::bigint,
		input ->> 'event', input -> 'payload', (input ->> 'publishedAt')::timestamptz)
	on conflict do nothing;
	select null::jsonb
$$;

create function orders.enqueue_notification(input jsonb) returns jsonb
language sql as $$
	select to_jsonb(chimp.enqueue('order.completed.notify', jsonb_build_object(
		'order_id', input -> 'payload' -> 'id',
		'customer', input -> 'payload' -> 'customer',
		'amount', input -> 'payload' -> 'amount')))
$$;

-- A job's payload, as enqueue_notification made it. A real one would hand the
-- message to a mail service; this one keeps what would have been sent.
create function orders.notify(input jsonb) returns jsonb
language sql as $$
	insert into orders.notifications (order_id, channel, status, detail)
	values ((input ->> 'order_id')::bigint, 'email', 'sent',
		format('order %s for %s settled at %s cents',
			input ->> 'order_id', input ->> 'customer', input ->> 'amount'))
	returning jsonb_build_object('notification', id)
$$;

-- A dead letter: {attempts, error, failedAt, payload, queue}.
create function orders.notify_failed(input jsonb) returns jsonb
language sql as $$
	insert into orders.notifications (order_id, channel, status, detail)
	values ((input -> 'payload' ->> 'order_id')::bigint, 'email', 'failed',
		format('gave up after %s attempts: %s', input ->> 'attempts', input ->> 'error'))
	returning jsonb_build_object('notification', id)
$$;

-- A slot: {name, schedule, fireAt, fireAtMs}. The counts are of now, whatever
-- the slot was; a late firing says so by its time.
create function orders.snapshot_backlog(input jsonb) returns jsonb
language sql as $$
	insert into orders.backlog_snapshots
		(pending_count, in_progress_count, total_count, snapshot_at)
	select count(*) filter (where status = 'pending'),
		count(*) filter (where status = 'in_progress'),
		count(*), clock_timestamp()
	from orders.orders
	returning jsonb_build_object('snapshot', id)
$$;
