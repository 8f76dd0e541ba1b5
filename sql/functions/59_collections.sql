-- Collections of JSON documents, found by paths in them. Each is a table,
-- chimp.documents_ID. Filters become conditions in which paths and values are
-- literals, and never text of a statement.

create or replace function chimp.uuid_v7() returns uuid
language sql volatile as $$
	-- RFC 9562, 5.7: 48 bits of milliseconds, the version, and of a random one
	-- (version 4) all that is behind.
	select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
		|| substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$$;
comment on function chimp.uuid_v7() is 'A UUID of version 7: later ones are larger, to the millisecond.';

-- What is looked for ---------------------------------------------------------------

create or replace function chimp.document_path(path text) returns text[]
language plpgsql immutable as $$
declare
	names constant text[] := string_to_array(path, '.');
begin
	if coalesce(path, '') = '' or '' = any (names) or octet_length(path) > 1024 then
		raise exception 'chimp.collection: "%" is no path: names with dots between them, such as customer.city',
			left(path, 60) using errcode = '22023';
	end if;
	return names;
end $$;

create or replace function chimp.document_at(path text) returns text
language sql immutable as $$
	-- What is not there is null. Indexes are made of the same text.
	select format('coalesce(document #> %L::text[], ''null''::jsonb)', chimp.document_path(path))
$$;
comment on function chimp.document_at(text) is
	'The expression for what lies at a dotted path of a document. 22023: it is no path.';

create or replace function chimp.document_needs(path text, operator text, value jsonb, variadic kinds text[]) returns void
language plpgsql immutable as $$
begin
	if jsonb_typeof(value) <> all (kinds) then
		raise exception 'chimp.collection: % at "%" needs %, not %', operator, path,
			array_to_string(kinds, ' or '), left(value::text, 60) using errcode = '22023';
	end if;
end $$;

create or replace function chimp.document_test(path text, operator text, value jsonb) returns text
language plpgsql immutable as $$
declare
	at constant text := chimp.document_at(path);
	sign constant text := '{"$eq": "=", "$ne": "<>", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}'::jsonb ->> operator;
begin
	if sign in ('=', '<>') then
		return format('%s %s %L::jsonb', at, sign, value);
	elsif sign is not null then
		perform chimp.document_needs(path, operator, value, 'number', 'string');
		-- Of one kind only: no number is larger than a string.
		return format('%1$s %2$s %3$L::jsonb and jsonb_typeof(%1$s) = %4$L', at, sign, value, jsonb_typeof(value));
	elsif operator = '$in' then
		perform chimp.document_needs(path, operator, value, 'array');
		return format('%s = any (%L::jsonb[])', at, array(select jsonb_array_elements(value)));
	elsif operator = '$contains' then
		return format('jsonb_typeof(%1$s) = ''array'' and %1$s @> %2$L::jsonb', at, jsonb_build_array(value));
	elsif operator = '$exists' then
		perform chimp.document_needs(path, operator, value, 'boolean');
		return format('document #> %L::text[] is %s', chimp.document_path(path),
			case when value = 'true' then 'not null' else 'null' end);
	end if;
	raise exception 'chimp.collection: unknown operator % at "%"', left(operator, 60), path using errcode = '22023',
		hint = 'there are $eq, $ne, $gt, $gte, $lt, $lte, $in, $contains and $exists';
end $$;

create or replace function chimp.document_filter(filter jsonb) returns text
language plpgsql immutable as $$
declare
	tests text[];
begin
	if jsonb_typeof(filter) is distinct from 'object' then
		raise exception 'chimp.collection: a filter is an object, such as {"customer.city": "Ulm"}, not %',
			coalesce(left(filter::text, 60), 'NULL') using errcode = '22023';
	end if;
	select array_agg(case
		when f.key = 'id' and jsonb_typeof(f.value) = 'string' then format('id = %L', f.value #>> '{}')
		when o.key is not null then chimp.document_test(f.key, o.key, o.value)
		else chimp.document_test(f.key, '$eq', f.value) end)
	into tests
	from jsonb_each(filter) f
	left join jsonb_each(case when jsonb_typeof(f.value) = 'object' then f.value end) o
		on exists (select from jsonb_object_keys(f.value) k where starts_with(k, '$'));
	return coalesce('(' || array_to_string(tests, ') and (') || ')', 'true');
end $$;
comment on function chimp.document_filter(jsonb) is
	'The condition that a filter stands for: at each of its dotted paths this value, or what the operators say of it. 22023: it is no filter.';

-- Collections ----------------------------------------------------------------------

create or replace function chimp.collection_id(name text) returns int
language plpgsql stable as $$
begin
	return (select c.id from chimp.collection c where c.name = $1);
end $$;
comment on function chimp.collection_id(text) is 'The number of a collection; NULL: nothing was ever put into it.';

create or replace function chimp.collection_make(name text) returns int
language plpgsql as $$
declare
	made int := chimp.collection_id($1);
begin
	if made is not null then
		return made;
	end if;
	perform chimp.name_check('chimp.collection', name);
	insert into chimp.collection as c (name) values ($1) on conflict on constraint collection_name_key do nothing
	returning c.id into made;
	if made is null then
		-- Another's, for whose commit the insert has waited.
		return chimp.collection_make(name);
	end if;
	execute format('create table chimp.documents_%s (id text collate "C" primary key, document jsonb not null)'
		' with (fillfactor = 90)', made);
	execute format('comment on table chimp.documents_%s is %L', made, format('Documents of the collection "%s".', name));
	return made;
end $$;
comment on function chimp.collection_make(text) is
	'The number of a collection, which is made if need be. 22023: its name is empty or longer than 255 bytes.';

create or replace function chimp.collection_index(name text, path text, is_unique boolean default false) returns void
language plpgsql as $$
declare
	of constant int := chimp.collection_make(name);
	at constant text := chimp.document_at(path);
	made int;
begin
	perform from chimp.collection_path p where p.collection_id = of and p.path = $2 and p.is_unique >= $3;
	if found then
		return;
	end if;
	perform chimp.collection_unindex(name, path);
	insert into chimp.collection_path as p (collection_id, path, is_unique) values (of, $2, $3)
	returning p.id into made;
	execute format('create index documents_%s_path_%s on chimp.documents_%1$s ((%3$s), id)', of, made, at);
	if is_unique then
		execute format('create unique index documents_%s_unique_%s on chimp.documents_%1$s ((nullif(%3$s, ''null'')))',
			of, made, at);
	end if;
end $$;
comment on function chimp.collection_index(text, text, boolean) is
	'Make an index of what lies at a dotted path of a collection''s documents, which finds and sorts use; is_unique: no two may have the same there, unless it is null. Writers wait while it is made. Nothing happens where there is one, or a unique one. 23505: two have the same. 22023: it is no path.';

create or replace function chimp.collection_unindex(name text, path text) returns boolean
language plpgsql as $$
declare
	p chimp.collection_path;
begin
	delete from chimp.collection_path o where o.collection_id = chimp.collection_id($1) and o.path = $2 returning * into p;
	if not found then
		return false;
	end if;
	execute format('drop index chimp.documents_%s_path_%s', p.collection_id, p.id);
	if p.is_unique then
		execute format('drop index chimp.documents_%s_unique_%s', p.collection_id, p.id);
	end if;
	return true;
end $$;
comment on function chimp.collection_unindex(text, text) is 'Drop the index of a path; whether there was one.';

create or replace function chimp.collection_drop(name text) returns boolean
language plpgsql as $$
declare
	gone int;
begin
	delete from chimp.collection c where c.name = $1 returning c.id into gone;
	if gone is not null then
		execute format('drop table chimp.documents_%s', gone);
	end if;
	return gone is not null;
end $$;
comment on function chimp.collection_drop(text) is 'Drop a collection with its documents and indexes; whether there was one.';

create or replace function chimp.collection_list() returns table (name text, created_at timestamptz, indexes text[], bytes bigint)
language plpgsql stable as $$
begin
	return query
	select c.name, c.created_at,
		array(select p.path || case when p.is_unique then ' (unique)' else '' end
			from chimp.collection_path p where p.collection_id = c.id order by p.path),
		pg_total_relation_size(format('chimp.documents_%s', c.id)::regclass)
	from chimp.collection c order by c.name;
end $$;
comment on function chimp.collection_list() is 'All collections: their indexes, and their bytes on disk with these.';

-- Documents ------------------------------------------------------------------------

create or replace function chimp.document_check(document jsonb, what text) returns void
language plpgsql immutable as $$
begin
	if jsonb_typeof(document) is distinct from 'object' then
		raise exception 'chimp.collection: % is an object, not %', what, coalesce(left(document::text, 60), 'NULL')
			using errcode = '22023';
	elsif document ? 'id' and (jsonb_typeof(document -> 'id') <> 'string'
			or octet_length(document ->> 'id') not between 1 and 255) then
		raise exception 'chimp.collection: an id is a string of 1 to 255 bytes, not %', left((document -> 'id')::text, 60)
			using errcode = '22023';
	end if;
end $$;

create or replace function chimp.collection_insert(name text, document jsonb) returns text
language plpgsql as $$
declare
	key constant text := coalesce(document ->> 'id', chimp.uuid_v7()::text);
	n int;
begin
	perform chimp.document_check(document, 'a document');
	execute format('insert into chimp.documents_%s (id, document) values ($1, $2) on conflict (id) do nothing',
		chimp.collection_make(name))
	using key, document || jsonb_build_object('id', key);
	get diagnostics n = row_count;
	if n = 0 then
		raise exception 'chimp.collection_insert: "%" has a document of id "%" already', name, key using errcode = '23505';
	end if;
	return key;
end $$;
comment on function chimp.collection_insert(text, jsonb) is
	'Put a document into a collection, which comes to be with its first: its id, which is its member "id" or else a new UUID of version 7. 23505: there is one of this id, or of what a unique index keeps. 22023: it is no object, or its id no string of 1 to 255 bytes.';

create or replace function chimp.collection_get(name text, id text) returns jsonb
language plpgsql stable as $$
declare
	of constant int := chimp.collection_id(name);
	found_here jsonb;
begin
	if of is not null then
		execute format('select document from chimp.documents_%s where id = $1', of) into found_here using id;
	end if;
	return found_here;
end $$;
comment on function chimp.collection_get(text, text) is 'The document of an id; NULL if there is none.';

create or replace function chimp.collection_find(name text, filter jsonb default '{}', sort text default 'id',
	max_rows int default 100, after text default null)
returns setof jsonb
language plpgsql stable rows 100 as $$
declare
	of constant int := chimp.collection_id(name);
	condition text := chimp.document_filter(filter);
	down constant boolean := starts_with(sort, '-');
	path constant text := case when down then substr(sort, 2) else sort end;
	at constant text := case when path = 'id' then 'id' else chimp.document_at(path) end;
	dir constant text := case when down then ' desc' else '' end;
	last jsonb;
begin
	if coalesce(max_rows, 0) < 1 then
		raise exception 'chimp.collection_find: max_rows must be at least 1' using errcode = '22023';
	elsif of is null then
		return;
	end if;
	if after is not null and path = 'id' then
		condition := condition || format(' and id %s %L', case when down then '<' else '>' end, after);
	elsif after is not null then
		execute format('select %s from chimp.documents_%s where id = $1', at, of) into last using after;
		if last is null then
			raise exception 'chimp.collection_find: cannot go on after "%": there is no such document in "%"', after, name
				using errcode = 'CH002', hint = 'it may have been deleted meanwhile; begin anew, or sort by id';
		end if;
		condition := condition || format(' and (%s, id) %s (%L::jsonb, %L)', at, case when down then '<' else '>' end, last, after);
	end if;
	return query execute format('select document from chimp.documents_%s where %s order by %s limit %s', of, condition,
		case when path = 'id' then 'id' || dir else at || dir || ', id' || dir end, max_rows);
end $$;
comment on function chimp.collection_find(text, jsonb, text, int, text) is
	'Documents that a filter matches, by a dotted path ("-" before it: downwards) and then by id; up to max_rows, behind the document with the id `after`. Of a collection that was never filled, none. 22023: no filter, no path. CH002: there is no document `after`, which only a sort by id can do without.';

create or replace function chimp.collection_find_one(name text, filter jsonb, sort text default 'id') returns jsonb
language sql stable as $$
	select f from chimp.collection_find(name, filter, sort, 1) f
$$;
comment on function chimp.collection_find_one(text, jsonb, text) is 'The first of collection_find; NULL if there is none.';

create or replace function chimp.collection_update(name text, filter jsonb, patch jsonb) returns bigint
language plpgsql as $$
declare
	of constant int := chimp.collection_id(name);
	condition constant text := chimp.document_filter(filter);
	n bigint := 0;
begin
	perform chimp.document_check(patch, 'a patch');
	if patch ? 'id' then
		raise exception 'chimp.collection_update: the id of a document stays' using errcode = '22023';
	end if;
	if of is not null then
		execute format('update chimp.documents_%s set document = document || $1 where %s', of, condition) using patch;
		get diagnostics n = row_count;
	end if;
	return n;
end $$;
comment on function chimp.collection_update(text, jsonb, jsonb) is
	'Set the members of patch in all documents that a filter matches, and leave their others; how many. 22023: no filter, a patch that is no object or has an id. 23505: what a unique index keeps.';

drop function if exists chimp.collection_replace(text, text, jsonb);
create or replace function chimp.collection_replace(name text, filter jsonb, document jsonb) returns bigint
language plpgsql as $$
declare
	of constant int := chimp.collection_id(name);
	condition constant text := chimp.document_filter(filter);
	n bigint := 0;
	others bigint;
begin
	perform chimp.document_check(document, 'a document');
	if of is not null then
		execute format('with replaced as (update chimp.documents_%s set document = $1 || jsonb_build_object(''id'', id)'
			' where %s returning id) select count(*), count(*) filter (where id <> $1 ->> ''id'') from replaced', of, condition)
		into n, others using document;
		if others > 0 then
			raise exception 'chimp.collection_replace: the id of a document stays' using errcode = '22023';
		end if;
	end if;
	return n;
end $$;
comment on function chimp.collection_replace(text, jsonb, jsonb) is
	'Put another document in the place of each one that a filter matches, with the id that this has; how many. 22023: no filter, no object, or one with another id. 23505: what a unique index keeps.';

create or replace function chimp.collection_delete(name text, filter jsonb) returns bigint
language plpgsql as $$
declare
	of constant int := chimp.collection_id(name);
	condition constant text := chimp.document_filter(filter);
	n bigint := 0;
begin
	if of is not null then
		execute format('delete from chimp.documents_%s where %s', of, condition);
		get diagnostics n = row_count;
	end if;
	return n;
end $$;
comment on function chimp.collection_delete(text, jsonb) is
	'Delete all documents that a filter matches ({}: all); how many. 22023: no filter.';
