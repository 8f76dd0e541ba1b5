-- Collections of JSON documents.
-- oldest-binary: 2

-- Each has a table of its own, chimp.documents_ID (id, document), so that it has
-- its own statistics, and a query looks at its own indexes only.
create table chimp.collection (
	id int primary key generated always as identity,
	name text collate "C" not null,
	created_at timestamptz not null default clock_timestamp(),
	constraint collection_name_key unique (name)
);

create table chimp.collection_path (
	id int primary key generated always as identity,
	collection_id int not null references chimp.collection (id) on delete cascade,
	path text collate "C" not null,
	is_unique boolean not null,
	constraint collection_path_key unique (collection_id, path)
);
comment on table chimp.collection_path is 'Paths that have an index (chimp.collection_index).';
