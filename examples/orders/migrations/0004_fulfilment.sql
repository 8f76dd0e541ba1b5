-- Workflow order.fulfilment: an order is assigned and started, waits for quality
-- control for five minutes, and is completed or rejected.

-- Called at each wake of the run, with {input, state, workflowId, step, signal,
-- timedOut, now}. What it writes commits together with where the run goes next.
create function orders.fulfil(input jsonb) returns jsonb
language plpgsql as $$
declare
	order_input constant jsonb := jsonb_build_object('id', input #> '{input,orderId}');
	decision constant jsonb := input #> '{signal,payload}';
begin
	case coalesce(input ->> 'step', 'assign')
	when 'assign' then
		perform orders.assign_order(order_input || jsonb_build_object('assignee', input #> '{input,assignee}'));
		return '{"directive": "transition", "stepId": "start"}';
	when 'start' then
		perform orders.start_order(order_input);
		return '{"directive": "waitForSignal", "stepId": "decide",
			"signal": "quality.decision", "timeoutMs": 300000, "onTimeout": "continue"}';
	when 'decide' then
		if (decision -> 'approved')::boolean then
			perform orders.complete_order(order_input);
		else
			perform orders.reject_order(order_input || jsonb_build_object('reason', case
				when (input -> 'timedOut')::boolean then 'no decision of quality control in time'
				else coalesce(decision ->> 'reason', 'refused by quality control') end));
		end if;
		return jsonb_build_object('directive', 'complete', 'state',
			jsonb_build_object('approved', coalesce((decision -> 'approved')::boolean, false)));
	end case;
exception when sqlstate 'PT409' then
	-- Somebody has moved the order otherwise: no attempt would change that.
	return jsonb_build_object('directive', 'fail', 'error', sqlerrm);
end $$;

-- The id of the run is the order's: a second request finds the first one's run.
create function orders.start_fulfilment(input jsonb) returns jsonb
language plpgsql as $$
declare
	order_id constant bigint := input ->> 'id';
begin
	perform orders.get_order(input);         -- 404
	return jsonb_build_object('workflowId', chimp.workflow_start('order.fulfilment',
		jsonb_build_object('orderId', order_id, 'assignee', coalesce(input ->> 'assignee', 'fulfilment')),
		'fulfilment-' || order_id));
end $$;

create function orders.get_fulfilment(input jsonb) returns jsonb
language plpgsql stable as $$
declare
	run constant jsonb := chimp.workflow_get(input ->> 'workflowId');
begin
	if run is null then
		raise no_data_found using message = format('fulfilment "%s" does not exist', input ->> 'workflowId');
	end if;
	return run;
end $$;

create function orders.decide_quality(input jsonb) returns jsonb
language plpgsql as $$
declare
	run constant jsonb := orders.get_fulfilment(input);
begin
	if run ->> 'status' in ('completed', 'failed', 'cancelled') then
		raise sqlstate 'PT409' using message = format('fulfilment "%s" is %s', run ->> 'workflowId', run ->> 'status');
	end if;
	perform chimp.workflow_signal(run ->> 'workflowId', 'quality.decision', input - 'workflowId');
	return jsonb_build_object('workflowId', run -> 'workflowId');
end $$;
