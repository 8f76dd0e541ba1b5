-- A queue of PgQ with a consumer, and that consumer inside the server, which commits
-- once per batch. Form server is the best: a statement notes the events of a batch.
-- Form handler does what chimpd does with mode = "batch": the handler gets them as an
-- array of JSON.
create extension pgq;
select pgq.create_queue('bench');
select pgq.register_consumer('bench', 'bench');

create procedure bench.consume(form text) language plpgsql as $$
declare
	batch bigint;
begin
	insert into bench.consumer default values;
	commit;
	loop
		batch := pgq.next_batch('bench', 'bench');
		exit when batch is null;
		if form = 'server' then
			insert into bench.noted (id, subscription)
			select e.ev_id, 1 from pgq.get_batch_events(batch) e;
		else
			perform bench.note_all_1(coalesce(jsonb_agg(jsonb_build_object(
				'id', e.ev_id, 'event', e.ev_type, 'key', e.ev_extra1,
				'payload', e.ev_data::jsonb, 'publishedAt', e.ev_time)), '[]'))
			from pgq.get_batch_events(batch) e;
		end if;
		perform pgq.finish_batch(batch);
		commit;
	end loop;
end $$;
