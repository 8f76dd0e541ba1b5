-- What the routes call. Signatures in orders.conf have checked and converted
-- the input; what a signature cannot say is checked here.

create function orders.order_json(o orders.orders) returns jsonb
language sql stable as $$
	select jsonb_build_object('id', o.id, 'customer', o.customer, 'amount', o.amount,
		'status', o.status, 'assignee', o.assignee,
		'created_at', o.created_at, 'updated_at', o.updated_at)
$$;

-- Without the white space around it; 400 if nothing is left.
create function orders.trimmed(input jsonb, member text) returns text
language plpgsql immutable as $$
declare
	value text := regexp_replace(input ->> member, '^\s+|\s+$', '', 'g');
begin
	if coalesce(value, '') = '' then
		raise sqlstate 'PT400' using message = format('args.%s must not be empty', member);
	end if;
	return value;
end $$;

create function orders.not_found(id bigint) returns void
language plpgsql as $$
begin
	raise no_data_found using message = format('order %s does not exist', id);
end $$;

create function orders.create_order(input jsonb) returns jsonb
language plpgsql as $$
declare
	o orders.orders;
	order_json jsonb;
begin
	insert into orders.orders (customer, amount)
	values (lower(orders.trimmed(input, 'customer')), (input ->> 'amount')::bigint)
	returning * into o;
	order_json := orders.order_json(o);
	perform chimp.publish('order.created', order_json, o.id::text);
	return order_json;
end $$;

create function orders.get_order(input jsonb) returns jsonb
language plpgsql stable as $$
declare
	order_json jsonb;
begin
	select orders.order_json(o) into order_json
	from orders.orders o where o.id = (input ->> 'id')::bigint;
	if not found then
		perform orders.not_found((input ->> 'id')::bigint);
	end if;
	return order_json;
end $$;

-- Newest first. A limit of NULL is none; `before` is the last id already seen.
create function orders.list_orders(input jsonb) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(orders.order_json(o) order by o.id desc), '[]')
	from (
		select * from orders.orders
		where id < coalesce((input ->> 'before')::bigint, 9223372036854775807)
		order by id desc
		limit (input ->> 'limit')::bigint
	) o
$$;

-- The whole state machine. Completed and rejected are final.
create function orders.may_become(status text, target text) returns boolean
language sql immutable as $$
	select (status, target) in (
		('pending', 'assigned'),
		('pending', 'rejected'),
		('assigned', 'in_progress'),
		('assigned', 'rejected'),
		('in_progress', 'completed'),
		('in_progress', 'rejected'))
$$;

-- `details` are members that the event has beyond those of the order.
create function orders.transition(order_id bigint, target text, event text,
	assignee text default null, details jsonb default '{}')
returns jsonb language plpgsql as $$
declare
	o orders.orders;
	order_json jsonb;
begin
	select * into o from orders.orders x where x.id = order_id for update;
	if not found then
		perform orders.not_found(order_id);
	end if;
	if not orders.may_become(o.status, target) then
		raise sqlstate 'PT409' using
			message = format('order %s is %s and cannot become %s', o.id, o.status, target);
	end if;
	update orders.orders x set status = target, updated_at = clock_timestamp(),
		assignee = coalesce(transition.assignee, x.assignee)
	where x.id = order_id
	returning * into o;
	order_json := orders.order_json(o);
	perform chimp.publish(event, order_json || details, o.id::text);
	return order_json;
end $$;

create function orders.assign_order(input jsonb) returns jsonb
language sql as $$
	select orders.transition((input ->> 'id')::bigint, 'assigned', 'order.assigned',
		assignee => orders.trimmed(input, 'assignee'))
$$;

create function orders.start_order(input jsonb) returns jsonb
language sql as $$
	select orders.transition((input ->> 'id')::bigint, 'in_progress', 'order.started')
$$;

create function orders.complete_order(input jsonb) returns jsonb
language sql as $$
	select orders.transition((input ->> 'id')::bigint, 'completed', 'order.completed')
$$;

create function orders.reject_order(input jsonb) returns jsonb
language sql as $$
	select orders.transition((input ->> 'id')::bigint, 'rejected', 'order.rejected',
		details => jsonb_build_object('reason', orders.trimmed(input, 'reason')))
$$;

create function orders.list_events(input jsonb) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(to_jsonb(a) order by a.id), '[]')
	from orders.audit_trail a where a.order_id = (input ->> 'id')::bigint
$$;

create function orders.list_notifications(input jsonb) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(to_jsonb(n) order by n.id), '[]') from orders.notifications n
$$;

create function orders.list_snapshots(input jsonb) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(to_jsonb(s) order by s.id desc), '[]')
	from (select * from orders.backlog_snapshots order by id desc limit 50) s
$$;
