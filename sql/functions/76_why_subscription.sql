-- Why a subscription lags, or that it does not. The form is that of 75_why.sql.

-- Nobody can work at any of its lanes.
create or replace function chimp.why_idle(s chimp.subscription) returns setof jsonb
language plpgsql stable as $$
begin
	if not s.active then
		return next chimp.why('unregistered', format('no live node has subscription "%s" in its configuration', s.name));
	elsif not exists (select from chimp.process p where p.role = 'subscriber' and p.lease_until > clock_timestamp()) then
		return next chimp.why('no subscriber process', 'no live node has a subscriber process');
	end if;
	if s.paused_at is not null then
		return next chimp.why('paused', format('it is paused since %s by %s', date_trunc('second', s.paused_at), s.paused_by),
			jsonb_build_object('since', s.paused_at, 'by', s.paused_by));
	end if;
end $$;
comment on function chimp.why_idle(chimp.subscription) is 'Reasons for which no event of a subscription is handled now.';

create or replace function chimp.why_lane(lane bigint) returns setof jsonb
language plpgsql stable as $$
declare
	v record;
	called text;
	message text;
	more jsonb;
begin
	select * into v from chimp.lanes l where l.id = $1;
	called := format(case when v.newest then 'lane %s' else 'old lane %s' end, v.number);
	message := coalesce(v.error ->> 'message', 'no message');
	more := jsonb_build_object('lane', v.number, 'error', v.error);
	if v.paused_at is not null then
		return next chimp.why('lane paused', format('%s stopped at %s after %s attempts: %s; chimpctl subscription resume has it try again',
			called, date_trunc('second', v.paused_at), v.attempts, message),
			more || jsonb_build_object('since', v.paused_at, 'attempts', v.attempts));
	elsif v.attempts > 0 then
		return next chimp.why('retry', format('%s waits until %s to try its event again, after %s attempts: %s', called,
			v.retry_at, v.attempts, message), more || jsonb_build_object('until', v.retry_at, 'attempts', v.attempts));
	end if;
	if v.until_tick is not null and (v.tick, coalesce(v.event_id, 9223372036854775807)) < (v.until_tick, 9223372036854775807) then
		return next chimp.why('lanes change', format('the number of lanes has changed, and %s is at work up to tick %s: it stands at %s',
			called, v.until_tick, v.tick), jsonb_build_object('lane', v.number, 'until', v.until_tick));
	end if;
	if v.gap_until is not null then
		return next chimp.why('gap', format('%s was so far behind that events from %s to %s were not kept for it', called,
			date_trunc('second', v.gap_from), date_trunc('second', v.gap_until)),
			jsonb_build_object('lane', v.number, 'from', v.gap_from, 'until', v.gap_until));
	end if;
end $$;
comment on function chimp.why_lane(bigint) is 'What is to be said of one lane.';

-- A tick does not see the events of a transaction that is open.
create or replace function chimp.why_open() returns setof jsonb
language sql stable as $$
	select chimp.why('open transaction', format('a transaction of process %s (%s) is open since %s, and %s', a.pid,
		coalesce(nullif(a.application_name, ''), a.usename::text, 'no name'), date_trunc('second', a.xact_start),
		case when w.writes then 'has published: its events come after its commit'
			else 'has published nothing yet' end),
		jsonb_build_object('pid', a.pid, 'since', a.xact_start, 'application', a.application_name, 'published', w.writes))
	from pg_stat_activity a
	cross join lateral (select exists (select from pg_locks k where k.pid = a.pid and k.locktype = 'relation'
		and k.mode = 'RowExclusiveLock' and k.relation = 'chimp.event'::regclass
		and k.database = (select d.oid from pg_database d where d.datname = current_database())) as writes) w
	where a.datname = current_database() and a.backend_xid is not null and a.pid <> pg_backend_pid()
	and a.xact_start < clock_timestamp() - interval '5 s'
	order by a.xact_start limit 20
$$;
comment on function chimp.why_open() is
	'Transactions that have been open for 5 s and may have published; of other users only where pg_stat_activity shows them.';

create or replace function chimp.why_lag(name text, dead bigint, events bigint, exact boolean, lag interval)
returns setof jsonb language plpgsql stable as $$
begin
	if dead > 0 then
		return next chimp.why('dead', format('%s events were set aside after their last attempt; chimpctl event dead %s shows them',
			dead, name), jsonb_build_object('dead', dead));
	end if;
	if events = 0 then
		return next chimp.why('up to date', 'all events that it wants are handled');
	else
		return next chimp.why('lag', format('%s%s events wait, the oldest for %s s', case when exact then '' else 'up to ' end,
			events, round(extract(epoch from lag))), jsonb_build_object('events', events, 'exact', exact,
			'ms', round(extract(epoch from lag) * 1000)));
	end if;
end $$;
comment on function chimp.why_lag(text, bigint, bigint, boolean, interval) is 'How far behind a subscription is.';

create or replace function chimp.why_subscription(name text) returns jsonb
language plpgsql volatile as $$
declare
	s chimp.subscription := chimp.subscription_get(name);
	v record;
begin
	select * into v from chimp.subscriptions o where o.name = s.name;
	return jsonb_build_object('name', s.name, 'event', s.event, 'state', v.state,
		'lag_events', v.lag_events, 'lag_exact', v.lag_exact, 'lag_ms', round(extract(epoch from v.lag) * 1000),
		'dead', v.dead, 'reasons', (
			select jsonb_agg(x.r order by x.n, x.m) from (
				select 1 as n, 0 as m, r from chimp.why_idle(s) r
				union all select 2, l.number, r from chimp.lanes l, chimp.why_lane(l.id) r where l.subscription = s.name
				union all select 3, 0, r from chimp.why_lag(v.name, v.dead, v.lag_events, v.lag_exact, v.lag) r
				union all select 4, 0, r from chimp.why_open() r) x));
end $$;
comment on function chimp.why_subscription(text) is
	'Why a subscription lags: reasons [{kind, why, ...}] about processes, pauses, each lane, how much waits, and transactions that are open for long. CH002: unknown subscription.';
