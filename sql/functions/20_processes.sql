-- Births, leases and deaths of processes.

create or replace function chimp.process_start(id uuid, node_id uuid, node text, role text,
	class text, slot int, pid int, version text, queues text[], lease_ms bigint)
returns void language plpgsql as $$
begin
	insert into chimp.process as p (id, node_id, node, role, class, slot, pid, version, queues, lease_until)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp() + $10 * interval '1 ms')
	on conflict on constraint process_pkey do update set lease_until = excluded.lease_until;
	if role in ('worker', 'subscriber') then
		perform pg_notify('chimp_control', 'processes');
	end if;
end $$;
comment on function chimp.process_start(uuid, uuid, text, text, text, int, int, text, text[], bigint) is
	'Register a process, or refresh its lease after a reconnect.';

create or replace function chimp.process_end(id uuid) returns int
language plpgsql as $$
declare
	released int;
	gone chimp.process;
begin
	delete from chimp.process p where p.id = $1 returning * into gone;
	released := chimp.claims_release(null, $1);
	update chimp.lane l set process_id = null where l.process_id = $1;
	delete from chimp.process_stats s where s.process_id = $1;
	if gone.role in ('worker', 'subscriber') then
		perform pg_notify('chimp_control', 'processes');
	end if;
	return released;
end $$;
comment on function chimp.process_end(uuid) is
	'Release all claims (uncharged) and lanes of a process and forget it. Idempotent, and safe against one that still lives: its tokens and epochs are stale from then on. Returns the number of jobs released.';

create or replace function chimp.reap() returns int
language plpgsql as $$
declare
	dead uuid;
	n int := 0;
begin
	for dead in
		select p.id from chimp.process p
		where p.lease_until < clock_timestamp()
		limit 100 for update skip locked
	loop
		perform chimp.process_end(dead);
		n := n + 1;
	end loop;
	delete from chimp.node o
	where o.registered_at < clock_timestamp() - interval '1 minute'
	and not exists (select from chimp.process p where p.node_id = o.id);
	if found then
		perform chimp.registry_sweep();
	end if;
	return n;
end $$;
comment on function chimp.reap() is
	'End processes whose lease has run out, and forget nodes that have had none for a minute. Returns the number of processes ended.';

create or replace function chimp.process_renew(id uuid, lease_ms bigint, busy int, status text)
returns boolean language plpgsql as $$
begin
	update chimp.process p
	set lease_until = clock_timestamp() + $2 * interval '1 ms', busy = $3, status = $4
	where p.id = $1;
	if not found then
		return false;
	end if;
	perform chimp.reap();
	return true;
end $$;
comment on function chimp.process_renew(uuid, bigint, int, text) is
	'Extend the lease. False: the process was declared dead, its work may be running elsewhere.';
