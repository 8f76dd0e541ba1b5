-- REST for collections: the handlers of the routes that a `collection` of an
-- app file stands for. Their input has its parts apart: {"collection": {name,
-- path, filters, writable}, "body", "path": {"id"}, "query": [[name, text]]}.
-- doc/state.md says what holds.

-- What a request says --------------------------------------------------------------

create or replace function chimp.rest_query(input jsonb, variadic known text[] default '{}') returns jsonb
language plpgsql immutable as $$
declare
	bad text;
begin
	select q ->> 0 into bad from jsonb_array_elements(input -> 'query') q where q ->> 0 <> all (known) limit 1;
	if found then
		raise sqlstate 'PT400' using message = format('there is no parameter "%s" here', left(bad, 60)),
			hint = case when cardinality(known) = 0 then 'this request has none'
				else 'there are ' || array_to_string(known, ', ') end;
	end if;
	select q ->> 0 into bad from jsonb_array_elements(input -> 'query') q group by q ->> 0 having count(*) > 1 limit 1;
	if found then
		raise sqlstate 'PT400' using message = format('the parameter "%s" is given more than once', left(bad, 60));
	end if;
	return (select coalesce(jsonb_object_agg(q ->> 0, q ->> 1), '{}') from jsonb_array_elements(input -> 'query') q);
end $$;
comment on function chimp.rest_query(jsonb, text[]) is
	'The query as an object of texts. PT400: a parameter is not known, or given more than once.';

create or replace function chimp.rest_body(input jsonb) returns jsonb
language plpgsql immutable as $$
declare
	body constant jsonb := input -> 'body';
	writable constant jsonb := input -> 'collection' -> 'writable';
	bad text;
begin
	if jsonb_typeof(body) is distinct from 'object' then
		raise sqlstate 'PT400' using message = 'the body must be a JSON object';
	end if;
	select k into bad from jsonb_object_keys(body) k where not writable ?| array[k, '*'] limit 1;
	if found then
		raise sqlstate 'PT400' using message = format('the member "%s" cannot be written', left(bad, 60)),
			hint = 'those that can be are '
				|| (select string_agg(w, ', ') from jsonb_array_elements_text(writable) w);
	end if;
	return body;
end $$;
comment on function chimp.rest_body(jsonb) is
	'The members that a request would write. PT400: the body is no object, or has a member that cannot be written.';

create or replace function chimp.rest_readings(said text) returns jsonb
language sql immutable as $$
	-- An exponent of more digits would be a number of as many.
	select jsonb_build_array(said) || case
		when said ~ '^(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?)$' then said::jsonb
		else '[]' end
$$;
comment on function chimp.rest_readings(text) is
	'The values that a text of a query may mean: itself and, if it is a JSON number, true, false or null, that.';

create or replace function chimp.rest_filter(filters text[], query jsonb) returns jsonb
language sql immutable as $$
	select coalesce(jsonb_object_agg(q.key, case when q.key = 'id' then to_jsonb(q.value)
		else jsonb_build_object('$in', chimp.rest_readings(q.value)) end), '{}')
	from jsonb_each_text(query) q where q.key = any (filters)
$$;

create or replace function chimp.rest_sort(filters text[], query jsonb) returns text
language plpgsql immutable as $$
declare
	sort constant text := coalesce(query ->> 'sort', 'id');
	paths constant text[] := array['id'] || filters;
begin
	if regexp_replace(sort, '^-', '') <> all (paths) then
		raise sqlstate 'PT400' using message = format('cannot sort by "%s"', left(sort, 60)),
			hint = format('give one of %s, with "-" before it downwards', array_to_string(paths, ', '));
	end if;
	return sort;
end $$;

create or replace function chimp.rest_limit(query jsonb) returns int
language plpgsql immutable as $$
declare
	said constant text := coalesce(query ->> 'limit', '100');
begin
	if said !~ '^([1-9][0-9]{0,2}|1000)$' then
		raise sqlstate 'PT400' using message = format('limit must be from 1 to 1000, not "%s"', left(said, 60));
	end if;
	return said;
end $$;

-- Answers --------------------------------------------------------------------------

create or replace function chimp.rest_etag(document jsonb) returns text
language sql immutable as $$
	select format('"%s"', left(encode(sha256(convert_to(document::text, 'UTF8')), 'hex'), 32))
$$;
comment on function chimp.rest_etag(jsonb) is 'The strong ETag of a document: 128 bits of the SHA-256 of its text.';

create or replace function chimp.url_segment(segment text) returns text
language sql immutable as $$
	-- RFC 3986, 2.3: what need not be encoded.
	select string_agg(case when c ~ '[-._~0-9A-Za-z]' then c
		else upper(regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g')) end, '' order by n)
	from regexp_split_to_table(segment collate "C", '') with ordinality s (c, n)
$$;
comment on function chimp.url_segment(text) is 'A text as a segment of a URL''s path: percent-encoded.';

create or replace function chimp.rest_missing(input jsonb) returns void
language plpgsql as $$
begin
	raise sqlstate 'PT404' using message = format('"%s" has no document of id "%s"',
		input -> 'collection' ->> 'name', left(input -> 'path' ->> 'id', 255));
end $$;

create or replace function chimp.rest_answer(status int, document jsonb, more jsonb default '{}') returns void
language sql as $$
	select chimp.respond(status, document, jsonb_build_object('ETag', chimp.rest_etag(document)) || more)
$$;

-- 23505 and 54000 of a write: what indexes do not take.
create or replace function chimp.rest_refused(state text, index text, said text) returns void
language plpgsql as $$
begin
	if state = '23505' then
		raise sqlstate 'PT409' using message = coalesce(
			(select format('"%s" has another document with this "%s"', c.name, p.path)
			from chimp.collection_path p join chimp.collection c on c.id = p.collection_id
			where format('documents_%s_unique_%s', p.collection_id, p.id) = index), said);
	end if;
	raise sqlstate 'PT400' using message = 'a value is too long for the index of its path: ' || said;
end $$;

-- Handlers -------------------------------------------------------------------------

create or replace function chimp.rest_list(input jsonb) returns jsonb
language plpgsql as $$
declare
	filters constant text[] := array(select jsonb_array_elements_text(input -> 'collection' -> 'filters'));
	query constant jsonb := chimp.rest_query(input, variadic filters || array['limit', 'after', 'sort']);
	n constant int := chimp.rest_limit(query);
	-- What one answer has at most, and no single document.
	bytes_left bigint := 8 << 20;
	document jsonb;
	items jsonb[] := '{}';
	following jsonb;
begin
	if query ->> 'after' = '' then
		raise sqlstate 'PT400' using message = 'after must be the "next" of another page';
	end if;
	for document in
		select chimp.collection_find(input -> 'collection' ->> 'name', chimp.rest_filter(filters, query),
			chimp.rest_sort(filters, query), n + 1, query ->> 'after')
	loop
		if cardinality(items) = n or bytes_left < 0 then
			following := items[cardinality(items)] -> 'id';
			exit;
		end if;
		items := items || document;
		bytes_left := bytes_left - octet_length(document::text);
	end loop;
	return jsonb_build_object('items', items, 'next', following);
exception when sqlstate 'CH002' then
	raise sqlstate 'PT410' using message = format('there is no document "%s" any more to go on after',
		left(query ->> 'after', 255)), hint = 'begin anew, or sort by id';
end $$;
comment on function chimp.rest_list(jsonb) is
	'GET of a collection: {"items": [...], "next": the cursor of the next page or null}.';

create or replace function chimp.rest_get(input jsonb) returns jsonb
language plpgsql as $$
declare
	document constant jsonb := chimp.collection_get(input -> 'collection' ->> 'name', input -> 'path' ->> 'id');
begin
	perform chimp.rest_query(input);
	if document is null then
		perform chimp.rest_missing(input);
	end if;
	perform chimp.rest_answer(200, document);
	return null;
end $$;
comment on function chimp.rest_get(jsonb) is 'GET of a document.';

create or replace function chimp.rest_post(input jsonb) returns jsonb
language plpgsql as $$
declare
	c constant jsonb := input -> 'collection';
	body constant jsonb := chimp.rest_body(input);
	key text;
	index text;
begin
	perform chimp.rest_query(input);
	if body ->> 'id' in ('.', '..') then
		raise sqlstate 'PT400' using message = format('no path can end in the id "%s"', body ->> 'id');
	end if;
	key := chimp.collection_insert(c ->> 'name', body);
	perform chimp.rest_answer(201, body || jsonb_build_object('id', key),
		jsonb_build_object('Location', (c ->> 'path') || '/' || chimp.url_segment(key)));
	return null;
exception when unique_violation or program_limit_exceeded then
	get stacked diagnostics index = constraint_name;
	perform chimp.rest_refused(sqlstate, index, sqlerrm);
end $$;
comment on function chimp.rest_post(jsonb) is 'POST to a collection: put a document into it.';

create or replace function chimp.rest_lock(input jsonb, out of int, out document jsonb)
language plpgsql as $$
declare
	-- Of several headers one list.
	tags constant text := btrim(chimp.request() -> 'headers' ->> 'if-match', e' \t');
begin
	of := chimp.collection_id(input -> 'collection' ->> 'name');
	if of is not null then
		execute format('select document from chimp.documents_%s where id = $1 for update', of)
		into document using input -> 'path' ->> 'id';
	end if;
	if document is null then
		perform chimp.rest_missing(input);
	elsif tags <> '*' and not exists (select from regexp_matches(tags, '"[^"]*"', 'g') t
			where t[1] = chimp.rest_etag(document)) then
		raise sqlstate 'PT412' using message = 'the document is not the one of If-Match any more',
			hint = 'get it, and try again with its ETag';
	end if;
end $$;
comment on function chimp.rest_lock(jsonb) is
	'Hold the document that a request is about until the transaction''s end. PT404: there is none. PT412: If-Match does not name it.';

create or replace function chimp.rest_patch(input jsonb) returns jsonb
language plpgsql as $$
declare
	id constant text := input -> 'path' ->> 'id';
	same constant boolean := input -> 'body' -> 'id' = to_jsonb(id);
	patch constant jsonb := chimp.rest_body(case when same then input #- '{body,id}' else input end);
	index text;
	d record;
begin
	perform chimp.rest_query(input);
	if chimp.request() -> 'headers' ->> 'content-type' ilike '%merge-patch%' then
		raise sqlstate 'PT415' using message = 'this PATCH sets whole members, and null is a value: send it as application/json';
	end if;
	if patch ? 'id' then
		raise sqlstate 'PT400' using message = 'the id of a document stays';
	end if;
	select * into d from chimp.rest_lock(input);
	d.document := d.document || patch;
	execute format('update chimp.documents_%s set document = $2 where id = $1', d.of) using id, d.document;
	perform chimp.rest_answer(200, d.document);
	return null;
exception when unique_violation or program_limit_exceeded then
	get stacked diagnostics index = constraint_name;
	perform chimp.rest_refused(sqlstate, index, sqlerrm);
end $$;
comment on function chimp.rest_patch(jsonb) is 'PATCH of a document: set these members, leave the others.';

create or replace function chimp.rest_delete(input jsonb) returns jsonb
language plpgsql as $$
declare
	d record;
begin
	perform chimp.rest_query(input);
	select * into d from chimp.rest_lock(input);
	execute format('delete from chimp.documents_%s where id = $1', d.of) using input -> 'path' ->> 'id';
	return null;
end $$;
comment on function chimp.rest_delete(jsonb) is 'DELETE of a document.';
